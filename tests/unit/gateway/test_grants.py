"""What is worked out once for a key on a route's terms, and what brings it out of date."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from auth.assertion import Statement
from gateway.grants import Grants
from keys.secret import HmacKey
from policies import document
from policies.gcra import Limit
from tests.support.served_keys import make_entitlement, make_hmac_key, make_hmac_version
from tests.support.stage_values import READ

POLICIES = document.parse(
    b"""
[permissions."orders:read"]
description = "Read."
[roles.viewer]
permissions = ["orders:read"]
[tiers.standard]
key = { rate = 1, per = "1s", burst = 2 }
partner = { rate = 2, per = "1s", burst = 4 }
""",
    "policies.toml",
)
KEY = make_hmac_key(entitlement=make_entitlement(roles=("viewer",)))
ORDERS = Limit(name="orders", rate=1, per_us=1_000_000, burst=5)


def test_a_grant_says_what_its_key_and_the_routes_terms_say() -> None:
    """Who asks, what is charged, and what the upstream is told."""
    grant = Grants(POLICIES).find(KEY.entitlement, READ.terms)
    assert grant.principal.credential == KEY.id
    assert grant.principal.permissions == {"orders:read"}
    assert (grant.case.requirement, grant.case.open) == (READ.terms.requirement, ())
    assert grant.charges is not None
    assert [each.limit.name for each in grant.charges.buckets] == ["standard.key", "standard.partner"]
    assert grant.statement == Statement("acme", KEY.id, "paper", ("viewer",), "orders:read", "paper")


def test_routes_on_the_same_terms_share_a_grant() -> None:
    """Hundreds of routes that ask the same cost a key one; any difference in the terms makes another."""
    grants = Grants(POLICIES)
    grant = grants.find(KEY.entitlement, READ.terms)
    twin = msgspec.structs.replace(READ, name="twin", pattern="/b", methods=("POST",))
    assert grants.find(KEY.entitlement, twin.terms) is grant
    others: list[dict[str, Any]] = [
        {"permission": "orders:write"},
        {"environment": "live"},
        {"trading": True},
        {"upstream": "other"},
        {"cost": 2},
        {"limits": (ORDERS,)},
    ]
    made = [grants.find(KEY.entitlement, msgspec.structs.replace(READ, **each).terms) for each in others]
    assert len({id(each) for each in (grant, *made)}) == 1 + len(others)


def test_a_limit_of_a_route_is_its_own() -> None:
    """Two routes with equal limits are counted apart."""
    grants = Grants(POLICIES)
    charged = [
        grants.find(KEY.entitlement, msgspec.structs.replace(READ, name=name, limits=(ORDERS,)).terms).charges
        for name in ("one", "two")
    ]
    assert [each.buckets[-1].key for each in charged if each] == ["route:one:orders", "route:two:orders"]


def test_a_key_that_changes_is_granted_anew() -> None:
    """In any way: what is kept is told apart by the entitlement, and a key that is served anew has another one."""
    grants = Grants(POLICIES)
    before = grants.find(KEY.entitlement, READ.terms)
    narrowed = grants.find(msgspec.structs.replace(KEY.entitlement, permissions=()), READ.terms)
    assert before.principal.permissions == {"orders:read"}
    assert narrowed.principal.permissions == frozenset()
    assert not before.case.open
    assert narrowed.case.open


def test_what_lies_with_a_key_is_of_its_terms_and_policies() -> None:
    """Terms that take turns are each granted their own, and other policies grant by their own rules."""
    # A key served anew, whose entitlement no other test has asked about.
    entitlement = msgspec.structs.replace(KEY.entitlement)
    grants, write = Grants(POLICIES), msgspec.structs.replace(READ, permission="orders:write")
    read = grants.find(entitlement, READ.terms)
    for _ in range(2):
        assert grants.find(entitlement, write.terms).case.requirement.permission == "orders:write"
        assert grants.find(entitlement, READ.terms) is read
    none = Grants(document.Policies({}, {}, {})).find(entitlement, READ.terms)
    assert (none.principal.permissions, none.charges) == (frozenset(), None)
    assert grants.find(entitlement, READ.terms) is read


def test_an_entitlement_made_from_another_is_granted_its_own() -> None:
    """What lies with an entitlement does not come along when it is changed."""
    grants = Grants(POLICIES)
    grants.find(KEY.entitlement, READ.terms)
    narrowed = msgspec.structs.replace(KEY.entitlement, permissions=())
    assert grants.find(narrowed, READ.terms).principal.permissions == frozenset()


def test_without_its_tier_a_key_is_granted_no_charges() -> None:
    """None, which is not the same as none to charge."""
    gone = msgspec.structs.replace(KEY.entitlement, tier="gone")
    assert Grants(POLICIES).find(gone, READ.terms).charges is None


def test_what_is_kept_for_a_key_keeps_no_secret() -> None:
    """A key that is rotated or destroyed takes its secret with it, whatever was worked out for it."""
    secret = HmacKey(b"k")
    before = sys.getrefcount(secret)
    key = make_hmac_key(
        entitlement=make_entitlement(roles=("viewer",)), versions=(make_hmac_version(secret=secret),)
    )
    grants = Grants(POLICIES)
    grants.find(key.entitlement, READ.terms)
    assert sys.getrefcount(secret) > before
    del key
    assert sys.getrefcount(secret) == before
