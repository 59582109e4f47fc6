from ipaddress import ip_address, ip_network

import msgspec
import pytest

from policies import decide
from policies.decide import Decision, Reason, RequestFacts, Requirement
from policies.principal import Principal

TRADER = Principal(
    partner="acme",
    credential="prk_paper_x",
    environment="paper",
    tier="standard",
    roles=("trader",),
    permissions=frozenset({"orders:read", "orders:write"}),
    networks=(),
)
WRITE = Requirement(permission="orders:write", environment="paper", trading=True)
FACTS = RequestFacts(source=ip_address("192.0.2.7"), directory_age_ms=100, staleness_bound_ms=30_000)


def codes(decision: Decision) -> list[str]:
    return [reason.code for reason in decision.reasons]


def test_a_request_that_meets_every_criterion_passes() -> None:
    """Allowed, with nothing to explain."""
    assert decide.decide(TRADER, WRITE, FACTS) == Decision(allowed=True, reasons=())


def test_a_permission_that_is_not_held_is_denied_by_name() -> None:
    """The answer says what is missing."""
    requirement = msgspec.structs.replace(WRITE, permission="positions:read")
    decision = decide.decide(TRADER, requirement, FACTS)
    assert decision == Decision(allowed=False, reasons=(Reason("permission_denied", "positions:read"),))


def test_a_principal_without_permissions_is_denied() -> None:
    """Nothing is granted by default."""
    nobody = msgspec.structs.replace(TRADER, permissions=frozenset())
    assert codes(decide.decide(nobody, WRITE, FACTS)) == ["permission_denied"]


@pytest.mark.parametrize("held", ["orders:*", "*", "orders:write ", "ORDERS:WRITE", "orders"])
def test_a_permission_matches_only_itself(held: str) -> None:
    """No wildcard, no prefix, no case folding."""
    principal = msgspec.structs.replace(TRADER, permissions=frozenset({held}))
    assert not decide.decide(principal, WRITE, FACTS).allowed


def test_a_credential_of_another_environment_is_denied() -> None:
    """A paper key does nothing on a live route, and the other way round."""
    live = msgspec.structs.replace(WRITE, environment="live")
    assert codes(decide.decide(TRADER, live, FACTS)) == ["environment_mismatch"]
    live_trader = msgspec.structs.replace(TRADER, environment="live")
    assert codes(decide.decide(live_trader, WRITE, FACTS)) == ["environment_mismatch"]


def test_a_route_that_asks_nothing_lets_every_principal_pass() -> None:
    """Such as the one that says who the caller is."""
    nothing = Requirement(permission=None, environment=None, trading=False)
    nobody = msgspec.structs.replace(TRADER, permissions=frozenset())
    assert decide.decide(nobody, nothing, FACTS).allowed


@pytest.mark.parametrize(
    ("networks", "source", "allowed"),
    [
        (["192.0.2.0/24"], "192.0.2.7", True),
        (["192.0.2.0/24"], "192.0.3.7", False),
        (["198.51.100.0/24", "192.0.2.7/32"], "192.0.2.7", True),
        (["192.0.2.7/32"], "192.0.2.8", False),
        (["192.0.2.0/24"], "::ffff:192.0.2.7", True),
        (["192.0.2.0/24"], "::ffff:192.0.3.7", False),
        (["192.0.2.0/24"], "::c000:207", False),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "192.0.2.7", False),
    ],
)
def test_a_credential_tied_to_networks_works_only_from_them(
    networks: list[str], source: str, allowed: bool
) -> None:
    """Both families, and IPv4 as a dual-stack socket shows it."""
    principal = msgspec.structs.replace(TRADER, networks=tuple(ip_network(each) for each in networks))
    decision = decide.decide(principal, WRITE, msgspec.structs.replace(FACTS, source=ip_address(source)))
    assert decision.allowed is allowed
    assert codes(decision) == ([] if allowed else ["source_not_allowed"])


@pytest.mark.parametrize(
    ("age_ms", "allowed"), [(0, True), (30_000, True), (30_001, False), (-5, True), (-30_001, False)]
)
def test_keys_unconfirmed_for_longer_than_the_bound_do_not_trade(age_ms: int, allowed: bool) -> None:
    """At the bound they still do; an age that can't be is no proof of freshness. Reading goes on."""
    trading = msgspec.structs.replace(WRITE, trading=True)
    reading = msgspec.structs.replace(WRITE, trading=False)
    facts = msgspec.structs.replace(FACTS, directory_age_ms=age_ms)
    assert codes(decide.decide(TRADER, trading, facts)) == ([] if allowed else ["key_store_stale"])
    assert decide.decide(TRADER, reading, facts).allowed


def test_every_reason_is_listed_in_the_order_they_are_answered() -> None:
    """The first one is what the caller hears; the audit line has them all."""
    stranger = msgspec.structs.replace(TRADER, permissions=frozenset(), networks=(ip_network("10.0.0.0/8"),))
    requirement = msgspec.structs.replace(WRITE, environment="live", trading=True)
    stale = msgspec.structs.replace(FACTS, directory_age_ms=60_000)
    assert decide.decide(stranger, requirement, stale).reasons == (
        Reason("environment_mismatch", "live"),
        Reason("source_not_allowed", "192.0.2.7"),
        Reason("permission_denied", "orders:write"),
        Reason("key_store_stale", "orders:write"),
    )
