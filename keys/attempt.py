"""A step of a loop that must outlive whatever goes wrong in it.

Invariant: a failure of any kind ends the step and not the loop; it is told once when it begins and once
when it is over, with a traceback only where the kind of failure was not foreseen. What the failure means is
not decided here: the loop's owner shows it by a name of its own, such as the directory's age.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from keys import kms
from storage import engine

_LOG: Final = logging.getLogger("portreeve.keys")
_FORESEEN: Final = (engine.StorageUnavailable, kms.KmsUnavailable, kms.KmsRefused)


class Attempt:
    def __init__(self, complaint: str) -> None:
        self._complaint = complaint
        self._failing = False

    async def run(self, step: Callable[[], Awaitable[object]]) -> bool:
        try:
            await step()
        except Exception as failure:  # noqa: BLE001  this is the loop's boundary; cancellation passes
            self._complain(failure)
            return False
        if self._failing:
            _LOG.info("over: %s", self._complaint)
        self._failing = False
        return True

    def _complain(self, failure: Exception) -> None:
        if not self._failing:
            shown = None if isinstance(failure, _FORESEEN) else failure
            _LOG.warning("%s (%s)", self._complaint, type(failure).__name__, exc_info=shown)
        self._failing = True
