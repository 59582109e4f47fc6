"""What a person is asked to allow, and what comes of their answer."""

from __future__ import annotations

import pytest

from gateway.pages import consent
from keys.client_records import About
from policies import document
from tests.support.oauth_people import make_client as served_client

POLICIES = document.parse(
    b"""
[permissions."orders:read"]
description = "See orders"
[permissions."orders:write"]
description = "Place and cancel orders"
trading = true
[roles.viewer]
permissions = ["orders:read"]
[roles.trader]
permissions = ["orders:read", "orders:write"]
""",
    "policies",
)
SCOPE = ("orders:read", "orders:write")


def composed(
    role: str = "trader", scope: tuple[str, ...] = SCOPE, about: About | None = None
) -> consent.Consent:
    givable = POLICIES.permissions_of((role,), None) & frozenset(scope)
    return consent.compose(served_client(about=about or About()), scope, givable, POLICIES, 86_400_000)


def test_what_moves_money_stands_first_and_is_said_to() -> None:
    """Nobody reads to the end of a list."""
    assert [(each.permission, each.trading) for each in composed().choices] == [
        ("orders:write", True),
        ("orders:read", False),
    ]
    assert composed().choices[0].description == "Place and cancel orders"


def test_nobody_hands_on_what_they_may_not_do_themselves() -> None:
    """It is shown, and cannot be chosen, whatever the form says."""
    shown = composed("viewer")
    assert shown.offered == {"orders:read"}
    assert not shown.is_trading
    assert shown.chosen({"allow-orders:read": "on", "allow-orders:write": "on"}) == {"orders:read"}


def test_what_was_not_asked_for_is_not_handed_on() -> None:
    """A form of our own with a field more is a form that somebody wrote."""
    shown = composed(scope=("orders:read",))
    assert shown.chosen({"allow-orders:read": "on", "allow-orders:write": "on"}) == {"orders:read"}


def test_to_allow_nothing_is_no_answer() -> None:
    """Whoever takes all ticks away has not said no either."""
    with pytest.raises(consent.NothingChosen):
        composed().chosen({"decision": "allow"})


def test_a_permission_that_the_policies_lost_is_not_offered() -> None:
    """Nobody can say what it would be."""
    gone = frozenset({"gone:long"})
    assert consent.compose(served_client(), gone, gone, POLICIES, 1_000).offered == frozenset()


@pytest.mark.parametrize(
    "address",
    [
        "http://app.example",
        "javascript:alert(1)",
        "https://",
        "https://a@b.example",
        "https://[",
        "data:text/html,x",
    ],
)
def test_a_link_is_https_to_a_host_or_is_not_shown(address: str) -> None:
    """What a client says of itself is the client's word alone."""
    about = About(client_uri=address, policy_uri="https://app.example/policy", logo_uri=address)
    shown = composed(about=about)
    assert [each.address for each in shown.links] == ["https://app.example/policy"]
    assert shown.picture_host is None
