"""The break-glass card: how a person replaces and ends a key by hand, in order, where this service cannot.

It holds no secret. It is made from the configuration and the rows, so that it is right as long as both are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from rotator.domain.model import Situation, Version
from rotator.domain.template import Template
from rotator.engine.work import Managed, Target
from rotator.ports.by_hand import KeysByHand, PlaceByHand
from rotator.ports.provider import Asks


def card(managed: Managed, situation: Situation | None, environment: str, at: datetime | None = None) -> str:
    """The card of one credential, as Markdown. `at`: when it was made; left out where it is compared with another."""
    return "\n".join(_lines(managed, situation, environment, at)) + "\n"


def _lines(managed: Managed, situation: Situation | None, environment: str, at: datetime | None) -> Iterator[str]:
    name = managed.name
    current = situation.current if situation is not None else None
    older = [v for v in situation.versions if v.state.living and v != current] if situation is not None else []
    yield f"# {name}, by hand"
    yield ""
    yield "For when rotator cannot: with its database or sealing key gone it deliberately does nothing. Else use"
    yield f"`rotate --now {name} --compromised`. Nothing on this card is secret."
    yield ""
    yield f"- environment: {environment}{f'; card of {at:%Y-%m-%d %H:%M} UTC' if at is not None else ''}"
    yield f"- owner: {managed.owner or 'nobody is named'}"
    if managed.runbook:
        yield f"- runbook: {managed.runbook}"
    yield f"- provider: {managed.provider_name}{f', account {current.account}' if current is not None else ''}"
    yield f"- the key in use: {_named(current)}"
    for version in older:
        yield f"- also alive: {_named(version)}, {version.state}"
    yield from _steps(managed, current, older)


def _named(version: Version | None) -> str:
    if version is None:
        return "not on record"
    return f"version {version.number}, {version.key_id or 'whose id is not known'}"


def _steps(managed: Managed, current: Version | None, older: Sequence[Version]) -> Iterator[str]:
    yield from _block("1. Make a new key", _made(managed))
    yield from _block("2. Keep it in variables: paste it; nothing shows, and nothing is in the history", _kept(managed))
    for number, target in enumerate(managed.targets):
        yield from _block(f"3{chr(ord('a') + number % 26)}. Write it to {target.destination.address}", _written(target))
    yield from _block("4. Have it read", [_told(target) for target in managed.targets])
    ended = [line for v in (current, *older) if v is not None for line in _ended(managed, v)]
    yield from _block("5. Only once every reader has the new key: end the old one", ended)
    after = [
        f"rotator check {managed.name}",
        f"rotator adopt {managed.name}  # or `rotator drift accept`, `rotator reconcile`: whichever it asks for",
    ]
    yield from _block("6. When rotator works again, have it take the new key over", after)


def _block(heading: str, lines: Iterable[str]) -> Iterator[str]:
    yield from ("", f"## {heading}", "", "```sh", *lines, "```")


def _made(managed: Managed) -> Sequence[str]:
    if isinstance(managed.provider, KeysByHand):
        return managed.provider.made_by_hand()
    if isinstance(managed.provider, Asks):
        return [f"# {managed.provider.instructions()}"]
    return [f"# make a key for {managed.provider_name} where it is administered"]


def _ended(managed: Managed, version: Version) -> Sequence[str]:
    if version.key_id is None:
        return [f"# the key of version {version.number} is labelled {version.label}"]
    if isinstance(managed.provider, KeysByHand):
        return managed.provider.ended_by_hand(version.key_id)
    return [f"# end {version.key_id} where it was made"]


def _written(target: Target) -> Sequence[str]:
    if isinstance(target.destination, PlaceByHand):
        return target.destination.written_by_hand({f: _value(t) for f, t in target.main.items()})
    return [f"# write {', '.join(target.main)} where this place is kept"]


_SPELLINGS = {
    "url": 'python3 -c \'import sys, urllib.parse as u; print(u.quote(sys.stdin.read(), safe=""), end="")\'',
    "base64": "base64 | tr -d '\\n'",
}


def _kept(managed: Managed) -> Iterator[str]:
    """The variables of the new key, and of its other spellings that a place wants."""
    wanted: dict[tuple[str, str | None], None] = dict.fromkeys(
        (m, None) for m in managed.provider.capabilities.material
    )

    def want(name: str, form: str | None) -> str:
        if name not in _BY_HAND:
            wanted[name, None] = wanted[name, form] = None
        return ""

    for target in managed.targets:
        for template in target.main.values():
            template.filled(want, lambda text: text)
    for name, form in wanted:
        known = _variable(name, None)
        if form is None:
            yield f"read -rs {known} && export {known}"
        else:
            yield f'export {_variable(name, form)}="$(printf %s "${known}" | {_SPELLINGS[form]})"'


_BY_HAND = ("version", "fingerprint")
"""Facts that a key made by hand does not have."""


def _told(target: Target) -> str:
    how = f"as we do: {target.reload.name}" if target.reload else "restart them, unless they look by themselves"
    return f"# the readers of {target.destination.address}: {how}"


def _variable(name: str, form: str | None) -> str:
    return f"NEW_{name.upper()}{f'_{form.upper()}' if form else ''}"


def _value(template: Template) -> str:
    """What stands between double quotes for a field."""

    def fill(name: str, form: str | None) -> str:
        return "by-hand" if name in _BY_HAND else f"${{{_variable(name, form)}}}"

    return template.filled(fill, _quoted)


def _quoted(text: str) -> str:
    for special in '\\"$`':
        text = text.replace(special, f"\\{special}")
    return text
