"""Every node says it aloud when somebody acts without a second person.

Follows the store's revision as key rings do. Invariant: each break-glass is told of once when it is seen open, as
CRITICAL and with its end, and once when it is seen to be over, as WARNING: at once if it was closed, with the next
change if its time ran out. A node that starts while one is open tells of it, too.
"""

import logging
from datetime import UTC, datetime
from typing import Final

from keys.break_glass import BreakGlass, Glass

_LOG: Final = logging.getLogger("portreeve.break_glass")


class BreakGlassAlarm:
    """A companion of the directory."""

    def __init__(self, break_glass: BreakGlass) -> None:
        self._break_glass = break_glass
        self._told: frozenset[str] = frozenset()

    async def refresh(self) -> None:
        opened = {glass.id: glass for glass in await self._break_glass.find_all_open()}
        for glass_id in opened.keys() - self._told:
            _tell(opened[glass_id])
        for glass_id in sorted(self._told - opened.keys()):
            _LOG.warning("break-glass %s is over", glass_id)
        self._told = frozenset(opened)


def _tell(glass: Glass) -> None:
    until = datetime.fromtimestamp(glass.expires_at / 1000, UTC).isoformat(timespec="seconds")
    # As a literal: the reason is somebody's text, and a log is read line by line.
    _LOG.critical(
        "break-glass %s: %s acts without a second person until %s: %r",
        glass.id,
        glass.opened_by,
        until,
        glass.reason,
    )
