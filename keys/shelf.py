"""The served keys as built from rows, and which of them are not whole.

Invariant: a key is replaced whole or removed, never changed. A version that cannot be opened is missing
from its key, and the key is named in `incomplete`; a key whose rows cannot be read is not served at all.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from keys import snapshot
from keys.secret import HmacKey
from keys.served import ServedKey

_LOG: Final = logging.getLogger("portreeve.keys")
# After so many keys a long reload lets requests through.
_BREATH: Final = 200


class Shelf:
    def __init__(self, find_data_key: snapshot.FindDataKey) -> None:
        self.keys: dict[str, ServedKey] = {}
        self._find_data_key = find_data_key
        self._broken: set[str] = set()
        # Rows of keys that wait for a data key, kept to be built again without asking the store.
        self._waiting: dict[str, tuple[list[snapshot.Row], frozenset[str]]] = {}

    @property
    def incomplete(self) -> frozenset[str]:
        return frozenset(self._broken).union(self._waiting)

    @property
    def awaited(self) -> frozenset[str]:
        """The data keys that some version waits for."""
        return frozenset().union(*(awaited for _, awaited in self._waiting.values()))

    async def put(self, rows: Iterable[snapshot.Row]) -> None:
        for number, group in enumerate(snapshot.by_key(rows), start=1):
            self._put_key(group)
            if number % _BREATH == 0:
                await asyncio.sleep(0)

    def put_waiting(self) -> None:
        """Builds again every key that a data key opened since then can complete."""
        for rows, awaited in list(self._waiting.values()):
            if any(self._find_data_key(data_key_id) for data_key_id in awaited):
                self._put_key(rows)

    def _put_key(self, rows: list[snapshot.Row]) -> None:
        key_id = rows[0].id
        self._waiting.pop(key_id, None)
        self._broken.discard(key_id)
        try:
            built = snapshot.build(rows, self._find_data_key, self._find_served)
        except snapshot.CorruptKey as corrupt:
            _LOG.error("%s; it is not served", corrupt)
            self._broken.add(key_id)
            self.keys.pop(key_id, None)
            return
        self.keys[key_id] = built.key
        self._note(rows, built.unopened)

    def _find_served(self, key_id: str, version: int) -> HmacKey | None:
        served = self.keys.get(key_id)
        versions = () if served is None else served.versions
        return next((each.secret for each in versions if each.version == version), None)

    def _note(self, rows: list[snapshot.Row], unopened: tuple[snapshot.Unopened, ...]) -> None:
        awaited = frozenset(each.data_key_id for each in unopened if each.data_key_id is not None)
        if awaited:
            self._waiting[rows[0].id] = (rows, awaited)
        for each in unopened:
            if each.data_key_id is None:
                _LOG.error(
                    "secret version %d of key %s does not open; it is not served", each.version, each.key_id
                )
                self._broken.add(each.key_id)
