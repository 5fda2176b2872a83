"""Each guard of the product: how it is taken out, and the suite that must kill what is left.

The guards of the protocol are named as in docs/model/setting.py. Where a guard is in several places, or two suites
see different things of it, there is a mutant for each: `guard: which`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from rotator import logs
from rotator.access import internal, network
from rotator.access.folder import Folder
from rotator.domain import policy, secret
from rotator.engine import creation, evidence, hooks, intake, retirement, rotation, threads, waves
from rotator.engine.work import Work
from rotator.store import audit, foreseen, keyring, leases
from tests.mutants import patches
from tests.mutants.killers import BySimulation, ByTest, Killer
from tests.mutants.patches import TakeOut, both, not_noting_in, not_waiting_in, served, unconditional, without
from tests.simulation.faults import PROFILES, Fault, Profile


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One guard that is not there."""

    take_out: TakeOut
    killer: Killer
    slow: bool = False  # its killer starts servers, waits for real time or plays for long: left to `make mutants`


SLOW = ("engine/", "destinations/test_vault_kv", "destinations/test_aws", "access/")
"""Tests with servers of their own, or with real waits."""


def seen(by: str, take_out: TakeOut, *invariants: str, slow: bool = False, **how: Any) -> Mutant:
    """The oracle sees it in this mix of trouble."""
    profile = OWN.get(by, by)
    killer = BySimulation(profile=profile, invariants=frozenset(invariants), **how)
    return Mutant(take_out=take_out, killer=killer, slow=slow)


def tested(test: str, take_out: TakeOut, says: str) -> Mutant:
    """A test fails, and says this."""
    slow = test.startswith(SLOW)
    return Mutant(take_out=take_out, killer=ByTest(test=f"tests/{test}", says=says), slow=slow)


def recorded(test: str, guard: str, instead: str = "false", says: str = "DID NOT RAISE") -> Mutant:
    """A guard of PostgreSQL's own function; it takes a server to see that it is not there."""
    take_out = patches.in_one_trip(guard, instead)
    return replace(tested(f"store/{test}[postgres]", take_out, says), slow=True)


_CALM = PROFILES["calm"]

OWN: Mapping[str, Profile] = {
    p.name: p
    for p in (
        # Somebody changes a place just after we looked.
        replace(_CALM, name="hands", operators=0.5, call_fault=0.05, only=(Fault.MEDDLED,), unconditional=0.0),
        # Writes that come late, or not, and people who have given up what they were for.
        replace(_CALM, name="late writes", operators=3.0, call_fault=0.08, workers=(1, 2), shapes=("labelled",),
                only=(Fault.LATE, Fault.FAILED, Fault.DROPPED), likely={Fault.LATE: 2.0},
                unconditional=0.0, unsettled=0.0),
        # The same, and writes that are acknowledged and do not happen.
        replace(_CALM, name="lies", operators=3.0, call_fault=0.12, workers=(1, 2), shapes=("labelled",),
                only=(Fault.LATE, Fault.DROPPED), likely={Fault.DROPPED: 2.0}, unconditional=0.0, unsettled=0.0),
    )
}  # fmt: skip
"""Mixes of trouble for guards that the usual ones would show only after long runs."""


def _adapter(path: str, name: str) -> Callable[[], Any]:
    """Imported when it is used: adapters bring heavy libraries."""
    return lambda: getattr(import_module(f"rotator.destinations.{path}"), name)


_CONTRACT = "test_contract.py::TestSqlStore::"
_OLD_REVISION = "test_a_write_over_somebody_elses_change_changes_nothing"
_GUARDS, _BACK = "engine/test_guards.py::", "engine/test_going_back.py::"

MUTANTS: Mapping[str, Mutant] = {
    # a key is made
    "intent": seen("crashes", without(creation, "_issue", patches.issue_without_intent), "I5"),
    "one create": seen("crashes", patches.create_again, "I5"),
    "wait for create": tested(
        f"{_GUARDS}test_an_unanswered_create_is_not_looked_for_before_its_time_is_over",
        patches.look_for_it_at_once,
        "assert [",
    ),
    "fenced condemn": seen("crashes", without(retirement, "locate", patches.sweep), "I3"),
    "no delete for a slot": seen(
        "crashes", without(creation, "_refuse_full_slots", patches.delete_for_a_slot), "I3", "I13"
    ),
    "create limits": seen("crashes", without(creation, "_keep_create_limits"), "I12"),
    "create limits: max_creates when due": tested(
        "engine/test_brakes.py::test_the_limit_of_a_day_holds_when_the_clock_jumps_on_and_back",
        patches.without_checks(policy.too_many_creates),
        "assert",
    ),
    "create limits: min_interval when due": tested(
        "engine/test_brakes.py::test_the_least_interval_holds_for_the_schedule_whatever_the_clock_does",
        patches.without_checks(policy.too_soon),
        "assert",
    ),
    # one worker at a time
    "epoch": seen("stale", without(leases, "hold", patches.any_lease), "I7", store="sql", play_length=5),
    "epoch: on PostgreSQL": recorded(
        f"{_CONTRACT}test_a_worker_whose_lease_was_taken_over_writes_nothing", "held.epoch IS DISTINCT FROM of_epoch"
    ),
    "epoch: a released lease on PostgreSQL": recorded(
        f"{_CONTRACT}test_a_worker_that_released_its_lease_writes_nothing", "held.released"
    ),
    "epoch: an expired lease on PostgreSQL": recorded(
        f"{_CONTRACT}test_a_worker_whose_lease_expired_writes_nothing", "held.until <= recorded_at"
    ),
    "epoch: the time after the lock on PostgreSQL": recorded(
        "test_database.py::test_a_record_that_waited_until_its_lease_ended_writes_nothing",
        "coalesce(given, clock_timestamp())",
        "coalesce(given, statement_timestamp())",
        "assert 'expired' in",
    ),
    "rows as they were: on PostgreSQL": recorded(
        f"{_CONTRACT}test_an_update_that_sets_nothing_is_still_a_guard", "changed <> 1"
    ),
    "one chain: on PostgreSQL": recorded(
        "test_appends.py::test_eight_writers_make_one_trail",
        "SELECT * INTO last FROM head FOR UPDATE;",
        "SELECT * INTO last FROM head;",
        "assert [",
    ),
    "what others have written": tested(
        f"{_GUARDS}test_what_places_record_side_by_side_is_all_known_afterwards",
        patches.record_at_once,
        "assert [",
    ),
    "what is read again": tested(
        "store/test_contract.py::TestSqlStore::test_writes_that_were_never_acknowledged_are_loaded_until_their_key_is_gone[sqlite]",
        without(foreseen, "_stays", lambda _row, _changes: True),
        "self.store.reload(self.lease, before, writes) == self.load()",
    ),
    "trust in the lease": seen("stale", without(Work, "_keep_lease"), "I7"),
    # a place is written
    "compare-and-set": seen("hands", patches.any_revision, "I8"),
    "compare-and-set: env file": tested(
        f"destinations/test_env_file.py::TestEnvFile::{_OLD_REVISION}",
        unconditional(_adapter("env_file", "FilePlace")),
        "DID NOT RAISE",
    ),
    "compare-and-set: Vault": tested(
        f"destinations/test_vault_kv.py::TestVaultKV::{_OLD_REVISION}",
        unconditional(_adapter("vault_kv", "VaultPlace")),
        "DID NOT RAISE",
    ),
    "compare-and-set: Secrets Manager": tested(
        f"destinations/test_aws_secrets_manager.py::TestAwsSecretsManager::{_OLD_REVISION}",
        unconditional(_adapter("aws_secrets_manager", "AwsSecret")),
        "DID NOT RAISE",
    ),
    "recorded revision": seen("hands", patches.write_on_what_stands_there, "I8"),
    "foreign values": seen("people", without(rotation, "refuse_foreign"), "I8"),
    "wait for writes": tested(
        f"{_GUARDS}test_a_place_without_conditions_waits_for_the_write_of_an_expired_worker",
        not_waiting_in("push_one"),
        "push.delayed was never told",
    ),
    "wait for writes: fenced_at": tested(
        "store/test_contract.py::TestSqlStore::test_an_expired_lease_is_taken_over_and_fenced[sqlite]",
        without(leases, "_fenced_at", patches.no_fence),
        "fenced_at",
    ),
    "lost writes too": tested(
        f"{_GUARDS}test_a_place_without_conditions_waits_for_our_own_late_write_before_the_put_back",
        not_noting_in("push_one"),
        "it waits",
    ),
    "read-back": seen("everything", patches.believe_acknowledgements, "I9"),
    "open delivery": tested(
        "engine/test_urgency.py::test_the_place_that_was_left_out_is_written_first_when_it_answers",
        without(intake, "_unplaced", patches.leave_owed_places),
        "assert [] == ['second']",
    ),
    "waves": seen("readers", without(waves, "at_hand", lambda situation: situation.deliveries), "waves"),
    "wave soak": seen("readers", without(waves, "soaked", lambda _work, _version: True), "waves"),
    "readers are told": seen("readers", without(hooks, "run"), "hooks"),
    # what was begun is given up
    "put-back": seen("late writes", without(intake, "put_back", patches.not_put_back), "I1", "I10", slow=True),
    "put-back first": tested(
        f"{_BACK}test_nothing_is_taken_away_before_the_put_back_has_fenced_late_writes",
        served(rotation=None),
        "assert new in web.live()",
    ),
    "put-back again": tested(
        f"{_BACK}test_a_put_back_that_is_given_up_is_begun_again",
        patches.put_back_once,
        "assert rotation is not None",
    ),
    "fencing write": seen("late writes", patches.spare_the_write, "I1"),
    "fenced for sure": seen("lies", patches.believe_the_value, "I1", slow=True),
    # a key is taken away
    "re-read": seen("people", patches.look_once, "I9"),
    "re-read: and what is seen": seen("people", without(retirement, "_served_elsewhere"), "I1", seed=100),
    "given": tested(
        "engine/test_late_writes.py::test_a_first_key_is_kept_while_a_write_of_it_may_still_reach_an_empty_place",
        served(unacknowledged={}),
        "assert first[0] in web.live()",
    ),
    "removed places": seen("people", without(retirement, "_no_place_was_removed"), "I1"),
    "removed places: and what was seen": tested(
        "engine/test_removed.py::test_a_key_that_was_seen_at_a_place_is_kept_when_the_place_goes[the retirement]",
        without(retirement, "_remember"),
        "assert [] == ['destination_removed']",
    ),
    "another key works": seen("crashes", without(retirement, "_another_key_works"), "I2"),
    "pinned account": seen("people", without(retirement, "right_account"), "I3"),
    "clock": seen("clocks", without(retirement, "_clock_is_sane"), "I17"),
    "consumers": tested(
        "engine/test_evidence.py::test_a_program_that_runs_for_longer_than_the_newest_key_holds_the_old_one_until_it_restarts",
        without(evidence, "_hold"),
        "assert None == 'consumer_not_restarted'",
    ),
    "confirmed": seen("late writes", without(retirement, "_gone", patches.believe_deletions), "I10"),
    "wait for disable": tested(
        f"{_BACK}test_a_late_disable_is_waited_out_before_the_key_is_enabled[lost]",
        not_waiting_in("enabled"),
        "'enable.started' not in",
    ),
    "lost disables too": tested(
        f"{_BACK}test_a_late_disable_is_waited_out_before_the_key_is_enabled[lost]",
        not_noting_in("disable"),
        "'enable.started' not in",
    ),
    "repeated disables too": tested(
        f"{_BACK}test_a_late_disable_is_waited_out_before_the_key_is_enabled[repeated]",
        not_noting_in("disable"),
        "'enable.started' not in",
    ),
    # what is told, and what is not
    "chain lock": tested(
        "store/test_database.py::test_several_processes_append_to_one_chain[postgres]",
        without(audit, "_HEAD_TO_LOCK", patches.HEAD_WITHOUT_LOCK),
        "IntegrityError",
    ),
    "floors": tested(
        "cli/test_log_secrets.py::test_neither_levels_nor_handlers_make_another_library_speak[botocore]",
        without(logs._Floored, "_floor", 0),
        "isEnabledFor",
    ),
    "redaction": tested(
        "cli/test_log_secrets.py::test_no_form_of_a_living_secret_is_in_a_line[exact]",
        without(secret, "without_secrets", lambda text: text),
        "'…' in",
    ),
    "stripped exceptions": tested(
        "engine/test_threads.py::test_our_problems_come_without_what_led_to_them",
        without(threads, "_stripped", lambda problem: problem),
        "is None",
    ),
    "allowed roots": tested(
        "destinations/test_env_file_hostile.py::test_a_link_that_leads_out_of_the_roots_is_refused_whenever_it_is_made[file]",
        without(Folder, "is_below", lambda _self, _roots: True),
        "DID NOT RAISE",
    ),
    # what leaves this process
    "certificates": tested(
        "access/test_outbound.py::test_a_certificate_that_nobody_vouches_for_ends_it_before_anything_is_sent[openai]",
        without(network, "trust", patches.trust_anybody),
        "'certificate' in",
    ),
    "TLS 1.2": tested(
        "access/test_outbound.py::test_a_server_of_old_tls_is_refused[TLSv1_1-openai]",
        without(network, "trust", patches.trust_old_tls),
        "assert 2 == 1",
    ),
    "time limit": tested(
        "access/test_outbound.py::test_an_answer_that_does_not_come_to_its_end_is_given_up_when_the_time_is_over[nothing-openai]",
        without(network.Network, "left", lambda _self, _over: 60.0),
        "a drip would go on",
    ),
    "internal addresses": tested(
        "access/test_outbound.py::test_a_hook_reaches_no_internal_address_however_it_is_spelt[reload-127.0.0.1]",
        without(network.Network, "_addresses", lambda _self, host, port: internal.addresses(host, port)),
        "'internal address' in",
    ),
    "redaction: unknown errors": tested(
        "cli/test_help.py::test_a_bug_is_told_by_its_place_and_never_by_its_text",
        patches.quote_errors,
        "assert secret not in said",
    ),
    "AAD": tested(
        "store/test_sealing.py::test_a_blob_that_was_moved_to_another_row_does_not_open[sqlite]",
        both(
            without(keyring, "_aad", lambda _sealer, _place: b""),
            without(keyring, "_wrapping", lambda _sealer, _place: {}),
        ),
        "DID NOT RAISE",
    ),
}
"""By name."""
