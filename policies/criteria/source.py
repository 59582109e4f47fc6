"""A credential tied to networks is good only from inside one of them."""

from ipaddress import IPv4Address, IPv6Address

from policies.decision import Reason, RequestFacts, Requirement
from policies.principal import Principal


def is_always_met(principal: Principal, _requirement: Requirement) -> bool:
    return not principal.networks


def find_reason(principal: Principal, requirement: Requirement, facts: RequestFacts) -> Reason | None:
    if is_always_met(principal, requirement):
        return None
    address = _unmapped(facts.source)
    if any(address in network for network in principal.networks):
        return None
    return Reason(code="source_not_allowed", subject=str(address))


def _unmapped(source: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    # A dual-stack socket shows an IPv4 peer as ::ffff:a.b.c.d, which lies in no IPv4 network as it stands.
    if isinstance(source, IPv6Address) and source.ipv4_mapped is not None:
        return source.ipv4_mapped
    return source
