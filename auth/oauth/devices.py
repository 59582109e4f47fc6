"""The device grant (RFC 8628): a program without a browser asks, and its person allows it on another device.

Invariant: a device code is redeemed once, whoever races for it, by the client it was made for, with the key that it was
made with; one that comes again after that ends its family. Who asks too soon while nobody has decided waits longer from
then on. The short code is good for nothing but to decide, once; how often one person may guess is bounded.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from auth.admission import Admission, Bucket, RateLimited, compile_charges
from auth.oauth import drawn, errors, grants, refresh, scopes, standing, user_codes
from auth.oauth.drawn import Entropy
from auth.oauth.ground import Ground
from auth.oauth.refusals import Refused
from auth.oauth.standing import Bound, Ended, Redeemed, find_account
from auth.oauth.terms import Person
from keys.secret import Secret
from keys.served_clients import ServedClient
from policies.gcra import Limit
from storage import engine, schema, upserts

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
CAME_TWICE: Final = "a device code came twice"
INTERVAL_MS: Final = 5_000

_TABLE: Final = schema.oauth_device_codes
_SLOWER_MS: Final = 5_000
# What a network makes of an interval that is kept to.
_LEEWAY_MS: Final = 500
_KEPT_MS: Final = 3_600_000
_CLEANED_AT_ONCE: Final = 50
_DRAWS: Final = 5
# Ten at once, then two a minute: in an hour, one account tries 130 of 25.6 billion codes.
_GUESSES: Final = Limit("device-code-guesses", 2, 60_000_000, 10, "local")


class NoSuchUserCode(LookupError):
    """Unknown, expired, or decided."""

    def __init__(self) -> None:
        super().__init__("no device waits for this code")


class TooManyGuesses(Exception):
    def __init__(self, retry_after_ms: int) -> None:
        super().__init__("too many codes were tried")
        self.retry_after_ms = retry_after_ms


class DeviceAuthorization(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    device_code: Secret
    user_code: str
    expires_in_s: int
    interval_s: int


class PendingDevice(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    digest: str
    client: ServedClient
    scope: tuple[str, ...]
    resource: str
    created_at: int
    expires_at: int


class Devices:
    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._engine = ground.engine
        self._changes = ground.changes
        self._grants = ground.grants
        self._clients = ground.clients
        self._standing = ground.standing
        self._clock = ground.clock
        self._entropy = ground.entropy
        self._terms = ground.terms

    async def begin(
        self, client: ServedClient, form: Mapping[str, str], proved_jkt: str | None
    ) -> DeviceAuthorization:
        """`client` was authenticated. `proved_jkt`: of the DPoP proof that came along."""
        if GRANT not in client.grants:
            raise Refused("unauthorized_client", "this client does not use device codes")
        had = scopes.of_client(self._ground.policies, client)
        code, now = drawn.draw(self._entropy), self._clock()
        row = {
            "digest": drawn.digest_of(code),
            "client_id": client.id,
            "scope": scopes.write(scopes.narrow(form.get("scope") or None, had)),
            "resource": self._terms.choose_resource(form.get("resource") or None),
            "jkt": proved_jkt,
            "state": "waiting",
            "interval_ms": INTERVAL_MS,
            "created_at": now,
            "expires_at": now + self._terms.device_ms,
        }
        async with engine.transaction(self._engine) as conn:
            await _clean(conn, now)
            letters = await _insert(conn, row, self._entropy)
        return DeviceAuthorization(
            device_code=code,
            user_code=user_codes.show(letters),
            expires_in_s=self._terms.device_ms // 1000,
            interval_s=INTERVAL_MS // 1000,
        )

    async def find(self, user_code: str, *, asker: str) -> PendingDevice:
        """`asker`: the account of whoever typed it; every try counts as a guess."""
        await self._charge(asker)
        try:
            letters = user_codes.parse(user_code)
        except user_codes.MalformedUserCode:
            raise NoSuchUserCode from None
        now = self._clock()
        waiting = sa.and_(_TABLE.c.user_code_digest == drawn.digest(letters), _waits(now))
        async with engine.reading(self._engine) as conn:
            row = (await conn.execute(sa.select(_TABLE).where(waiting))).mappings().first()
        client = None if row is None else self._clients.find(row["client_id"])
        if row is None or client is None or client.refused_from <= now:
            raise NoSuchUserCode
        return PendingDevice(
            digest=row["digest"],
            client=client,
            scope=tuple(row["scope"].split(" ")),
            resource=row["resource"],
            created_at=row["created_at"],
            expires_at=row["expires_at"],
        )

    def givable(self, pending: PendingDevice, person: Person) -> frozenset[str]:
        """What of what is asked for this person could allow: nothing, if they act for no partner that is served."""
        return self._standing.givable(pending.client, person, pending.scope)

    async def approve(
        self, pending: PendingDevice, person: Person, scope: Iterable[str], *, source: str | None = None
    ) -> None:
        """Refuses with `access_denied` where there is nothing to give: the device goes on waiting."""
        given = self.givable(pending, person) & frozenset(scope)
        if not given:
            raise Refused("access_denied", "this person cannot give what is asked for")
        async with self._changes.begin(grants.author_of(person, source)) as change:
            account = await find_account(change.conn, person.account_id)
            if account is None or account.find_fault(person.partner, person.authenticated_at):
                raise NoSuchUserCode
            grant = grants.draft(
                self._entropy,
                pending.client,
                person,
                scope=given,
                resource=pending.resource,
                at=change.at,
                until=pending.expires_at,
            )
            await grants.insert(change, grant)
            await _decide(change.conn, pending.digest, change.at, state="allowed", grant_id=grant.id)

    async def deny(self, pending: PendingDevice) -> None:
        async with engine.transaction(self._engine) as conn:
            await _decide(conn, pending.digest, self._clock(), state="denied")

    async def redeem(
        self, client: ServedClient, device_code: str, bound: Bound, *, resource: str | None = None
    ) -> Redeemed:
        """`client` was authenticated, and proved whatever `bound` says. Refuses while nobody has decided."""
        try:
            async with engine.transaction(self._engine) as conn:
                outcome = await self._redeem(conn, client, device_code, bound)
                if isinstance(outcome, Redeemed):
                    standing.require_resource(outcome, resource)
        except Ended as ended:
            await self._grants.end(ended.grant_id, ended.why)
            raise Refused("invalid_grant", "the device code was used, or its grant has ended") from None
        # Not out of the transaction: that somebody asked, and when, is to stay.
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    async def _redeem(
        self, conn: AsyncConnection, client: ServedClient, device_code: str, bound: Bound
    ) -> Redeemed | Refused:
        now = self._clock()
        mine = sa.and_(_TABLE.c.digest == drawn.digest(device_code), _TABLE.c.client_id == client.id)
        row = (await conn.execute(sa.select(_TABLE).where(mine).with_for_update())).mappings().first()
        if row is None or (row["jkt"] is not None and row["jkt"] != bound.jkt):
            return Refused("invalid_grant", "the device code is unknown, or not for this")
        if row["used_at"] is not None:
            raise Ended(row["grant_id"], CAME_TWICE)
        if row["expires_at"] <= now:
            return Refused("expired_token", "the device code has expired")
        if row["state"] == "denied":
            return Refused("access_denied", "the person did not allow it")
        if row["state"] == "waiting":
            return await _wait(conn, row, now)
        await _consume(conn, row, now)
        grant = await grants.find(conn, row["grant_id"])
        asked = () if grant is None else grant.scope
        redeemed = await self._standing.require(conn, client, row["grant_id"], asked, now)
        return await refresh.begin(conn, client, redeemed, bound, self._ground)

    async def _charge(self, asker: str) -> None:
        charges = compile_charges(f"account:{asker}", (Bucket("device-code-guesses", _GUESSES, 1),))
        try:
            await self._ground.admission.admit(Admission(charges, None))
        except RateLimited as refused:
            raise TooManyGuesses(refused.retry_after_ms) from None


def _waits(now: int) -> sa.ColumnElement[bool]:
    return sa.and_(_TABLE.c.state == "waiting", _TABLE.c.expires_at > now)


async def _insert(conn: AsyncConnection, row: Mapping[str, object], entropy: Entropy) -> str:
    for _ in range(_DRAWS):
        letters = user_codes.draw(entropy)
        inserting = upserts.insert(_TABLE, conn.dialect.name).values(
            **row, user_code_digest=drawn.digest(letters)
        )
        inserting = inserting.on_conflict_do_nothing(index_elements=[_TABLE.c.user_code_digest])
        if (await conn.execute(inserting)).rowcount == 1:
            return letters
    raise errors.unavailable("no_free_user_code")


async def _decide(conn: AsyncConnection, digest: str, now: int, **decision: object) -> None:
    deciding = sa.update(_TABLE).where(_TABLE.c.digest == digest, _waits(now)).values(**decision)
    if (await conn.execute(deciding)).rowcount != 1:
        raise NoSuchUserCode


async def _wait(conn: AsyncConnection, row: sa.RowMapping, now: int) -> Refused:
    interval: int = row["interval_ms"]
    hurried = row["asked_at"] is not None and now - row["asked_at"] < interval - _LEEWAY_MS
    kept = sa.update(_TABLE).where(_TABLE.c.digest == row["digest"])
    longer = interval + _SLOWER_MS if hurried else interval
    await conn.execute(kept.values(asked_at=now, interval_ms=longer))
    if hurried:
        return Refused("slow_down", "wait five seconds longer between one question and the next")
    return Refused("authorization_pending", "nobody has decided yet")


async def _consume(conn: AsyncConnection, row: sa.RowMapping, now: int) -> None:
    using = sa.update(_TABLE).where(_TABLE.c.digest == row["digest"], _TABLE.c.used_at.is_(None))
    if (await conn.execute(using.values(used_at=now))).rowcount != 1:
        raise Ended(row["grant_id"], CAME_TWICE)


async def _clean(conn: AsyncConnection, now: int) -> None:
    """A few at a time, so that nobody waits for it, and more than come. Nobody waits for another one's cleaning."""
    over = sa.select(_TABLE.c.digest).where(_TABLE.c.expires_at < now - _KEPT_MS)
    some = over.order_by(_TABLE.c.expires_at).limit(_CLEANED_AT_ONCE).with_for_update(skip_locked=True)
    digests = (await conn.execute(some)).scalars().all()
    if digests:
        await conn.execute(sa.delete(_TABLE).where(_TABLE.c.digest.in_(digests)))
