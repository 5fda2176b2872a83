"""The names of events: one enumeration that the audit trail, log lines and metrics share."""

from __future__ import annotations

from enum import StrEnum


class Subject(StrEnum):
    """What an event is about: a step, a verb or a finding."""

    # a rotation and its steps
    ROTATION = "rotation"
    CREATE = "create"
    AUTHENTICATE = "authenticate"
    PUSH = "push"
    VERIFY = "verify"
    RELOAD = "reload"  # the readers of a place are told to read anew
    PROBE = "probe"  # and are asked whether they work
    WAVE = "wave"  # a wave of destinations soaks before the next one is pushed
    PROMOTE = "promote"
    # a rehearsal: a rotation without a switch
    REHEARSAL = "rehearsal"
    REMOVE = "remove"  # what it put beside a destination is taken away
    # a retirement and its steps
    RETIREMENT = "retirement"
    BROWNOUT = "brownout"  # the trial before it: disabled for a while, to find who still reads it; also a finding
    RESTORE = "restore"  # the end of the trial
    DRAIN = "drain"
    DISABLE = "disable"
    CONFIRM = "confirm"  # the provider is seen to refuse a leaked key that was disabled
    DELETE = "delete"
    ENABLE = "enable"  # the way back
    # verbs
    INIT = "init"
    ENROLL = "enroll"
    MOVE = "move"  # the configuration has given it another name
    UNMANAGE = "unmanage"
    POLICY = "policy"  # the configuration has changed what is kept to
    ADOPT = "adopt"
    SUPPLY = "supply"  # a person handed over the key that was asked for
    RESUME = "resume"
    ABANDON = "abandon"
    ROLLBACK = "rollback"  # a person wants the previous key to be current again
    REACTIVATE = "reactivate"  # a person wants a key kept that was being taken away
    RETIRE = "retire"  # a person wants a key taken away
    PAUSE = "pause"  # a person stopped whatever the schedule does with it
    UNPAUSE = "unpause"
    FORGET = "forget"  # a person gave up a destination that the configuration names no more
    REPLACE = "replace"  # a person allowed a foreign value to be overwritten
    WITHOUT = "without"  # a person said that a rotation does not wait for a destination
    END_SOAK = "end_soak"  # a person wants a disabled key deleted now
    COMPROMISED = "compromised"  # a person said that a key has leaked
    REVOKE = "revoke"  # a person wants a key to stop working now, whoever reads it
    REQUEST = "request"  # a person asked for a verb that a worker is to do
    CONDEMN = "condemn"  # a lost key was recognised as ours
    ACCEPT = "accept"  # what a person put at a destination is the current key from now on
    OVERWRITE = "overwrite"  # the current key is written over it
    IGNORE = "ignore"  # it stays, and nobody wants to hear of it
    SEAL_ADD = "seal_add"  # a sealing key is put on record, beside others
    SEAL_ACTIVATE = "seal_activate"  # new values are sealed under it
    SEAL_REWRAP = "seal_rewrap"  # and what was sealed before as well
    SEAL_REMOVE = "seal_remove"  # nothing needs it any more
    SEEN = "seen"  # a consumer says that it holds another key than before
    CHECKPOINT = "checkpoint"  # the trail as it is was signed
    PRUNE = "prune"  # events that were exported and verified were taken out of the database
    # findings
    RECONCILE = "reconcile"
    CLOCK = "clock"
    NOT_ADOPTED = "not_adopted"
    DRIFT = "drift"
    STRANGER = "stranger"
    LEAK = "leak"  # a key of ours was seen where it does not belong
    ANOMALY = "anomaly"  # a key of ours is used in a way that it should not be, or never was
    UNMETERED = "unmetered"  # the provider does not let us read how keys are used
    KEY_GONE = "key_gone"
    KEY_DISABLED = "key_disabled"
    UNREADY = "unready"
    PROVIDER_REMOVED = "provider_removed"
    ACCOUNT_BRAKED = "account_braked"
    MAX_AGE = "max_age"  # a key will be older than the policy lets it
    WIDENED = "widened"  # keys may do more than before, or than the configuration expects
    UNCONFIRMED = "unconfirmed"  # nobody has looked at the provider's allow list for long
    EXPIRES = "expires"  # the provider will end a key before it has been replaced
    NOTIFY = "notify"  # the receiver of a route accepts no messages
    UNHEARD = "unheard"  # what a consumer left at the drop cannot be taken
    FOLLOWER = "follower"  # what the trail is sent to accepts nothing
    HOURS_BROKEN = "hours_broken"  # a window or blackout could not be waited for


FINDINGS = (
    *(Subject.RECONCILE, Subject.CLOCK, Subject.NOT_ADOPTED, Subject.DRIFT, Subject.STRANGER, Subject.KEY_GONE),
    *(Subject.KEY_DISABLED, Subject.UNREADY, Subject.PROVIDER_REMOVED, Subject.ACCOUNT_BRAKED, Subject.MAX_AGE),
    *(Subject.EXPIRES, Subject.HOURS_BROKEN, Subject.NOTIFY, Subject.UNHEARD, Subject.PROBE, Subject.BROWNOUT),
    *(Subject.WIDENED, Subject.UNCONFIRMED, Subject.FOLLOWER, Subject.LEAK),
    *(Subject.ANOMALY, Subject.UNMETERED),
)
"""All kinds of findings: what can be `found`, lasts, and is `cleared`."""


class Outcome(StrEnum):
    """What became of it."""

    STARTED = "started"  # committed before the effect
    SUCCEEDED = "succeeded"
    DELAYED = "delayed"
    BLOCKED = "blocked"
    FAILED = "failed"
    FOUND = "found"
    CLEARED = "cleared"


def name(subject: Subject, outcome: Outcome) -> str:
    """`push.succeeded`."""
    return f"{subject}.{outcome}"
