"""What every sealer must do, as tests that a sealer's own test class inherits.

A subclass inherits `SealerContract`, and `FaultContract` where a service keeps the key.

What a subclass gives, as fixtures:

    sealer       the sealer under test
    twin         another object, built anew, for the same key
    other        one for another key of the same kind
    denied       like `sealer`, where our credential may not use the key            (faults)
    gate         a `Gate` in front of the service                                   (faults)
    gated        like `sealer`, through `gate`; its timeout is one and a half seconds  (faults)
    unreachable  like `sealer`, at an address where nothing listens                 (faults)
    missing      one for a key that is not there                                    (faults)
    private      the secrets of our own that must never show, such as a token       (faults)
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from rotator.domain.errors import (
    AccessDenied,
    PermanentError,
    RateLimited,
    RotatorError,
    SetupError,
    TemporaryError,
    Unavailable,
)
from rotator.ports.sealer import DATA_KEY_BYTES, KEY_ID_BYTES, DataKey, Place, Sealer
from rotator.store.keyring import Keyring
from rotator.testbed.gate import Answer, CutMidBody, Fault, Gate, Lose, Refuse
from tests.contracts.destination import SLOWER_THAN_THE_TIMEOUT, anything, showing, told

PLACE: Place = {"install": "i-1", "table": "sealed", "row": "v-1", "column": "material"}
PLAIN = b'{"secret": "sk-cAnArY0123456789"}'

FAULTS: Mapping[str, Fault] = {
    "refused": Refuse(),
    "lost": Lose(),
    "cut": CutMidBody(),
    "late": SLOWER_THAN_THE_TIMEOUT,
    "500": Answer(500),
    "502": Answer(502, body=b"<html>bad gateway</html>"),
    "503": Answer(503),
    "not JSON": Answer(200, body=b"<html>welcome</html>"),
    "empty": Answer(200, body=b"{}"),
}
TOO_MANY = Answer(429, headers={"Retry-After": "7"})


def blob_of(sealer: Sealer, plain: bytes = PLAIN, place: Place = PLACE) -> bytes:
    """Seal as the store does."""
    keyring = Keyring([sealer])
    return keyring.seal(plain, place, keyring.prepare(sealer.id, place))


def refusal(call: Callable[[], object]) -> RotatorError:
    """The error of what must not open."""
    with pytest.raises((SetupError, PermanentError)) as refused:
        call()
    assert refused.value.remedy
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    return refused.value


class SealerContract:
    """What holds for every sealer."""

    def test_a_data_key_is_fresh_and_comes_back(self, sealer: Sealer, twin: Sealer) -> None:
        one, other = sealer.data_key(PLACE), sealer.data_key(PLACE)
        assert len(one.plain) == len(other.plain) == DATA_KEY_BYTES
        assert one.plain != other.plain
        assert one.wrapped != other.wrapped
        assert one.plain not in one.wrapped
        assert twin.unwrap(one.wrapped, PLACE) == one.plain
        assert sealer.unwrap(other.wrapped, PLACE) == other.plain

    def test_what_was_sealed_opens_for_whoever_has_the_key(self, sealer: Sealer, twin: Sealer) -> None:
        for plain in (b"", b"x", PLAIN, bytes(100_000)):
            assert Keyring([twin]).open(blob_of(sealer, plain), PLACE) == plain

    def test_a_key_has_an_id_of_its_own(self, sealer: Sealer, twin: Sealer, other: Sealer) -> None:
        assert len(bytes.fromhex(sealer.id)) == KEY_ID_BYTES
        assert sealer.id == twin.id
        assert sealer.id != other.id
        assert sealer.name

    @pytest.mark.parametrize("field", PLACE)
    def test_what_was_wrapped_for_one_place_opens_for_no_other(self, sealer: Sealer, field: str) -> None:
        key = sealer.data_key(PLACE)
        for elsewhere in ({**PLACE, field: "other"}, {k: v for k, v in PLACE.items() if k != field}):
            assert refusal(lambda at=elsewhere: sealer.unwrap(key.wrapped, at)).reason == "sealed_tampered"  # type: ignore[misc]
        assert refusal(lambda: sealer.unwrap(key.wrapped, {**PLACE, "more": "x"})).reason == "sealed_tampered"

    def test_a_flipped_bit_is_noticed_wherever_it_is(self, sealer: Sealer) -> None:
        blob, keyring = blob_of(sealer), Keyring([sealer])
        positions = {*range(0, len(blob), max(1, len(blob) // 24)), *range(12), len(blob) - 1}
        for position in positions:
            flipped = bytearray(blob)
            flipped[position] ^= 1 << position % 8
            with pytest.raises((SetupError, PermanentError)) as refused:
                keyring.open(bytes(flipped), PLACE)
            # Where the key's id is hit, here or in a service's own part, it is another key's: one that we may not use.
            assert refused.value.reason in ("sealed_tampered", "wrong_sealing_key", "missing_permission")
            assert refused.value.remedy

    def test_a_blob_that_was_cut_or_lengthened_does_not_open(self, sealer: Sealer) -> None:
        blob, keyring = blob_of(sealer), Keyring([sealer])
        for wrong in (*(blob[:length] for length in (0, 1, 9, 10, 11, 12, 40, len(blob) - 1)), blob + b"\0"):
            assert refusal(lambda: keyring.open(wrong, PLACE)).reason == "sealed_tampered"  # noqa: B023 - as above

    def test_halves_of_two_blobs_do_not_open(self, sealer: Sealer) -> None:
        one, other = blob_of(sealer), blob_of(sealer)
        assert len(one) == len(other)
        middle = len(one) - len(PLAIN) - 28
        assert refusal(lambda: Keyring([sealer]).open(one[:middle] + other[middle:], PLACE)).reason == "sealed_tampered"

    def test_another_key_is_told_apart_from_tampering(self, sealer: Sealer, other: Sealer) -> None:
        told = refusal(lambda: Keyring([other]).open(blob_of(sealer), PLACE))
        assert told.reason == "wrong_sealing_key"
        assert sealer.id in told.message
        assert other.name in told.message

    def test_another_key_unwraps_nothing(self, sealer: Sealer, other: Sealer) -> None:
        with pytest.raises((SetupError, PermanentError)):
            other.unwrap(sealer.data_key(PLACE).wrapped, PLACE)

    def test_several_keys_open_what_each_has_sealed(self, sealer: Sealer, other: Sealer) -> None:
        both = Keyring([other, sealer])
        assert both.open(blob_of(sealer), PLACE) == both.open(blob_of(other), PLACE) == PLAIN

    def test_threads_may_share_it(self, sealer: Sealer) -> None:
        def once(number: int) -> bool:
            place = {**PLACE, "row": f"v-{number}"}
            key = sealer.data_key(place)
            return sealer.unwrap(key.wrapped, place) == key.plain

        with ThreadPoolExecutor(max_workers=4) as pool:
            assert all(pool.map(once, range(8)))

    def test_closing_ends_nothing(self, sealer: Sealer) -> None:
        key = sealer.data_key(PLACE)
        sealer.close()
        sealer.close()
        assert sealer.unwrap(key.wrapped, PLACE) == key.plain

    def test_no_data_key_shows(self, sealer: Sealer, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG")
        key = sealer.data_key(PLACE)
        sealer.unwrap(key.wrapped, PLACE)
        text = f"{key!r} {sealer!r} {vars(sealer)!r} {caplog.text}"
        assert not shown(key, text)


class FaultContract:
    """For services: what goes wrong on the way is told as what it is, and asked once."""

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_question_without_an_answer_may_be_asked_again(
        self, sealer: Sealer, gated: Sealer, gate: Gate, fault: str
    ) -> None:
        key = sealer.data_key(PLACE)
        for call in calls(gated, key):
            gate.on(anything, FAULTS[fault])
            sent = len(gate.requests)
            with pytest.raises(TemporaryError) as told:
                call()
            assert type(told.value) is Unavailable
            assert len(gate.requests) == sent + 1
            gate.clear()
        assert gated.unwrap(key.wrapped, PLACE) == key.plain

    def test_a_rate_limit_says_when_to_come_back(self, sealer: Sealer, gated: Sealer, gate: Gate) -> None:
        key = sealer.data_key(PLACE)
        gate.on(anything, TOO_MANY, times=None)
        for call in calls(gated, key):
            sent = len(gate.requests)
            with pytest.raises(RateLimited) as told:
                call()
            assert told.value.retry_after == 7
            assert len(gate.requests) == sent + 1

    def test_a_service_that_is_not_there_is_told(self, sealer: Sealer, unreachable: Sealer) -> None:
        for call in calls(unreachable, sealer.data_key(PLACE)):
            with pytest.raises(TemporaryError) as told:
                call()
            assert type(told.value) is Unavailable

    def test_a_credential_that_may_not_is_told(self, sealer: Sealer, denied: Sealer) -> None:
        for call in calls(denied, sealer.data_key(PLACE)):
            with pytest.raises(AccessDenied) as told:
                call()
            assert told.value.reason == "missing_permission"
            assert told.value.remedy

    def test_a_key_that_is_not_there_is_told_and_not_made(self, sealer: Sealer, missing: Sealer) -> None:
        for call in [*calls(missing, sealer.data_key(PLACE))] * 2:
            with pytest.raises(PermanentError) as told:
                call()
            assert told.value.remedy

    def test_no_secret_shows_whatever_the_service_answers(
        self, sealer: Sealer, gated: Sealer, gate: Gate, private: tuple[str, ...],
        caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        caplog.set_level("DEBUG")
        key = sealer.data_key(PLACE)
        said = [repr(vars(gated))]
        statuses = (Answer(status) for status in (302, 400, 401, 403, 404, 412, 418))
        faults: list[Fault] = [Lose(), CutMidBody(), TOO_MANY, *statuses]
        for fault in faults:
            for call in calls(gated, key):
                gate.on(anything, fault, times=None)
                said.append(told(lambda: call() and None))  # noqa: B023 - called at once
                gate.clear()
        everything = "\n".join([*said, caplog.text, *capfd.readouterr()])
        assert not showing([*private], everything)
        assert not shown(key, everything)


def calls(sealer: Sealer, key: DataKey) -> list[Callable[[], object]]:
    """All that a sealer does."""
    return [lambda: sealer.data_key(PLACE), lambda: sealer.unwrap(key.wrapped, PLACE)]


def shown(key: DataKey, text: str) -> list[str]:
    """The spellings of a data key that the text holds."""
    plain = key.plain
    spellings = [plain.hex(), base64.b64encode(plain).decode(), base64.urlsafe_b64encode(plain).decode(), repr(plain)]
    return [spelling for spelling in spellings if spelling in text]


def problem(call: Callable[[], object]) -> RotatorError:
    """The error of a call that fails."""
    with pytest.raises(RotatorError) as failed:
        call()
    return failed.value
