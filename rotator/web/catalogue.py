"""Every metric there is: its name, kind, labels, meaning, and how many series it can have at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rotator.engine.census import NAMED

Kind = Literal["gauge", "counter", "histogram", "info"]


@dataclass(frozen=True)
class Metric:
    """One family. `name` is without the suffixes that the format adds (`_total`, `_bucket`, `_info`)."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    bound: str  # on the number of its series

    @property
    def series(self) -> tuple[str, ...]:
        """The names that a scrape shows and a query asks for."""
        suffixes = {"gauge": ("",), "counter": ("_total",), "info": ("_info",), "histogram": _HISTOGRAM}
        return tuple(self.name + suffix for suffix in suffixes[self.kind])


_HISTOGRAM = ("_bucket", "_count", "_sum")
_ONE = "1"
_PROVIDERS = "providers of the configuration"
_NAMED = f"{NAMED}"

INFO = Metric("keyturn", "info", ("version", "environment", "installation"), "Release and installation.", _ONE)
DATABASE_UP = Metric(
    "keyturn_database_up",
    "gauge",
    (),
    "1 while the database answers and has the right schema. 0: all else is missing.",
    _ONE,
)
LAST_PASS = Metric(
    "keyturn_last_pass_timestamp_seconds",
    "gauge",
    (),
    "When the last pass (a tick of the daemon, or `rotate`) ended, whichever process made it. 0: none ever did.",
    _ONE,
)
CREDENTIALS = Metric(
    "keyturn_credentials",
    "gauge",
    ("status", "reason"),
    "Credentials by status, the most pressing that holds, and its reason.",
    "statuses by documented reasons",
)
CONDITIONS = Metric(
    "keyturn_conditions",
    "gauge",
    ("condition",),
    "Credentials for which it holds, also where something more pressing does.",
    "9",
)
WITHOUT_SERIES = Metric(
    "keyturn_credentials_without_series",
    "gauge",
    (),
    f"Credentials beyond the {NAMED} most pressing: counted in all that is not by credential.",
    _ONE,
)
STATUS = Metric(
    "keyturn_credential_status",
    "gauge",
    ("credential", "provider", "status", "reason"),
    "1, for the status that a credential has.",
    _NAMED,
)
CURRENT_KEY = Metric(
    "keyturn_credential_current_key_timestamp_seconds",
    "gauge",
    ("credential", "provider"),
    "When its current key was made, as far as that is known. Its age is time() minus this.",
    _NAMED,
)
OLDEST_KEY = Metric(
    "keyturn_credential_oldest_key_timestamp_seconds",
    "gauge",
    ("credential", "provider"),
    "When the oldest of its keys that may still work was made.",
    _NAMED,
)
NEXT_ROTATION = Metric(
    "keyturn_credential_next_rotation_timestamp_seconds",
    "gauge",
    ("credential", "provider"),
    "When its next rotation begins; in the past where it is due.",
    _NAMED,
)
OLDEST_CURRENT = Metric(
    "keyturn_oldest_current_key_timestamp_seconds",
    "gauge",
    ("provider",),
    "When the oldest current key of all credentials was made.",
    _PROVIDERS,
)
OLDEST_LIVING = Metric(
    "keyturn_oldest_living_key_timestamp_seconds",
    "gauge",
    ("provider",),
    "When the oldest key of all that may still work was made.",
    _PROVIDERS,
)
NEXT = Metric(
    "keyturn_next_rotation_timestamp_seconds", "gauge", (), "When the next rotation of all credentials begins.", _ONE
)
KEYS = Metric(
    "keyturn_keys", "gauge", ("provider", "state"), "Keys that may work, by state.", f"{_PROVIDERS} by 5 states"
)
ORPHANS = Metric(
    "keyturn_orphan_keys",
    "gauge",
    ("kind",),
    "Keys without a use: `stranger`: the provider lists it, nobody here made it; `condemned`: ours, being taken away "
    "without ever having been current; `unmanaged`: of a credential that the configuration does not name.",
    "3",
)
FIELDS = Metric(
    "keyturn_destination_fields",
    "gauge",
    ("observed",),
    "Fields of destinations, by what was seen there last; all but `served` and `previous` is drift.",
    "5",
)
FINDINGS = Metric(
    "keyturn_findings",
    "gauge",
    ("kind", "urgent"),
    "Findings that stand and that nobody ignores. `urgent`: somebody is out of service now.",
    "kinds of findings by 2",
)
ROTATIONS = Metric(
    "keyturn_rotations",
    "counter",
    ("provider", "result"),
    "Rotations that ended: `completed`, `abandoned`, or `rehearsed`.",
    f"{_PROVIDERS} by 3",
)
STEPS = Metric(
    "keyturn_step_duration_seconds",
    "histogram",
    ("step",),
    "How long attempts of steps took, waits between them left out.",
    "steps by 11",
)
RETRIES = Metric(
    "keyturn_retries",
    "counter",
    ("step", "reason"),
    "Attempts that failed and are made again.",
    "steps by documented reasons",
)
CALLS = Metric(
    "keyturn_provider_calls",
    "counter",
    ("provider", "call", "status"),
    "Calls to providers. `status` is `ok`, the verdict on a key (`accepted`, `refused`, …), or why it failed.",
    f"{_PROVIDERS} by 9 calls by reasons of adapters",
)
TAKEOVERS = Metric(
    "keyturn_lease_takeovers",
    "counter",
    (),
    "Leases that were taken over from a worker that never released them: it died, or hung.",
    _ONE,
)
EVENTS = Metric("keyturn_events", "counter", ("event",), "Events of the audit trail.", "documented events")
HEAD = Metric("keyturn_audit_head", "gauge", (), "Number of the last event of the audit trail.", _ONE)
HEAD_AT = Metric("keyturn_audit_head_timestamp_seconds", "gauge", (), "When that event happened.", _ONE)
CHECKPOINT = Metric(
    "keyturn_audit_checkpoint", "gauge", (), "Number of events that the newest signed checkpoint covers.", _ONE
)
CHECKPOINT_AT = Metric("keyturn_audit_checkpoint_timestamp_seconds", "gauge", (), "When that one was signed.", _ONE)
BEHIND = Metric(
    "keyturn_follower_behind_events",
    "gauge",
    ("follower",),
    "Events of the trail that a receiver has not accepted yet.",
    "receivers of the configuration",
)
TOOK = Metric("keyturn_collect_duration_seconds", "gauge", (), "How long it took to read all this.", _ONE)

METRICS = (
    INFO,
    DATABASE_UP,
    LAST_PASS,
    CREDENTIALS,
    CONDITIONS,
    WITHOUT_SERIES,
    STATUS,
    CURRENT_KEY,
    OLDEST_KEY,
    NEXT_ROTATION,
    OLDEST_CURRENT,
    OLDEST_LIVING,
    NEXT,
    KEYS,
    ORPHANS,
    FIELDS,
    FINDINGS,
    ROTATIONS,
    STEPS,
    RETRIES,
    CALLS,
    TAKEOVERS,
    EVENTS,
    HEAD,
    HEAD_AT,
    CHECKPOINT,
    CHECKPOINT_AT,
    BEHIND,
    TOOK,
)
"""In the order of the reference and of a scrape."""
