"""Syslog over TLS: RFC 5424 messages, framed and carried as RFC 5425 says.

Syslog has no acknowledgement. So every batch has a connection of its own, which is closed in the orderly way of TLS
(RFC 5425, 4.4): the other side's end of it comes after everything before it was read. Only then is it accepted.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from rotator import __version__
from rotator.access.formats import FORMATS, PRODUCT, Origin, event_of
from rotator.access.sinks import SinkSettings
from rotator.domain.errors import LostAnswer, SetupError, Unavailable
from rotator.domain.events import Outcome
from rotator.ports.store import StoredEvent
from rotator.settings import FilePath

LOG_AUDIT = 13
"""The facility, RFC 5424, table 1."""

_ERROR, _WARNING, _NOTICE, _INFORMATIONAL = 3, 4, 5, 6  # severities, RFC 5424, table 2
_SEVERITIES = {
    Outcome.FAILED: _ERROR,
    Outcome.BLOCKED: _WARNING,
    Outcome.FOUND: _WARNING,
    Outcome.DELAYED: _NOTICE,
}


class SyslogSettings(SinkSettings):
    """`{type: syslog, host: siem.example, ca_file: siem-ca.pem}`."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]{1,253}$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 6514  # RFC 5425, 4.1
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None


class SyslogSink:
    """One receiver. Its certificate is always checked."""

    Settings: ClassVar[type[SyslogSettings]] = SyslogSettings

    most = 200

    def __init__(self, settings: SyslogSettings, origin: Origin, timeout: timedelta) -> None:
        self._settings = settings
        self._origin = origin
        self._timeout = timeout.total_seconds()

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Send them and wait for the end of the connection."""
        self._send(b"".join(frame(syslog_message(e, self._settings.format, self._origin)) for e in events))

    def look(self) -> None:
        """Agree on TLS, and close the connection again."""
        self._send(b"")

    def _send(self, content: bytes) -> None:
        end = time.monotonic() + self._timeout
        where = f"the syslog server {self._settings.host}:{self._settings.port}"
        trust = self._trust()
        try:
            plain = socket.create_connection((self._settings.host, self._settings.port), _left(end))
        except OSError as problem:
            message = f"cannot connect to {where}: {problem.strerror or type(problem).__name__}"
            raise Unavailable(message) from None
        with plain:
            try:
                secured = trust.wrap_socket(plain, server_hostname=self._settings.host)
            except ssl.SSLCertVerificationError:
                message = f"the certificate of {where} is not trusted"
                raise Unavailable(
                    message, remedy="check `ca_file`, and that `host` is the certificate's name"
                ) from None
            except OSError:  # SSLError is one
                message = f"{where} does not speak TLS with us"
                raise Unavailable(message) from None
            with secured:
                try:
                    _hand_over(secured, content, end)
                except OSError:
                    message = f"the connection to {where} broke before it had read everything"
                    raise LostAnswer(message) from None

    def _trust(self) -> ssl.SSLContext:
        settings = self._settings
        try:
            ca_file = None if settings.ca_file is None else str(settings.ca_file)
            trust = ssl.create_default_context(cafile=ca_file)
            trust.minimum_version = ssl.TLSVersion.TLSv1_2
            if settings.cert_file is not None:
                trust.load_cert_chain(settings.cert_file, settings.key_file)
        except OSError:
            files = [f for f in (settings.ca_file, settings.cert_file, settings.key_file) if f is not None]
            message = f"cannot read certificates from {', '.join(map(str, files))}"
            raise SetupError(message, remedy="they have to be readable PEM files") from None
        return trust

    def close(self) -> None:
        """Nothing is kept open."""


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _hand_over(secured: ssl.SSLSocket, content: bytes, end: float) -> None:
    """Raises OSError unless everything was read on the other side."""
    secured.settimeout(_left(end))
    secured.sendall(content)
    secured.settimeout(_left(end))
    try:
        secured.unwrap()  # sends close_notify, and waits for the other side's
    except ssl.SSLEOFError:  # it closed without a word, after it had read; a reset is another error
        pass
    except ssl.SSLError as problem:
        if problem.reason != "APPLICATION_DATA_AFTER_CLOSE_NOTIFY":  # it talks where it should listen
            raise


def frame(message: bytes) -> bytes:
    """SYSLOG-FRAME of RFC 5425: the length in octets, a space, the message."""
    return b"%d %s" % (len(message), message)


def syslog_message(event: StoredEvent, format_name: str, origin: Origin) -> bytes:
    """SYSLOG-MSG of RFC 5424, its text the event as a line.

    MSGID is the event's name, and the structured data are the standard element `origin`. Text beyond ASCII begins
    with the mark of UTF-8, as 6.4 demands.
    """
    fields = event_of(event)
    name = str(fields["event"])
    severity = _SEVERITIES.get(Outcome(name.rpartition(".")[2]), _INFORMATIONAL)
    host = "".join(c for c in origin.host if "!" <= c <= "~")[:255] or "-"
    head = f"<{LOG_AUDIT * 8 + severity}>1 {fields['at']} {host} rotator - {name[:32]}"
    text = FORMATS[format_name](event, origin)
    mark = b"" if text.isascii() else b"\xef\xbb\xbf"
    data = f'[origin software="{PRODUCT}" swVersion="{__version__}"]'
    return f"{head} {data} ".encode() + mark + text.encode()
