"""Where a request comes from: the peer, or what a trusted proxy says about the peer before it.

A forwarding header of anyone else's counts for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import msgspec

from gateway.problems import Refusal

Header = tuple[bytes, bytes]
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LONGEST_ADDRESS = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")


class Source(msgspec.Struct, frozen=True, gc=False):
    """One address, in each form that a request needs, written out once per address rather than per request.

    `network` is what limits count by: an IPv4 address, or the /64 of an IPv6 one, which is what one host or
    household holds. `node` is the form that `Forwarded` wants.
    """

    address: Address
    text: str
    encoded: bytes
    node: bytes
    network: str


@lru_cache(maxsize=8192)
def parse_source(text: str) -> Source:
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    written = str(address)
    if isinstance(address, IPv4Address):
        return Source(address, written, written.encode(), written.encode(), written)
    household = IPv6Address(int(address) >> 64 << 64)
    return Source(address, written, written.encode(), f'"[{written}]"'.encode(), str(household))


def _parse_hop(hop: bytes) -> Source:
    """What others write is kept by its text, so nothing is taken that is longer than an address, or has a zone."""
    if len(hop) > _LONGEST_ADDRESS or b"%" in hop:
        raise ValueError
    return parse_source(hop.decode("ascii"))


_UNKNOWN = parse_source("0.0.0.0")  # noqa: S104  nothing listens on it: it stands for a peer without an address


class Sources:
    """Reads the source of a request, knowing which proxies to believe.

    Whoever asks `of_peer` and is told that the peer is a proxy asks `behind` next; of anybody else, what the peer is
    is the source.
    """

    def __init__(self, trusted: tuple[Network, ...]) -> None:
        self._trusted = trusted
        # The peer, and whether it is a trusted proxy: the same for as long as the configuration is.
        self.of_peer = lru_cache(maxsize=8192)(self._of_peer)

    def is_trusted(self, source: Source) -> bool:
        return any(source.address in network for network in self._trusted)

    def find_charged(self, peer: str, names: tuple[bytes, ...], values: list[bytes]) -> Source | None:
        """Whom to charge for a request that cannot be admitted; nobody, if only a proxy of ours is known.

        Charging the proxy would let one stranger use up what all of its clients have.
        """
        if not peer:
            return None
        sent = zip(names, values, strict=True)
        source, is_proxy = self.of_peer(peer)
        if not is_proxy:
            return source
        try:
            source = self.behind(source, [(name.lower(), value) for name, value in sent])
        except Refusal:
            return None
        return None if self.is_trusted(source) else source

    def behind(self, nearest: Source, proxied: Iterable[Header]) -> Source:
        """The first address, read from the right, that is not one of our own proxies."""
        hops = b",".join(value for name, value in proxied if name == b"x-forwarded-for")
        source = nearest
        for hop in reversed([hop.strip() for hop in hops.split(b",") if hop.strip()]):
            try:
                source = _parse_hop(hop)
            except ValueError:
                raise Refusal(
                    "malformed_headers", "X-Forwarded-For holds something other than addresses."
                ) from None
            if not self.is_trusted(source):
                break
        return source

    def _of_peer(self, peer: str) -> tuple[Source, bool]:
        source = parse_source(peer) if peer else _UNKNOWN
        return source, self.is_trusted(source)
