from pathlib import Path

import pytest

from policies import document
from policies.decide import Requirement
from policies.document import NotGranted, Policies, PolicyError, UnknownName
from policies.gcra import Limit

WHOLE = b"""
[permissions."orders:read"]
description = "See orders"
[permissions."orders:write"]
description = "Place and cancel orders"
trading = true
[permissions."positions:read"]
description = "See positions"

[roles.viewer]
permissions = ["orders:read", "positions:read"]
[roles.trader]
description = "Trades"
permissions = ["orders:read", "orders:write"]

[tiers.standard]
key = {rate = 50, per = "1s", burst = 100}
partner = {rate = 200, per = "1m", burst = 400}
[tiers.unlimited]
"""


@pytest.fixture
def policies() -> Policies:
    return document.parse(WHOLE, "policies.toml")


def test_a_whole_file_is_read(policies: Policies) -> None:
    """Every section arrives as values."""
    assert policies.get_permission("orders:write").trading
    assert not policies.get_permission("orders:read").trading
    assert policies.get_role("trader").permissions == ("orders:read", "orders:write")
    tier = policies.get_tier("standard")
    assert tier.key == Limit("standard.key", 50, 1_000_000, 100)
    assert tier.partner == Limit("standard.partner", 200, 60_000_000, 400)
    assert policies.get_tier("unlimited").key is None


def test_an_empty_file_allows_nothing() -> None:
    """Without roles nobody holds a permission."""
    assert document.parse(b"", "p").permissions_of(("trader",), None) == frozenset()


def test_roles_add_up(policies: Policies) -> None:
    """Two roles grant what either grants."""
    granted = policies.permissions_of(("viewer", "trader"), None)
    assert granted == {"orders:read", "orders:write", "positions:read"}


def test_a_narrower_list_takes_away_and_never_adds(policies: Policies) -> None:
    """A credential's own list can't hold more than its roles."""
    assert policies.permissions_of(("viewer",), ("orders:read", "orders:write")) == {"orders:read"}
    assert policies.permissions_of(("viewer",), ()) == frozenset()


def test_a_list_within_the_roles_narrows(policies: Policies) -> None:
    """What some of the roles grants may stand in it; nothing at all, too."""
    policies.check_narrowing(("viewer", "trader"), ("orders:write", "positions:read"))
    policies.check_narrowing(("viewer",), ())


def test_a_list_beyond_the_roles_narrows_nothing(policies: Policies) -> None:
    """What the roles don't grant is refused, and a permission that nobody has defined by that name."""
    with pytest.raises(NotGranted, match="'orders:write' is granted by none of the roles viewer"):
        policies.check_narrowing(("viewer",), ("orders:read", "orders:write"))
    with pytest.raises(UnknownName, match="unknown permission 'orders:fly'"):
        policies.check_narrowing(("viewer",), ("orders:fly",))


def test_a_tiers_limit_has_no_say_in_an_outage() -> None:
    """It would be passed over: signed requests need the store in any case."""
    limit = b'{rate=1, per="1s", burst=1, outage="local"}'
    with pytest.raises(PolicyError, match=r"p: tiers\.t\.partner: .*unknown field `outage`"):
        document.parse(b"[tiers.t]\npartner=" + limit, "p")


def test_a_role_that_is_not_defined_grants_nothing(policies: Policies) -> None:
    """A role may leave the file while keys still carry its name."""
    assert policies.permissions_of(("gone",), None) == frozenset()
    assert policies.permissions_of(("gone", "viewer"), None) == {"orders:read", "positions:read"}


def test_grants_are_kept_but_not_without_bound(policies: Policies, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same roles are asked for on every request; a stream of different ones does not pile up."""
    monkeypatch.setattr(document, "_MAX_GRANTS", 8)
    assert policies.permissions_of(("viewer",), None) is policies.permissions_of(("viewer",), None)
    for number in range(50):
        policies.permissions_of(("viewer",), (f"x:{number}",))
        assert len(policies._granted) <= 8
    assert policies.permissions_of(("viewer",), None) == {"orders:read", "positions:read"}


def test_a_requirement_carries_what_its_permission_says(policies: Policies) -> None:
    """Trading follows from the permission, not from the route."""
    written = policies.requirement("orders:write", "live")
    assert written == Requirement(permission="orders:write", environment="live", trading=True)
    assert policies.requirement(None, None) == Requirement(permission=None, environment=None, trading=False)


def test_an_unknown_name_is_named(policies: Policies) -> None:
    """A route with a dangling permission can't be compiled."""
    with pytest.raises(UnknownName, match="unknown permission 'orders:delete'"):
        policies.requirement("orders:delete", "paper")
    with pytest.raises(UnknownName, match="unknown role 'admin'"):
        policies.get_role("admin")
    with pytest.raises(UnknownName, match="unknown tier 'gold'"):
        policies.get_tier("gold")


def test_loaded_policies_are_read_only(policies: Policies) -> None:
    """Nobody can slip a role in after the check."""
    with pytest.raises(TypeError):
        policies.roles["admin"] = policies.roles["viewer"]  # type: ignore[index]  # what is tried here


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"[oops]", "p.toml"),
        (b"x = [", "p.toml"),
        (b"\xff", "p.toml"),
        (b"roles = 1", "p.toml.roles"),
        (b'[permissions."orders"]\ndescription=""', "p.toml: permissions.orders"),
        (b'[permissions."Orders:read"]\ndescription=""', 'p.toml: permissions."Orders:read"'),
        (b'[permissions."a:b:c"]\ndescription=""', 'p.toml: permissions."a:b:c"'),
        (b'[permissions."a:b"]', 'p.toml: permissions."a:b"'),
        (b'[permissions."a:b"]\ndescription=""\ntrading="yes"', 'p.toml: permissions."a:b".trading'),
        (b'[permissions."a:b"]\ndescription=""\nextra=1', 'p.toml: permissions."a:b"'),
        (b'[roles.r]\npermissions=["x:y"]', "p.toml: roles.r.permissions[0]"),
        (
            b'[permissions."a:b"]\ndescription=""\n[roles.r]\npermissions=["a:b", "a:b"]',
            "p.toml: roles.r.permissions[1]",
        ),
        (b"[roles.r]\npermissions=[1]", "p.toml: roles.r.permissions[0]"),
        (b'[roles."R r"]\npermissions=[]', 'p.toml: roles."R r"'),
        (b"[roles.r]", "p.toml: roles.r"),
        (b"[tiers.t]\nkey={rate=1, burst=1}", "p.toml: tiers.t.key"),
        (b'[tiers.t]\nkey={rate=1, per="1s", burst="2"}', "p.toml: tiers.t.key.burst"),
        (b'[tiers.t]\nkey={rate=1, per="1s", burst=true}', "p.toml: tiers.t.key.burst"),
        (b'[tiers.t]\nkey={rate=0, per="1s", burst=1}', "p.toml: tiers.t.key"),
        (b'[tiers.t]\npartner={rate=1, per="1d", burst=1}', "p.toml: tiers.t.partner"),
        (b'[tiers.t]\nkey={rate=1, per="1s", burst=1, outage="local"}', "p.toml: tiers.t.key"),
        (b'[tiers.T]\nkey={rate=1, per="1s", burst=1}', "p.toml: tiers.T"),
        (b"[tiers.t]\nkeys={}", "p.toml: tiers.t"),
    ],
)
def test_an_error_names_its_place(content: bytes, place: str) -> None:
    """Whoever wrote the file finds the line."""
    with pytest.raises(PolicyError) as raised:
        document.parse(content, "p.toml")
    assert raised.value.place == place
    assert str(raised.value) == f"{place}: {raised.value.problem}"


def test_a_dangling_permission_is_named() -> None:
    """The name is in the message, beside its place."""
    with pytest.raises(PolicyError, match=r"roles\.r\.permissions\[0\]: unknown permission 'x:y'"):
        document.parse(b'[roles.r]\npermissions=["x:y"]', "p.toml")


def test_a_file_is_loaded_from_its_path(tmp_path: Path) -> None:
    """The path begins every place."""
    path = tmp_path / "policies.toml"
    path.write_bytes(WHOLE)
    assert set(document.load(path).roles) == {"viewer", "trader"}


def test_a_file_that_is_not_there_is_an_error_of_its_own(tmp_path: Path) -> None:
    """No file is not the same as no rules."""
    with pytest.raises(PolicyError, match="can't be read"):
        document.load(tmp_path / "missing.toml")
