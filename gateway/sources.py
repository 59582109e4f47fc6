"""Where a request comes from: the peer, or what a trusted proxy says about the peer before it.

A forwarding header of anyone else's counts for nothing.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from gateway.problems import Refusal

Header = tuple[bytes, bytes]
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@lru_cache(maxsize=8192)
def parse_address(text: str) -> Address:
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def network_of(address: Address) -> Address:
    """What limits count by: an IPv4 address, or the /64 of an IPv6 one, which is what one host or household holds."""
    return IPv6Address(int(address) >> 64 << 64) if isinstance(address, IPv6Address) else address


class Sources:
    """Reads the source of a request, knowing which proxies to believe."""

    def __init__(self, trusted: tuple[Network, ...]) -> None:
        self._trusted = trusted

    def is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)

    def find(self, peer: str, proxied: list[Header]) -> tuple[Address, bool]:
        """The source address, and whether the peer is a trusted proxy."""
        address = parse_address(peer) if peer else IPv4Address(0)
        if not self._trusted or not self.is_trusted(address):
            return address, False
        return self._behind(address, proxied), True

    def find_charged(self, peer: str, headers: list[Header]) -> Address | None:
        """Whom to charge for a request that cannot be admitted; nobody, if only a proxy of ours is known.

        Charging the proxy would let one stranger use up what all of its clients have.
        """
        if not peer:
            return None
        proxied = [header for header in headers if header[0] == b"x-forwarded-for"]
        try:
            source, _ = self.find(peer, proxied)
        except Refusal:
            return None
        return None if self.is_trusted(source) else source

    def _behind(self, nearest: Address, proxied: list[Header]) -> Address:
        """The first address, read from the right, that is not one of our own proxies."""
        hops = b",".join(value for name, value in proxied if name == b"x-forwarded-for")
        source = nearest
        for hop in reversed([hop.strip() for hop in hops.split(b",") if hop.strip()]):
            try:
                source = parse_address(hop.decode("ascii"))
            except ValueError:
                raise Refusal(
                    "malformed_headers", "X-Forwarded-For holds something other than addresses."
                ) from None
            if not self.is_trusted(source):
                break
        return source
