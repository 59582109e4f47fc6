from typing import Any

import pytest

from keys import snapshot
from keys.secret import SecretBytes

ROW = snapshot.Row(
    id="prk_1",
    partner="acme",
    tier="standard",
    environment="paper",
    algorithm="hmac-sha256",
    roles=["trader"],
    permissions=None,
    cidrs=[],
    expires_at=None,
    frozen_at=None,
    revoked_at=None,
    partner_frozen_at=None,
    key_revision=3,
    partner_revision=7,
    version=1,
    state="active",
    ciphertext=b"\x01sealed",
    data_key_id="dk_1",
    public_key=None,
)


def find_nothing(_data_key_id: str) -> None:
    return None


def test_the_newer_revision_counts() -> None:
    """A key is as new as the last change of itself or of its partner."""
    assert snapshot.build([ROW], find_nothing).key.revision == 7


def test_a_key_without_versions_is_served_without_any() -> None:
    """A key of which nothing verifies is known, and verifies nothing."""
    built = snapshot.build([ROW._replace(version=None)], find_nothing)
    assert (built.key.versions, built.unopened) == ((), ())


def test_a_version_whose_data_key_is_not_open_waits_for_it() -> None:
    """What is missing is named by its data key, so that it can be opened later."""
    built = snapshot.build([ROW], find_nothing)
    assert built.unopened == (snapshot.Unopened("prk_1", 1, "dk_1"),)


@pytest.mark.parametrize("changed", [{}, {"ciphertext": None}, {"data_key_id": None}])
def test_a_version_that_cannot_open_is_broken(changed: dict[str, Any]) -> None:
    """A ciphertext that does not open, or is not there, waits for nothing."""
    built = snapshot.build([ROW._replace(**changed)], lambda _: SecretBytes(bytes(32)))
    assert built.key.versions == ()
    assert built.unopened == (snapshot.Unopened("prk_1", 1, None),)


@pytest.mark.parametrize(
    "changed",
    [
        {"cidrs": ["x"]},
        {"cidrs": [["10.0.0.0/8"]]},
        {"roles": [["trader"]]},
        {"roles": None},
        {"permissions": [{}]},
        {"public_key": b"short"},
    ],
)
def test_rows_that_make_no_key_are_refused(changed: dict[str, Any]) -> None:
    """A range, a list or a public key that cannot be read is the key's failure, named, without what was read."""
    with pytest.raises(snapshot.CorruptKey, match="prk_1"):
        snapshot.build([ROW._replace(**changed)], find_nothing)


def test_keys_share_what_equals() -> None:
    """However many keys there are, what they have in common is in memory once; what differs is not mixed up."""

    def anew(text: str) -> str:
        return text.encode().decode()

    def row(**changed: object) -> snapshot.Row:
        # Texts and lists as a driver brings them: new ones with every row.
        listed = {"roles": [anew("trader")], "permissions": ["a:b"], "cidrs": ["10.0.0.0/8"]}
        names = {name: anew(getattr(ROW, name)) for name in ("partner", "tier", "algorithm")}
        return ROW._replace(**names, **(listed | changed))  # type: ignore[arg-type]  # of whatever field

    one = snapshot.build([row()], find_nothing).key
    same = snapshot.build([row(id="prk_2")], find_nothing).key
    other = snapshot.build([row(id="prk_3", roles=["viewer"], cidrs=["10.0.0.0/9"])], find_nothing).key
    shared = ("partner", "tier", "environment", "roles", "permissions", "networks")
    mine, its, others = one.entitlement, same.entitlement, other.entitlement
    assert [name for name in shared if getattr(mine, name) is not getattr(its, name)] == []
    assert one.algorithm is same.algorithm
    assert (others.roles, [str(network) for network in others.networks]) == (("viewer",), ["10.0.0.0/9"])
    assert (one.id, same.id, mine.roles) == ("prk_1", "prk_2", ("trader",))


def test_a_key_that_is_built_again_has_another_entitlement() -> None:
    """What was worked out for it is kept by that, so whatever has changed of it counts at once."""
    first, again = (snapshot.build([ROW], find_nothing).key.entitlement for _ in range(2))
    assert first is not again
    assert first.place is not again.place
