"""Each way of a message to people, at a real receiver on this machine."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from rotator.access.signing import SIGNATURE, signature
from rotator.domain.errors import LostAnswer, RotatorError, SetupError, TemporaryError, Unavailable
from rotator.domain.messages import Message, of_notices, of_test
from rotator.domain.notices import Notice, Outgoing, Severity, State
from rotator.notifiers.apprise import Apprise, AppriseSettings
from rotator.notifiers.webhook import Webhook, WebhookSettings
from rotator.settings import SecretReference
from rotator.testbed.process import free_port
from tests.conftest import Canaries
from tests.docs.generate import DOCS
from tests.notifiers.receiver import KEY, Receiver, receiving

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
LIMIT = timedelta(seconds=5)
TEST = of_test("prod", "ops", "cli:me@host", START)
TROUBLE = of_notices(
    "prod",
    [
        Outgoing(
            route="ops",
            notice=Notice(
                key="drift:web",
                event="drift.found",
                severity=Severity.CRITICAL,
                lasts=True,
                message="another value stands there",
                since=START,
                seq=7,
                credential="web",
                provider="openai",
                destination="vault:secret/web",
                reason="foreign",
                remedy="`rotator drift web`",
                labels={"team": "web"},
            ),
            state=State.NEW,
            changed_at=START,
        )
    ],
    START,
)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with receiving(tmp_path) as started:
        yield started


def webhook(folder: Path, url: str, key: str = KEY) -> Webhook:
    (folder / "sign").write_text(key + "\n")
    return Webhook(WebhookSettings(webhook=url, sign=SecretReference("file:sign", folder)), LIMIT)


def apprise(folder: Path, url: str) -> Apprise:
    (folder / "url").write_text(url + "\n")
    return Apprise(AppriseSettings(apprise=SecretReference("file:url", folder)), LIMIT)


@pytest.mark.parametrize("message", [TEST, TROUBLE], ids=["test", "trouble"])
def test_a_webhook_is_as_its_schema_says_and_signed(tmp_path: Path, receiver: Receiver, message: Message) -> None:
    webhook(tmp_path, receiver.url).send(message)
    (line,) = (json.loads(line) for line in receiver.file.read_text().splitlines())
    assert line["signed"]
    assert line["body"] == message.as_json()
    schema = json.loads((DOCS / "schemas" / "notification.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(line["body"])


def test_a_webhook_under_another_key_is_refused_and_that_is_no_acceptance(tmp_path: Path, receiver: Receiver) -> None:
    with pytest.raises(TemporaryError, match=r"webhook http://127.0.0.1:\d+/hook answered 401") as caught:
        webhook(tmp_path, receiver.url, "another key").send(TEST)
    assert caught.value.reason == "not_accepted"
    assert receiver.received == []


def test_what_the_documentation_tells_receivers_to_do_refuses_what_is_forged_old_or_replayed() -> None:
    text = (DOCS / "notifications.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert example is not None
    names: dict[str, object] = {}
    exec(example[1], names)
    accept = names["accept"]
    assert callable(accept)
    body, now, seen = json.dumps(TEST.as_json()).encode(), int(time.time()), set[str]()

    def ask(header: str, content: bytes = body) -> object:
        return accept(header, content, KEY.encode(), seen, lambda text: json.loads(text)["id"])

    assert not ask(signature(b"another key", body, now))
    assert not ask(signature(KEY.encode(), body, now).replace(f"t={now}", f"t={now + 1}"))
    assert not ask(signature(KEY.encode(), body, now), body.replace(b"prod", b"test"))
    assert not ask(signature(KEY.encode(), body, now - 301))
    assert ask(signature(KEY.encode(), body, now))
    assert not ask(signature(KEY.encode(), body, now))  # replayed
    assert not ask(signature(KEY.encode(), body, now + 1))  # sent again by us: it is there already
    assert SIGNATURE == "Rotator-Signature"


def test_apprise_takes_title_text_and_severity_to_its_receiver(tmp_path: Path, receiver: Receiver) -> None:
    way = apprise(tmp_path, f"json://127.0.0.1:{receiver.port}/hook")
    assert way.trouble() is None
    way.send(TROUBLE)
    (body,) = receiver.received
    assert (body["title"], body["message"], body["type"]) == (TROUBLE.title, TROUBLE.text, "failure")


@pytest.mark.parametrize("kind", ["webhook", "apprise"])
def test_a_receiver_that_is_not_there_is_temporary_and_named(tmp_path: Path, kind: str) -> None:
    port = free_port()
    way = (
        webhook(tmp_path, f"http://127.0.0.1:{port}/hook")
        if kind == "webhook"
        else apprise(tmp_path, f"json://127.0.0.1:{port}/hook")
    )
    with pytest.raises((Unavailable, TemporaryError)) as caught:
        way.send(TEST)
    assert ("file:url" if kind == "apprise" else str(port)) in str(caught.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nothing://user:CANARY-pass@127.0.0.1/", "is not one address that apprise knows"),
        ("json://127.0.0.1/a, json://127.0.0.1/b", "is not one address that apprise knows"),
        ("", "is not one address that apprise knows"),
    ],
)
def test_what_is_no_address_is_told_without_repeating_it(tmp_path: Path, url: str, why: str) -> None:
    way = apprise(tmp_path, url)
    assert why in (way.trouble() or "")
    assert "CANARY" not in (way.trouble() or "")
    with pytest.raises(SetupError):
        way.send(TEST)


def test_no_way_says_its_secret_in_errors_or_logs(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture, canary: Canaries
) -> None:
    secret = canary()
    caplog.set_level(logging.DEBUG)
    problems: list[RotatorError] = []
    for url in (
        f"json://user:{secret}@127.0.0.1:{free_port()}/{secret}",
        f"slack://{secret}",
        f"jsons://{secret}@127.0.0.1:1/",
    ):
        try:
            apprise(tmp_path, url).send(TROUBLE)
        except RotatorError as problem:
            problems.append(problem)
    assert len(problems) == 3
    said = caplog.text + "".join(repr(p) + str(p) + p.message + str(p.remedy) + repr(p.__context__) for p in problems)
    assert canary.found_in(said) == []


def test_a_receiver_that_never_answers_is_given_up_within_the_limit(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (tmp_path / "sign").write_text(KEY)
        settings = WebhookSettings(webhook=f"http://127.0.0.1:{port}/", sign=SecretReference("file:sign", tmp_path))
        with pytest.raises((LostAnswer, Unavailable)):
            Webhook(settings, timedelta(milliseconds=300)).send(TEST)
