"""Servers for the whole session, an environment without anybody's keys, and the watch over leaked secrets."""

from __future__ import annotations

import base64
import functools
import json
import logging
import os
import secrets
import shlex
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest

from rotator.testbed.aws import Aws
from rotator.testbed.gate import Delay, Gate
from rotator.testbed.openbao import OpenBao
from rotator.testbed.postgres import Postgres

if TYPE_CHECKING:
    from rotator.testbed.anthropic_emulator import AnthropicEmulator
    from rotator.testbed.openai_emulator import OpenAIEmulator

# Where the test run was put into the background, Ctrl-C is ignored, and under nohup SIGHUP; every process started here
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

_STRIPPED = ("AWS_", "OPENAI_", "VAULT_", "BAO_", "ROTATOR_", "PG")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_SHORTEST = 8  # a shorter piece of a secret would be found by chance


class Canaries:
    """The secrets of one test, which may be at destinations and nowhere else. Calling it gives a new one."""

    def __init__(self, *secrets: str) -> None:
        self._secrets = [*secrets]

    def __call__(self) -> str:
        """Return a new secret and watch for it."""
        secret = f"CANARY-{secrets.token_hex(16)}"
        self.watch(secret)
        return secret

    def watch(self, secret: str) -> None:
        """Watch for a secret that somebody else made."""
        self._secrets.append(secret)

    def found_in(self, text: str | bytes) -> list[str]:
        """Name the spellings in which secrets of this test occur in `text`: `plain`, `hex`, `base64`…"""
        if isinstance(text, bytes):
            text = text.decode(errors="replace")
        text = text.lower()
        return sorted({name for secret in self._secrets for name, spelling in _lowered(secret) if spelling in text})


@functools.cache
def _lowered(secret: str) -> list[tuple[str, str]]:
    """Its spellings in small letters, each once: thousands of texts are searched for the same secrets."""
    return list(dict.fromkeys((name, spelling.lower()) for name, spelling in _spellings(secret)))


def _spellings(secret: str) -> Iterator[tuple[str, str]]:
    content = secret.encode()
    yield "plain", secret
    yield "JSON", json.dumps(secret)[1:-1]
    yield "URL", quote(secret, safe="")
    yield "URL", quote_plus(secret)
    yield "shell", shlex.quote(secret).removeprefix("'").removesuffix("'")
    yield "hex", content.hex()
    for before in range(3):  # within a longer text, base64 depends on how many bytes came before, modulo 3
        padded = b"\0" * before + content
        whole = len(padded) - len(padded) % 3  # what follows the secret changes the last group
        start = -(-before * 8 // 6)  # the first digits belong to the bytes before
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            piece = encode(padded[:whole]).decode()[start:]
            if len(piece) >= _SHORTEST:
                yield "base64", piece


_CANARIES = pytest.StashKey[Canaries]()


@pytest.fixture
def canary(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Canaries:
    """`canary()` is a new secret; the test fails if it prints or logs it, down to our own DEBUG lines."""
    caplog.set_level(logging.DEBUG, logger="rotator")
    canaries = Canaries()
    request.node.stash[_CANARIES] = canaries
    return canaries


@pytest.fixture
def patience(request: pytest.FixtureRequest) -> timedelta:
    """How long an adapter waits for an answer: long, since a busy machine stalls; hastily where none is to come.

    None is to come where a parameter of the test is a Delay, or one of the contracts' names for it, or where the test
    is marked `hasty`.
    """
    callspec = getattr(request.node, "callspec", None)
    given = list(callspec.params.values()) if callspec is not None else []
    late = any(isinstance(value, Delay) or value in ("no answer in time", "late") for value in given)
    return timedelta(seconds=1.5 if late or request.node.get_closest_marker("hasty") else 20)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test whose captured output or log holds a canary; the last report of a test has all of them."""
    report = yield
    if report.when == "teardown" and report.passed:
        canaries = item.stash.get(_CANARIES, None) or Canaries()
        for section, text in report.sections:
            found = canaries.found_in(text) or ["plain"] * ("CANARY-" in text)
            if found:
                report.outcome = "failed"
                report.longrepr = f"{item.nodeid}: a secret is in '{section}' ({', '.join(found)})"
    return report


@pytest.fixture(scope="session", autouse=True)
def environment() -> Iterator[None]:
    """No variable of the developer reaches a test: no keys, no addresses, no proxies, no files of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith(_STRIPPED) or name.upper() in _PROXIES:
                patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield


@pytest.fixture(scope="session")
def openbao() -> Iterator[OpenBao]:
    """OpenBao for all tests: take paths of your own, and leave it unsealed."""
    with OpenBao() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """PostgreSQL for all tests: each takes its own `fresh_url`, and leaves it running."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    """AWS for all tests, with keys and policies checked: take users and secrets with names of your own."""
    with Aws(authentication=True) as server:
        yield server


@pytest.fixture
def openai() -> Iterator[OpenAIEmulator]:
    """A new OpenAI emulator; a test that prints one of its secrets fails."""
    from rotator.testbed.openai_emulator import OpenAIEmulator

    with OpenAIEmulator(mark="CANARY-") as emulator:
        yield emulator


@pytest.fixture
def anthropic() -> Iterator[AnthropicEmulator]:
    """A new Anthropic emulator; a test that prints one of its secrets fails."""
    from rotator.testbed.anthropic_emulator import AnthropicEmulator

    with AnthropicEmulator(mark="CANARY-") as emulator:
        yield emulator


@pytest.fixture
def gate_to() -> Iterator[Callable[[str], Gate]]:
    """`gate_to(url)` is a gate in front of that server; closed at the end of the test."""
    with ExitStack() as gates:
        yield lambda target: gates.enter_context(Gate(target))
