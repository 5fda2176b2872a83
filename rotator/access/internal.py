"""Which addresses are internal: what a service inside can reach, and whoever names an address maybe should not."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated

from pydantic import BeforeValidator, InstanceOf, PlainSerializer, WithJsonSchema

from rotator.domain.errors import TemporaryError

IpNetwork = IPv4Network | IPv6Network

_TRANSLATED = (ip_network("64:ff9b::/96"), ip_network("::/96"))
"""IPv6 that ends in the IPv4 address it stands for: NAT64 (RFC 6052) and the old compatible form (RFC 4291)."""


class InternalAddress(TemporaryError):
    """The name leads to an internal address that is not allowed. It may be given another one, so it is tried again."""

    def __init__(self, host: str, address: str) -> None:
        remedy = f"if it is meant, name it: `allow: [{ip_address(_bare(address))}/{_bits(address)}]`"
        super().__init__(f"{host} leads to the internal address {address}, which is not in `allow`", remedy=remedy)


def is_internal(address: str, allowed: Sequence[IpNetwork] = ()) -> bool:
    """Whether an address is anything but a public one, and in none of these networks.

    Loopback, private, link-local with the clouds' metadata services, shared, reserved and multicast ones are internal,
    also where IPv6 spells them (mapped, 6to4, Teredo, NAT64).
    """
    meant = _meant(ip_address(_bare(address)))
    if any(meant.version == network.version and meant in network for network in allowed):
        return False
    return not meant.is_global or meant.is_multicast


def addresses(host: str, port: int | None) -> list[str]:
    """Those that a name has now, whatever way it spells one: decimal, octal or hexadecimal. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


def internal_among(host: str, allowed: Sequence[IpNetwork]) -> InternalAddress | None:
    """What is wrong with the addresses that a name has now; None: nothing, or it has none."""
    try:
        found = addresses(host, None)
    except OSError:
        return None
    return next((InternalAddress(host, each) for each in found if is_internal(each, allowed)), None)


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, IPv4Address):
        return address
    if any(address in network for network in _TRANSLATED) and int(address) > 1:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    server_and_client = address.teredo
    return address.ipv4_mapped or address.sixtofour or (server_and_client[1] if server_and_client else address)


def _bare(address: str) -> str:
    return address.partition("%")[0]  # without the zone of a link-local one


def _bits(address: str) -> int:
    return ip_address(_bare(address)).max_prefixlen


def _network(value: object) -> IpNetwork:
    try:
        return ip_network(str(value))
    except ValueError:
        message = f"{value!r} is not a network; write 10.0.0.0/8, or one address"
        raise ValueError(message) from None


Network = Annotated[
    InstanceOf[IPv4Network] | InstanceOf[IPv6Network],
    BeforeValidator(_network),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "examples": ["10.0.0.0/8", "127.0.0.1"]}),
]
