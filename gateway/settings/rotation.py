"""The schedules that the tables of `[rotation]` come to.

Invariant: a schedule starts from the default of its kind, and what a table says replaces that; two tables never speak
of the same kind and environment. Lengths of time that cannot be read, and schedules that contradict themselves, are
faults with their place.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, get_args

import msgspec

from gateway import durations
from gateway.settings.faults import Fault
from gateway.settings.values import RotationSettings, ScheduleSettings, Settings
from keys.register import Domain
from keys.schedules import ALONE, DEFAULTS, InvalidSchedule, Schedule, ScheduledKind, Schedules

NEVER: Final = "never"
# What would change nothing is refused: whoever wrote it meant something by it.
_MEANINGLESS: Final[Mapping[ScheduledKind, tuple[str, ...]]] = MappingProxyType(
    {
        "data-key": ("overlap", "longest_overlap", "warn_ahead", "destroy_after", "announce_ahead"),
        "upstream": ("overlap", "longest_overlap", "announce_ahead"),
    }
)
_DOMAINS: Final[tuple[Domain, ...]] = (*get_args(get_args(Domain)[0]), *get_args(get_args(Domain)[1]))


def build_schedules(rotation: RotationSettings) -> Schedules:
    """Of settings that passed the checks."""
    configured: dict[tuple[ScheduledKind, Domain], Schedule] = {}
    # Whatever names its environment comes last and wins.
    for table in sorted(rotation.schedules, key=lambda one: one.environment is not None):
        schedule = _build(table)
        named = _DOMAINS if table.environment is None else (table.environment,)
        configured |= {(table.kind, environment): schedule for environment in named}
    return Schedules(configured=configured, guard_ms=durations.parse(rotation.guard))


def find_rotation_faults(settings: Settings) -> Iterator[Fault]:
    rotation = settings.rotation
    try:
        durations.parse(rotation.guard)
    except durations.UnreadableDuration as failure:
        yield Fault("rotation.guard", str(failure))
    named = Counter((table.kind, table.environment) for table in rotation.schedules)
    for index, table in enumerate(rotation.schedules):
        place = f"rotation.schedules[{index}]"
        if named[table.kind, table.environment] > 1:
            yield Fault(place, "another table speaks of the same kind and environment")
        try:
            _build(table)
        except (durations.UnreadableDuration, InvalidSchedule) as failure:
            yield Fault(place, str(failure))


def _build(table: ScheduleSettings) -> Schedule:
    if table.auto and table.kind not in ALONE:
        raise InvalidSchedule(f"auto is not for {table.kind}: nobody would be given the new secret")
    for name in _MEANINGLESS.get(table.kind, ()):
        if getattr(table, name) is not None:
            raise InvalidSchedule(f"{name} means nothing for {table.kind}")
    said: dict[str, Any] = {"auto": table.auto}
    for name in ("overlap", "longest_overlap", "destroy_after", "announce_ahead"):
        text = getattr(table, name)
        said[f"{name}_ms"] = None if text is None else durations.parse(text)
    if table.warn_ahead is not None:
        said["warn_ahead_ms"] = tuple(durations.parse(text) for text in table.warn_ahead)
    changes = {name: value for name, value in said.items() if value is not None}
    if table.max_age is not None:
        changes["max_age_ms"] = None if table.max_age == NEVER else durations.parse(table.max_age)
    return msgspec.structs.replace(DEFAULTS[table.kind], **changes)
