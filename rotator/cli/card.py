"""The command `card`: what a person types where this service cannot."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from rotator.access.files import replace
from rotator.cli import options, say
from rotator.cli.exits import Status
from rotator.cli.opening import configuration, looking
from rotator.config import select
from rotator.domain.errors import SetupError


@click.command(
    epilog=options.examples(
        "rotator card openai-web", "rotator card -l team=web", "rotator card --out /srv/break-glass   one file for each"
    )
)
@options.names
@options.selector
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write NAME.md for each there.")
@options.common
def card(names: Sequence[str], selector: str | None, out: Path | None, config: str | None) -> int:
    """Print how to replace and end a key by hand: the exact commands, in order, and no secret.

    Keep it where it can be read when rotator cannot be run. With `cards: FOLDER` in the configuration, every pass
    keeps the files there up to date. Nothing outside is asked.
    """
    now, loaded = datetime.now(UTC), configuration(config)
    chosen = [credential.name for credential in select(loaded, names, selector)]
    with looking(loaded) as service:
        made = {name: service.card(name, now) for name in chosen}
    if out is None:
        click.echo("\n".join(made.values()), nl=False)
        return Status.DONE
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        message = f"cannot make the folder {out}: {problem.strerror}"
        raise SetupError(message, remedy="choose another folder") from None
    for name, text in made.items():
        replace(out / f"{name}.md", [text])
    say.tell(f"{len(made)} cards are in {out}")
    return Status.DONE
