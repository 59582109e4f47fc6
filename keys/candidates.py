"""Which secrets something may be due of, asked of the store: of ten thousand keys few are looked at closely.

Invariant: whatever `due` would tell of is among them; that more are found costs time and nothing else. The arithmetic
that decides is `due`'s alone.
"""

from collections.abc import Iterable, Iterator
from typing import Final, get_args

import sqlalchemy as sa

from keys.register import Domain, Kind
from keys.schedules import Schedule, Schedules
from storage import schema

_SECRETS: Final = schema.secrets
_VERSIONS: Final = schema.secret_versions
_KEYS: Final = schema.api_keys
_CLIENTS: Final = schema.oauth_clients
_DOMAINS: Final[tuple[Domain, ...]] = (*get_args(get_args(Domain)[0]), *get_args(get_args(Domain)[1]))
_BEGAN: Final = sa.func.coalesce(_VERSIONS.c.activated_at, _VERSIONS.c.created_at)
_ENDED: Final = sa.func.coalesce(_VERSIONS.c.revoked_at, _VERSIONS.c.created_at)

Condition = sa.ColumnElement[bool]


def select_ids(schedules: Schedules, kinds: Iterable[Kind], now_ms: int) -> sa.Select[tuple[str]]:
    """Of secrets of these kinds."""
    by_place = [
        sa.and_(
            _SECRETS.c.kind == kind,
            _SECRETS.c.environment == environment,
            sa.or_(*_conditions(schedules.get(kind, environment), now_ms)),
        )
        for kind in kinds
        for environment in _DOMAINS
    ]
    return (
        sa.select(_SECRETS.c.id)
        .join(_VERSIONS, _VERSIONS.c.secret_id == _SECRETS.c.id)
        .join(_KEYS, _KEYS.c.id == _SECRETS.c.id, isouter=True)
        .join(_CLIENTS, _CLIENTS.c.id == _SECRETS.c.id, isouter=True)
        .where(sa.or_(sa.false(), *by_place))
    )


def _conditions(schedule: Schedule, now_ms: int) -> Iterator[Condition]:
    state, longest = _VERSIONS.c.state, max(schedule.warn_ahead_ms, default=None)
    yield sa.and_(state == "pending", _VERSIONS.c.activates_at <= now_ms)
    yield sa.and_(state == "retiring", _VERSIONS.c.retires_at <= now_ms)
    yield sa.and_(state == "revoked", now_ms - schedule.destroy_after_ms >= _ENDED)
    if schedule.auto and schedule.max_age_ms is not None:
        yield sa.and_(state == "active", now_ms - schedule.max_age_ms + schedule.announce_ahead_ms >= _BEGAN)
    if longest is not None:
        yield from _warnings(schedule, longest, now_ms)


def _warnings(schedule: Schedule, longest: int, now_ms: int) -> Iterator[Condition]:
    state, told = _VERSIONS.c.state, _SECRETS.c.warned_at
    for expires_at in (_KEYS.c.expires_at, _CLIENTS.c.expires_at):
        yield sa.and_(state == "active", expires_at > now_ms, expires_at <= now_ms + longest)
    yield sa.and_(
        state == "retiring",
        _VERSIONS.c.retires_at <= now_ms + longest,
        _VERSIONS.c.last_used_at.is_not(None),
    )
    if schedule.max_age_ms is not None and not schedule.auto:
        # Whoever was told at the last threshold, and still has not rotated, is told no more.
        last = schedule.max_age_ms - min(schedule.warn_ahead_ms)
        untold = sa.or_(told.is_(None), told < _BEGAN + last)
        yield sa.and_(state == "active", now_ms - schedule.max_age_ms + longest >= _BEGAN, untold)
