"""What seals and what signs: data keys with what wraps them, and our own signing keys. To look at.

Invariant: nothing here is changed, and nothing of a key is told but its name, its state and its times.
"""

from __future__ import annotations

from typing import Final

from litestar import Controller
from msgspec import Struct

from gateway.api.control import types
from gateway.api.control.call import Call, Reply
from gateway.api.control.endpoint import endpoint
from gateway.api.control.rules import PREFIX, Rule
from gateway.operations.kms_operations import DataKeyState
from gateway.operations.ring_operations import RingVersion
from keys import data_key_rows, records
from policies import control

TAG: Final = "custody"


class DataKey(Struct, frozen=True, kw_only=True):
    """`secrets`: how many versions of secrets lie under it. `wrapped_by`: the KMS keys that open it."""

    id: str
    environment: str
    epoch: int
    state: data_key_rows.State
    secrets: int
    wrapped_by: tuple[str, ...]
    created_at: types.Moment
    retiring_at: types.Moment | None
    destroyed_at: types.Moment | None


class DataKeyList(Struct, frozen=True, kw_only=True):
    """All there are: `next` is always null."""

    items: tuple[DataKey, ...]
    next: str | None = None


class RingKey(Struct, frozen=True, kw_only=True):
    """`kid` is its name in the key set."""

    ring: str
    kid: str | None
    version: int
    state: records.VersionState
    created_at: types.Moment
    activates_at: types.Moment | None
    activated_at: types.Moment | None
    retires_at: types.Moment | None
    revoked_at: types.Moment | None


class RingKeyList(Struct, frozen=True, kw_only=True):
    """All there are: `next` is always null."""

    items: tuple[RingKey, ...]
    next: str | None = None


_SAMPLE_DATA_KEY: Final = DataKey(
    id="dk_2f7b1c9e",
    environment="paper",
    epoch=2,
    state="active",
    secrets=118,
    wrapped_by=("local key 5e0c", "aws key arn:aws:kms:eu-central-1:123456789012:key/0a1b"),
    created_at=1_763_596_800_000,
    retiring_at=None,
    destroyed_at=None,
)
_SAMPLE_RING_KEY: Final = RingKey(
    ring="identity",
    kid="pKoTdgp9hJLyhQy8KbmIXaHn0FZXwjSgJcNZ7JbPbVs",
    version=1,
    state="active",
    created_at=1_763_596_800_000,
    activates_at=None,
    activated_at=1_763_596_800_000,
    retires_at=None,
    revoked_at=None,
)


class CustodyController(Controller):
    path = PREFIX

    @endpoint(
        Rule(
            id="list_data_keys",
            method="GET",
            path="/kms",
            tag=TAG,
            summary="List data keys, by environment and epoch",
            permission=control.KMS_READ,
            reach="all",
            answer=DataKeyList,
            sample=DataKeyList(items=(_SAMPLE_DATA_KEY,)),
        )
    )
    async def list_data_keys(self, call: Call) -> Reply:
        found = await call.operations.kms.status(call.operator)
        return Reply(DataKeyList(items=tuple(_view_data_key(each) for each in found)))

    @endpoint(
        Rule(
            id="list_ring_keys",
            method="GET",
            path="/rings",
            tag=TAG,
            summary="List our own signing keys, by ring, the oldest first",
            permission=control.SECRETS_READ,
            reach="all",
            answer=RingKeyList,
            sample=RingKeyList(items=(_SAMPLE_RING_KEY,)),
        )
    )
    async def list_ring_keys(self, call: Call) -> Reply:
        found = await call.operations.rings.find_all(call.operator)
        return Reply(RingKeyList(items=tuple(_view_ring_key(each) for each in found)))


def _view_data_key(found: DataKeyState) -> DataKey:
    stored = found.key
    return DataKey(
        id=stored.id,
        environment=stored.environment,
        epoch=stored.epoch,
        state=stored.state,
        secrets=found.sealed,
        wrapped_by=tuple(f"{each.kms_backend} key {each.kms_key}" for each in stored.wrappings),
        created_at=stored.created_at,
        retiring_at=stored.retiring_at,
        destroyed_at=stored.destroyed_at,
    )


def _view_ring_key(found: RingVersion) -> RingKey:
    version = found.version
    return RingKey(
        ring=found.ring,
        kid=version.public_id,
        version=version.version,
        state=version.state,
        created_at=version.created_at,
        activates_at=version.activates_at,
        activated_at=version.activated_at,
        retires_at=version.retires_at,
        revoked_at=version.revoked_at,
    )
