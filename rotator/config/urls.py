"""The addresses of databases that the store can open."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

_POSTGRES = {"postgresql+psycopg", "postgresql", "postgres"}
_KNOWN = "write sqlite:///FILE or postgresql+psycopg://HOST/NAME"


def database_url(text: str, folder: Path, *, password: bool) -> str:
    """The URL as SQLAlchemy takes it: the driver named, SQLite's file absolute from `folder` on.

    Raises ValueError with a sentence that never holds the URL: if it is none of ours, or if it holds a password
    and `password` says that none may stand there.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in {"sqlite", *_POSTGRES}:
        message = f"is not the URL of a database that we know: {_KNOWN}"
        raise ValueError(message)
    if scheme == "sqlite":
        return _sqlite(rest, folder)
    try:
        parts = urlsplit(text)
        secret = parts.password is not None or any("password" in name.lower() for name, _ in parse_qsl(parts.query))
        # An `@` behind the host is a password that was not percent-encoded.
        whole = parts.port != 0 and "@" not in f"{parts.path}{parts.query}{parts.fragment}"
    except ValueError:
        secret, whole = False, False
    if not whole:
        message = f"is not a URL; {_KNOWN}, with odd characters percent-encoded"
        raise ValueError(message)
    if secret and not password:
        message = "holds a password: name the place of the whole URL instead, such as `url: env:DATABASE_URL`"
        raise ValueError(message)
    return f"postgresql+psycopg://{rest}"


def _sqlite(rest: str, folder: Path) -> str:
    file, question, query = rest.removeprefix("/").partition("?")
    if not rest.startswith("/") or file in ("", ":memory:"):
        message = f"names no file, so nothing would be remembered: {_KNOWN}"
        raise ValueError(message)
    return f"sqlite:///{(folder / Path(file).expanduser()).absolute()}{question}{query}"
