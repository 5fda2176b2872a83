"""What every destination must do, as tests that a destination's own test class inherits.

A subclass inherits `DestinationContract`, `ShadowContract` where the place can have shadows, `SurveyContract` where its
server can be looked through, and `FaultContract` where it is reached over HTTP.

What a subclass gives. Fixtures (function-scoped; the place is absent at the start of a test):

    place        the destination under test
    twin         another object, built anew, for the same place
    elsewhere    the same server, another path
    neighbour    a `Neighbour`: what consumers see at the place, and another writer there
    denied       like `place`, where we have no permission to read or write
    gate         a `Gate` in front of the server                                     (faults)
    gated        like `place`, through `gate`; its timeout is one and a half seconds    (faults)
    unreachable  like `place`, at an address where nothing listens                   (faults)
    private      the secrets of our own that must never show, such as a token        (faults)

    beside       gives the names of all that stands at the place or beginning like it (shadows)

    surveying    the server of the place                                             (surveys)
    surveying_denied  the same, where we may neither list nor read                   (surveys)
    path         the path of the place, as its server takes it                       (surveys)

And these methods:

    is_write(request)  whether a request at the gate is one that changes the place   (faults)
    is_removal(request)  whether it is the one that takes a shadow away              (faults and shadows)

Logs are looked at with the root logger at DEBUG: an adapter whose library logs secrets there floors that logger.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, Protocol
from uuid import NAMESPACE_URL, uuid5

import pytest

from rotator.domain.errors import (
    AccessDenied,
    Conflict,
    LostAnswer,
    PermanentError,
    RateLimited,
    RotatorError,
    TemporaryError,
    Unavailable,
)
from rotator.domain.secret import Secret
from rotator.ports.destination import Destination, Held, Shadow, Shadows, Surveys
from rotator.testbed.gate import Answer, CutMidBody, Delay, Fault, Gate, Lose, Request

FIELD = "OPENAI_API_KEY"
OLD, NEW, OTHER = "sk-old-cAnArY0123456789", "sk-new-cAnArY0123456789", "sk-other-cAnArY0123456789"
"""Three values; none of them may show anywhere."""

NEIGHBOURS = {"DATABASE_URL": "postgresql://web:pass@db/web", "GREETING": "salve", "EMPTY": ""}
"""Fields of other people at the same place."""

ODD = {
    "spaces": "  two  words  ",
    "a tab": "a\tb",
    "a hash": "a #b#c",
    "single quotes": "it's",
    "double quotes": 'say "so"',
    "a dollar": "pa$$word$HOME",
    "an expansion": "a${HOME}b",
    "a command": "$(id)`id`",
    "a backslash": "a\\nb\\",
    "an equals sign": "a=b==",
    "a tilde": "~root:~",
    "shell signs": "a;b&c|d<e>f(g)*?[h]!",
    "a colon and a comma": "a:b,c",
    "percent signs": "50%25%s",
    "braces": "{a,b}{{c}}",
    "umlauts": "schlüssel",
    "beyond the BMP": "🔑\N{ZERO WIDTH JOINER}",
    "a line break": "one\ntwo",
    "a carriage return": "one\rtwo",
    "a NUL": "a\0b",
    "a control character": "a\x1b[31mb",
    "JSON": '{"a": ["b"]}',
    "PEM": "-----BEGIN KEY-----\nMIIE\n-----END KEY-----\n",
    "four kilobytes": "x" * 4096,
    "half a surrogate pair": "a\ud800b",
}

SLOWER_THAN_THE_TIMEOUT = Delay(4)


class Neighbour(Protocol):
    """Another program at the same place, by other means than ours."""

    def read(self) -> Mapping[str, Any]:
        """What a consumer sees now; empty where the place is absent."""
        ...

    def write(self, fields: Mapping[str, str]) -> None:
        """Replace all fields."""
        ...


def anything(request: Request) -> bool:
    """Match whatever is sent next."""
    return True


def put(place: Destination, value: str, expected: str | None = None, *, field: str = FIELD) -> str:
    """Write one field as the engine does: on condition of a revision, by default the one that is read now."""
    base = place.read().revision if expected is None else expected
    secret = Secret(value)
    return place.write({field: secret}, base, str(uuid5(NAMESPACE_URL, f"{value!r} on {base}")))


def found(place: Destination, field: str = FIELD) -> str | None:
    """Read one field."""
    secret = place.read().fields.get(field)
    return secret.reveal() if secret is not None else None


class DestinationContract:
    """What holds for every destination."""

    def test_an_absent_place_has_no_fields(self, place: Destination, neighbour: Neighbour) -> None:
        assert dict(place.read().fields) == {}
        assert dict(neighbour.read()) == {}

    def test_what_is_written_is_what_readers_see(self, place: Destination, neighbour: Neighbour) -> None:
        revision = put(place, NEW)
        assert found(place) == NEW
        assert neighbour.read()[FIELD] == NEW
        assert place.read().revision == revision

    def test_a_new_value_replaces_the_old_one(self, place: Destination, neighbour: Neighbour) -> None:
        first = put(place, OLD)
        second = put(place, NEW, first)
        assert second != first
        assert found(place) == neighbour.read()[FIELD] == NEW
        assert place.read().revision == second

    def test_several_fields_arrive_together(self, place: Destination, neighbour: Neighbour) -> None:
        fields = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": NEW}
        secrets = {name: Secret(value) for name, value in fields.items()}
        place.write(secrets, place.read().revision, "8b0d4c9e-41ef-4d2c-8a7f-3f4a5b6c7d8e")
        assert neighbour.read() == fields
        assert {name: found(place, name) for name in fields} == fields

    def test_all_other_fields_are_kept(self, place: Destination, neighbour: Neighbour) -> None:
        neighbour.write({**NEIGHBOURS, FIELD: OLD})
        put(place, NEW)
        assert neighbour.read() == {**NEIGHBOURS, FIELD: NEW}
        put(place, OTHER, field="SECOND_KEY")
        assert neighbour.read() == {**NEIGHBOURS, FIELD: NEW, "SECOND_KEY": OTHER}

    def test_what_others_wrote_is_read(self, place: Destination, neighbour: Neighbour) -> None:
        neighbour.write({**NEIGHBOURS, FIELD: OLD})
        assert {name: found(place, name) for name in (*NEIGHBOURS, FIELD)} == {**NEIGHBOURS, FIELD: OLD}

    def test_a_field_that_others_took_away_can_be_put_back(self, place: Destination, neighbour: Neighbour) -> None:
        put(place, NEW)
        neighbour.write(NEIGHBOURS)
        assert found(place) is None
        put(place, NEW)
        assert neighbour.read() == {**NEIGHBOURS, FIELD: NEW}

    def test_a_write_on_our_own_older_revision_changes_nothing(self, place: Destination, twin: Destination) -> None:
        absent = place.read().revision
        first = put(place, OLD, absent)
        second = put(twin, NEW, first)
        for stale in (absent, first):
            with pytest.raises(Conflict):
                put(place, OTHER, stale)
        assert found(place) == NEW
        assert place.read().revision == second

    def test_a_write_over_somebody_elses_change_changes_nothing(self, place: Destination, neighbour: Neighbour) -> None:
        first = put(place, OLD)
        neighbour.write({FIELD: OTHER, "ADDED": "by hand"})
        theirs = place.read().revision
        assert theirs != first
        with pytest.raises(Conflict):
            put(place, NEW, first)
        assert neighbour.read() == {FIELD: OTHER, "ADDED": "by hand"}
        assert place.read().revision == theirs

    def test_a_place_that_somebody_made_first_is_not_written_over(
        self, place: Destination, neighbour: Neighbour
    ) -> None:
        absent = place.read().revision
        neighbour.write({FIELD: OTHER})
        with pytest.raises(Conflict):
            put(place, NEW, absent)
        assert neighbour.read() == {FIELD: OTHER}

    def test_the_same_value_once_more_fences_a_late_writer(self, place: Destination, twin: Destination) -> None:
        first = put(place, OLD)
        second = put(place, OLD, first)
        assert second != first
        with pytest.raises(Conflict):
            put(twin, NEW, first)
        assert found(place) == OLD

    @pytest.mark.parametrize("exists", [False, True])
    def test_of_two_writers_on_one_base_exactly_one_wins(
        self, place: Destination, twin: Destination, neighbour: Neighbour, exists: bool
    ) -> None:
        if exists:
            put(place, OLD)
        base, barrier = place.read().revision, Barrier(2)

        def race(writer: Destination, value: str) -> str | None:
            barrier.wait()
            try:
                return put(writer, value, base)
            except Conflict:
                return None

        with ThreadPoolExecutor(2) as pool:
            runs = {value: pool.submit(race, writer, value) for writer, value in ((place, NEW), (twin, OTHER))}
        won = {value: run.result() for value, run in runs.items() if run.result() is not None}
        assert len(won) == 1
        ((value, revision),) = won.items()
        assert neighbour.read() == {FIELD: value}
        assert place.read().revision == revision

    def test_the_same_write_twice_takes_effect_once(self, place: Destination, twin: Destination) -> None:
        base = put(place, OLD)
        revision = put(place, NEW, base)
        for writer in (place, twin):
            with contextlib.suppress(Conflict):
                assert put(writer, NEW, base) == revision
            assert place.read().revision == revision
        assert found(place) == NEW

    @pytest.mark.parametrize("kind", ODD)
    def test_an_odd_value_survives_or_is_refused_beforehand(
        self, place: Destination, neighbour: Neighbour, kind: str
    ) -> None:
        neighbour.write({**NEIGHBOURS, FIELD: OLD})
        before = place.read().revision
        try:
            put(place, ODD[kind])
        except PermanentError as refusal:
            refused = refusal
        else:
            assert found(place) == ODD[kind]
            assert neighbour.read() == {**NEIGHBOURS, FIELD: ODD[kind]}
            return
        assert FIELD in refused.message
        assert refused.remedy
        assert ODD[kind] not in repr(vars(refused))
        assert place.read().revision == before
        assert neighbour.read() == {**NEIGHBOURS, FIELD: OLD}

    def test_looking_changes_nothing(self, place: Destination, neighbour: Neighbour) -> None:
        absent = place.read().revision
        for _ in range(2):
            place.preflight({FIELD: None})
        assert place.read().revision == absent
        assert dict(neighbour.read()) == {}
        revision = put(place, NEW)
        for _ in range(2):
            place.preflight({FIELD: None, "ANOTHER_KEY": None})
        assert place.read().revision == place.read().revision == revision
        assert neighbour.read() == {FIELD: NEW}

    def test_the_same_place_has_one_identity(self, place: Destination, twin: Destination) -> None:
        before = place.identity
        assert before
        assert before == twin.identity
        put(place, NEW)
        assert place.identity == twin.identity == before

    def test_another_path_is_another_place(self, place: Destination, elsewhere: Destination) -> None:
        assert elsewhere.identity != place.identity
        assert elsewhere.address != place.address
        put(place, NEW)
        assert dict(elsewhere.read().fields) == {}

    def test_a_missing_permission_is_told_with_a_remedy(self, denied: Destination) -> None:
        calls: Mapping[str, Callable[[], object]] = {
            "read": denied.read,
            "preflight": lambda: denied.preflight({FIELD: None}),
            "write": lambda: put(denied, NEW, "0"),
        }
        for call in calls.values():
            with pytest.raises(AccessDenied) as told:
                call()
            assert told.value.remedy

    def test_no_secret_shows_in_what_is_returned_logged_or_raised(
        self, place: Destination, neighbour: Neighbour, denied: Destination, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        neighbour.write({FIELD: OTHER})
        base = place.read().revision
        shown = [put(place, NEW), repr(place.read()), repr(vars(place)), place.identity, place.address]
        shown += [repr(place.capabilities), told(lambda: put(place, OLD, base)), told(lambda: put(denied, OLD, "0"))]
        shown += [told(lambda value=value: put(place, NEW + value)) for value in ODD.values()]  # type: ignore[misc]
        assert not showing([OLD, NEW, OTHER], "\n".join([*shown, caplog.text]))


TOKEN = "1a2b3c4d"


def shadow_of(place: object, token: str = TOKEN) -> Shadow:
    """The shadow of a place that can have one."""
    assert isinstance(place, Shadows)
    return place.shadow(token)


class ShadowContract:
    """For places that can have shadows: they are places like any other, and can be taken away without a trace."""

    def test_a_shadow_is_a_place_of_its_own(self, place: Destination, twin: Destination) -> None:
        shadow = shadow_of(place)
        assert shadow.identity not in (place.identity, shadow_of(place, "0a0b0c0d").identity)
        assert shadow.address != place.address
        assert shadow.identity == shadow_of(place).identity == shadow_of(twin).identity
        for wrong in ("", "1A2B3C4D", "1a2b3c4", "../../x", "1a2b3c4d\n"):
            with pytest.raises(ValueError, match="eight hex digits"):
                shadow_of(place, wrong)

    def test_a_shadow_is_written_and_taken_away_beside_the_place(
        self, place: Destination, neighbour: Neighbour, beside: Callable[[], list[str]]
    ) -> None:
        neighbour.write({**NEIGHBOURS, FIELD: OLD})
        before, revision = beside(), place.read().revision
        shadow = shadow_of(place)
        assert dict(shadow.read().fields) == {}
        shadow.preflight({FIELD: None})
        written = put(shadow, NEW)
        assert found(shadow) == NEW
        assert shadow.read().revision == written
        assert len(beside()) == len(before) + 1
        shadow.remove()
        assert dict(shadow.read().fields) == {}
        assert beside() == before
        assert place.read().revision == revision
        assert neighbour.read() == {**NEIGHBOURS, FIELD: OLD}

    def test_all_versions_of_a_shadow_go_and_removing_may_be_repeated(
        self, place: Destination, twin: Destination, beside: Callable[[], list[str]]
    ) -> None:
        put(place, OLD)
        before = beside()
        shadow = shadow_of(place)
        shadow.remove()  # what never stood there
        put(shadow, NEW, put(shadow, OLD))
        shadow.remove()
        for again in (shadow, shadow_of(twin)):
            again.remove()
        assert beside() == before
        assert found(place) == OLD

    def test_other_shadows_stay(self, place: Destination) -> None:
        put(shadow_of(place), OLD)
        other = shadow_of(place, "0a0b0c0d")
        put(other, NEW)
        shadow_of(place).remove()
        assert found(other) == NEW
        other.remove()

    def test_a_missing_permission_to_remove_is_told_before_anything_is_written(self, denied: Destination) -> None:
        with pytest.raises(AccessDenied) as told:
            shadow_of(denied).remove()
        assert told.value.remedy


def held(server: Surveys, path: object) -> list[Held]:
    """What a survey shows."""
    return [one for one in server.survey([str(path)]) if isinstance(one, Held)]


class SurveyContract:
    """What holds for every server that can be looked through."""

    def test_places_of_the_configuration_and_others_are_shown(
        self, surveying: Surveys, path: object, neighbour: Neighbour, elsewhere: Destination, place: Destination
    ) -> None:
        neighbour.write({**NEIGHBOURS, FIELD: OLD})
        put(elsewhere, NEW)
        before = place.read().revision
        shown = held(surveying, path)
        old = {one.identity for one in shown if OLD in one.text.reveal()}  # other tests' places may be among them
        new = {one.address for one in shown if NEW in one.text.reveal()}
        assert place.identity in old
        assert elsewhere.identity not in old
        assert elsewhere.address in new
        assert place.address not in new
        assert place.read().revision == before

    def test_only_what_stands_now_is_shown(self, surveying: Surveys, path: object, place: Destination) -> None:
        put(place, OLD)
        put(place, NEW)
        texts = [one.text.reveal() for one in held(surveying, path) if one.identity == place.identity]
        assert any(NEW in text for text in texts)
        assert not any(OLD in text for text in texts)

    def test_what_may_not_be_listed_or_read_is_told_with_what_to_do(
        self, surveying_denied: Surveys, path: object
    ) -> None:
        shown = list(surveying_denied.survey([str(path)]))
        assert shown
        for one in shown:
            assert isinstance(one, AccessDenied)
            assert one.remedy


class ShadowFaults:
    """The same over HTTP."""

    @staticmethod
    def is_removal(request: Request) -> bool:
        """See the module's docstring."""
        raise NotImplementedError

    @pytest.mark.parametrize("fault", ["the connection is cut", "500", "500 without effect", "nothing"])
    def test_a_lost_answer_to_a_removal_is_told_and_it_can_be_repeated(
        self, place: Destination, gated: Destination, gate: Gate, beside: Callable[[], list[str]], fault: str
    ) -> None:
        put(place, OLD)
        before = beside()
        put(shadow_of(place), NEW)
        gate.on(self.is_removal, UNTOLD[fault])
        with contextlib.suppress(LostAnswer):  # some answers say it without a body
            shadow_of(gated).remove()
        assert len([request for request in gate.requests if self.is_removal(request)]) == 1
        shadow_of(gated).remove()
        assert beside() == before

    def test_a_shadow_at_a_server_that_is_not_there_was_not_removed(self, unreachable: Destination) -> None:
        with pytest.raises(Unavailable):
            shadow_of(unreachable).remove()


UNTOLD: Mapping[str, Fault] = {
    "the connection is cut": Lose(),
    "the answer is cut": CutMidBody(),
    "no answer in time": SLOWER_THAN_THE_TIMEOUT,
    "500": Answer(500, effect=True),
    "500 without effect": Answer(500, effect=False),
    "502": Answer(502, effect=True),
    "503": Answer(503, effect=True),
    "503 without effect": Answer(503, effect=False),
    "504": Answer(504, effect=True),
    "garbage": Answer(200, body=b'{"cut', effect=True),
    "nothing": Answer(200, body=b"", effect=True),
}
"""Answers to a write after which nobody can know whether it took effect."""

NO_ANSWER: Mapping[str, Fault] = {
    "the connection is cut": Lose(),
    "the answer is cut": CutMidBody(),
    "no answer in time": SLOWER_THAN_THE_TIMEOUT,
    "500": Answer(500, effect=False),
    "503": Answer(503, effect=False),
    "garbage": Answer(200, body=b'{"cut', effect=False),
    "nothing": Answer(200, body=b"", effect=False),
}
"""Answers to a question that tell nothing."""

TOO_MANY = Answer(429, headers={"Retry-After": "7"}, effect=False)


class FaultContract:
    """For places over HTTP: what goes wrong on the way is told as what it is, and nothing is sent twice."""

    @staticmethod
    def is_write(request: Request) -> bool:
        """See the module's docstring."""
        raise NotImplementedError

    @pytest.mark.parametrize("exists", [False, True])
    @pytest.mark.parametrize("fault", UNTOLD)
    def test_a_lost_answer_is_told_and_the_write_can_be_repeated(
        self, place: Destination, gated: Destination, gate: Gate, neighbour: Neighbour, fault: str, exists: bool
    ) -> None:
        before = put(place, OLD) if exists else place.read().revision
        gate.on(self.is_write, UNTOLD[fault], times=None)
        with pytest.raises(LostAnswer):
            put(gated, NEW, before)
        assert len([request for request in gate.requests if self.is_write(request)]) == 1
        after = place.read().revision
        took_effect = found(place) == NEW
        assert took_effect or after == before
        gate.clear()
        try:
            revision = put(gated, NEW, before)
        except Conflict:
            revision = after
        assert (revision == after) is took_effect
        assert place.read().revision == revision
        assert neighbour.read() == {FIELD: NEW}

    def test_a_lost_write_that_somebody_follows_is_not_claimed(
        self, gated: Destination, gate: Gate, neighbour: Neighbour
    ) -> None:
        base = put(gated, OLD)
        gate.on(self.is_write, Lose())
        with pytest.raises(LostAnswer):
            put(gated, NEW, base)
        neighbour.write({FIELD: OTHER})
        with pytest.raises(Conflict):
            put(gated, NEW, base)
        assert neighbour.read() == {FIELD: OTHER}

    def test_a_rate_limit_says_when_to_come_back(
        self, place: Destination, gated: Destination, gate: Gate, neighbour: Neighbour
    ) -> None:
        base = put(place, OLD)
        gate.on(anything, TOO_MANY, times=None)
        for call in self.calls(gated, base).values():
            sent = len(gate.requests)
            with pytest.raises(RateLimited) as told:
                call()
            assert told.value.retry_after == 7
            assert len(gate.requests) == sent + 1
        assert place.read().revision == base
        assert neighbour.read() == {FIELD: OLD}

    @pytest.mark.parametrize("fault", NO_ANSWER)
    def test_a_question_without_an_answer_may_be_asked_again(
        self, place: Destination, gated: Destination, gate: Gate, fault: str
    ) -> None:
        base = put(place, OLD)
        for ask in (gated.read, lambda: gated.preflight({FIELD: None})):
            gate.on(anything, NO_ANSWER[fault])
            sent = len(gate.requests)
            with pytest.raises(TemporaryError) as told:
                ask()
            assert type(told.value) is Unavailable
            assert len(gate.requests) == sent + 1
            ask()
        assert gated.read().revision == base

    def test_a_redirect_is_not_followed(self, place: Destination, gated: Destination, gate: Gate) -> None:
        base = put(place, OLD)
        gate.on(anything, Answer(307, headers={"Location": f"{gate.url}/elsewhere"}, effect=False), times=None)
        for call in self.calls(gated, base).values():
            sent = len(gate.requests)
            with pytest.raises(RotatorError):
                call()
            assert len(gate.requests) == sent + 1
        assert place.read().revision == base

    def test_a_server_that_is_not_there_was_not_written(self, unreachable: Destination) -> None:
        for call in self.calls(unreachable, "0").values():
            with pytest.raises(TemporaryError) as told:
                call()
            assert type(told.value) is Unavailable

    @pytest.mark.hasty
    def test_no_secret_shows_whatever_the_server_answers(
        self, place: Destination, gated: Destination, gate: Gate, private: tuple[str, ...],
        caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        caplog.set_level("DEBUG")
        shown = [repr(vars(gated))]
        faults = (*UNTOLD.values(), TOO_MANY, *(Answer(status) for status in (302, 400, 401, 403, 404, 412, 418)))
        for fault in faults:
            for name in self.calls(gated, ""):
                base = place.read().revision
                gate.on(self.is_write if name == "write" else anything, fault)
                shown.append(told(self.calls(gated, base)[name]))
                gate.clear()
        everything = "\n".join([*shown, caplog.text, *capfd.readouterr()])
        assert not showing([NEW, *private], everything)

    @staticmethod
    def calls(place: Destination, base: str) -> Mapping[str, Callable[[], object]]:
        """All that a destination does."""
        return {
            "read": place.read,
            "preflight": lambda: place.preflight({FIELD: None}),
            "write": lambda: put(place, NEW, base),
        }


def told(call: Callable[[], object]) -> str:
    """All that could be printed about a call, whether it fails or not."""
    try:
        return repr(call())
    except RotatorError as error:
        return repr(vars(error)) + "".join(traceback.format_exception(error))


def showing(secrets: list[str], text: str) -> list[str]:
    """Those of the secrets that the text holds."""
    return [secret for secret in secrets if secret in text]
