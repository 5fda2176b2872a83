"""What `explain` says of the policy, for each of its reasons."""

from __future__ import annotations

from rotator.domain.policy import NotDue, why_due
from rotator.engine.explain import MOVES
from tests.domain.test_policy import CASES, question


def test_for_every_reason_of_the_policy_the_command_that_would_move_it_is_known() -> None:
    decisions = [why_due(question(given)) for given, _ in CASES.values()]
    reasons = {decision.reason for decision in decisions if isinstance(decision, NotDue)}
    assert reasons - MOVES.keys() == {"unmanaged"}  # the headline says what helps
    assert MOVES.keys() <= reasons
