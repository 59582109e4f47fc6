"""The verified caller, as the rest of the request sees it. Only authentication makes one."""

from ipaddress import IPv4Network, IPv6Network

import msgspec


class Principal(msgspec.Struct, frozen=True, gc=False):
    partner: str
    credential: str
    environment: str
    tier: str
    roles: tuple[str, ...]
    permissions: frozenset[str]
    # Empty: the credential may be used from anywhere.
    networks: tuple[IPv4Network | IPv6Network, ...]
