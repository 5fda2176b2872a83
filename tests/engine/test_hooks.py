"""Readers are told and asked before a key counts as verified; waves; and what becomes of a probe that says no."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import pytest
from jsonschema import Draft202012Validator

from rotator.domain.model import Cause
from rotator.engine import operator
from rotator.wiring import Seam
from tests.conftest import Canaries
from tests.engine.place import Place, dotenv_value
from tests.engine.test_going_back import held

T = TypeVar("T")

SCHEMA = Path(__file__).parents[2] / "docs/schemas/status.schema.json"

ENOUGH = 30.0
"""Seconds within which everything ends that can, on a busy machine too."""

SAYS = """#!/bin/sh
# Writes down that it was run and for what, and fails while there is a file that says so.
echo "$1 $2 $3" >> {folder}/log
if [ -e {folder}/$1-fails-$2 ]; then echo "no: $(cat {folder}/$1-fails-$2)" >&2; exit 3; fi
"""


class Sites:
    """A generated key in env files, each with readers that are told and asked by a script."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.script = place.folder / "says"
        self.script.write_text(SAYS.format(folder=place.folder))
        self.script.chmod(0o755)
        self.write({"one": {}, "two": {}})

    def write(self, waves: dict[str, dict[str, Any]], policy: dict[str, Any] | None = None) -> None:
        """Site → further keys of its entry, such as its wave."""
        self.place.write(
            providers={"local": {"type": "generated"}},
            destinations={name: {"type": "env-file", "path": f"{name}.env"} for name in waves},
            credentials={
                "key": {
                    "provider": "local",
                    "policy": policy or {},
                    "destinations": [{"to": name, **self.hooks(name), **more} for name, more in waves.items()],
                }
            },
        )

    def hooks(self, name: str) -> dict[str, Any]:
        return {kind: {"command": ["./says", kind, name, "v{version}"]} for kind in ("reload", "probe")}

    def waves(self, **policy: Any) -> None:
        """`one` is the first wave, and `two` is given the key after it."""
        self.write({"one": {"wave": 1}, "two": {}}, {"wave_soak": "200ms", **policy})

    def run(self) -> list[str]:
        """What was run so far, and forget it."""
        log = self.place.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def fails(self, kind: str, name: str) -> Path:
        """From now on; unlink it to end that."""
        said = self.place.folder / f"{kind}-fails-{name}"
        said.write_text("out of order")
        return said

    def value(self, name: str) -> str | None:
        return dotenv_value(self.place.folder / f"{name}.env", "KEY")

    def delivery(self, name: str) -> dict[str, Any]:
        rotation = self.place.status("key")["rotation"]
        return next(d for d in rotation["deliveries"] if d["to"] == name)

    def as_the_schema_says(self) -> None:
        """`status --json` has the published shape."""
        with self.place.service(unlock=False) as service:
            Draft202012Validator(json.loads(SCHEMA.read_text())).validate(service.report().status())

    def states(self, name: str) -> dict[str, str]:
        """Kind → how the hook stands."""
        return {hook["kind"]: hook["state"] for hook in self.delivery(name)["hooks"]}


@pytest.fixture
def sites(embedded: Place) -> Sites:
    return Sites(embedded)


def test_readers_are_told_then_asked_and_only_then_is_the_key_verified(sites: Sites) -> None:
    sites.place.rotate(patience=ENOUGH)
    assert sorted(sites.run()) == ["probe one v1", "probe two v1", "reload one v1", "reload two v1"]
    told = [e["event"] for e in sites.place.events if e["destination"] == "one"]
    assert told == [
        "push.started",
        "push.succeeded",
        "reload.started",
        "reload.succeeded",
        "probe.succeeded",
        "verify.succeeded",
    ]
    assert sites.place.status("key")["status"] == "ok"
    sites.place.rotate(patience=ENOUGH)
    assert sites.run() == []
    sites.place.verified()


def test_a_reload_that_fails_is_tried_again_on_its_own_and_nothing_is_pushed_again(sites: Sites) -> None:
    failing = sites.fails("reload", "one")
    sites.place.rotate(patience=0.5)
    assert sites.run().count("reload two v1") == 1
    pushed = sites.place.told().count("push.started")
    delivery = sites.delivery("one")
    assert (delivery["state"], delivery["reason"]) == ("pushed", "reload_failed")
    failed = "the reload (command says reload one v{version}) failed: exit status 3: no: out of order"
    assert delivery["message"] == failed
    reload, probe = delivery["hooks"]
    assert (reload["kind"], reload["state"], reload["message"]) == ("reload", "failing", delivery["message"])
    assert reload["attempt"] == delivery["attempt"] > 0
    assert (probe["kind"], probe["state"], probe["attempt"], probe["message"]) == ("probe", "waiting", 0, None)
    assert sites.states("two") == {"reload": "done", "probe": "done"}
    assert "is failing, and the probe" in sites.place.explain("key")
    sites.as_the_schema_says()
    failing.unlink()
    sites.place.rotate(patience=ENOUGH)
    assert sites.place.status("key")["status"] == "ok"
    assert sites.run() == ["reload one v1", "probe one v1"]
    assert sites.place.told().count("push.started") == pushed


def test_a_probe_that_fails_is_asked_again_and_the_reload_is_not_repeated(sites: Sites) -> None:
    failing = sites.fails("probe", "one")
    ran: list[str] = []
    while ran.count("probe one v1") < 2:
        sites.place.rotate(patience=0.3)
        ran += sites.run()
    assert ran.count("reload one v1") == 1
    assert sites.delivery("one")["reason"] == "probe_failed"
    assert sites.states("one") == {"reload": "done", "probe": "failing"}
    failing.unlink()
    sites.place.rotate("key", now=True, patience=ENOUGH)
    assert sites.place.status("key")["status"] == "ok"
    assert "reload one v1" not in sites.run()


def test_a_value_that_is_pushed_once_more_is_told_once_more(sites: Sites) -> None:
    sites.write({"one": {}})
    sites.place.rotate(patience=ENOUGH)
    file = sites.place.folder / "one.env"
    before = file.read_text()
    failing = sites.fails("probe", "one")
    sites.place.rotate("key", now=True, patience=0.3)
    sites.run()
    file.write_text(before)
    failing.unlink()
    sites.place.rotate("key", now=True, patience=ENOUGH)
    assert "verify.failed" in sites.place.told()
    assert sites.run() == ["reload one v2", "probe one v2"]
    assert file.read_text() != before


class Died(BaseException):
    """The process ends here."""


class DiesAfterReload(Seam):
    def wrap(self, port: T, kind: str) -> T:
        if kind == "hook" and " reload " in port.name:  # type: ignore[attr-defined]
            run = port.run  # type: ignore[attr-defined]

            def run_and_die(occasion: object) -> None:
                run(occasion)
                raise Died

            port.run = run_and_die  # type: ignore[attr-defined]
        return port


def test_a_crash_between_doing_and_recording_does_it_once_more(sites: Sites) -> None:
    sites.write({"one": {}})
    with pytest.raises(Died):
        sites.place.rotate(seam=DiesAfterReload())
    assert sites.run() == ["reload one v1"]
    sites.place.rotate(patience=ENOUGH)
    assert sites.run() == ["reload one v1", "probe one v1"]
    assert sites.place.status("key")["status"] == "ok"


def test_a_hook_that_was_taken_out_of_the_configuration_is_not_waited_for(sites: Sites) -> None:
    sites.fails("reload", "one")
    sites.write({"one": {}})
    sites.place.rotate(patience=0.3)
    sites.write({"one": {"reload": None}})
    sites.place.rotate("key", now=True, patience=ENOUGH)
    assert sites.place.status("key")["status"] == "ok"


def test_a_person_may_go_on_without_a_place_whose_reload_fails(sites: Sites) -> None:
    sites.place.rotate(patience=ENOUGH)
    sites.fails("reload", "one")
    assert not sites.place.rotate("key", now=True, patience=0.3)["key"].completed
    assert sites.place.rotate("key", now=True, without=["one"], patience=ENOUGH)["key"].completed


def test_readers_are_told_of_a_key_that_comes_back_too(sites: Sites) -> None:
    sites.place.rotate(patience=ENOUGH)
    sites.fails("reload", "two")
    sites.place.rotate("key", now=True, patience=0.3)
    (sites.place.folder / "reload-fails-two").unlink()
    sites.run()
    with held(sites.place, "key") as work:
        operator.abandon(work)
    sites.place.rotate(patience=ENOUGH)
    assert sorted(sites.run()) == ["probe one v1", "probe two v1", "reload one v1", "reload two v1"]
    assert sites.place.status("key")["current"]["version"] == 1


def test_two_entries_of_one_place_have_hooks_of_their_own(sites: Sites) -> None:
    env = {"type": "env-file", "path": "one.env"}
    entries = [{"to": "env", "fields": {name.upper(): "{secret}"}, **sites.hooks(name)} for name in ("one", "two")]
    sites.place.write(
        providers={"local": {"type": "generated"}},
        destinations={"env": env},
        credentials={"key": {"provider": "local", "destinations": entries}},
    )
    sites.place.rotate(patience=ENOUGH)
    assert sorted(sites.run()) == ["probe one v1", "probe two v1", "reload one v1", "reload two v1"]


def test_a_secret_that_a_hook_is_given_and_shows_is_nowhere(sites: Sites, canary: Canaries) -> None:
    shows = {"command": ["sh", "-c", 'read -r key; echo "key $key is bad" >&2; exit 1'], "stdin": "{secret}\n"}
    sites.write({"one": {"reload": shows}})
    sites.place.rotate(patience=0.3)
    canary.watch(sites.value("one") or "")
    delivery = sites.delivery("one")
    assert delivery["message"].endswith("failed: exit status 1: key … is bad")
    said = json.dumps(sites.place.events) + json.dumps(sites.place.status("key")) + sites.place.explain("key")
    assert not canary.found_in(said)
    for path in sites.place.folder.glob("rotator.db*"):
        assert not canary.found_in(path.read_bytes()), path


# haste


@pytest.mark.parametrize("open_already", [False, True])
def test_a_leak_waits_neither_for_waves_nor_for_probes_and_says_what_they_said(
    sites: Sites, open_already: bool
) -> None:
    sites.waves(wave_soak="1h")
    sites.write({"one": {}, "two": {}})
    sites.place.rotate(patience=ENOUGH)
    sites.waves(wave_soak="1h")
    if open_already:
        sites.place.rotate("key", now=True, patience=6)
        assert sites.place.status("key")["rotation"]["reason"] == "wave_soak"
    sites.fails("probe", "two")
    assert sites.place.rotate("key", now=True, cause=Cause.COMPROMISED, patience=ENOUGH)["key"].completed
    assert sites.value("one") == sites.value("two")
    failed = next(e for e in sites.place.events if e["event"] == "probe.failed")
    assert (failed["destination"], failed["reason"]) == ("two", "probe_failed")


def test_a_put_back_does_not_wait_for_a_probe_but_for_a_reload(sites: Sites) -> None:
    sites.place.rotate(patience=ENOUGH)
    sites.fails("probe", "one")
    failing = sites.fails("reload", "two")
    sites.place.rotate("key", now=True, patience=0.3)
    with held(sites.place, "key") as work:
        operator.abandon(work)
    sites.place.rotate(patience=0.5)
    assert (sites.delivery("one")["state"], sites.states("one")["probe"]) == ("verified", "failing")
    assert sites.delivery("two")["reason"] == "reload_failed"
    failing.unlink()
    sites.place.rotate(patience=ENOUGH)
    assert sites.place.status("key")["status"] == "ok"


# waves


def test_the_second_wave_follows_once_the_first_has_soaked(sites: Sites) -> None:
    sites.waves()
    sites.place.rotate(patience=ENOUGH)
    assert sites.value("one") == sites.value("two")
    told = [(e["event"], e["destination"]) for e in sites.place.events]
    first, soaked = told.index(("verify.succeeded", "one")), told.index(("wave.succeeded", None))
    assert first < told.index(("wave.delayed", None)) < soaked < told.index(("push.started", "two"))
    ran = sites.run()
    assert ran[0] == "reload one v1"
    assert ran[-2:] == ["reload two v1", "probe two v1"]
    assert ran.count("probe one v1") > 1, "once for itself, then while it soaks"
    sites.place.verified()


def test_now_waits_for_the_soak_and_says_so(sites: Sites) -> None:
    sites.write({"one": {}, "two": {}})
    sites.place.rotate(patience=ENOUGH)
    sites.waves(wave_soak="1h")
    before = sites.value("two")
    for _ in range(2):  # joining it does not shorten it
        assert not sites.place.rotate("key", now=True, patience=6)["key"].completed
    assert (sites.value("two"), sites.value("one") == before) == (before, False)
    rotation = sites.place.status("key")["rotation"]
    assert (rotation["state"], rotation["reason"], rotation["attempt"]) == ("authenticated", "wave_soak", 0)
    assert rotation["message"].startswith("wave 1 is verified; the rest follows at ")
    assert [d["wave"] for d in rotation["deliveries"]] == [1, None]
    assert "two.env belongs to the last wave, and is left alone until those before fare well." in sites.place.explain(
        "key"
    )
    assert sites.place.status("key")["status"] == "rotating"


def test_a_probe_that_fails_in_the_first_wave_leaves_the_rest_untouched(sites: Sites) -> None:
    sites.write({"one": {}, "two": {}})
    sites.place.rotate(patience=ENOUGH)
    before = sites.value("two")
    changed = (sites.place.folder / "two.env").stat().st_mtime_ns
    sites.waves()
    failing = sites.fails("probe", "one")
    sites.run()
    sites.place.rotate("key", now=True, patience=1)
    assert (sites.value("two"), sites.value("one") == before) == (before, False)
    assert (sites.place.folder / "two.env").stat().st_mtime_ns == changed
    assert not [line for line in sites.run() if " two " in line]
    failing.unlink()
    sites.place.rotate("key", now=True, patience=ENOUGH)
    assert sites.value("two") == sites.value("one") != before


def test_a_probe_that_fails_while_the_wave_soaks_holds_the_next_one(sites: Sites) -> None:
    sites.write({"one": {}, "two": {}})
    sites.place.rotate(patience=ENOUGH)
    before = sites.value("two")
    sites.waves(wave_soak="8s")
    sites.place.rotate("key", now=True, patience=0.1)
    failing = sites.fails("probe", "one")
    sites.place.rotate("key", now=True, patience=2.5)
    rotation = sites.place.status("key")["rotation"]
    assert (rotation["state"], rotation["reason"]) == ("authenticated", "probe_failed")
    assert rotation["message"].startswith(f"env-file:{sites.place.folder}/one.env: the probe (command ")
    assert sites.states("one") == {"reload": "done", "probe": "failing"}
    assert sites.value("two") == before
    failing.unlink()
    sites.waves()
    sites.place.rotate("key", now=True, patience=ENOUGH)
    assert sites.value("two") == sites.value("one") != before


def test_where_the_policy_says_so_a_probe_that_goes_on_failing_has_the_first_wave_put_back(sites: Sites) -> None:
    sites.write({"one": {}, "two": {}})
    sites.place.rotate(patience=ENOUGH)
    before = sites.value("two")
    sites.waves(on_probe_failure="abandon", max_creates_per_day=2)
    sites.fails("probe", "one")
    sites.run()
    sites.place.rotate("key", now=True, patience=ENOUGH)
    told = sites.place.told("probe.found", "abandon.succeeded")
    assert told == ["probe.found", "abandon.succeeded"]
    failures = [line for line in sites.run() if line == "probe one v2"]
    assert len(failures) == 3, "it is not given up at the first blink"
    sites.place.rotate(patience=ENOUGH)
    assert sites.value("one") == sites.value("two") == before
    status = sites.place.status("key")
    assert (status["status"], status["current"]["version"]) == ("ok", 1)
    (sites.place.folder / "probe-fails-one").unlink()
    sites.waves(max_creates_per_day=5)
    sites.place.rotate("key", now=True, patience=ENOUGH)
    sites.place.rotate(patience=ENOUGH)
    assert sites.place.told("probe.cleared") == ["probe.cleared"]


def test_a_wave_that_soaks_keeps_no_other_rotation_of_the_account_waiting(sites: Sites) -> None:
    sites.place.engine |= {"in_flight": 1, "workers": 1}
    files = ("a", "a-rest", "b", "b-rest")
    sites.place.write(
        providers={"local": {"type": "generated"}},
        destinations={name: {"type": "env-file", "path": f"{name}.env"} for name in files},
        credentials={
            name: {
                "provider": "local",
                "policy": {"wave_soak": "2m"},
                "destinations": [{"to": name, "wave": 1}, {"to": f"{name}-rest"}],
            }
            for name in ("a", "b")
        },
    )
    sites.place.rotate(patience=6)
    assert [s["rotation"]["reason"] for s in sites.place.statuses()] == ["wave_soak"] * 2


def test_a_first_key_has_nothing_to_go_back_to_and_waits(sites: Sites) -> None:
    sites.waves(on_probe_failure="abandon")
    sites.fails("probe", "one")
    sites.place.rotate(patience=0.3)
    while sites.delivery("one")["attempt"] <= 3:
        sites.place.rotate(patience=0.3)
    assert sites.delivery("one")["reason"] == "probe_failed"
    assert "abandon.succeeded" not in sites.place.told()
