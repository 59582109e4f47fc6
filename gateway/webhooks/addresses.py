"""Which addresses a partner may make us connect to. Pure.

Invariant: only addresses of the public internet pass, and those that the operator named. What carries another address
inside (IPv4-mapped, 6to4, Teredo, NAT64 but for the well-known prefix around a public address) is refused, since a
network may unpack it. Where clouds keep their metadata is refused whatever the operator named.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Nobody has a reason to be told anything there, and what answers there may hand out the machine's own credentials.
_NEVER: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "192.0.0.192/32",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "::ffff:0:0/96",
        "fd00:ec2::/32",
        "fd20:ce::/32",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_NOT_PUBLIC_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
    )
)
# Within the range that global addresses are given out of.
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(
    IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
# Where a network without IPv4 reaches the internet, a resolver writes every public IPv4 address like this.
_NAT64: Final = IPv6Network("64:ff9b::/96")
_LOW_32: Final = 0xFFFF_FFFF


def is_allowed(address: Address, networks: Iterable[Network]) -> bool:
    """`networks` are the operator's exceptions."""
    if getattr(address, "scope_id", None) is not None or _is_in(address, _NEVER):
        return False
    return _is_in(address, networks) or is_public(address)


def is_never_allowed(network: Network) -> bool:
    """An exception for it would be without effect."""
    return any(network[0] in never and network[-1] in never for never in _NEVER)


def is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address in _NAT64:
        return is_public(IPv4Address(int(address) & _LOW_32))
    if _is_in(address, _NEVER) or not address.is_global:
        return False
    if isinstance(address, IPv4Address):
        return not _is_in(address, _NOT_PUBLIC_V4)
    return address in _GLOBAL_V6 and not _is_in(address, _NOT_PUBLIC_V6)


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
