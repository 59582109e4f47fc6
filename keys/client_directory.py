"""The OAuth clients and partners that a node serves, in memory; they follow the store as the directory does.

Invariant: what is served is one state that the store has had, plus any newer part of it. Only what has changed is read
again; a store that was restored has another history, which the ledger's chain tells, and then all of it is. A client
is replaced whole. What has changed is read without a question to the KMS, so that a revocation or a freeze never waits
for one: a secret that does not open yet is left out, and added by `openings` when it does. After a restore nothing that
was open before is trusted: its number may stand for another secret.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from keys import client_snapshot as snapshot
from keys.data_keys import DataKeys
from keys.secret import SecretBytes
from keys.served_clients import ServedClient, ServedPartner
from storage import audit, chain, engine, revision

_LOG: Final = logging.getLogger("portreeve.keys")
# After so many clients a long reload lets requests through.
_BREATH: Final = 200
# A store that hangs is given up on soon; one that answers may take its time over many rows.
_LONGEST_CHECK_S: Final = 5.0
_LONGEST_READ_S: Final = 60.0


class _Read(NamedTuple):
    """`since`: after which revision the rows were read; None for all of them."""

    revision: int
    changed_at: int | None
    since: int | None
    ledger: chain.Place = chain.START
    rows: Sequence[snapshot.Row] = ()
    partners: Sequence[ServedPartner] = ()


class _Shelf:
    """The served clients as built from rows, and which of them are not whole."""

    def __init__(self, find_data_key: snapshot.FindDataKey) -> None:
        self.clients: dict[str, ServedClient] = {}
        # Rows of clients that wait for a data key, kept to be built again without asking the store.
        self.waiting: dict[str, list[snapshot.Row]] = {}
        self.broken: set[str] = set()
        self._find_data_key = find_data_key

    async def put(self, rows: Sequence[snapshot.Row]) -> None:
        for number, group in enumerate(snapshot.by_client(rows), start=1):
            self._put_client(group)
            if number % _BREATH == 0:
                await asyncio.sleep(0)

    def put_waiting(self) -> None:
        for rows in list(self.waiting.values()):
            self._put_client(rows)

    def _put_client(self, rows: list[snapshot.Row]) -> None:
        client_id: str = rows[0].id
        self.waiting.pop(client_id, None)
        self.broken.discard(client_id)
        try:
            built = snapshot.build(rows, self._find_data_key, self._find_served)
        except snapshot.CorruptClient as corrupt:
            _LOG.error("%s; it is not served", corrupt)
            self.broken.add(client_id)
            self.clients.pop(client_id, None)
            return
        self.clients[client_id] = built.client
        for each in built.unopened:
            if each.data_key_id is None:
                _LOG.error(
                    "secret version %d of client %s does not open; it is not served", each.version, client_id
                )
                self.broken.add(client_id)
            else:
                self.waiting[client_id] = rows

    def _find_served(self, client_id: str, version: int) -> SecretBytes | None:
        served = self.clients.get(client_id)
        secrets = () if served is None else served.secrets
        return next((digest for number, digest in secrets if number == version), None)


class Openings:
    """The companion that opens what clients wait for: it asks the KMS, and holds up nothing else of theirs."""

    def __init__(self, clients: "ServedClients") -> None:
        self._clients = clients

    async def refresh(self) -> None:
        await self._clients.open_waiting()


class ServedClients:
    """A companion of the directory (see `directory.Companion`) that asks the store alone."""

    def __init__(self, engine_: AsyncEngine, data_keys: DataKeys) -> None:
        self._engine = engine_
        self._data_keys = data_keys
        self._shelf = _Shelf(data_keys.find_open)
        self._partners: dict[str, ServedPartner] = {}
        self._revision: int | None = None
        self._changed_at: int | None = None
        self._ledger = chain.START
        self._refreshing = asyncio.Lock()
        self.openings: Final = Openings(self)

    def __len__(self) -> int:
        return len(self._shelf.clients)

    @property
    def incomplete(self) -> frozenset[str]:
        """Ids of clients served without one of their versions, or not at all."""
        return frozenset(self._shelf.broken).union(self._shelf.waiting)

    def find(self, client_id: str) -> ServedClient | None:
        return self._shelf.clients.get(client_id)

    def find_partner(self, partner_id: str) -> ServedPartner | None:
        return self._partners.get(partner_id)

    async def refresh(self) -> None:
        async with self._refreshing:
            read = await self._read()
            if read.since is None:
                await self._replace(read)
            else:
                self._partners.update((partner.id, partner) for partner in read.partners)
                await self._shelf.put(read.rows)
            self._revision, self._changed_at, self._ledger = read.revision, read.changed_at, read.ledger

    async def _read(self) -> _Read:
        try:
            async with asyncio.timeout(_LONGEST_CHECK_S) as patience, engine.reading(self._engine) as conn:
                # Asked before the rows: what commits in between is read now, and once more the next time.
                current, changed_at = await revision.latest(conn)
                patience.reschedule(asyncio.get_running_loop().time() + _LONGEST_READ_S)
                since = self._revision
                if since is not None and (current, changed_at) == (since, self._changed_at):
                    return _Read(current, changed_at, since, self._ledger)
                if since is not None and not (current > since and await audit.holds(conn, self._ledger)):
                    since = None
                ledger = chain.Place(*await audit.head(conn))
                partners = await snapshot.read_partners(conn, since)
                if since is None:
                    rows = await snapshot.read_all(conn)
                else:
                    rows = await snapshot.read_changed(conn, since)
                return _Read(current, changed_at, since, ledger, rows, partners)
        except TimeoutError as cause:
            raise engine.StorageUnavailable("the key store did not answer in time") from cause

    async def _replace(self, read: _Read) -> None:
        """Built beside what is served, which stands until all of it is there."""
        shelf = _Shelf(self._data_keys.find_open)
        await shelf.put(read.rows)
        self._shelf = shelf
        self._partners = {partner.id: partner for partner in read.partners}

    async def open_waiting(self) -> None:
        """It may take its time. Raises when one does not open, to be asked again; the others are served."""
        awaited = {row.data_key_id for rows in self._shelf.waiting.values() for row in rows} - {None}
        if not awaited:
            return
        openings = [self._data_keys.get(data_key_id) for data_key_id in sorted(awaited)]
        outcomes = await asyncio.gather(*openings, return_exceptions=True)
        self._shelf.put_waiting()
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
