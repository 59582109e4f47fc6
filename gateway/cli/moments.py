"""Points in time as people write them: RFC 3339 with an offset, or a distance from now such as `90d`.

Invariant: what comes out is Unix milliseconds, and nothing is guessed: a time without an offset is refused,
because it would mean another moment on another machine.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from gateway import clocks

_DISTANCE: Final = re.compile(r"([1-9][0-9]{0,8})([smhdw])\Z", re.ASCII)
_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS: Final = int((datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) / timedelta(milliseconds=1))


class UnreadableMoment(ValueError):
    """Neither RFC 3339 with an offset, nor a number with one of the units s, m, h, d, w."""


def parse_moment(text: str, now_ms: int) -> int:
    distance = _DISTANCE.match(text)
    if distance:
        moment = now_ms + int(distance[1]) * _UNIT_MS[distance[2]]
        if moment > _LAST_MS:
            raise UnreadableMoment(f"{text!r} lies past the calendar")
        return moment
    try:
        moment_at = datetime.fromisoformat(text)
    except ValueError:
        raise UnreadableMoment(f"{text!r} is neither RFC 3339 nor a distance such as 90d") from None
    if moment_at.tzinfo is None:
        raise UnreadableMoment(f"{text!r} lacks its offset: write 2026-01-31T12:00:00Z")
    return (moment_at - _EPOCH) // timedelta(milliseconds=1)


def parse_past(text: str, now_ms: int) -> int:
    """The same, but a distance lies behind now."""
    moment = parse_moment(text, now_ms)
    return 2 * now_ms - moment if _DISTANCE.match(text) else moment


def parse_option(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """What an option that is a moment was given."""
    try:
        return None if value is None else parse_moment(value, clocks.wall_ms())
    except UnreadableMoment as error:
        raise click.BadParameter(str(error)) from None


def show(moment_ms: int | None) -> str | None:
    if moment_ms is None:
        return None
    moment = _EPOCH + timedelta(milliseconds=moment_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
