"""A database that went back in time, or is a copy: nothing is created or taken away until a person has looked.

The state is the finding `reconcile`. What it is found by: the database lives elsewhere, or on another timeline, than
it was known to; its trail ends before the mark outside, or goes another way; a key carries a label of ours and has no
row; a destination was written by a worker of ours that the rows do not know.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from rotator.domain.errors import SetupError, TemporaryError
from rotator.domain.events import Outcome, Subject, name
from rotator.domain.model import CredentialId, Finding
from rotator.domain.policy import NotDue
from rotator.engine.findings import News, find
from rotator.engine.labels import called, labelled
from rotator.engine.work import Surroundings, Target, Work
from rotator.ports.provider import Key
from rotator.ports.store import Anchor, Installation, Mark, NewEvent, Store

RECONCILE = Subject.RECONCILE.value
REMEDY = "`rotator reconcile` shows the differences and asks; until then nothing is created or taken away"


def standing(store: Store) -> Finding | None:
    """The finding that stops the installation, if one stands."""
    return store.standing(RECONCILE)


def held(findings: Sequence[Finding]) -> NotDue | None:
    """Why nothing at all is done, as far as these tell; None where nothing is in the way."""
    found = next((finding for finding in findings if finding.kind == RECONCILE), None)
    return None if found is None else NotDue(reason="reconcile", message=found.message, until=None)


def refuse(work: Work) -> None:
    """Raise where the installation is stopped: asked once more before each act that creates or takes away."""
    found = standing(work.store)
    if found is not None:
        raise TemporaryError(found.message, reason="reconcile", remedy=REMEDY)


def event(
    subject: Subject,
    outcome: Outcome,
    around: Surroundings,
    *,
    key_id: str | None = None,
    reason: str | None = None,
    **detail: Any,
) -> NewEvent:
    """An event of the installation as a whole."""
    return NewEvent(event=name(subject, outcome), actor=around.actor, key_id=key_id, reason=reason, detail=detail)


# the database itself


def look_at_database(store: Store, anchor: Anchor | None, around: Surroundings) -> None:
    """Compare the database with what is known of it. To be done before any work. Raises SetupError for the anchor."""
    mark = anchor.read() if anchor is not None else None  # before the head: that may only have gone on since
    installation, home = store.installation(), store.home()
    known = installation.home
    why = _off_the_mark(store, installation, mark, anchored=anchor is not None)
    if why and store.standing(RECONCILE, "trail") is None:
        _find(store, around, "trail", why)  # once: that very event moves the end of the trail
    if home.place is None:
        return
    if known is None:
        store.settle_in(home, anchored=installation.anchored)
    elif known.place != home.place:
        what = f"the database was at {known.place} and is at {home.place} now: it is a copy, or was restored"
        _find(store, around, "database", what)
    elif None in (known.timeline, home.timeline) or known.timeline == home.timeline:
        return
    elif mark is not None and not why:
        store.settle_in(home, anchored=installation.anchored)  # a fail-over that has lost nothing
    else:
        what = f"the database failed over or was restored (timeline {known.timeline} became {home.timeline})"
        _find(store, around, "database", what)


def _off_the_mark(store: Store, installation: Installation, mark: Mark | None, *, anchored: bool) -> str:
    if mark is None:
        if not installation.anchored:
            return ""
        return "the mark of its trail outside the database is " + ("gone" if anchored else "not configured any more")
    if mark.install != installation.id:
        return f"the mark outside the database is of another installation ({mark.install})"
    seq, _ = store.head()
    if seq < mark.seq:
        return f"its trail ends at event {seq}, and the mark outside the database is at {mark.seq}"
    event = next(iter(store.events(mark.seq - 1)), None)
    if event is None or event.hash != mark.hash:
        return f"its trail is another one than the mark outside the database knows (event {mark.seq})"
    return ""


def drop_anchor(store: Store, anchor: Anchor | None, around: Surroundings) -> None:
    """Move the mark on to the end of the trail; never while the installation is stopped."""
    if anchor is None or standing(store) is not None:
        return
    installation, (seq, last) = store.installation(), store.head()
    cleared = event(Subject.UNREADY, Outcome.CLEARED, around)
    try:
        before = anchor.read()
        if before is None or before.seq < seq:
            anchor.write(Mark(install=installation.id, seq=seq, hash=last))
    except SetupError as problem:
        found = event(Subject.UNREADY, Outcome.FOUND, around, reason=problem.reason)
        news = News(kind=Subject.UNREADY, subject="anchor", what=problem.message, remedy=problem.remedy)
        find(store, around.new_id, news, found, cleared)
        return
    store.clear(Subject.UNREADY, "anchor", cleared)
    if not installation.anchored:
        store.settle_in(store.home(), anchored=True)


def _find(
    store: Store,
    around: Surroundings,
    subject: str,
    what: str,
    *,
    credential_id: CredentialId | None = None,
    account: str | None = None,
    key: str | None = None,
) -> None:
    news = News(kind=RECONCILE, subject=subject, what=what, remedy=REMEDY, credential_id=credential_id, account=account)
    found = event(Subject.RECONCILE, Outcome.FOUND, around, key_id=key, reason="reconcile")
    cleared = event(Subject.RECONCILE, Outcome.CLEARED, around)
    find(store, around.new_id, news, found, cleared)


# what the world shows


def unknown_labels(work: Work, keys: Sequence[Key]) -> list[Key]:
    """Keys with a label of ours, for a credential that is on record, whose version is not.

    A label with another name is another installation's: its key is a stranger here.
    """
    unknown = [key for key in keys if (of := labelled(key)) is not None and work.version(of) is None]
    if not unknown:
        return []
    names = {credential.name for credential in work.store.credentials()}
    return [key for key in unknown if called(key) in names]


def look_at_labels(work: Work, account: str, keys: Sequence[Key]) -> None:
    """Find each key of ours that has no row."""
    for key in unknown_labels(work, keys):
        what = f"the key {key.id} ({key.label}) carries this service's label and this database does not know it"
        _find(
            work.store,
            work.around,
            key.id,
            what,
            credential_id=work.credential.id,
            account=account,
            key=key.id,
        )


def look_at_writer(work: Work, target: Target, revision: str) -> None:
    """A place whose value is not on record, written with a token of ours: by a worker that has newer rows."""
    if any(p.revision == revision for p in work.situation.placements_at(target.destination.identity).values()):
        return
    try:
        ours = uuid.UUID(revision).version == TOKEN_VERSION
    except ValueError:
        return  # this kind of place does not tell who wrote
    if ours:
        what = f"{target.destination.address} was written by a worker of this service that this database does not know"
        _find(work.store, work.around, target.destination.address, what, credential_id=work.credential.id)


TOKEN_VERSION = 5
"""Our writes carry a UUID made from names (`rotation.push_one`); what others write has a random one."""
