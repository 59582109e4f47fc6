"""What is not called a widening lets nothing pass that was refused before."""

import ipaddress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys import changing
from keys.records import ApiKey, KeyChange, Partner, PartnerChange

KEY = ApiKey(
    id="prk_x", partner="acme", environment="live", algorithm="hmac-sha256", roles=("a",), created_at=0
)
# A few bits decide, so that ranges meet, contain and touch each other.
CIDRS = st.builds(
    lambda bits, length: str(ipaddress.ip_network((bits << 28, length), strict=False)),
    st.integers(0, 15),
    st.integers(0, 4),
)
SIXES = st.builds(
    lambda bits, length: str(ipaddress.ip_network((bits << 124, length), strict=False)),
    st.integers(0, 15),
    st.integers(0, 4),
)
LISTS = st.lists(CIDRS | SIXES, max_size=5).map(tuple)
WORDS = st.lists(st.sampled_from("abcd"), max_size=4, unique=True).map(tuple)
KEYS = st.builds(
    lambda roles, permissions, cidrs, expires_at: msgspec.structs.replace(
        KEY, roles=roles, permissions=permissions, cidrs=cidrs, expires_at=expires_at
    ),
    WORDS,
    st.none() | WORDS,
    LISTS,
    st.none() | st.integers(1, 4),
)
PLACES = [
    *(ipaddress.ip_address(bits << 28) for bits in range(16)),
    *(ipaddress.ip_address(bits << 124) for bits in range(16)),
]


def admits(key: ApiKey, place: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return not key.cidrs or any(place in ipaddress.ip_network(cidr) for cidr in key.cidrs)


def allows(key: ApiKey) -> set[tuple[str, str]]:
    """By which role, which permission: whatever a role will grant one day."""
    return {
        (role, permission)
        for role in key.roles
        for permission in "abcd"
        if key.permissions is None or permission in key.permissions
    }


@given(KEYS, KEYS)
def test_what_is_no_widening_lets_in_nothing_new(before: ApiKey, after: ApiKey) -> None:
    """Neither from another address, nor by another role or permission, nor at a later time."""
    if changing.find_widenings(before, after):
        return
    assert all(admits(before, place) for place in PLACES if admits(after, place))
    assert allows(after) <= allows(before)
    assert before.expires_at is None or (after.expires_at or 99) <= before.expires_at


@given(KEYS)
def test_what_stays_is_no_widening(key: ApiKey) -> None:
    """However it is spelled: in another order, too."""
    turned = msgspec.structs.replace(key, roles=key.roles[::-1], cidrs=key.cidrs[::-1])
    assert changing.find_widenings(key, turned) == ()


@pytest.mark.parametrize(
    ("before", "after", "widened"),
    [
        (KeyChange(cidrs=("10.0.0.0/9", "10.128.0.0/9")), KeyChange(cidrs=("10.0.0.0/8",)), ()),
        (KeyChange(cidrs=("10.0.0.0/8",)), KeyChange(cidrs=("10.1.0.0/16", "10.2.0.0/16")), ()),
        (KeyChange(cidrs=("10.0.0.0/9",)), KeyChange(cidrs=("10.0.0.0/8",)), ("cidrs",)),
        (KeyChange(cidrs=("10.0.0.0/8",)), KeyChange(cidrs=("10.0.0.0/8", "2001:db8::/32")), ("cidrs",)),
        (KeyChange(cidrs=("10.0.0.0/8",)), KeyChange(cidrs=()), ("cidrs",)),
        (KeyChange(cidrs=()), KeyChange(cidrs=("0.0.0.0/0",)), ()),
        (KeyChange(roles=("a",)), KeyChange(roles=("a", "b")), ("roles",)),
        (KeyChange(permissions=()), KeyChange(permissions=None), ("permissions",)),
        (KeyChange(permissions=("x:y",)), KeyChange(permissions=("x:z",)), ("permissions",)),
        (KeyChange(expires_at=5), KeyChange(expires_at=None), ("expires_at",)),
        (KeyChange(expires_at=5), KeyChange(expires_at=6), ("expires_at",)),
        (KeyChange(expires_at=None), KeyChange(expires_at=6), ()),
        (KeyChange(label="a"), KeyChange(label="b"), ()),
    ],
)
def test_widenings_are_named(before: KeyChange, after: KeyChange, widened: tuple[str, ...]) -> None:
    """By the fields in which the key gets more."""
    old = changing.change_key(KEY, before) if before not in _AS_IT_IS else KEY
    assert changing.find_widenings(old, changing.change_key(old, after)) == widened


_AS_IT_IS = (KeyChange(cidrs=()), KeyChange(roles=("a",)), KeyChange(expires_at=None))


def test_only_what_differs_is_described() -> None:
    """As it was, and as it is to be."""
    after = changing.change_key(KEY, KeyChange(cidrs=("10.0.0.0/8",), label=""))
    told = changing.describe(KEY, after)
    assert told == {"before": {"cidrs": []}, "after": {"cidrs": ["10.0.0.0/8"]}}
    partner = Partner(id="acme", name="Acme", tier="gold", created_at=0)
    renamed = changing.change_partner(partner, PartnerChange(name="Acme Ltd"))
    assert changing.describe(partner, renamed)["after"] == {"name": "Acme Ltd"}


def test_a_change_that_changes_nothing_is_refused() -> None:
    """It would stand in the ledger as if something had happened."""
    with pytest.raises(changing.NothingToChange):
        changing.change_key(KEY, KeyChange(roles=("a",)))
