"""What every provider must do, as tests that a provider's own test class inherits.

A subclass inherits one class per capability, so that nothing is skipped: `IssuingContract`, `ChoosingContract` or
`AskingContract`, and of the mixins `ConsoleContract` (keys are listed, and the provider tells whether one works; part
of `IssuingContract`), `LabelContract` (keys carry labels), `PagingContract` (lists come in pages),
`DisablingContract` (`can_disable`), `FaultContract` (it issues keys over HTTP), `ReachedContract` (it is asked over
HTTP; part of `FaultContract`). `ProviderContract` is the base of all of them; a test of it fails where the classes
inherited and the capabilities declared do not agree.

What a subclass gives. Fixtures (function-scoped, the principal empty of keys at the start of a test):

    provider     the provider under test, on a healthy server that is never slow to know a new key
    console      a `Console`: the truth behind the provider's back                      (console)
    elsewhere    like `provider`, bound to an account or principal that is not there    (console)
    denied       like `provider`, with a credential of our own that the server refuses  (console)
    live         a `Live` key                                                           (asking without console)
    gate         a `Gate` in front of the server                                        (faults, reached)
    gated        like `provider`, through `gate`; its timeout is one and a half seconds    (faults, reached)
    private      the secrets of our own that must never show, such as the admin key     (faults, reached)

And attributes or methods:

    unknown_id          a well-formed key id that does not exist
    spoilt(material)    the same material with a secret that is wrong and contains `CANARY`
    told_to_all         of `_calls`, those that need no permission there
    is_create(request)  whether a request at the gate is the one that makes a key       (faults)
    many                how many keys fill more than one page                           (paging)

Logs are looked at with the root logger at DEBUG: an adapter whose library logs secrets there floors that logger.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import pytest

from rotator.domain.errors import (
    AccessDenied,
    LostAnswer,
    RateLimited,
    RotatorError,
    TemporaryError,
    Unavailable,
    WrongAccount,
)
from rotator.domain.secret import Material
from rotator.domain.template import Template
from rotator.ports.provider import Asks, Chooses, Dates, Disables, IssuedKey, Issues, Key, Provider, Verdict
from rotator.testbed.gate import Answer, CutMidBody, Delay, Fault, Gate, Lose, Request

if TYPE_CHECKING:
    from tests.conftest import Canaries

CANARY = "cAnArYcAnArY0123456789"
"""Part of every wrong secret: must not show anywhere."""

LABEL = "web rotator/0f8a7c1e-5f6b-4c0d-9a53-1c2f3a4b5c6d"
"""What the engine gives to create."""

SLOWER_THAN_THE_TIMEOUT = Delay(4)


class Issuing(Provider, Issues, Protocol):
    """A provider that makes the keys."""


class Choosing(Provider, Chooses, Protocol):
    """A provider that is told the keys."""


class Asking(Provider, Asks, Protocol):
    """A provider whose keys a person makes."""


class Disabling(Provider, Disables, Protocol):
    """A provider that can stop a key and start it again."""


class Console(Protocol):
    """What a person at the provider's console sees and does, whatever the API answers us."""

    def living(self) -> set[str]:
        """The ids of all keys of the principal."""
        ...

    def make(self) -> IssuedKey:
        """Make a key by hand."""
        ...


@dataclass(frozen=True)
class Live:
    """A key that works."""

    key_id: str
    material: Material


def anything(request: Request) -> bool:
    """Match whatever is sent next."""
    return True


class ProviderContract:
    """What holds for every provider, whoever makes the value."""

    unknown_id: ClassVar[str]
    told_to_all: ClassVar[Collection[str]] = ()  # what the service answers whoever signs: no permission is needed

    def spoilt(self, material: Material) -> Material:
        """See the module's docstring."""
        raise NotImplementedError

    def test_capabilities_and_protocols_agree(self, provider: Provider) -> None:
        can = provider.capabilities
        assert isinstance(provider, Issues) is (can.origin == "issued") is isinstance(self, IssuingContract)
        assert isinstance(provider, Chooses) is (can.origin == "chosen") is isinstance(self, ChoosingContract)
        assert isinstance(provider, Asks) is (can.origin == "supplied") is isinstance(self, AskingContract)
        assert isinstance(provider, Disables) is can.can_disable is isinstance(self, DisablingContract)
        assert can.labels is isinstance(self, LabelContract)
        assert can.can_delete is isinstance(self, DeletingContract)
        assert can.can_tell or not isinstance(self, ConsoleContract)

    def test_the_default_fields_are_templates_over_the_material(self, provider: Provider) -> None:
        can = provider.capabilities
        assert can.material
        for text in can.default_fields.values():
            assert Template(text).problem(can.material) is None

    def test_a_key_has_the_material_that_is_declared(self, provider: Provider, live: Live) -> None:
        assert tuple(live.material) == provider.capabilities.material
        assert all(live.material.values())

    def test_the_account_keeps_its_name(self, provider: Provider) -> None:
        assert provider.account()
        assert provider.account() == provider.account()

    def test_a_live_key_is_accepted(self, provider: Provider, live: Live) -> None:
        answer = provider.authenticate(live.material)
        assert answer.verdict is Verdict.ACCEPTED
        assert answer.alive

    def test_a_live_key_is_identified(self, provider: Provider, live: Live) -> None:
        assert provider.identify(live.material) == live.key_id

    def test_no_secret_shows_in_what_is_returned(self, provider: Provider, live: Live) -> None:
        shown = repr([live, provider, provider.capabilities, provider.keys(), provider.authenticate(live.material)])
        assert not [name for name, secret in live.material.items() if _is_hidden(name) and secret.reveal() in shown]


class DeletingContract(ProviderContract):
    """For `can_delete`: a key is taken away by a call."""

    def test_deleting_an_unknown_key_is_no_error(self, provider: Provider) -> None:
        provider.delete(self.unknown_id)

    def test_deleting_twice_is_no_error(self, provider: Provider, live: Live) -> None:
        provider.delete(live.key_id)
        provider.delete(live.key_id)


class AskingContract(ProviderContract):
    """For `origin: supplied`: a person makes the value."""

    def test_a_person_is_told_in_one_line_what_to_do(self, provider: Asking) -> None:
        told = provider.instructions()
        assert told.strip()
        assert "\n" not in told


class ConsoleContract(DeletingContract):
    """For providers that list keys and tell whether one works, whoever makes them."""

    def make(self, provider: Provider, console: Console) -> IssuedKey:
        """A new key: by `create` where the provider issues keys, else by hand."""
        return console.make()

    @pytest.fixture
    def live(self, provider: Provider, console: Console) -> Live:
        made = self.make(provider, console)
        return Live(made.key_id, made.material)

    def test_a_new_key_is_listed(self, provider: Provider, console: Console) -> None:
        made = self.make(provider, console)
        listed = {key.id: key for key in _listed(provider)}[made.key_id]
        assert listed.enabled
        assert listed.created_at is None or listed.created_at.tzinfo is not None

    def test_a_key_made_by_hand_is_listed_too(self, provider: Provider, console: Console) -> None:
        by_hand = console.make()
        assert by_hand.key_id in {key.id for key in _listed(provider)}
        assert provider.identify(by_hand.material) == by_hand.key_id

    def test_two_keys_live_side_by_side(self, provider: Provider, console: Console) -> None:
        first, second = self.make(provider, console), self.make(provider, console)
        assert console.living() == {first.key_id, second.key_id}
        assert first.material != second.material
        for made in (first, second):
            assert provider.authenticate(made.material).verdict is Verdict.ACCEPTED
            assert provider.identify(made.material) == made.key_id

    def test_a_deleted_key_is_refused_and_unlisted(self, provider: Provider, console: Console) -> None:
        gone, stays = self.make(provider, console), self.make(provider, console)
        provider.delete(gone.key_id)
        assert console.living() == {stays.key_id}
        assert [key.id for key in _listed(provider)] == [stays.key_id]
        assert provider.authenticate(gone.material).verdict is Verdict.REFUSED
        assert provider.authenticate(stays.material).verdict is Verdict.ACCEPTED

    def test_a_wrong_secret_is_refused_and_not_repeated(self, provider: Provider, live: Live) -> None:
        answer = provider.authenticate(self.spoilt(live.material))
        assert answer.verdict is Verdict.REFUSED
        assert not answer.alive
        assert answer.why
        assert CANARY not in repr(answer)

    @pytest.mark.parametrize("garbage", ["", " ", "two words", "line\nbreak", "nul\0", "schlüssel", "x" * 5000])
    def test_garbage_found_at_a_destination_is_refused(self, provider: Provider, garbage: str) -> None:
        material = Material.of(**dict.fromkeys(provider.capabilities.material, garbage))
        assert provider.authenticate(material).verdict is Verdict.REFUSED
        assert provider.identify(material) is None

    def test_an_account_or_principal_that_is_not_there_is_told(self, elsewhere: Provider) -> None:
        with pytest.raises(WrongAccount) as told:
            (elsewhere.account(), elsewhere.keys())
        assert told.value.remedy

    def test_a_credential_of_ours_that_is_refused_is_told(self, denied: Provider, console: Console) -> None:
        for name, call in _calls(denied, self.unknown_id).items():
            if name in self.told_to_all:
                continue
            with pytest.raises(AccessDenied) as told:
                call()
            assert told.value.remedy
        assert console.living() == set()


class IssuingContract(ConsoleContract):
    """For `origin: issued`: the provider makes the value."""

    def make(self, provider: Provider, console: Console) -> IssuedKey:
        """By `create`."""
        assert isinstance(provider, Issues)
        return provider.create(LABEL)

    def test_a_created_key_is_really_there(self, provider: Issuing, console: Console) -> None:
        issued = provider.create(LABEL)
        assert console.living() == {issued.key_id}
        assert issued.issued_at is None or issued.issued_at.tzinfo is not None


class LabelContract(IssuingContract):
    """For `labels`: a key carries the text that was given to create."""

    def test_a_created_key_is_listed_under_its_label(self, provider: Issuing, console: Console) -> None:
        issued = provider.create(LABEL)
        console.make()
        assert [key.id for key in _listed(provider) if key.label == LABEL] == [issued.key_id]


class PagingContract(ConsoleContract):
    """For lists that come in pages."""

    many: ClassVar[int]

    def test_all_pages_of_keys_are_read(self, provider: Provider, console: Console) -> None:
        made = {console.make().key_id for _ in range(self.many)}
        listed = [key.id for key in _listed(provider)]
        assert len(listed) == self.many
        assert set(listed) == made


class DisablingContract(ConsoleContract):
    """For `can_disable`: a key can be stopped and started again."""

    def test_a_disabled_key_is_refused_and_works_again_once_enabled(
        self, provider: Disabling, console: Console
    ) -> None:
        issued = self.make(provider, console)
        for _ in range(2):  # repeatable
            provider.disable(issued.key_id)
        assert [key.enabled for key in _listed(provider)] == [False]
        assert provider.authenticate(issued.material).verdict is Verdict.REFUSED
        for _ in range(2):
            provider.enable(issued.key_id)
        assert [key.enabled for key in _listed(provider)] == [True]
        assert provider.authenticate(issued.material).verdict is Verdict.ACCEPTED

    def test_a_disabled_key_can_be_deleted(self, provider: Disabling, console: Console) -> None:
        issued = self.make(provider, console)
        provider.disable(issued.key_id)
        provider.delete(issued.key_id)
        assert console.living() == set()


class ChoosingContract(DeletingContract):
    """For `origin: chosen`: we make the value and the provider is told."""

    @pytest.fixture
    def live(self, provider: Choosing) -> Live:
        material = provider.generate()
        return Live(provider.set(material), material)

    def test_every_value_is_new(self, provider: Choosing) -> None:
        assert provider.generate() != provider.generate()

    def test_setting_a_value_again_gives_the_same_id(self, provider: Choosing, live: Live) -> None:
        assert provider.set(live.material) == live.key_id

    def test_other_values_have_other_ids(self, provider: Choosing, live: Live) -> None:
        assert provider.set(provider.generate()) != live.key_id


CREATED_BUT_UNTOLD: Mapping[str, Fault] = {
    "the connection is cut": Lose(),
    "the answer is cut": CutMidBody(),
    "no answer in time": SLOWER_THAN_THE_TIMEOUT,
    "500": Answer(500, effect=True),
    "502 without effect": Answer(502, effect=False),
    "503": Answer(503, effect=True),
    "503 that names a time": Answer(503, headers={"Retry-After": "7"}, effect=True),
    "504": Answer(504, effect=True),
    "garbage": Answer(200, body=b'{"cut', effect=True),
    "nothing": Answer(200, body=b"", effect=True),
}
"""Answers to create after which nobody can know whether there is a key."""

NO_ANSWER_AT_ALL: Mapping[str, Fault] = {
    "the connection is cut": Lose(),
    "the answer is cut": CutMidBody(),
    "no answer in time": SLOWER_THAN_THE_TIMEOUT,
    "500": Answer(500, effect=False),
    "503": Answer(503, effect=False),
    "garbage": Answer(200, body=b'{"cut', effect=False),
}
"""Answers to a question that tell nothing."""

TOO_MANY = Answer(429, headers={"Retry-After": "7"}, effect=False)


class ReachedContract(ConsoleContract):
    """For providers over HTTP: what goes wrong on the way is told as what it is, and nothing is sent twice."""

    def test_a_rate_limit_says_when_to_come_back(self, gated: Provider, gate: Gate, console: Console) -> None:
        for call in _calls(gated, self.unknown_id).values():
            gate.clear()
            gate.on(anything, TOO_MANY, times=None)
            with pytest.raises(RateLimited) as told:
                call()
            assert told.value.retry_after == 7
            assert len(gate.requests) == 1
        assert console.living() == set()

    def test_no_method_sends_more_requests_than_it_is_charged_for(
        self, gated: Provider, gate: Gate, live: Live
    ) -> None:
        """The rate of an account is kept by what methods are said to send."""
        charged = gated.capabilities.requests
        asks: dict[str, Callable[[], object]] = {
            "account": gated.account,
            "keys": gated.keys,
            "authenticate": lambda: gated.authenticate(live.material),
        }
        sent = {}
        for name, ask in asks.items():
            ask()  # what is asked once for an account is known from here on
            gate.clear()
            ask()
            sent[name] = len(gate.requests)
        assert {name: count for name, count in sent.items() if count > charged.get(name, 1)} == {}
        assert all(sent[name] for name in ("keys", "authenticate"))

    @pytest.mark.parametrize("fault", NO_ANSWER_AT_ALL)
    def test_a_question_without_an_answer_may_be_asked_again(self, gated: Provider, gate: Gate, fault: str) -> None:
        for ask in (gated.keys, gated.account):
            gate.clear()
            gate.on(anything, NO_ANSWER_AT_ALL[fault])
            with pytest.raises(TemporaryError) as told:
                ask()
            assert type(told.value) is Unavailable
            assert len(gate.requests) == 1
        assert gated.account()
        assert gated.keys() == []

    @pytest.mark.parametrize("fault", NO_ANSWER_AT_ALL)
    def test_no_answer_says_nothing_about_a_key(self, gated: Provider, gate: Gate, live: Live, fault: str) -> None:
        gate.on(anything, NO_ANSWER_AT_ALL[fault])
        assert gated.authenticate(live.material).verdict is Verdict.INCONCLUSIVE
        assert len(gate.requests) == 1

    def test_a_rate_limit_says_nothing_about_a_key(self, gated: Provider, gate: Gate, live: Live) -> None:
        gate.on(anything, TOO_MANY)
        answer = gated.authenticate(live.material)
        assert answer.verdict is Verdict.INCONCLUSIVE
        assert answer.retry_after == 7

    @pytest.mark.parametrize("fault", [Lose(), Answer(500, effect=True), SLOWER_THAN_THE_TIMEOUT], ids=repr)
    def test_a_deletion_whose_answer_was_lost_is_told_and_can_be_repeated(
        self, gated: Provider, gate: Gate, live: Live, console: Console, fault: Fault
    ) -> None:
        gate.on(anything, fault)
        with pytest.raises(TemporaryError):
            gated.delete(live.key_id)
        assert len(gate.requests) == 1
        gated.delete(live.key_id)
        assert console.living() == set()

    def test_a_server_that_is_not_there_made_no_key(self, gated: Provider, gate: Gate, live: Live) -> None:
        with gate.down():
            for call in _calls(gated, self.unknown_id).values():
                with pytest.raises(TemporaryError) as told:
                    call()
                assert type(told.value) is Unavailable
            assert gated.authenticate(live.material).verdict is Verdict.INCONCLUSIVE
        assert gated.account()

    @pytest.mark.hasty
    def test_no_secret_shows_in_logs_output_or_errors(
        self,
        gated: Provider,
        gate: Gate,
        live: Live,
        console: Console,
        private: tuple[str, ...],
        canary: Canaries,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        caplog.set_level("DEBUG")
        wrong = self.spoilt(live.material)
        issued = self.make(gated, console)
        for secret in (CANARY, *private, *_hidden(live.material), *_hidden(issued.material)):
            canary.watch(secret)
        shown = [repr((gated, issued)), str(gated.keys()), gated.account(), repr(gated.identify(wrong))]
        shown += [repr(gated.authenticate(material)) for material in (live.material, wrong)]
        for fault in (*CREATED_BUT_UNTOLD.values(), TOO_MANY, *map(Answer, (302, 400, 401, 403, 404))):
            gate.on(anything, fault, times=None)
            for call in _calls(gated, issued.key_id).values():
                shown.append(_told(call))
            shown.append(repr(gated.authenticate(wrong)))
            gate.clear()
        assert canary.found_in("\n".join([*shown, caplog.text, *capfd.readouterr()])) == []


class FaultContract(ReachedContract, IssuingContract):
    """For providers that issue keys over HTTP: create is sent once, and its lost answer is told."""

    @staticmethod
    def is_create(request: Request) -> bool:
        """See the module's docstring."""
        raise NotImplementedError

    @pytest.mark.parametrize("fault", CREATED_BUT_UNTOLD)
    def test_create_is_sent_once_and_its_lost_answer_is_told(
        self, gated: Issuing, gate: Gate, console: Console, fault: str
    ) -> None:
        gate.on(self.is_create, CREATED_BUT_UNTOLD[fault], times=None)
        with pytest.raises(LostAnswer):
            gated.create(LABEL)
        assert len([request for request in gate.requests if self.is_create(request)]) == 1
        assert len(console.living()) <= 1

    def test_a_key_whose_answer_was_lost_is_found_in_the_list(self, gated: Issuing, gate: Gate) -> None:
        gate.on(self.is_create, Lose())
        with pytest.raises(LostAnswer):
            gated.create(LABEL)
        (found,) = gated.keys()
        assert found.label == (LABEL if gated.capabilities.labels else None)


def _calls(provider: Provider, key_id: str) -> Mapping[str, Callable[[], object]]:
    """Every call that asks the server with our own credential."""
    calls: dict[str, Callable[[], object]] = {
        "keys": provider.keys,
        "account": provider.account,
        "delete": lambda: provider.delete(key_id),
    }
    if isinstance(provider, Issues):
        calls["create"] = lambda: provider.create(LABEL)
    if isinstance(provider, Dates):
        calls["with_use"] = lambda: provider.with_use(Key(id=key_id, label=None, created_at=None))
    if isinstance(provider, Disables):
        calls["disable"] = lambda: provider.disable(key_id)
        calls["enable"] = lambda: provider.enable(key_id)
    return calls


def _listed(provider: Provider) -> Sequence[Key]:
    return provider.keys()


def _told(call: Callable[[], object]) -> str:
    """All that could be printed about a failure."""
    try:
        return repr(call())
    except RotatorError as told:
        return repr(vars(told)) + "".join(traceback.format_exception(told))


def _is_hidden(name: str) -> bool:
    return name not in ("access_key_id", "username")


def _hidden(material: Material) -> list[str]:
    return [secret.reveal() for name, secret in material.items() if _is_hidden(name)]
