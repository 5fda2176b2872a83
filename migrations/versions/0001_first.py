"""The first schema."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# What a release has migrated to must not change with later releases: nothing is imported from the package here.
MOMENT = sa.DateTime(timezone=True).with_variant(sa.Text(), "sqlite")
ROTATION_IS_OPEN = "state NOT IN ('completed', 'abandoned')"
RETIREMENT_IS_OPEN = "state NOT IN ('deleted', 'cancelled')"


def text(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=null)


def moment(name: str, *, null: bool = True) -> sa.Column[Any]:
    return sa.Column(name, MOMENT, nullable=null)


def flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=False, autoincrement=False)


def large(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=null, autoincrement=False)


def waiting() -> list[sa.Column[Any]]:
    return [
        number("attempt"),
        moment("not_before"),
        flag("blocked"),
        text("reason", null=True),
        text("message", null=True),
        text("remedy", null=True),
        moment("since"),
    ]


def key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def reference(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{to}.id"], name=op.f(f"fk_{table}_{column}"))


def among(table: str, column: str, *words: str) -> sa.CheckConstraint:
    known = ", ".join(f"'{word}'" for word in words)
    return sa.CheckConstraint(f"{column} IN ({known})", name=op.f(f"ck_{table}_{column}"))


def one_row(table: str) -> sa.CheckConstraint:
    return sa.CheckConstraint("one = 1", name=op.f(f"ck_{table}_one"))


def partial(name: str, table: str, *columns: str, where: str, unique: bool = True) -> None:
    condition = sa.text(where)
    op.create_index(name, table, list(columns), unique=unique, postgresql_where=condition, sqlite_where=condition)


def upgrade() -> None:
    sealing_keys()
    credentials()
    rotations()
    retirements()
    requests()
    places()
    installation()
    trail()
    followers()
    tallies()
    notices()
    nothing_changes_the_trail()
    records_in_one_trip()


def sealing_keys() -> None:
    op.create_table(
        "sealing_key",
        text("id"),
        text("name"),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        flag("active"),
        moment("added_at", null=False),
        key("sealing_key", "id"),
    )
    partial("one_active_sealing_key", "sealing_key", "active", where="active")


def credentials() -> None:
    op.create_table(
        "credential",
        text("id"),
        text("name"),
        text("provider"),
        flag("managed"),
        moment("created_at", null=False),
        moment("paused_at"),
        text("paused_by", null=True),
        moment("paused_until"),
        text("pause_reason", null=True),
        moment("watched_at"),
        key("credential", "id"),
        sa.UniqueConstraint("name", name=op.f("uq_credential_name")),
    )
    op.create_table(
        "configured",
        text("credential_id"),
        text("entry"),
        key("configured", "credential_id"),
        reference("configured", "credential_id", "credential"),
    )
    op.create_table(
        "lease",
        text("credential_id"),
        text("holder"),
        large("epoch"),
        moment("until", null=False),
        flag("released"),
        moment("fenced_at"),
        moment("idle_until"),
        text("edition", null=True),
        key("lease", "credential_id"),
        reference("lease", "credential_id", "credential"),
    )
    op.create_index("idle_leases", "lease", ["idle_until"])
    op.create_table(
        "version",
        text("id"),
        text("credential_id"),
        number("number"),
        text("state"),
        text("account"),
        text("label"),
        moment("created_at", null=False),
        text("key_id", null=True),
        moment("sent_at"),
        moment("issued_at"),
        moment("expires_at"),
        text("fingerprint", null=True),
        text("identity", null=True),
        moment("current_at"),
        moment("checked_at"),
        moment("retired_at"),
        moment("compromised_at"),
        text("permissions", null=True),
        key("version", "id"),
        reference("version", "credential_id", "credential"),
        sa.UniqueConstraint("account", "key_id", name=op.f("uq_version_account_key_id")),
        sa.UniqueConstraint("credential_id", "number", name=op.f("uq_version_credential_id_number")),
        among("version", "state", "pending", "current", "previous", "disabled", "condemned", "retired"),
    )
    partial("one_current_version", "version", "credential_id", where="state = 'current'")
    op.create_table(
        "sealed",
        text("version_id"),
        sa.Column("material", sa.LargeBinary(), nullable=False),
        text("sealed_under"),
        moment("sealed_at", null=False),
        key("sealed", "version_id"),
        reference("sealed", "version_id", "version"),
        reference("sealed", "sealed_under", "sealing_key"),
    )
    op.create_index("sealed_under_key", "sealed", ["sealed_under", "version_id"])


def rotations() -> None:
    op.create_table(
        "rotation",
        text("id"),
        text("credential_id"),
        text("state"),
        text("cause"),
        text("account"),
        moment("opened_at", null=False),
        large("grace"),
        large("soak"),
        text("target_id", null=True),
        text("beside_id", null=True),
        flag("rewrites"),
        text("actor"),
        flag("urgent"),
        number("successes"),
        moment("first_success_at"),
        moment("wave_until"),
        moment("closed_at"),
        *waiting(),
        key("rotation", "id"),
        reference("rotation", "credential_id", "credential"),
        reference("rotation", "target_id", "version"),
        reference("rotation", "beside_id", "version"),
        among(
            "rotation",
            "state",
            *("planned", "created", "authenticated", "pushed", "verified", "completed", "abandoned"),
        ),
        among(
            "rotation",
            "cause",
            *("first", "schedule", "manual", "compromised", "put_back", "added", "drift", "rollback", "unpair"),
            "rehearsal",
        ),
    )
    partial("one_open_rotation", "rotation", "credential_id", where=ROTATION_IS_OPEN)
    op.create_index("closed_rotations", "rotation", ["credential_id", "closed_at"])
    op.create_table(
        "delivery",
        text("id"),
        text("rotation_id"),
        text("credential_id"),
        number("position"),
        text("to"),
        text("address"),
        text("identity"),
        text("templates"),
        text("state"),
        flag("started"),
        flag("without"),
        text("base_revision", null=True),
        text("revision", null=True),
        number("wave"),
        text("hooks_done"),
        *waiting(),
        key("delivery", "id"),
        reference("delivery", "rotation_id", "rotation"),
        reference("delivery", "credential_id", "credential"),
        among("delivery", "state", "planned", "pushed", "verified"),
    )
    op.create_index("deliveries_of_rotation", "delivery", ["rotation_id", "position"])


def retirements() -> None:
    op.create_table(
        "retirement",
        text("id"),
        text("credential_id"),
        text("version_id"),
        text("state"),
        text("why"),
        moment("opened_at", null=False),
        large("grace"),
        large("soak"),
        flag("delete_started"),
        flag("disable_started"),
        flag("wanted_back"),
        text("keep"),
        text("without"),
        flag("forced"),
        flag("revoked"),
        moment("closed_at"),
        large("brownout_after", null=True),
        large("brownout_for", null=True),
        flag("browned_out"),
        moment("restore_at"),
        text("brownout_failure", null=True),
        moment("unconfirmed_until"),
        *waiting(),
        key("retirement", "id"),
        reference("retirement", "credential_id", "credential"),
        reference("retirement", "version_id", "version"),
        among("retirement", "state", "planned", "browned_out", "drained", "disabled", "deleted", "cancelled"),
        among("retirement", "why", "superseded", "compromised", "abandoned", "lost_answer", "extra", "rehearsed"),
    )
    partial("one_open_retirement", "retirement", "version_id", where=RETIREMENT_IS_OPEN)
    partial("open_retirements", "retirement", "credential_id", where=RETIREMENT_IS_OPEN, unique=False)


def requests() -> None:
    op.create_table(
        "request",
        text("id"),
        text("credential_id"),
        text("state"),
        text("verb"),
        text("arguments"),
        text("actor"),
        text("because", null=True),
        moment("asked_at", null=False),
        moment("done_at"),
        text("reason", null=True),
        text("message", null=True),
        key("request", "id"),
        reference("request", "credential_id", "credential"),
        among("request", "state", "standing", "done", "refused"),
    )
    partial("standing_requests", "request", "credential_id", where="state = 'standing'", unique=False)


def places() -> None:
    op.create_table(
        "placement",
        text("identity"),
        text("field"),
        text("to"),
        text("address"),
        text("credential_id"),
        text("version_id", null=True),
        text("fingerprint", null=True),
        text("revision", null=True),
        moment("placed_at", null=False),
        text("observed"),
        moment("checked_at"),
        flag("owed"),
        key("placement", "identity", "field"),
        reference("placement", "credential_id", "credential"),
        reference("placement", "version_id", "version"),
        among("placement", "observed", "served", "previous", "missing", "foreign", "unknown"),
    )
    op.create_index("placements_of_credential", "placement", ["credential_id"])
    op.create_table(
        "sighting",
        text("credential_id"),
        text("consumer"),
        text("fingerprint"),
        moment("seen_at", null=False),
        key("sighting", "credential_id", "consumer"),
        reference("sighting", "credential_id", "credential"),
    )
    op.create_table(
        "sampling",
        text("credential_id"),
        moment("since", null=False),
        moment("at", null=False),
        key("sampling", "credential_id"),
        reference("sampling", "credential_id", "credential"),
    )
    bucket = ("credential_id", "key_id", "at", "width", "service", "model", "region", "address", "ours")
    op.create_table(
        "sample",
        text("credential_id"),
        text("key_id"),
        moment("at", null=False),
        large("width"),
        text("service"),
        text("model"),
        text("region"),
        text("address"),
        flag("ours"),
        large("requests"),
        large("cost"),
        text("currency"),
        moment("last_at"),
        key("sample", *bucket),
        reference("sample", "credential_id", "credential"),
    )
    op.create_table(
        "finding",
        text("id"),
        text("kind"),
        text("subject"),
        text("credential_id", null=True),
        text("account", null=True),
        text("message"),
        text("remedy", null=True),
        moment("found_at", null=False),
        flag("urgent"),
        moment("ignored_at"),
        moment("cleared_at"),
        key("finding", "id"),
        reference("finding", "credential_id", "credential"),
    )
    partial("one_standing_finding", "finding", "kind", "subject", where="cleared_at IS NULL")
    partial("findings_of_credential", "finding", "credential_id", where="cleared_at IS NULL", unique=False)


def installation() -> None:
    op.create_table(
        "install",
        number("one"),
        text("id"),
        text("environment"),
        moment("created_at", null=False),
        text("contracted"),
        moment("last_pass_at"),
        text("home", null=True),
        sa.Column("timeline", sa.BigInteger()),
        flag("anchored"),
        sa.Column("pepper", sa.LargeBinary()),
        text("pepper_under", null=True),
        key("install", "one"),
        reference("install", "pepper_under", "sealing_key"),
        one_row("install"),
    )
    op.create_table(
        "account",
        text("provider"),
        number("failures"),
        moment("failed_at"),
        moment("paused_until"),
        moment("not_before"),
        text("reason", null=True),
        text("message", null=True),
        key("account", "provider"),
    )


def trail() -> None:
    op.create_table(
        "event",
        large("seq"),
        text("body"),
        text("hash"),
        moment("at", null=False),
        text("event"),
        text("credential", null=True),
        text("rotation", null=True),
        key("event", "seq"),
    )
    op.create_index("events_of_credential", "event", ["credential", "seq"])
    partial("checkpoints", "event", "seq", where="event = 'checkpoint.succeeded'", unique=False)
    op.create_table(
        "head",
        number("one"),
        large("seq"),
        text("hash"),
        text("tree"),
        key("head", "one"),
        one_row("head"),
    )


def followers() -> None:
    op.create_table(
        "follower",
        text("name"),
        large("seq"),
        number("attempt"),
        moment("not_before"),
        text("reason", null=True),
        text("message", null=True),
        moment("since"),
        text("taken_by", null=True),
        moment("taken_until"),
        key("follower", "name"),
    )


def tallies() -> None:
    op.create_table(
        "tally",
        text("what"),
        text("labels"),
        sa.Column("value", sa.Float(), nullable=False),
        key("tally", "what", "labels"),
    )


def notices() -> None:
    op.create_table(
        "notice",
        text("route"),
        text("key"),
        text("state"),
        moment("changed_at", null=False),
        number("times"),
        moment("told_at"),
        text("body"),
        among("notice", "state", "new", "told", "over", "passed", "done"),
        key("notice", "route", "key"),
    )


def nothing_changes_the_trail() -> None:
    """Events are only added, and the head only goes on. Who owns the database can drop these triggers; the hashes are
    for that."""
    if op.get_bind().dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER event_no_{act.lower()} BEFORE {act} ON event "
                "BEGIN SELECT RAISE(ABORT, 'events are only added'); END"
            )
        op.execute(
            "CREATE TRIGGER head_goes_on BEFORE UPDATE ON head WHEN NEW.seq <= OLD.seq "
            "BEGIN SELECT RAISE(ABORT, 'the head only goes on'); END"
        )
        op.execute("CREATE TRIGGER head_stays BEFORE DELETE ON head BEGIN SELECT RAISE(ABORT, 'the head stays'); END")
        return
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'events are only added'; END $$"
    )
    op.execute(
        "CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER head_goes_on BEFORE UPDATE ON head "
        "FOR EACH ROW WHEN (NEW.seq <= OLD.seq) EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER head_stays BEFORE DELETE OR TRUNCATE ON head "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )


def records_in_one_trip() -> None:
    """A whole record as one call: see `rotator.store.one_trip`, which makes what it is given."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(KEYTURN_RECORD)


KEYTURN_RECORD = """
CREATE FUNCTION keyturn_record(
    of_credential text, of_epoch bigint, given timestamptz, writes jsonb, drafts jsonb, counts jsonb, forget boolean,
    OUT recorded_at timestamptz, OUT first_seq bigint, OUT previous_hash text
) LANGUAGE plpgsql AS $$
DECLARE
    held lease;
    entry jsonb;
    given_row jsonb;
    in_table text;
    names text;
    changed bigint;
    last head;
    body text;
    subtrees text[];
    subtree bytea;
    bits bigint;
BEGIN
    -- Waiting for the lock may have taken as long as the lease had left, so the time is read after it.
    SELECT * INTO held FROM lease WHERE credential_id = of_credential FOR UPDATE;
    recorded_at := coalesce(given, clock_timestamp());
    IF held.epoch IS DISTINCT FROM of_epoch THEN
        RAISE 'the lease of epoch % was taken over', of_epoch USING ERRCODE = 'KT001';
    ELSIF held.released THEN
        RAISE 'the lease of epoch % has been released', of_epoch USING ERRCODE = 'KT001';
    ELSIF held.until <= recorded_at THEN
        RAISE 'the lease of epoch % has expired', of_epoch USING ERRCODE = 'KT001';
    END IF;

    FOR entry IN SELECT value FROM jsonb_array_elements(writes) LOOP
        given_row := entry->'row';
        IF entry ? 'at' THEN
            given_row := given_row || jsonb_build_object(entry->>'at', recorded_at);
        END IF;
        in_table := quote_ident(entry->>'table');
        SELECT string_agg(quote_ident(name), ', ') INTO names FROM jsonb_object_keys(given_row) AS name;
        CASE entry->>'do'
        WHEN 'insert' THEN
            EXECUTE format('INSERT INTO %1$s (%2$s) SELECT %2$s FROM jsonb_populate_record(NULL::%1$s, $1)',
                in_table, names) USING given_row;
        WHEN 'put' THEN
            EXECUTE format('INSERT INTO %1$s (%2$s) SELECT %2$s FROM jsonb_populate_record(NULL::%1$s, $1) '
                'ON CONFLICT (%3$s) DO UPDATE SET (%2$s) = (SELECT %2$s FROM jsonb_populate_record(NULL::%1$s, $1))',
                in_table, names, entry->>'key') USING given_row;
        WHEN 'update' THEN
            EXECUTE format('UPDATE %1$s SET (%2$s) = (SELECT %2$s FROM jsonb_populate_record(NULL::%1$s, $1)) '
                'WHERE id = $2 %3$s', in_table, names, CASE WHEN entry ? 'state' THEN 'AND state = $3' END)
                USING given_row, entry->>'id', entry->>'state';
            GET DIAGNOSTICS changed = ROW_COUNT;
            IF changed <> 1 THEN
                RAISE 'the % % is no longer %', in_table, entry->>'id', entry->>'state' USING ERRCODE = 'KT001';
            END IF;
        WHEN 'delete' THEN
            EXECUTE format('DELETE FROM %1$s WHERE (%2$s) = (SELECT %2$s FROM jsonb_populate_record(NULL::%1$s, $1))',
                in_table, names) USING given_row;
        END CASE;
    END LOOP;
    IF forget THEN
        DELETE FROM sealed USING version WHERE version.id = version_id AND version.credential_id = of_credential
            AND NOT EXISTS (SELECT FROM rotation WHERE credential_id = of_credential
                AND state NOT IN ('completed', 'abandoned'))
            AND NOT EXISTS (SELECT FROM retirement WHERE credential_id = of_credential
                AND state NOT IN ('deleted', 'cancelled'));
    END IF;

    IF jsonb_array_length(drafts) > 0 THEN
        SELECT * INTO last FROM head FOR UPDATE;
        first_seq := last.seq + 1;
        previous_hash := last.hash;
        subtrees := ARRAY(SELECT jsonb_array_elements_text(last.tree::jsonb));
        FOR entry IN SELECT value FROM jsonb_array_elements(drafts) LOOP
            bits := last.seq;
            last.seq := last.seq + 1;
            body := concat(
                entry->'text'->>0, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                entry->'text'->>1, last.hash, entry->'text'->>2, last.seq, entry->'text'->>3);
            last.hash := encode(sha256(convert_to(body, 'UTF8')), 'hex');
            INSERT INTO event (seq, body, hash, at, event, credential, rotation) VALUES (
                last.seq, body, last.hash, recorded_at, entry->>'event', entry->>'credential', entry->>'rotation');
            subtree := sha256('\\x00'::bytea || convert_to(body, 'UTF8'));
            WHILE bits & 1 = 1 LOOP
                subtree := sha256('\\x01'::bytea || decode(subtrees[cardinality(subtrees)], 'hex') || subtree);
                subtrees := subtrees[1:cardinality(subtrees) - 1];
                bits := bits >> 1;
            END LOOP;
            subtrees := subtrees || encode(subtree, 'hex');
        END LOOP;
        UPDATE head SET seq = last.seq, hash = last.hash, tree = to_jsonb(subtrees)::text;
    END IF;
    INSERT INTO tally (what, labels, value)
        SELECT sum->>0, sum->>1, (sum->>2)::float8
        FROM jsonb_array_elements(counts) WITH ORDINALITY AS sums (sum, place) ORDER BY place
        ON CONFLICT (what, labels) DO UPDATE SET value = tally.value + excluded.value;
END
$$
"""


def downgrade() -> None:
    message = "the first schema has nothing before it: make a new database instead"
    raise NotImplementedError(message)
