"""Log lines: other libraries stay silent below WARNING, and no line shows a secret that is in memory."""

from __future__ import annotations

import base64
import importlib
import json
import logging
import shlex
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import click
import pytest

from rotator import logs
from rotator.cli import OnDemand, commands
from rotator.domain.secret import Secret
from tests.cli.house import ROOT
from tests.cli.test_help import every_command
from tests.conftest import Canaries

FLOORED = ("boto3", "botocore", "urllib3", "httpx", "httpcore", "hvac", "requests", "sqlalchemy")

ODD = """it's "100%" of pass/wörd\\&$(x)\t= ~9"""


@pytest.fixture(autouse=True)
def loud() -> Iterator[None]:
    """As with -vv."""
    logs.set_up(2)
    yield
    logs.set_up(0)


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_each_command_sets_up_the_logs(words: tuple[str, ...]) -> None:
    command: click.Command | None = commands
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None
    assert "verbosity" in [parameter.name for parameter in command.params]
    assert isinstance(commands, OnDemand)


@pytest.mark.parametrize("name", FLOORED)
def test_neither_levels_nor_handlers_make_another_library_speak(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    importlib.import_module(name)
    loud = logging.StreamHandler(sys.stderr)
    below = logging.getLogger(f"{name}.made.later")
    tops = [logging.getLogger(name), below, logging.getLogger()]
    before = [logger.level for logger in tops]
    for logger in tops:
        logger.setLevel(logging.DEBUG)
        logger.addHandler(loud)
    try:
        for logger in tops[:2]:
            logger.debug("Authorization: Bearer CANARY")
            logger.info("Authorization: Bearer CANARY")
            logger.log(logging.WARNING - 1, "Authorization: Bearer CANARY")
            logger.handle(logging.makeLogRecord({"name": name, "levelno": logging.INFO, "msg": "Bearer CANARY"}))
            assert not logger.isEnabledFor(logging.INFO)
            logger.warning("a warning comes through")
    finally:
        for logger, level in zip(tops, before, strict=True):
            logger.removeHandler(loud)
            logger.setLevel(level)
    said = capsys.readouterr().err
    assert "Bearer" not in said
    assert "a warning comes through" in said


REAL = """
import logging, sys
{early}
from rotator import logs
logs.set_up(2)
import boto3, httpx, sqlalchemy, urllib3
boto3.set_stream_logger("")
boto3.set_stream_logger("botocore")
urllib3.add_stderr_logger()
logging.basicConfig(level=logging.DEBUG)
from sqlalchemy import create_engine, text
with create_engine("sqlite://", echo="debug").connect() as connection:
    connection.execute(text("select :x"), {{"x": "CANARY"}}).all()
client = boto3.client("sts", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="CANARY",
                      endpoint_url="http://127.0.0.1:1/CANARY")
try: client.get_caller_identity()
except Exception: pass
try: httpx.get("http://127.0.0.1:1/CANARY")
except Exception: pass
try: urllib3.request("GET", "http://127.0.0.1:1/CANARY", retries=0)
except Exception: pass
{late}
logging.getLogger("rotator.x").debug("ours")
"""


@pytest.mark.parametrize("early", ["", "import openai, boto3, sqlalchemy.engine, urllib3.connectionpool, httpx"])
def test_the_libraries_own_switches_for_debugging_change_nothing(early: str) -> None:
    code = REAL.format(early=early, late="import openai")
    environ = {
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
        "OPENAI_LOG": "debug",
        "AWS_EC2_METADATA_DISABLED": "1",
    }
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environ
    )
    assert "CANARY" not in ran.stdout + ran.stderr
    assert "ours" in ran.stderr


def forms(secret: str) -> dict[str, str]:
    """How a careless line may spell a secret."""
    encoded = secret.encode()
    return {
        "exact": secret,
        "JSON": json.dumps({"password": secret}),
        "JSON without ASCII": json.dumps({"password": secret}, ensure_ascii=False),
        "repr": repr({"password": secret}),
        "URL": f"https://u:{quote(secret, safe='')}@host/",
        "path": f"https://host/{quote(secret)}?x",
        "form": f"password={quote_plus(secret)}&x=1",
        "shell": f"export PASSWORD={shlex.quote(secret)}",
        "hex": encoded.hex(),
        "HEX": encoded.hex().upper(),
        **{f"base64 after {n}": base64.b64encode(b"u:aa"[:n] + encoded + b"@h").decode() for n in range(4)},
        **{f"base64url after {n}": base64.urlsafe_b64encode(b"u:aa"[:n] + encoded).decode() for n in range(4)},
    }


@pytest.mark.parametrize("form", forms(ODD))
def test_no_form_of_a_living_secret_is_in_a_line(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = forms(ODD)[form]
    secret = Secret(ODD)
    logs.log.warning("before %s after", text)
    said = capsys.readouterr().err
    assert "before " in said
    assert "…" in said
    assert " after" in said
    assert not Canaries(secret.reveal()).found_in(said)


def test_arguments_extras_and_exceptions_are_rendered_before_they_are_searched(
    capsys: pytest.CaptureFixture[str],
) -> None:
    secret = Secret("sparrow-in-a-dict/of=arguments")

    class Odd:
        def __str__(self) -> str:
            return secret.reveal()

    logs.log.warning("%s %r", Odd(), {"a": [secret.reveal()]})
    logs.log.warning({"a": secret.reveal()})
    logging.getLogger("apscheduler.executors").error("a job raised", exc_info=ValueError(secret.reveal()))
    said = capsys.readouterr().err
    assert said.count("…") == 3
    assert "a job raised" in said
    assert "ValueError" in said
    assert "sparrow" not in said


def test_a_line_of_json_is_searched_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    secret = Secret(ODD)
    logs.set_up(2, "json")
    logs.log.warning("before %s after", secret.reveal(), exc_info=ValueError(secret.reveal()))
    line = json.loads(capsys.readouterr().err)
    assert line["message"] == "before … after"
    assert line["exception"] == "ValueError"


def test_a_line_that_another_formatter_has_seen_has_no_text_of_the_exception(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problem = ValueError("sk-of-somebody-else")
    record = logs.log.makeRecord("a", logging.ERROR, __file__, 1, "failed", (), (ValueError, problem, None))
    logging.Formatter().format(record)
    assert "sk-of-somebody-else" in (record.exc_text or "")
    logs.log.handle(record)
    assert "sk-of-somebody-else" not in capsys.readouterr().err


def test_a_secret_that_nobody_holds_any_more_is_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    secret = Secret("not-a-secret-any-more")
    logs.log.warning("not-a-secret-any-more")
    del secret
    logs.log.warning("not-a-secret-any-more")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("…")
    assert second.endswith("not-a-secret-any-more")
