"""OAuth clients in custody: what operators do with them.

Invariant: every change is atomic and audited (see `changes`); a secret is shown once, by the call that made it, and of
it only a sealed digest is stored. Nothing that can fail, and no call to the KMS, stands between a commit and its
answer. Refuses: what `client_requests` finds wrong, what does not exist, and what its present state does not allow.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import changing, client_requests, partners, rotation, rotations, thawing
from keys import format as key_format
from keys import oauth_client_rows as rows
from keys.changes import Author, Change, Changes, Clock
from keys.client_records import ClientChange, ClientPage, ClientRequest, CreatedClient, OAuthClient
from keys.data_keys import DataKeys
from keys.kinds import Draft
from keys.oauth_client_secrets import OAuthClientSecrets
from keys.records import SecretVersion
from keys.versions import Material
from storage import engine

CREATED: Final = "oauth_client.created"

_FIRST_VERSION: Final = 1
_LONGEST_PAGE: Final = 500
_ASKED: Final = frozenset(ClientRequest.__struct_fields__) & frozenset(OAuthClient.__struct_fields__)


class OAuthClients:
    def __init__(
        self,
        engine_: AsyncEngine,
        data_keys: DataKeys,
        changes: Changes,
        clock: Clock,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._engine = engine_
        self._changes = changes
        self._clock = clock
        self._entropy = entropy
        self._secrets = OAuthClientSecrets(engine_, data_keys, entropy)

    def check_request(self, request: ClientRequest) -> ClientRequest:
        """The request as it would be stored: what somebody else is to agree to."""
        return client_requests.check_client(request, self._clock())

    def check_change(self, seen: OAuthClient, asked: ClientChange) -> OAuthClient:
        """The client as it would be; nothing is stored."""
        after = changing.change_client(seen, asked)
        return client_requests.check_changed(seen, after, self._clock())

    async def create(
        self, request: ClientRequest, *, author: Author, registration_digest: str | None = None
    ) -> CreatedClient:
        """`registration_digest`: of what a client that registered itself leads itself by."""
        client, draft = await self._draft(self.check_request(request))
        async with self._changes.begin(author) as change:
            await partners.get(change.conn, client.partner)
            held = None if draft is None else draft.seal(_FIRST_VERSION)
            await rows.insert(change, client, held, registration_digest)
            await _recorded(change, CREATED, client.id, describe(client))
            client = msgspec.structs.replace(client, revision=change.revision)
        if draft is None:
            return CreatedClient(client=client, version=None, secret=None)
        return CreatedClient(client=client, version=_FIRST_VERSION, secret=draft.shown)

    async def change(self, seen: OAuthClient, asked: ClientChange, *, author: Author) -> OAuthClient:
        """`seen` is what the change was decided on: refused when the client is no longer that."""
        after = self.check_change(seen, asked)
        async with self._changes.begin(author) as change:
            before = await rows.get_living_at(change.conn, seen.id, seen.revision)
            await rows.alter(change, after)
            return await _recorded(change, "oauth_client.changed", seen.id, changing.describe(before, after))

    async def get(self, client_id: str) -> OAuthClient:
        async with engine.reading(self._engine) as conn:
            return await rows.get(conn, client_id)

    async def find_page(
        self,
        *,
        partner: str | None = None,
        environment: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> ClientPage:
        size = max(1, min(limit, _LONGEST_PAGE))
        async with engine.reading(self._engine) as conn:
            found = await rows.list_page(
                conn, partner=partner, environment=environment, after=after, limit=size + 1
            )
        more = len(found) > size
        return ClientPage(clients=tuple(found[:size]), after=found[size - 1].id if more else None)

    async def revoke(self, client_id: str, *, author: Author) -> OAuthClient:
        """For good: every version of its secret or keys with it."""
        async with self._changes.begin(author) as change:
            held = await rows.get_held(change, client_id)
            await rotations.revoke_whole(change, held, self._secrets)
            return await rows.get(change.conn, client_id)

    async def freeze(self, client_id: str, *, within: str | None = None, author: Author) -> OAuthClient:
        """`within`: the partner that is all its author reaches. Whoever reaches all of them makes theirs what one of a
        partner had frozen.
        """
        async with self._changes.begin(author) as change:
            client = await rows.get(change.conn, client_id)
            is_theirs = within is None and await thawing.is_own_freeze(change.conn, client_id, client.partner)
            await rows.freeze(change, client_id, anew=is_theirs)
            return await _recorded(change, thawing.CLIENT_FROZEN, client_id, thawing.describe(within))

    async def require_thawable(self, client_id: str, *, within: str | None) -> None:
        """Before anybody is asked about it; `unfreeze` looks again."""
        async with engine.reading(self._engine) as conn:
            await thawing.require_thawable(conn, client_id, within)

    async def unfreeze(self, client_id: str, *, within: str | None = None, author: Author) -> OAuthClient:
        """`within`: the partner that is all its author reaches."""
        async with self._changes.begin(author) as change:
            await rows.unfreeze(change, client_id)
            await thawing.require_thawable(change.conn, client_id, within)
            return await _recorded(change, thawing.CLIENT_UNFROZEN, client_id)

    async def _draft(self, request: ClientRequest) -> tuple[OAuthClient, Draft | None]:
        client_id = key_format.mint_client_id(request.environment, self._entropy(key_format.KEY_ID_ENTROPY))
        draft: Draft | None = None
        if request.public_key is not None:
            material = Material(public_key=request.public_key)
            draft = Draft(seal=lambda _: material, public_key=request.public_key)
        elif request.authentication == "client_secret_basic":
            draft = await self._secrets.mint(client_id, request.environment)
        now_ms = self._clock()
        asked = {name: getattr(request, name) for name in _ASKED}
        versions = () if draft is None else (_first_version(now_ms, draft),)
        return OAuthClient(id=client_id, created_at=now_ms, versions=versions, **asked), draft


def describe(client: OAuthClient) -> dict[str, Any]:
    """What the ledger tells of a new client: all that it may do, and how it proves itself. No key, no secret."""
    told: dict[str, Any] = {name: msgspec.to_builtins(getattr(client, name)) for name in sorted(_ASKED)}
    for name in ("partner", "environment"):
        del told[name]
    active = rotation.find_active(client.versions)
    return told | {"version": None if active is None else active.version}


def _first_version(now_ms: int, draft: Draft) -> SecretVersion:
    return SecretVersion(
        version=_FIRST_VERSION,
        state="active",
        created_at=now_ms,
        activated_at=now_ms,
        public_key=draft.public_key,
    )


async def _recorded(
    change: Change, action: str, client_id: str, details: Mapping[str, Any] | None = None
) -> OAuthClient:
    client = await rows.get(change.conn, client_id)
    await change.record(
        action, client_id, environment=client.environment, partner=client.partner, details=details
    )
    return client
