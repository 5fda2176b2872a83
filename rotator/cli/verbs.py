"""The operator's verbs `resume`, `abandon` and `forget`, and `wait`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

import click

from rotator.cli import options, say
from rotator.cli.acting import act, agreed
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, looking, shown
from rotator.cli.options import Manner
from rotator.cli.verdicts import STUCK
from rotator.cli.words import Entry
from rotator.config import Config
from rotator.engine.explain import explain

_LOOK_EVERY = 1.0  # seconds


@click.command(
    epilog=options.examples(
        "rotator resume openai-web",
        "rotator resume --all --reason 'Vault is back'",
        "rotator resume deployer --delete AKIA...   of several unknown keys, this is the one we lost",
        "rotator resume deployer --keep AKIA...     this one is somebody else's",
        "rotator resume partner --gone manual-...   a person has taken the old key away",
    )
)
@options.names
@options.selector
@click.option("--all", "everything", is_flag=True, help="Every credential.")
@click.option("--delete", metavar="KEY", help="Settles ambiguous keys: this is the lost one; it is taken away.")
@click.option("--keep", metavar="KEY", multiple=True, help="Settles ambiguous keys: not the lost one; repeatable.")
@click.option("--gone", metavar="KEY", help="Where a person has to take an old key away: this one is gone.")
@options.reason
@options.manner
@options.common
def resume(
    names: Sequence[str],
    selector: str | None,
    everything: bool,
    delete: str | None,
    keep: Sequence[str],
    gone: str | None,
    reason: str | None,
    manner: Manner,
    config: str | None,
) -> int:
    """Clear blocks and waits of NAME..., so that the next step is tried by the next pass."""
    problem = None
    if not (names or selector or everything):
        problem = "a selection is needed: NAME..., -l LABELS or --all"
    elif (delete or keep or gone) and len(set(names)) != 1:
        problem = "--delete, --keep and --gone go with exactly one NAME"
    if problem is not None:
        raise click.UsageError(problem, click.get_current_context())
    given = {"delete": delete, "keep": list(keep), "gone": gone}
    return act(configuration(config), names, "resume", given, reason, manner, selector=selector)


@click.command(
    epilog=options.examples(
        "rotator abandon openai-web --reason 'wrong scopes'",
        "rotator abandon openai-web --dry-run",
        "rotator abandon openai-web --request     the next pass does it; no sealing key is needed here",
    )
)
@options.name
@options.reason
@options.manner
@options.common
def abandon(name: str, reason: str | None, manner: Manner, config: str | None) -> int:
    """Give the open rotation of NAME up.

    Its new key is taken away; where it was pushed, the current one is put back.
    """
    loaded = configuration(config)
    given = {"rotation": _open_rotation(loaded, name)} if manner.request else {}
    status = act(loaded, [name], "abandon", given, reason, manner)
    if manner.here:
        with looking(loaded) as service:
            for sentence in explain(service.report(), name):
                say.tell(sentence)
        say.tell(f"`rotate {name}` does it now, or the next pass")
    return status


def _open_rotation(config: Config, name: str) -> str | None:
    """What a person means who asks now: a worker may come to it when another one is open."""
    with looking(config) as service:
        entries = service.report().status([name])["credentials"]
    return entries[0]["rotation"]["id"] if entries and entries[0]["rotation"] else None


@click.command(epilog=options.examples("rotator forget openai-web --destination old-vault --yes"))
@options.name
@click.option("--destination", metavar="DEST", required=True, help="Its name or address, as `rotator explain` says.")
@options.reason
@options.yes
@options.manner
@options.common
def forget(name: str, destination: str, reason: str | None, yes: bool, manner: Manner, config: str | None) -> int:
    """Stop waiting for a destination of NAME that the configuration names no more.

    Whoever still reads there may hold an old key, which is then taken away all the same.
    """
    loaded = configuration(config)
    question, pain = f"Does nobody read {destination} any more?", "what still reads there may lose its key"
    if not agreed(question, pain, yes=yes or manner.dry_run):
        return Status.TROUBLE
    return act(loaded, [name], "forget", {"destination": destination}, reason, manner)


@click.command(
    epilog=options.examples(
        "rotator wait openai-web --for current",
        "rotator wait web --for retired",
        "rotator wait -l team=web --for current --timeout 1h",
    )
)
@options.names
@options.selector
@click.option("--for", "goal", type=click.Choice(["current", "retired"]), required=True, help="What to wait for.")
@click.option("--timeout", type=options.duration, default="10m", show_default=True, help="How long.")
@options.quiet
@options.common
def wait(
    names: Sequence[str], selector: str | None, goal: str, timeout: timedelta, quiet: bool, config: str | None
) -> int:
    """Wait until the newest keys of NAME... are current everywhere, or until their old keys are gone.

    Does no work itself: passes do. Exits 1 when one is blocked, or at the timeout.
    """
    options.require_selection(names, selector)
    end = time.monotonic() + timeout.total_seconds()
    with looking(configuration(config)) as service:
        left = set(shown(service, names, selector) or ())
        if not quiet:
            say.warn(f"waiting until {', '.join(sorted(left))} {'is' if len(left) == 1 else 'are'} {goal}")
        while True:
            entries: list[Entry] = service.report().status(left)["credentials"]
            for entry in entries:
                if _reached(entry, goal):
                    left.remove(entry["name"])
                    if not quiet:
                        say.tell(f"{entry['name']} is {goal}")
            if not left:
                return Status.DONE
            waiting = [entry for entry in entries if entry["name"] in left]
            stuck = [entry for entry in waiting if entry["status"] in STUCK]
            over = end - time.monotonic()
            if stuck or over <= 0:
                for entry in stuck or waiting:
                    _tell_unreached(entry, goal)
                return Status.TROUBLE
            time.sleep(min(_LOOK_EVERY, over))


def _tell_unreached(entry: Entry, goal: str) -> None:
    name, stands = entry["name"], f"{entry['status']}: {entry['message']}"
    if entry["status"] in STUCK:
        say.complain(f"{name} is {stands}", reason=entry["reason"], remedy=entry["remedy"])
    else:
        remedy = f"`rotator explain {name}` says what it waits for"
        say.complain(f"{name} is not {goal} yet; it is {stands}", reason=entry["reason"], remedy=remedy)


def _reached(entry: Entry, goal: str) -> bool:
    settled = entry["current"] is not None and entry["rotation"] is None
    if goal == "retired":
        return settled and not entry["previous"]
    return settled and not any(row["type"] == "due" for row in entry["conditions"])
