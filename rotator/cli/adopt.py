"""The command `adopt`: keys that live already are recorded, and nothing outside is changed."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rotator.cli import options, say, words
from rotator.cli.acting import act, agreed, opened, tell_environment, worked_on
from rotator.cli.exits import Status
from rotator.cli.opening import configuration
from rotator.cli.options import Manner
from rotator.cli.typed import ask, read
from rotator.config import select
from rotator.domain.errors import SetupError
from rotator.domain.model import Version
from rotator.domain.secret import Material
from rotator.engine import adoption
from rotator.engine.adoption import Adopted
from rotator.engine.report import stamp
from rotator.ports.provider import Key
from rotator.wiring import Service

EXAMPLES = options.examples(
    "rotator adopt openai-web                        read the key from the destinations",
    "rotator adopt openai-web --current vault        they differ: this one has the current key",
    "rotator adopt openai-web --replace web          what stands there may be overwritten",
    "rotator adopt deployer --key AKIA...            record the key by its id, without its value",
    "rotator adopt deployer --key AKIA... --as previous   take an extra key away",
    "pass show web/key | rotator adopt openai-web --stdin",
)


@click.command(epilog=EXAMPLES)
@options.name
@click.option("--key", "key_id", metavar="ID", help="The key's public id; without a value it is recorded by that.")
@click.option(
    "--as",
    "role",
    type=click.Choice(["current", "previous"]),
    default="current",
    show_default=True,
    help="Whether consumers use it, or it is an extra one to be taken away.",
)
@click.option(
    "--current", "current_at", metavar="DEST", help="Where destinations differ: the one with the current key."
)
@click.option("--replace", metavar="DEST", multiple=True, help="What stands there may be overwritten; repeatable.")
@click.option("--value", is_flag=True, help="Ask for the value, hidden, even if a destination holds one.")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the value from stdin, one line for each field.")
@options.reason
@options.yes
@options.manner
@options.common
def adopt(
    name: str,
    key_id: str | None,
    role: str,
    current_at: str | None,
    replace: Sequence[str],
    value: bool,
    from_stdin: bool,
    reason: str | None,
    yes: bool,
    manner: Manner,
    config: str | None,
) -> int:
    """Record the living key of NAME without rotating it.

    The value is read from the destinations, the provider is asked whether it works and which key it is. A value is
    never given on the command line: type it when asked, or use --stdin.
    """
    if role == "previous" and key_id is None:
        message = "--as previous needs --key ID"
        raise click.UsageError(message, click.get_current_context())
    if manner.request and (value or from_stdin):
        message = "a request holds no secret: hand the value over where the sealing key is"
        raise click.UsageError(message, click.get_current_context())
    loaded = configuration(config)
    select(loaded, [name], None)
    if manner.request and role == "previous":
        if not agreed(f"Take {key_id} away?", "--as previous takes a living key away", yes=yes):
            return Status.TROUBLE
        return act(loaded, [name], "adopt_extra", {"key": key_id}, reason, manner)
    if manner.request:
        given = {"key": key_id, "current_at": current_at, "replace": list(replace)}
        return act(loaded, [name], "adopt", given, reason, manner)
    with opened(loaded, manner) as service:
        tell_environment(service, manner)
        if role == "previous":
            assert key_id is not None
            return _extra(service, name, key_id, reason, manner, yes=yes)
        fields = service.managed[name].provider.capabilities.material
        typed = read(fields) if from_stdin else ask(fields) if value else None
        adopted = _adopt(service, name, key_id, current_at, replace, typed, reason, manner)
        _tell(adopted, name)
    return Status.DONE


def _adopt(
    service: Service,
    name: str,
    key_id: str | None,
    current_at: str | None,
    replace: Sequence[str],
    typed: Material | None,
    because: str | None,
    manner: Manner,
) -> Adopted:
    """Adopt; where no destination holds a value, ask a person for it and try once more."""

    def once(typed: Material | None) -> Adopted:
        with worked_on(service, name, manner) as work:
            return adoption.adopt(
                work, key_id=key_id, current_at=current_at, replace=replace, typed=typed, because=because
            )

    try:
        return once(typed)
    except SetupError as problem:
        if problem.reason != "nothing_to_adopt" or not say.can_ask():
            raise
        say.warn(f"{problem.message}; type it, nothing is shown")
    # Asked without the lease: a person may take longer than that lasts.
    return once(ask(service.managed[name].provider.capabilities.material))


def _tell(adopted: Adopted, name: str) -> None:
    if adopted.current is not None:
        say.tell(f"{name}: recorded {_described(adopted.current)} as the current key; nothing was changed")
    for version in adopted.others:
        say.tell(f"{name}: recorded {_described(version)} as a previous key, which is taken away after its grace")
    for note in adopted.notes:
        say.tell(f"{name}: {note}")
    if adopted.current is not None and adopted.current.fingerprint is None:
        say.tell(f"{name}: its value is not on record, so it cannot be pushed anywhere or put back")


def _described(version: Version) -> str:
    made = f"made {words.moment(stamp(version.issued_at))}" if version.issued_at else "made at an unknown time"
    return f"version {version.number} ({version.key_id or 'id not known'}), {made},"


# an extra key


def _extra(service: Service, name: str, key_id: str, because: str | None, manner: Manner, *, yes: bool) -> int:
    """Take a key that nobody needs into retirement, after a person has seen when it was last used."""
    with service.running().dry(name) as work:  # a look needs no lease
        key = adoption.extra_key(work, key_id)
    policy = service.managed[name].policy
    say.warn(f"{_listed(key)}; it is taken away after a grace of {policy.grace} and a soak of {policy.soak}")
    if not agreed("Go on?", "--as previous takes a living key away", yes=yes or manner.dry_run):
        return Status.TROUBLE
    with worked_on(service, name, manner) as work:
        version = adoption.adopt_previous(work, adoption.extra_key(work, key_id), because)
    say.tell(f"{name}: recorded {_described(version)} as a previous key; `rotator explain {name}` says when it goes")
    return Status.DONE


def _listed(key: Key) -> str:
    made = f"made {words.moment(stamp(key.created_at))}" if key.created_at else "made at an unknown time"
    used = "the provider tells no use of it"
    if key.last_used_at is not None:
        used = f"last used {words.moment(stamp(key.last_used_at))}"
        used += f" at {key.last_used_by}" if key.last_used_by else ""
    state = "enabled" if key.enabled else "disabled"
    owner = f", of {key.owner}" if key.owner else ""
    return f"{key.id}{owner}: {state}, {made}, {used}"
