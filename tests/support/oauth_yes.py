"""A person's yes, said straight to a deployment's store: for tests that are about what follows, not about the pages.

Invariant: it does what the page does once somebody has signed in and pressed the button, by the same parts, over
connections of its own; what a client then does goes over sockets.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib import parse

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from auth.admission.memory import MemoryAdmission
from auth.oauth import flows, grants
from auth.oauth.ground import Ground
from keys.changes import Author, Changes
from keys.served_clients import ServedClient
from policies import document
from storage import engine as storage_engine
from storage import schema, wakeup
from tests.support import databases, oauth_people
from tests.support.gateway import Deployment
from tests.support.oauth_people import KnownClients, Somebody

ASKER = Author("person:ann")
_T = TypeVar("_T")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Yes:
    """Ann, of `acme`, a trader who signed in when this was made."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.ann = Somebody(authenticated_at=_now_ms())
        self._do(self._enter)

    def code(self, request_uri: str, client_id: str) -> str:
        """Where the browser is sent, its `code`."""

        async def allow(ground: Ground) -> str:
            authorization = flows.build(ground).authorization
            pending = await authorization.find(client_id, request_uri)
            return await authorization.approve(pending, self.ann, frozenset(pending.scope))

        return dict(parse.parse_qsl(parse.urlsplit(self._do(allow)).query))["code"]

    def device(self, user_code: str) -> None:
        async def allow(ground: Ground) -> None:
            devices = flows.build(ground).devices
            pending = await devices.find(user_code, asker=self.ann.account_id)
            await devices.approve(pending, self.ann, frozenset(pending.scope))

        self._do(allow)

    def revoke_all(self) -> None:
        async def revoke(ground: Ground) -> None:
            async with ground.changes.begin(ASKER) as change:
                await grants.revoke_of_account(change, self.ann.account_id, "not needed any more")

        self._do(revoke)

    def change_account(self, **values: object) -> None:
        async def change(ground: Ground) -> None:
            async with storage_engine.transaction(ground.engine) as conn:
                changing = sa.update(schema.accounts).where(schema.accounts.c.id == self.ann.account_id)
                await conn.execute(changing.values(**values))

        self._do(change)

    async def _enter(self, ground: Ground) -> None:
        self._deployment.partner("acme")
        await oauth_people.enter_account_row(ground.engine, self.ann)

    def _do(self, what: Callable[[Ground], Awaitable[_T]]) -> _T:
        async def run() -> _T:
            storage = self._deployment.document["storage"]
            url = storage["url"].replace("sqlite:", f"sqlite:{self._deployment.directory}/")
            password = self._deployment.password if "password" in storage else None
            opened = storage_engine.open_engine(url, password=password)
            try:
                return await what(await self._ground(opened))
            finally:
                await opened.dispose()

        return databases.in_thread(run)

    async def _ground(self, engine: AsyncEngine) -> Ground:
        issuer = self._deployment.document["service"]["issuer"]
        policies = self._deployment.directory / "policies.toml"
        return Ground(
            engine=engine,
            changes=Changes(engine, wakeup.NoWakeUp(), _now_ms),
            clients=KnownClients(*await _read_clients(engine)),
            policies=document.parse(policies.read_bytes(), "policies.toml"),
            admission=MemoryAdmission(lambda: _now_ms() * 1000, 600_000),
            clock=_now_ms,
            entropy=os.urandom,
            terms=msgspec.structs.replace(oauth_people.TERMS, issuer=issuer, resources=(issuer,)),
        )


async def _read_clients(engine: AsyncEngine) -> list[ServedClient]:
    async with storage_engine.reading(engine) as conn:
        rows = (await conn.execute(sa.select(schema.oauth_clients))).mappings().all()
    same = ("id", "environment", "authentication", "binding")
    return [
        oauth_people.make_client(
            **{name: row[name] for name in same},
            partner=row["partner_id"],
            roles=tuple(row["roles"]),
            redirect_uris=tuple(row["redirect_uris"]),
            exceptions=frozenset(row["exceptions"]),
            grants=frozenset(row["grants"]),
        )
        for row in rows
    ]
