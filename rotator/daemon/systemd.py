"""What systemd is told, and how long it waits for a sign of life: sd_notify(3), without a library."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class Systemd:
    """sd_notify(3): datagrams to `$NOTIFY_SOCKET`; without one, nothing. Never raises."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self.every: float | None = int(usec) / 2e6 if ours and usec.isdecimal() and int(usec) > 0 else None
        """Seconds between two signs of life: half of what systemd waits for. None: it does not watch."""

    def tell(self, *lines: str) -> None:
        """Send `READY=1`, `STATUS=…` and the like, as one message."""
        if not self._address.startswith(("/", "@")):
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(1)
            sender.sendto("\n".join(line.replace("\n", " ") for line in lines).encode(), address)
