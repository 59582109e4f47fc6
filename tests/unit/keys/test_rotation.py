"""The steps of the state machine that are refused, each by its name."""

import pytest

from keys import rotation
from keys.records import SecretVersion

ACTIVE = SecretVersion(version=1, state="active", created_at=0, activated_at=0)
PENDING = SecretVersion(version=2, state="pending", created_at=5)
ROTATED = rotation.activate((ACTIVE, PENDING), 2, 10, 100)


def test_an_overlap_has_two_versions_that_verify() -> None:
    """The old one goes on until its time, the new one serves at once."""
    assert [(each.state, each.retires_at) for each in ROTATED] == [("retiring", 110), ("active", None)]


def test_without_an_overlap_the_old_version_ends_at_once() -> None:
    """Nothing waits for a scheduler to look."""
    ended, _ = rotation.activate((ACTIVE, PENDING), 2, 10, 0)
    assert (ended.state, ended.revoked_at) == ("revoked", 10)


def test_a_negative_overlap_is_a_defect() -> None:
    """It would end a version before it began to retire."""
    with pytest.raises(ValueError, match="overlap"):
        rotation.activate((ACTIVE, PENDING), 2, 10, -1)


def test_only_one_version_may_be_pending() -> None:
    """The second is refused, and the number of an added one is checked."""
    with pytest.raises(rotation.StepRefused, match="pending already"):
        rotation.announce((ACTIVE, PENDING), PENDING)
    with pytest.raises(rotation.StepRefused, match="next version is 2"):
        rotation.announce((ACTIVE,), ACTIVE)


def test_only_a_pending_version_is_activated() -> None:
    """Neither an active nor an unknown one."""
    with pytest.raises(rotation.StepRefused):
        rotation.activate((ACTIVE,), 1, 10, 0)
    with pytest.raises(rotation.UnknownVersion):
        rotation.activate((ACTIVE,), 7, 10, 0)


def test_only_what_has_a_successor_is_retired() -> None:
    """The active version cannot be: its secret would have none."""
    with pytest.raises(rotation.StepRefused):
        rotation.retire(ROTATED, 2, 20)
    assert rotation.retire(ROTATED, 1, 20)[0].state == "revoked"


def test_the_active_version_is_not_revoked_alone() -> None:
    """A successor comes first, or the secret goes whole."""
    with pytest.raises(rotation.StepRefused, match="active one"):
        rotation.revoke(ROTATED, 2, 20)
    assert {each.state for each in rotation.revoke_all(ROTATED, 20)} == {"revoked"}


def test_nothing_that_may_serve_is_destroyed() -> None:
    """What is revoked is, once."""
    with pytest.raises(rotation.StepRefused):
        rotation.destroy(ROTATED, 1, 20)
    destroyed = rotation.destroy(rotation.retire(ROTATED, 1, 20), 1, 30)
    assert (destroyed[0].state, destroyed[0].destroyed_at) == ("destroyed", 30)
    with pytest.raises(rotation.StepRefused):
        rotation.destroy(destroyed, 1, 40)
    with pytest.raises(rotation.StepRefused, match="destroyed already"):
        rotation.revoke(destroyed, 1, 40)
