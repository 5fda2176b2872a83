"""The commands `audit log`, `audit export` and `audit sinks`, and the group of those around them."""

from __future__ import annotations

import json
import socket
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from heapq import merge
from pathlib import Path
from typing import Any

import click

from rotator.access.files import replace
from rotator.access.formats import FORMATS, Origin
from rotator.cli import options, say, tables, words
from rotator.cli.checkpoints import checkpoint, key
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, looking
from rotator.cli.pruning import prune
from rotator.cli.verifying import prove, verify
from rotator.config import select
from rotator.domain.errors import SetupError
from rotator.domain.events import Outcome, Subject
from rotator.domain.events import name as event_name
from rotator.domain.model import Follower
from rotator.engine.followers import Followers, Following, alongside, spoken
from rotator.engine.report import stamp
from rotator.ports.store import NewEvent, StoredEvent
from rotator.store.audit import exported
from rotator.store.store import SqlStore
from rotator.wiring import Service


@click.group()
def audit() -> None:
    """The audit trail: read it, verify it, export it."""


@audit.command(
    epilog=options.examples(
        "rotator audit log", "rotator audit log --credential openai-web -n 100", "rotator audit log -l team=web"
    )
)
@click.option("--credential", metavar="NAME", help="Only events of this credential.")
@options.selector
@click.option("-n", "count", type=click.IntRange(min=1), default=50, show_default=True, help="The last so many.")
@options.as_json
@options.common
def log(credential: str | None, selector: str | None, count: int, as_json: bool, config: str | None) -> int:
    """The last events, oldest first."""
    with looking(configuration(config)) as service:
        chosen = [] if credential is None else [credential]
        if selector is not None:
            chosen = [found.name for found in select(service.config, chosen, selector)]
        events = _last(service.store, chosen, count)
    for line in exported(events) if as_json else map(_line, events):
        say.tell(line)
    return Status.DONE


def _last(store: SqlStore, credentials: Sequence[str], count: int) -> Iterable[StoredEvent]:
    if not credentials:
        return deque(store.events(max(store.head()[0] - count, 0)), maxlen=count)
    names = dict.fromkeys(called for credential in credentials for called in _names(store, credential))
    streams = (store.events(0, credential=called) for called in names)
    return deque(merge(*streams, key=lambda event: event.seq), maxlen=count)


def _names(store: SqlStore, credential: str) -> list[str]:
    """What a credential is called, and has been called before."""
    names = [credential]
    moved = event_name(Subject.MOVE, Outcome.SUCCEEDED)
    for called in names:
        bodies = (json.loads(event.body) for event in store.events(0, credential=called))
        former = {body["detail"]["from"] for body in bodies if body["event"] == moved}
        names += sorted(former.difference(names))
    return names


def _line(event: StoredEvent) -> str:
    body = json.loads(event.body)
    line = words.event_line(body)
    return f"{event.seq} {body['at'][:10]} {line} [{body['actor']}]"


@audit.command(
    epilog=options.examples(
        "rotator audit export > trail.jsonl",
        "rotator audit export --output t.jsonl",
        "rotator audit export --format cef",
    )
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(FORMATS)),
    default="json",
    show_default=True,
    help="json is the trail itself and can be verified; the others are for tools that do not know it.",
)
@click.option("--output", metavar="FILE", help="Write there, readable by you alone, instead of to stdout.")
@options.common
def export(format_name: str, output: str | None, config: str | None) -> int:
    """The whole trail, one event on each line: as JSON, or as OCSF, ECS or CEF."""
    with looking(configuration(config)) as service:
        rendered, origin = FORMATS[format_name], Origin(service.config.environment, socket.gethostname())
        lines = (rendered(event, origin) for event in service.store.events())
        if output is None:
            for line in lines:
                click.echo(line)
        else:
            replace(Path(output), (f"{line}\n" for line in lines))
    return Status.DONE


@audit.command(
    epilog=options.examples("rotator audit sinks", "rotator audit sinks --send", "rotator audit sinks --forget siem")
)
@click.option("--send", is_flag=True, help="First try to send what waits, also to those that wait after a failure.")
@click.option("--forget", metavar="NAME", help="Of a sink that is configured no more: what it lacks may be pruned.")
@options.as_json
@options.common
def sinks(send: bool, forget: str | None, as_json: bool, config: str | None) -> int:
    """How far each sink has accepted the trail. One that accepts nothing exits 1."""
    with looking(configuration(config)) as service:
        followers = service.engine.followers
        if forget is not None:
            _forget(service, forget)
        if send:
            followers.hasten()
            with alongside(followers.turns, service.engine.around):
                pass
        head, rows = service.store.head()[0], service.store.followers()
        found = [_standing(one, rows.get(one.name), head) for one in followers.following]
        left = _left(rows, followers)
    if as_json:
        click.echo(json.dumps({"head": head, "sinks": found}, ensure_ascii=False))
    elif not found:
        say.tell("no sink is configured: `audit.sinks` in the configuration file")
    else:
        tables.show(("sink", "accepted", "behind", "required", "state"), [_sink_line(row) for row in found])
    for name, last in left.items():
        message = f"the sink {name} is configured no more, and nothing after event {last.seq} is pruned for its sake"
        say.complain(message, remedy=f"configure it again, or `rotator audit sinks --forget {name}`")
    failing = [row for row in found if row["reason"] is not None]
    for row in failing:
        said = f"{spoken(row['name'])} accepts nothing since {words.moment(row['since'])}: {row['message']}"
        say.complain(said, reason=row["reason"], remedy="see to it, then `rotator audit sinks --send`")
    return Status.TROUBLE if failing else Status.DONE


_SINK = "sink:"


def _left(rows: Mapping[str, Follower], followers: Followers) -> dict[str, Follower]:
    """The sinks that are configured no more, by name."""
    known = {one.name for one in followers.following}
    return {n.removeprefix(_SINK): row for n, row in rows.items() if n.startswith(_SINK) and n not in known}


def _forget(service: Service, name: str) -> None:
    if f"{_SINK}{name}" in {one.name for one in service.engine.followers.following}:
        message = f"the sink {name} is configured, so it is not forgotten"
        raise SetupError(message, reason="still_configured", remedy="take it out of `audit.sinks` first")
    told = NewEvent(
        event=event_name(Subject.FORGET, Outcome.SUCCEEDED),
        actor=service.engine.around.actor,
        destination=f"{_SINK}{name}",
    )
    if not service.store.forget_follower(f"{_SINK}{name}", told):
        message = f"no sink {name} has ever been sent anything"
        raise SetupError(message, reason="unknown_sink", remedy="`rotator audit sinks` names those that are left")
    say.tell(f"the sink {name} is forgotten")


def _standing(one: Following, row: Follower | None, head: int) -> dict[str, Any]:
    row = row or Follower(name=one.name)
    return {
        "name": one.name,
        "required": one.required,
        "accepted": row.seq,
        "behind": head - row.seq,
        "since": stamp(row.since) if row.since else None,
        "attempt": row.attempt,
        "not_before": stamp(row.not_before) if row.not_before else None,
        "reason": row.reason,
        "message": row.message,
    }


def _sink_line(row: Mapping[str, Any]) -> tuple[str, ...]:
    state = row["reason"] or ("up to date" if row["behind"] == 0 else "has more to take")
    return row["name"], str(row["accepted"]), str(row["behind"]), "yes" if row["required"] else "no", state


for command in (verify, prove, checkpoint, key, prune):
    audit.add_command(command)
