"""What is to be done with which secrets by when, out of what they are and their schedules. Pure.

Invariant: `due` tells of each secret everything whose time has come, and nothing else; whoever acts asks it again
under the lock. `plan` is the same, carried forward: each action is taken at its time, and what follows from it is told
as well. A warning is told once for each of its thresholds: `warned_at` is when the last one was, for all deadlines of
the secret together.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from keys import rotation
from keys.held import HeldSecret
from keys.records import SecretVersion
from keys.register import Domain
from keys.schedules import Schedule, ScheduledKind, Schedules

Step = Literal["announce", "activate", "rotate", "retire", "warn", "destroy"]
Ending = Literal["overlap", "max-age", "expiry"]

# A plan far ahead repeats itself: nobody reads more of one secret.
_MOST_STEPS: Final = 200


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One step with one version of one secret, and whom it concerns. `ends_at` and `ending` stand in warnings."""

    at: int
    step: Step
    secret_id: str
    kind: ScheduledKind
    environment: Domain
    partner: str | None
    label: str
    version: int
    ending: Ending | None = None
    ends_at: int | None = None
    last_used_at: int | None = None
    last_used_source: str | None = None
    use_count: int = 0


class _Deadline(NamedTuple):
    ending: Ending
    version: SecretVersion
    since: int
    ends_at: int


def due(secrets: Iterable[HeldSecret], schedules: Schedules, now_ms: int) -> tuple[Action, ...]:
    found = [action for secret in secrets for action in _due(secret, schedules, now_ms, now_ms)]
    return tuple(sorted(found, key=_order))


def is_due(secret: HeldSecret, schedules: Schedules, action: Action, now_ms: int) -> bool:
    """Whether this very step is (still) to be taken."""
    wanted = (action.step, action.version, action.ending)
    return any((one.step, one.version, one.ending) == wanted for one in due((secret,), schedules, now_ms))


def plan(
    secrets: Iterable[HeldSecret],
    schedules: Schedules,
    now_ms: int,
    until_ms: int,
    *,
    keep_older: Collection[str] = (),
) -> tuple[Action, ...]:
    """`keep_older`: the kinds whose overlaps a further rotation does not end."""
    found = [
        action
        for secret in secrets
        for action in _follow(secret, schedules, now_ms, until_ms, ends_older=secret.kind not in keep_older)
    ]
    # Stable: what follows from one another at one moment stays in that order.
    return tuple(sorted(found, key=lambda action: (action.at, action.secret_id)))


def _order(action: Action) -> tuple[int, str, int]:
    return action.at, action.secret_id, action.version


def _follow(
    secret: HeldSecret, schedules: Schedules, now_ms: int, until_ms: int, *, ends_older: bool
) -> Iterator[Action]:
    schedule = schedules.get(secret.kind, secret.environment)
    for _ in range(_MOST_STEPS):
        action = min(_due(secret, schedules, now_ms, until_ms), key=_order, default=None)
        if action is None:
            return
        # What is overdue happens as soon as somebody looks.
        action = replace(action, at=max(action.at, now_ms))
        yield action
        secret = _taken(secret, action, schedule, ends_older=ends_older)


def _taken(secret: HeldSecret, action: Action, schedule: Schedule, *, ends_older: bool) -> HeldSecret:
    versions, number, at = secret.versions, action.version, action.at
    match action.step:
        case "warn":
            return replace(secret, warned_at=at)
        case "retire":
            return replace(secret, versions=rotation.retire(versions, number, at))
        case "destroy":
            return replace(secret, versions=rotation.destroy(versions, number, at))
        case "announce" | "rotate":
            added = SecretVersion(version=number, state="pending", created_at=at)
            versions = rotation.announce(versions, added, at + schedule.announce_ahead_ms)
    if action.step != "announce":
        overlap_ms = rotation.get(versions, number).overlap_ms
        overlap_ms = schedule.overlap_ms if overlap_ms is None else overlap_ms
        versions = rotation.activate(versions, number, at, overlap_ms, ends_older=ends_older)
    return replace(secret, versions=versions)


def _due(secret: HeldSecret, schedules: Schedules, now_ms: int, until_ms: int) -> Iterator[Action]:
    """What has come, or is to come until then."""
    schedule = schedules.get(secret.kind, secret.environment)
    for version in secret.versions:
        yield from _due_of(secret, version, schedule, until_ms)
    active = rotation.find_active(secret.versions)
    if active is not None and schedule.auto and rotation.find_pending(secret.versions) is None:
        yield from _due_rotation(secret, active, schedule, until_ms)
    for deadline in _deadlines(secret, schedule):
        yield from _due_warning(secret, deadline, schedule, now_ms, until_ms)


def _due_of(
    secret: HeldSecret, version: SecretVersion, schedule: Schedule, until_ms: int
) -> Iterator[Action]:
    match version.state:
        case "pending" if version.activates_at is not None and version.activates_at <= until_ms:
            yield _action(secret, "activate", version, version.activates_at)
        case "retiring" if version.retires_at is not None and version.retires_at <= until_ms:
            yield _action(secret, "retire", version, version.retires_at)
        case "revoked":
            ended = version.created_at if version.revoked_at is None else version.revoked_at
            if ended + schedule.destroy_after_ms <= until_ms:
                yield _action(secret, "destroy", version, ended + schedule.destroy_after_ms)
        case _:
            pass


def _due_rotation(
    secret: HeldSecret, active: SecretVersion, schedule: Schedule, until_ms: int
) -> Iterator[Action]:
    if schedule.max_age_ms is None:
        return
    at = _began(active) + schedule.max_age_ms - schedule.announce_ahead_ms
    if at <= until_ms:
        step: Step = "announce" if schedule.announce_ahead_ms else "rotate"
        # The number is the new version's, the evidence the old one's: who uses it now.
        found = _action(secret, step, active, at)
        yield replace(found, version=rotation.next_number(secret.versions))


def _deadlines(secret: HeldSecret, schedule: Schedule) -> Iterator[_Deadline]:
    active = rotation.find_active(secret.versions)
    if active is None:
        return
    if secret.expires_at is not None:
        yield _Deadline("expiry", active, secret.created_at, secret.expires_at)
    followed = rotation.find_pending(secret.versions) is not None
    if schedule.max_age_ms is not None and not schedule.auto and not followed:
        yield _Deadline("max-age", active, _began(active), _began(active) + schedule.max_age_ms)
    for version in secret.versions:
        if version.state == "retiring" and version.retires_at is not None and _is_still_used(version):
            since = version.created_at if version.retiring_at is None else version.retiring_at
            yield _Deadline("overlap", version, since, version.retires_at)


def _due_warning(
    secret: HeldSecret, deadline: _Deadline, schedule: Schedule, now_ms: int, until_ms: int
) -> Iterator[Action]:
    told = -1 if secret.warned_at is None else secret.warned_at
    moments = [deadline.ends_at - ahead for ahead in schedule.warn_ahead_ms]
    # A threshold before the beginning says nothing that the beginning did not say.
    passed = [moment for moment in moments if deadline.since < moment <= until_ms and moment > told]
    # What grows too old stays usable, so being late is still news; what has ended is told by its end.
    if passed and (deadline.ending == "max-age" or now_ms < deadline.ends_at):
        found = _action(secret, "warn", deadline.version, min(passed))
        yield replace(found, ending=deadline.ending, ends_at=deadline.ends_at)


def _began(active: SecretVersion) -> int:
    return active.created_at if active.activated_at is None else active.activated_at


def _is_still_used(version: SecretVersion) -> bool:
    """Since its successor serves."""
    if version.last_used_at is None:
        return False
    return version.retiring_at is None or version.last_used_at >= version.retiring_at


def _action(secret: HeldSecret, step: Step, version: SecretVersion, at: int) -> Action:
    return Action(
        at=at,
        step=step,
        secret_id=secret.id,
        kind=secret.kind,
        environment=secret.environment,
        partner=secret.partner,
        label=secret.label,
        version=version.version,
        last_used_at=version.last_used_at,
        last_used_source=version.last_used_source,
        use_count=version.use_count,
    )
