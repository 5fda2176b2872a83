"""How connections of ours are made: to which addresses, with which TLS, and by when all of it has to be over.

httpcore makes and keeps them; this is what it dials with (https://www.encode.io/httpcore/network-backends/).
Imported late, since it brings httpcore.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpcore
import httpx

from rotator.access.internal import InternalAddress, IpNetwork, addresses, is_internal
from rotator.domain.errors import SetupError


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer with a server whose certificate is good for its name; `ca_file`: instead of public authorities.

    Raises SetupError where the file cannot be read.
    """
    if ca_file is None:
        return _public()
    try:
        context = ssl.create_default_context(cafile=str(ca_file))
    except OSError:  # SSLError is one
        message = f"cannot read certificates from {ca_file}"
        raise SetupError(message, remedy="check `ca_file`: it has to be a readable PEM file") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@cache
def _public() -> ssl.SSLContext:
    """One for all: to read all these authorities takes longer than a call does."""
    context = httpx.create_ssl_context(trust_env=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Network(httpcore.NetworkBackend):
    """Dials the very address that was looked at: a name cannot mean another one a moment later.

    With `allowed`, internal addresses are refused unless they are in one of these networks.
    """

    def __init__(self, allowed: Sequence[IpNetwork] | None) -> None:
        self._allowed = allowed
        self._ends = threading.local()

    @contextmanager
    def ending(self, at: float) -> Iterator[None]:
        """All that this thread does on connections of ours in the block ends at this moment of the monotonic clock."""
        self._ends.at = at
        try:
            yield
        finally:
            del self._ends.at

    def left(self, over: type[Exception]) -> float:
        """Seconds that are left; raises `over` where none is."""
        seconds: float = self._ends.at - time.monotonic()
        if seconds <= 0:
            raise over
        return seconds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - of httpcore
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Try each of its addresses in turn."""
        problem: Exception = httpcore.ConnectError("the name has no address")
        for address in self._addresses(host, port):
            limit = self.left(httpcore.ConnectTimeout)
            try:
                stream = httpcore.SyncBackend().connect_tcp(address, port, limit, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                problem = failed
            else:
                return _Stream(stream, self)
        raise problem

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.NetworkStream:
        """Not used."""
        raise NotImplementedError

    def _addresses(self, host: str, port: int) -> list[str]:
        """Those that the name has now, refused as a whole where one of them is internal and not allowed."""
        try:
            found = addresses(host, port)
        except (OSError, UnicodeError) as failed:
            raise httpcore.ConnectError(failed) from failed
        for address in found if self._allowed is not None else ():
            if is_internal(address, self._allowed or ()):
                raise InternalAddress(host, address)
        return found


class _Stream(httpcore.NetworkStream):
    """A connection whose every operation knows when all is over."""

    def __init__(self, stream: httpcore.NetworkStream, network: Network) -> None:
        self._stream = stream
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - of httpcore
        return self._stream.read(max_bytes, self._network.left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - of httpcore
        self._stream.write(buffer, self._network.left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - of httpcore
    ) -> httpcore.NetworkStream:
        left = self._network.left(httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
