"""The story of `rotator demo --leak`: keys leak, are stolen and reported, and are dead soon afterwards."""

from __future__ import annotations

import json
import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console

from rotator.demo.consumers import Consumer, Crowd, Value
from rotator.demo.stage import Stage
from rotator.demo.story import Failed, run, scene

SOON = 60.0
"""Seconds from a report until the leaked key has to be refused. Servers on this machine need far less."""

_PAUSE = 0.05


class Thief:
    """Uses a stolen key all along, and knows when it worked last. A context manager."""

    def __init__(self, name: str, consumer: Consumer, value: Value) -> None:
        self.name = name
        self._works = consumer.works
        self._value = value
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._use, daemon=True)
        self.uses = 0
        self.reported_at = 0.0
        self.refused_at: float | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def reported(self) -> None:
        """From now on it is known."""
        self.reported_at = time.monotonic()

    @property
    def took(self) -> float | None:
        """Seconds from the report to the first refusal that no success followed; None: it still works."""
        return None if self.refused_at is None else self.refused_at - self.reported_at

    def _use(self) -> None:
        while not self._over.is_set():
            if self._works(self._value):
                self.uses, self.refused_at = self.uses + 1, None
            elif self.refused_at is None:
                self.refused_at = time.monotonic()
            self._over.wait(_PAUSE)


def play(console: Console, stage: Stage) -> None:
    """Three keys leak; the consumers never meet a dead one, and the thieves soon meet nothing else."""
    consumers = {consumer.address: consumer for consumer in stage.consumers()}
    vault, sm = consumers["vault:secret/web/openai"], consumers["sm:ci/deployer"]
    with Crowd(list(consumers.values())) as crowd:
        scene(console, "Three keys in use. Two of them are replaced without a question when they leak (`on:`).")
        run(console, stage, "rotator db upgrade")
        run(console, stage, "rotator adopt openai-web")
        run(console, stage, "rotate")
        with Thief("openai-web", vault, _value(vault)) as first, Thief("deployer", sm, _value(sm)) as second:
            scene(console, "Somebody has pushed web.env to a public repository; GitHub's secret scanning reports it.")
            _write_alert(stage, _value(vault))
            first.reported()
            run(console, stage, "rotator leak report alert.json")
            scene(console, "A colleague has found the deployer's key in a chat, and pastes it: it is shown nowhere.")
            second.reported()
            run(console, stage, "rotator leak report --where chat", stdin=_value(sm)["AWS_SECRET_ACCESS_KEY"])
            scene(console, "The next pass, or the daemon: new keys everywhere, and the old ones end at once.")
            run(console, stage, "rotate")
            scene(console, "And what else lies about? A scan finds the third; a person decides.")
            _copy(stage, _value(consumers["web:SESSION_SECRET"]))
            run(console, stage, "rotator scan old-laptop", status=1)
            run(console, stage, "rotate --now --compromised session --yes")
            run(console, stage, "rotate")
            run(console, stage, "rotator status")
            run(console, stage, "rotator audit verify")
    _judge(console, crowd, [first, second])


def _value(consumer: Consumer) -> Value:
    found = consumer.read()
    if found is None:
        message = f"nothing stands at {consumer.address}"
        raise Failed(message)
    return found


def _write_alert(stage: Stage, value: Value) -> None:
    """As GitHub tells a partner of secret scanning: a list of tokens, each with the address where it is."""
    alert = [{"token": value["OPENAI_API_KEY"], "type": "openai_api_key", "url": "https://example.com/repo/web.env"}]
    (stage.folder / "alert.json").write_text(json.dumps(alert), encoding="utf-8")


def _copy(stage: Stage, value: Value) -> None:
    folder = stage.folder / "old-laptop"
    folder.mkdir()
    (folder / "settings.js").write_text(f"const session = {json.dumps(value['SESSION_SECRET'])};\n", encoding="utf-8")


def _judge(console: Console, crowd: Crowd, thieves: list[Thief]) -> None:
    """Say how long the leaked keys worked. Raises Failed unless it is as promised."""
    wrong = crowd.troubles()
    console.print("")
    for thief in thieves:
        if thief.took is None or thief.took > SOON:
            wrong.append(f"the leaked key of {thief.name} still works, or worked for too long")
        else:
            console.print(
                f"{thief.name}: refused {thief.took:.1f} s after the report; a thief used it {thief.uses:,} times"
            )
    console.print(f"[bold {'red' if wrong else 'green'}]{crowd.proof()}[/]")
    if wrong:
        raise Failed("; ".join(wrong))
