"""The command `completion`: what a shell is given so that Tab completes commands, options and names."""

from __future__ import annotations

import os

import click
from click.shell_completion import CompletionItem, get_completion_class

from rotator.cli import options

_SCRIPTS = ("rotator", "rotate")


@click.command(
    epilog=options.examples(
        'eval "$(rotator completion bash)"                        in ~/.bashrc',
        'eval "$(rotator completion zsh)"                         in ~/.zshrc, after compinit',
        "rotator completion fish > ~/.config/fish/conf.d/rotator.fish",
    )
)
@options.verbose
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the lines that make Tab complete `rotator` and `rotate` in SHELL.

    Names of credentials come from the configuration that a command would take. Needs bash 4.4 or newer.
    """
    found = get_completion_class(shell)
    assert found is not None
    for script in _SCRIPTS:
        # Of what click would make of it, only the text is wanted; `source` would also start a bash to ask its version.
        made = found(click.Command(script), {}, script, f"_{script.upper()}_COMPLETE")
        click.echo(made.source_template % made.source_vars())


def credential_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The credentials that begin so. Where the configuration cannot be read there are none, and nothing is said."""
    from rotator.config import find, load
    from rotator.domain.errors import RotatorError

    try:
        config = load(find(ctx.params.get("config"), os.environ))
    except (RotatorError, OSError):
        return []
    given = set(ctx.params.get("names") or ())
    return [CompletionItem(name) for name in config.credentials if name.startswith(incomplete) and name not in given]
