"""Batches by POST, signed, to a real server."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from rotator.domain.errors import SetupError, Unavailable
from rotator.sinks.http import HttpSettings, HttpSink
from rotator.verifier.trail import verify_lines
from tests.sinks.conftest import ORIGIN, Receiver, Trail, once

SECOND = timedelta(seconds=5)


def sink(url: str, key: Path) -> HttpSink:
    return HttpSink(HttpSettings.model_validate({"url": url, "sign": f"file:{key}"}), ORIGIN, SECOND)


def seqs(receiver: Receiver) -> list[int]:
    return [json.loads(line)["seq"] for _, body in receiver.got for line in body.splitlines()]


def test_a_batch_is_the_trail_itself_and_signed(trail: Trail, receiver: Receiver, key: Path) -> None:
    trail.happen(9)
    assert trail.send(sink(receiver.url, key)) == (10, None)
    ((headers, body),) = receiver.got
    found = verify_lines(body.decode().splitlines())
    assert (found.count, found.problem) == (10, None)
    assert (headers["content-type"], headers["rotator-seq"]) == ("application/x-ndjson", "1-10")
    at, _, signature = headers["rotator-signature"].partition(",")
    made = hmac.new(key.read_bytes().rstrip(), f"{at[2:]}.".encode() + body, hashlib.sha256).hexdigest()
    assert signature == f"v1={made}"


def test_a_server_that_is_gone_for_a_while_misses_nothing(trail: Trail, receiver: Receiver, key: Path) -> None:
    one = sink(receiver.url, key)
    trail.happen(300)
    trail.send(one)
    receiver.stop()
    trail.happen(300)
    seq, why = trail.send(one)
    assert (seq, why) == (301, f"cannot connect to {receiver.url} to send the audit trail")
    again = Receiver(receiver.port)
    try:
        again.status = 503
        trail.happen(2)
        assert trail.send(one) == (301, f"{receiver.url} answered 503")
        again.status = 200
        assert trail.send(one) == (603, None)
    finally:
        again.stop()
    assert once(seqs(receiver) + seqs(again)) == trail.seqs


def test_no_redirect_is_followed(trail: Trail, receiver: Receiver, key: Path) -> None:
    receiver.status = 307
    assert trail.send(sink(receiver.url, key)) == (0, f"{receiver.url} answered 307")


def test_without_its_key_nothing_is_sent(trail: Trail, receiver: Receiver, key: Path) -> None:
    key.unlink()
    seq, why = trail.send(sink(receiver.url, key))
    assert (seq, receiver.got) == (0, [])
    assert why is not None
    assert why.startswith(f"cannot read the secret in {key}")


def test_the_trail_is_sent_over_tls_or_to_this_host(key: Path) -> None:
    with pytest.raises(ValidationError, match="must begin with https"):
        sink("http://siem.example/x", key)


def test_a_look_sends_nothing_and_finds_what_is_wrong(receiver: Receiver, key: Path) -> None:
    for status in (200, 405, 501):
        receiver.status = status
        sink(receiver.url, key).look()
    receiver.status = 503
    with pytest.raises(Unavailable, match="answered 503"):
        sink(receiver.url, key).look()
    receiver.stop()
    with pytest.raises(Unavailable, match="cannot connect to"):
        sink(receiver.url, key).look()
    assert receiver.got == []
    key.unlink()
    with pytest.raises(SetupError):
        sink(receiver.url, key).look()
