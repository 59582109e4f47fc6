"""The one state machine of every secret: `pending → active → retiring → revoked → destroyed`. Pure.

A secret is the tuple of its versions, oldest first, each with its number. A step takes such a tuple and the time,
and gives the tuple that follows; where and how the material lies is no concern of it.

Invariant: at most one version is active and at most one pending; a version never goes back; times only follow one
another. While versions of a partner's secret overlap, at most two verify: a second rotation within the overlap of a
first ends the oldest. What is revoked verifies nothing again, what is destroyed has no material.
Refuses: a step that the present states do not allow, and to leave a living secret without an active version unless
the caller revokes it whole.
"""

from typing import Final

from msgspec.structs import replace

from keys import refusals
from keys.records import SecretVersion, VersionState

Versions = tuple[SecretVersion, ...]

VERIFYING: Final[tuple[VersionState, ...]] = ("active", "retiring")
LIVING: Final[tuple[VersionState, ...]] = ("pending", "active", "retiring")


class UnknownVersion(refusals.NotFound):
    def __init__(self, version: int) -> None:
        super().__init__(f"there is no version {version}")


class StepRefused(refusals.Conflict):
    """The version is not in a state from which this step leads."""


def find_active(versions: Versions) -> SecretVersion | None:
    return next((each for each in versions if each.state == "active"), None)


def find_retiring(versions: Versions) -> SecretVersion | None:
    """The latest, where several overlap."""
    return next((each for each in reversed(versions) if each.state == "retiring"), None)


def find_pending(versions: Versions) -> SecretVersion | None:
    return next((each for each in versions if each.state == "pending"), None)


def get(versions: Versions, version: int) -> SecretVersion:
    for each in versions:
        if each.version == version:
            return each
    raise UnknownVersion(version)


def next_number(versions: Versions) -> int:
    return max((each.version for each in versions), default=0) + 1


def announce(versions: Versions, added: SecretVersion, activates_at: int | None = None) -> Versions:
    """A version that is there before it serves, so that others can get to know it."""
    if find_pending(versions) is not None:
        raise StepRefused("a version is pending already: activate it, or revoke it first")
    if added.version != next_number(versions):
        raise StepRefused(f"the next version is {next_number(versions)}, not {added.version}")
    return (*versions, replace(added, state="pending", activates_at=activates_at))


def activate(  # noqa: PLR0913  what it is told by name is what tells one case from another
    versions: Versions,
    version: int,
    now_ms: int,
    overlap_ms: int,
    *,
    ends_older: bool = True,
    replaces_lost: bool = False,
) -> Versions:
    """The pending version serves from now on; the one before it goes on verifying for the overlap.

    `ends_older`: whether an overlap that still runs ends with this one. A signing key's does not: what it signed is
    still under way. `replaces_lost`: the active version never reached its holder, so it is that one that ends, and the
    one before it that goes on.
    """
    if get(versions, version).state != "pending":
        raise StepRefused(f"version {version} is not pending")
    if overlap_ms < 0:
        raise ValueError("an overlap does not end before it begins")
    ends_at = now_ms + overlap_ms

    def follow(each: SecretVersion) -> SecretVersion:
        match each.state:
            case "pending" if each.version == version:
                return replace(each, state="active", activated_at=now_ms)
            case "active" if replaces_lost:
                return replace(each, state="revoked", revoked_at=now_ms)
            case "active":
                retiring = replace(each, state="retiring", retiring_at=now_ms, retires_at=ends_at)
                # Without an overlap nothing waits for whoever looks next at what has ended.
                return retiring if overlap_ms else replace(retiring, state="revoked", revoked_at=now_ms)
            case "retiring" if replaces_lost:
                return replace(each, retires_at=max(each.retires_at or 0, ends_at))
            case "retiring" if ends_older:
                # Two verify at a time: whoever is still behind by two rotations was told twice.
                return replace(each, state="revoked", revoked_at=now_ms)
            case _:
                return each

    return tuple(follow(each) for each in versions)


def retire(versions: Versions, version: int, now_ms: int) -> Versions:
    """Ends the overlap of a retiring version before its time, or when its time has come."""
    if get(versions, version).state != "retiring":
        raise StepRefused(f"version {version} is not retiring: only what has a successor is retired")
    return _moved(versions, version, state="revoked", revoked_at=now_ms)


def revoke(versions: Versions, version: int, now_ms: int) -> Versions:
    """At once, whatever depends on it: for what has leaked. The active version needs a successor first."""
    found = get(versions, version)
    if found.state not in LIVING:
        raise StepRefused(f"version {version} is {found.state} already")
    if found.state == "active":
        raise StepRefused(f"version {version} is the active one: rotate first, or revoke the secret whole")
    return _moved(versions, version, state="revoked", revoked_at=now_ms)


def revoke_all(versions: Versions, now_ms: int) -> Versions:
    return tuple(
        replace(each, state="revoked", revoked_at=now_ms) if each.state in LIVING else each
        for each in versions
    )


def destroy(versions: Versions, version: int, now_ms: int) -> Versions:
    """What has been revoked loses its material; that it existed stays known."""
    if get(versions, version).state != "revoked":
        raise StepRefused(f"version {version} is not revoked: nothing that may still serve is destroyed")
    return _moved(versions, version, state="destroyed", destroyed_at=now_ms)


def _moved(versions: Versions, version: int, **fields: object) -> Versions:
    return tuple(replace(each, **fields) if each.version == version else each for each in versions)
