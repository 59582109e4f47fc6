"""What the gateway proves itself with towards an upstream: where it goes, where it lies, and its versions.

Invariant: an upstream has one credential and that has one active version, which alone is sent. A local secret is
stored only sealed, for its upstream, version and environment; of one that lies elsewhere only the place is stored. What
the details mean is the gateway's knowledge; they hold no secret, and stand in the ledger as they are.
Refuses: a second credential for an upstream, and a version of a secret that does not lie here.
"""

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import envelope, refusals, register, rotation, sealed_material, versions
from keys.changes import Author, Change, Changes
from keys.data_keys import DataKeys, OpenDataKey
from keys.environment import Environment
from keys.held import HeldSecret
from keys.records import SecretVersion
from keys.rotation import Versions
from keys.secret import Secret
from storage import engine, schema

Form = Literal["header", "basic", "hmac", "oauth-client"]
Source = Literal["local", "aws-secrets-manager"]

_KIND: Final = "upstream-credential"
_TABLE: Final = schema.upstream_credentials
_SECRETS: Final = schema.secrets
_SELECT: Final = sa.select(
    _TABLE.c.id,
    _TABLE.c.upstream,
    _TABLE.c.form,
    _TABLE.c.source,
    _TABLE.c.details,
    _SECRETS.c.environment,
    _SECRETS.c.created_at,
    _SECRETS.c.revision,
).join(_SECRETS, _SECRETS.c.id == _TABLE.c.id)


class CredentialExists(refusals.Conflict):
    def __init__(self, upstream: str) -> None:
        super().__init__(f"upstream {upstream} has a credential: rotate it, or remove it first")


class UnknownCredential(refusals.NotFound):
    def __init__(self, upstream: str) -> None:
        super().__init__(f"upstream {upstream!r:.80} has no credential")


class NotHeldHere(refusals.Conflict):
    def __init__(self, upstream: str, source: str) -> None:
        super().__init__(f"the credential of upstream {upstream} lies in {source}: it is rotated there")


class NoPendingVersion(refusals.Conflict):
    def __init__(self, upstream: str) -> None:
        super().__init__(
            f"no version of the credential of upstream {upstream} is pending: announce one first"
        )


class InvalidActivation(refusals.InvalidRequest):
    field = "activates_at"


class CredentialRequest(msgspec.Struct, frozen=True, kw_only=True):
    upstream: str
    environment: Environment
    form: Form
    source: Source
    details: dict[str, Any]


class UpstreamCredential(CredentialRequest, frozen=True, kw_only=True):
    id: str
    created_at: int
    revision: int = 0
    versions: Versions = ()


class StoredCredential(msgspec.Struct, frozen=True):
    """As a node serves it. `active` is None where no version is, or the secret does not lie here. `retiring`: what a
    node that has the active one not yet may send meanwhile.
    """

    credential: UpstreamCredential
    active: sealed_material.SealedVersion | None
    retiring: tuple[int, ...] = ()


class UpstreamCredentials:
    """`spread_ms`: how long a node may still send the version before, which until then is retiring."""

    kind: Final = "upstream"

    def __init__(
        self,
        engine_: AsyncEngine,
        data_keys: DataKeys,
        changes: Changes,
        entropy: Callable[[int], bytes],
        *,
        spread_ms: int = 30_000,
    ) -> None:
        self._engine = engine_
        self._data_keys = data_keys
        self._changes = changes
        self._entropy = entropy
        self._spread_ms = spread_ms

    async def create(
        self, request: CredentialRequest, material: Secret | None, *, author: Author
    ) -> UpstreamCredential:
        """`material` is None where it lies elsewhere."""
        if (material is None) != (request.source != "local"):
            raise NotHeldHere(request.upstream, request.source)
        data_key = await self._data_keys.get_current(request.environment)
        async with self._changes.begin(author) as change:
            if await _find(change.conn, request.upstream) is not None:
                raise CredentialExists(request.upstream)
            made = await _insert(change, request)
            if material is not None:
                state = {"state": "active", "activated_at": change.at}
                await self._seal(change, made, material, data_key, **state)
            details = {"form": made.form, "source": made.source, "details": made.details}
            await _record(change, made, "set", details)
            return await _get(change.conn, request.upstream)

    async def announce(
        self, upstream: str, material: Secret, *, activates_at: int | None = None, author: Author
    ) -> UpstreamCredential:
        """A version that can be tried before it is sent. `activates_at`: when it is sent without a further word."""
        data_key = await self._data_key_for(upstream)
        async with self._changes.begin(author) as change:
            if activates_at is not None and activates_at <= change.at:
                raise InvalidActivation("the moment of activation has passed")
            return await self._announce(change, upstream, material, data_key, activates_at)

    async def activate(self, upstream: str, *, author: Author) -> UpstreamCredential:
        async with self._changes.begin(author) as change:
            return await self._activate(change, await _get(change.conn, upstream))

    async def rotate(self, upstream: str, material: Secret, *, author: Author) -> UpstreamCredential:
        """Announced and active in one change."""
        data_key = await self._data_key_for(upstream)
        async with self._changes.begin(author) as change:
            return await self._activate(change, await self._announce(change, upstream, material, data_key))

    async def retire(self, upstream: str, version: int, *, author: Author) -> UpstreamCredential:
        async with self._changes.begin(author) as change:
            found = await _get(change.conn, upstream)
            after = rotation.retire(found.versions, version, change.at)
            return await _moved(change, found, after, "retired", version)

    async def revoke(
        self, upstream: str, version: int | None = None, *, author: Author
    ) -> UpstreamCredential:
        """One version, or all: then the upstream is not asked anything until there is another."""
        async with self._changes.begin(author) as change:
            found = await _get(change.conn, upstream)
            if version is None:
                after = rotation.revoke_all(found.versions, change.at)
            else:
                after = rotation.revoke(found.versions, version, change.at)
            return await _moved(change, found, after, "revoked", version)

    async def destroy(self, upstream: str, version: int, *, author: Author) -> UpstreamCredential:
        async with self._changes.begin(author) as change:
            found = await _get(change.conn, upstream)
            await destroy_version(change, await versions.get(change.conn, found.id), version)
            return await _get(change.conn, upstream)

    async def remove(self, upstream: str, *, author: Author) -> None:
        """The upstream is asked without one from now on. That there was one stays known, by its versions."""
        async with self._changes.begin(author) as change:
            found = await _get(change.conn, upstream)
            revoked = rotation.revoke_all(found.versions, change.at)
            await versions.follow(change, found.id, found.versions, revoked)
            await change.conn.execute(sa.delete(_TABLE).where(_TABLE.c.id == found.id))
            await _record(change, found, "removed", {})

    async def list_all(self) -> list[UpstreamCredential]:
        async with engine.reading(self._engine) as conn:
            rows = (await conn.execute(_SELECT.order_by(_TABLE.c.upstream))).mappings().all()
            return [await _with_versions(conn, row) for row in rows]

    async def get(self, upstream: str) -> UpstreamCredential:
        async with engine.reading(self._engine) as conn:
            return await _get(conn, upstream)

    async def read_stored(self) -> list[StoredCredential]:
        """All of them, as they are to be served; nothing is opened."""
        async with engine.reading(self._engine) as conn:
            rows = (await conn.execute(_SELECT.order_by(_TABLE.c.upstream))).mappings().all()
            found = [UpstreamCredential(**row) for row in rows]
            living = await sealed_material.read(conn, [each.id for each in found], rotation.VERIFYING)
        return [_as_stored(each, living[each.id]) for each in found]

    async def open(self, credential: UpstreamCredential, stored: sealed_material.SealedVersion) -> Secret:
        if stored.sealed is None:
            raise envelope.EnvelopeRefused(_KIND, credential.id, stored.version.version)
        opened = envelope.open_(
            await self._data_keys.get(stored.sealed.data_key_id),
            stored.sealed.ciphertext,
            kind=_KIND,
            record_id=credential.id,
            version=stored.version.version,
            environment=credential.environment,
        )
        return Secret(opened.decode())

    async def _data_key_for(self, upstream: str) -> OpenDataKey:
        found = await self.get(upstream)
        if found.source != "local":
            raise NotHeldHere(upstream, found.source)
        return await self._data_keys.get_current(found.environment)

    async def _announce(
        self,
        change: Change,
        upstream: str,
        material: Secret,
        data_key: OpenDataKey,
        activates_at: int | None = None,
    ) -> UpstreamCredential:
        found = await _get(change.conn, upstream)
        if rotation.find_pending(found.versions) is not None:
            raise rotation.StepRefused("a version is pending already: activate it, or revoke it first")
        planned = {"activates_at": activates_at, "overlap_ms": self._spread_ms}
        added = await self._seal(change, found, material, data_key, state="pending", **planned)
        await register.stamp(change, found.id)
        told = {} if activates_at is None else {"activates_at": activates_at}
        await _record(change, found, "announced", {"version": added.version, **told})
        return await _get(change.conn, upstream)

    async def _activate(self, change: Change, found: UpstreamCredential) -> UpstreamCredential:
        pending = rotation.find_pending(found.versions)
        if pending is None:
            raise NoPendingVersion(found.upstream)
        after = rotation.activate(found.versions, pending.version, change.at, self._spread_ms)
        return await _moved(change, found, after, "activated", pending.version)

    async def _seal(
        self,
        change: Change,
        credential: UpstreamCredential,
        material: Secret,
        data_key: OpenDataKey,
        **state: object,
    ) -> SecretVersion:
        number = rotation.next_number(credential.versions)
        ciphertext = envelope.seal(
            data_key.key,
            material.reveal().encode(),
            kind=_KIND,
            record_id=credential.id,
            version=number,
            environment=credential.environment,
            nonce=self._entropy(envelope.NONCE_SIZE),
        )
        fields = {"version": number, "created_at": change.at, **state}
        made = msgspec.convert(fields, SecretVersion)
        sealed = versions.Material(ciphertext=ciphertext, data_key_id=data_key.id)
        await versions.insert(change, credential.id, made, sealed)
        return made


async def destroy_version(change: Change, secret: HeldSecret, version: int) -> None:
    """Also of a credential that was removed: what it was sealed as goes like all else."""
    await versions.write(change, secret, rotation.destroy(secret.versions, version, change.at))
    await change.record(
        "upstream_credential.destroyed",
        secret.id,
        environment=secret.environment,
        details={"upstream": secret.label, "version": version},
    )


def _as_stored(
    credential: UpstreamCredential, living: list[sealed_material.SealedVersion]
) -> StoredCredential:
    active = next((each for each in living if each.version.state == "active"), None)
    retiring = tuple(each.version.version for each in living if each.version.state == "retiring")
    return StoredCredential(credential, active, retiring)


async def _insert(change: Change, request: CredentialRequest) -> UpstreamCredential:
    secret_id = f"upstream_{request.upstream}"
    earlier = await versions.read(change.conn, secret_id)
    known = await change.conn.scalar(sa.select(_SECRETS.c.id).where(_SECRETS.c.id == secret_id))
    if known is None:
        await register.enter(
            change, secret_id, kind="upstream", environment=request.environment, label=request.upstream
        )
    else:
        # One that was removed: its versions go on counting, and none of them is left to be sent.
        await change.conn.execute(
            sa.update(_SECRETS)
            .where(_SECRETS.c.id == secret_id)
            .values(environment=request.environment, revision=change.revision)
        )
    await change.conn.execute(
        sa.insert(_TABLE).values(
            id=secret_id,
            upstream=request.upstream,
            form=request.form,
            source=request.source,
            details=request.details,
        )
    )
    fields = msgspec.structs.asdict(request)
    return UpstreamCredential(id=secret_id, created_at=change.at, versions=earlier, **fields)


async def _find(conn: AsyncConnection, upstream: str) -> UpstreamCredential | None:
    row = (await conn.execute(_SELECT.where(_TABLE.c.upstream == upstream))).mappings().first()
    return None if row is None else await _with_versions(conn, row)


async def _get(conn: AsyncConnection, upstream: str) -> UpstreamCredential:
    found = await _find(conn, upstream)
    if found is None:
        raise UnknownCredential(upstream)
    return found


async def _with_versions(conn: AsyncConnection, row: sa.RowMapping) -> UpstreamCredential:
    found = await versions.read(conn, row["id"])
    return msgspec.structs.replace(UpstreamCredential(**row), versions=found)


async def _moved(
    change: Change, found: UpstreamCredential, after: Versions, what: str, version: int | None
) -> UpstreamCredential:
    await versions.follow(change, found.id, found.versions, after)
    await _record(change, found, what, {"version": version})
    return await _get(change.conn, found.upstream)


async def _record(change: Change, credential: UpstreamCredential, what: str, details: dict[str, Any]) -> None:
    await change.record(
        f"upstream_credential.{what}",
        credential.id,
        environment=credential.environment,
        details={"upstream": credential.upstream, **details},
    )
