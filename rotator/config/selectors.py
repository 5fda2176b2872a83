"""Which credentials a command is about: by name, and by facts (`-l team=web,env!=dev,tier,owner=web@example.com`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from rotator.config.models import Config, CredentialConfig
from rotator.config.problems import nearest
from rotator.domain.errors import SetupError

Facts = Mapping[str, str]

_TERM = re.compile(r"(?P<absent>!)?(?P<key>[^=!,\s]+)(?:(?P<operator>!=|==?)(?P<value>[^=!,]*))?")


def select(config: Config, names: Iterable[str], selector: str | None) -> list[CredentialConfig]:
    """The credentials of these names (none given: all) that fit the selector, in the order of the names or the file.

    A selector is a list of terms that must all hold: `team=web`, `env!=dev` (another value or none), `tier` (any
    value), `!tier` (none). They are about `CredentialConfig.facts`. Raises SetupError for a name that is not known, and
    where a selector fits nothing.
    """
    names = list(dict.fromkeys(names))
    unknown = [name for name in names if name not in config.credentials]
    if unknown:
        raise _unknown(unknown, config)
    chosen = [config.credentials[name] for name in names or config.credentials]
    if selector is None:
        return chosen
    fits = selected_by(selector)
    fitting = [credential for credential in chosen if fits(credential.facts)]
    if not fitting:
        known = {f"{key}={value}" for credential in chosen for key, value in credential.facts.items() if key != "name"}
        message = f"no credential fits the selector {selector}"
        raise SetupError(message, reason="no_match", remedy=f"what the file has: {', '.join(sorted(known))}")
    return fitting


def selected_by(selector: str) -> Callable[[Facts], bool]:
    """Whether facts fit a selector. Raises SetupError where it is none."""
    terms = [_term(term.strip()) for term in selector.split(",")]
    return lambda facts: all(term(facts) for term in terms)


def _unknown(names: list[str], config: Config) -> SetupError:
    meant = dict.fromkeys(near for name in names if (near := nearest(name, config.credentials)))
    message = f"no credential is called {', '.join(names)}"
    if meant:
        return SetupError(message, reason="unknown_credential", remedy=f"did you mean {', '.join(meant)}?")
    remedy = "`rotator status` lists them all; one that was taken out is put back first"
    return SetupError(message, reason="unknown_credential", remedy=remedy)


def _term(text: str) -> Callable[[Facts], bool]:
    match = _TERM.fullmatch(text)
    if match is None or (match["absent"] and match["operator"]):
        message = f"{text!r} is not a selector"
        remedy = "write team=web, env!=dev, tier or !tier, with commas between them"
        raise SetupError(message, reason="usage", remedy=remedy)
    key, value = match["key"], match["value"]
    if match["operator"] is None:
        wanted = match["absent"] is None
        return lambda facts: (key in facts) is wanted
    wanted = match["operator"] != "!="
    return lambda facts: (facts.get(key) == value) is wanted
