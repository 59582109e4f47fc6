"""When secrets are to be rotated, how long two versions overlap, and how long before an end its holder is told. Pure.

Invariant: every kind has a schedule, in every environment: the configured one, or the default of its kind. A schedule
that contradicts itself is refused when it is made. Only what needs nobody outside to follow is rotated by itself.
"""

from types import MappingProxyType
from typing import Final, Literal

import msgspec

from keys.register import Domain, Kind

ScheduledKind = Kind | Literal["data-key"]

SECOND_MS: Final = 1_000
HOUR_MS: Final = 3_600 * SECOND_MS
DAY_MS: Final = 24 * HOUR_MS


# Their new versions need nobody outside to follow; of any other kind nobody would get the new secret.
ALONE: Final[frozenset[ScheduledKind]] = frozenset({"ring", "session", "data-key"})


class InvalidSchedule(ValueError):
    pass


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """`max_age_ms`: None for a secret that may grow as old as it likes. `announce_ahead_ms`: how long a version that is
    made without asking anybody is known before it serves.
    """

    max_age_ms: int | None
    overlap_ms: int
    longest_overlap_ms: int
    warn_ahead_ms: tuple[int, ...]
    destroy_after_ms: int
    announce_ahead_ms: int = 0
    auto: bool = False

    def __post_init__(self) -> None:
        numbers = (self.overlap_ms, self.destroy_after_ms, self.announce_ahead_ms, *self.warn_ahead_ms)
        if min(numbers) < 0:
            raise InvalidSchedule("nothing in it may be negative")
        if self.overlap_ms > self.longest_overlap_ms:
            raise InvalidSchedule("overlap is longer than longest_overlap")
        if self.max_age_ms is None:
            if self.auto:
                raise InvalidSchedule("auto needs a max_age")
            return
        if self.max_age_ms <= 0:
            raise InvalidSchedule("max_age is not more than nothing")
        if max(self.warn_ahead_ms, default=0) >= self.max_age_ms:
            raise InvalidSchedule("warn_ahead has to be less than max_age")
        if self.overlap_ms + self.announce_ahead_ms >= self.max_age_ms:
            raise InvalidSchedule("overlap and announce_ahead together have to be less than max_age")


_WITH_PARTNERS: Final = Schedule(
    max_age_ms=90 * DAY_MS,
    overlap_ms=7 * DAY_MS,
    longest_overlap_ms=30 * DAY_MS,
    warn_ahead_ms=(14 * DAY_MS, 3 * DAY_MS, DAY_MS),
    destroy_after_ms=30 * DAY_MS,
)
DEFAULTS: Final = MappingProxyType[ScheduledKind, Schedule](
    {
        "api-key": _WITH_PARTNERS,
        "oauth-client": _WITH_PARTNERS,
        "webhook": msgspec.structs.replace(_WITH_PARTNERS, max_age_ms=180 * DAY_MS),
        # What is replaced is sent by nodes that are behind and by nobody else: that is all the overlap there is.
        "upstream": msgspec.structs.replace(_WITH_PARTNERS, overlap_ms=0, longest_overlap_ms=0),
        "ring": Schedule(
            max_age_ms=30 * DAY_MS,
            overlap_ms=HOUR_MS,
            longest_overlap_ms=7 * DAY_MS,
            warn_ahead_ms=(),
            destroy_after_ms=7 * DAY_MS,
            announce_ahead_ms=HOUR_MS,
            auto=True,
        ),
        "session": Schedule(
            max_age_ms=30 * DAY_MS,
            overlap_ms=12 * HOUR_MS,
            longest_overlap_ms=7 * DAY_MS,
            warn_ahead_ms=(),
            destroy_after_ms=7 * DAY_MS,
            auto=True,
        ),
        # Its holder's own device makes the codes: it is made anew when they ask for it, and never by the clock.
        "totp": Schedule(
            max_age_ms=None, overlap_ms=0, longest_overlap_ms=0, warn_ahead_ms=(), destroy_after_ms=DAY_MS
        ),
        "data-key": Schedule(
            # An epoch opens what it sealed until all of that has been resealed, however long that takes.
            max_age_ms=90 * DAY_MS,
            overlap_ms=0,
            longest_overlap_ms=0,
            warn_ahead_ms=(),
            destroy_after_ms=0,
            auto=True,
        ),
    }
)


class Schedules(msgspec.Struct, frozen=True, kw_only=True):
    """`guard_ms`: a version that was used within so long is not ended without saying so."""

    configured: dict[tuple[ScheduledKind, Domain], Schedule] = {}
    guard_ms: int = DAY_MS

    def get(self, kind: ScheduledKind, environment: Domain) -> Schedule:
        return self.configured.get((kind, environment)) or DEFAULTS[kind]
