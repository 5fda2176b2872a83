"""What PostgreSQL tells of the role that we work as: until when its password is good, and whether it may everything."""

from __future__ import annotations

from sqlalchemy import text

from rotator.ports.ours import Own
from rotator.store.database import Database, connect, parse

_ROLE = text(  # a password that never ends may be told as no time, or as infinity
    "SELECT current_user, rolsuper, NULLIF(rolvaliduntil, 'infinity') FROM pg_roles WHERE rolname = current_user"
)


def own_role(url: str) -> Own | None:
    """The role of `store.url`; None where the database is a file. Raises StoreUnavailable and SetupError."""
    if parse(url).get_backend_name() != "postgresql":
        return None
    database = Database(connect(url))
    try:
        with database.read() as connection:
            name, whole, until = connection.execute(_ROLE).one()
    finally:
        database.engine.dispose()
    may = "everything: it is a superuser" if whole else f"what the role {name} may"
    return Own(what="database password", expires_at=until, may=may)
