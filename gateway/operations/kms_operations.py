"""What can be done with the data keys and with what wraps them, the same for the command line and the control surface.

Invariant: an approval to move is for these KMS keys, from what wraps each data key as it was seen; one to reseal is for
what lay under these retiring data keys, into the current ones. A run that was ended goes on under the same approval
(see `keys.clearances`), and nothing else does. Nobody is asked to approve what would change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.operations.gate import Gate
from gateway.operations.operator import Operator
from keys import data_key_rows, wrappers
from keys.approvals import Spending
from keys.changes import Author
from keys.clearances import InSteps
from keys.data_key_rows import StoredDataKey
from keys.data_keys import DataKeys
from keys.register import Domain
from keys.resealing import Resealed, Resealing
from keys.rewrapping import Rewrapped, Rewrapping
from policies import control
from storage import engine

# The data keys all together: what belongs to neither environment takes a credential for live.
SUBJECT: Final = "data-keys"
_ALL: Final = "service"
_MOVES_WRAPPINGS: Final = frozenset({"data_key.created", "data_key.rewrapped", "data_key.unwrapped"})
_MOVES_EPOCHS: Final = frozenset({"data_key.created", "data_key.retiring"})


class DataKeyState(msgspec.Struct, frozen=True):
    """`sealed`: how many versions of secrets lie under it."""

    key: StoredDataKey
    sealed: int


class KmsOperations:
    def __init__(
        self,
        engine_: AsyncEngine,
        data_keys: DataKeys,
        rewrapping: Rewrapping,
        resealing: Resealing,
        gate: Gate,
    ) -> None:
        self._engine = engine_
        self._data_keys = data_keys
        self._rewrapping = rewrapping
        self._resealing = resealing
        self._gate = gate

    async def status(self, by: Operator) -> list[DataKeyState]:
        """By environment and epoch, the destroyed ones among them."""
        by.require(control.KMS_READ)
        by.require(control.ALL_PARTNERS)
        async with engine.reading(self._engine) as conn:
            sealed = await data_key_rows.count_sealed(conn)
            return [DataKeyState(each, sealed.get(each.id, 0)) for each in await data_key_rows.list_all(conn)]

    async def rotate(self, by: Operator, environment: Domain, *, reason: str | None = None) -> StoredDataKey:
        _require(by, environment)
        async with engine.reading(self._engine) as conn:
            epoch = await data_key_rows.get_latest_epoch(conn, environment)
        author = await self._gate.pass_(
            by,
            action="kms.rotate",
            subject=environment,
            environment=environment,
            change={"from_epoch": epoch},
            reason=reason,
        )
        return await self._data_keys.rotate(environment, author=author)

    async def rewrap(self, by: Operator, *, remove_old: bool = False, reason: str | None = None) -> Rewrapped:
        _require(by, _ALL)
        living = await self._list_living()
        targets = [wrappers.describe(each) for each in self._rewrapping.targets]
        wrapped = {each.id: [_describe(one) for one in each.wrappings] for each in living}
        missing = any(target not in held for held in wrapped.values() for target in targets)
        removed = sorted({one for held in wrapped.values() for one in held if one not in targets})
        if not missing and not (remove_old and removed):
            return Rewrapped(len(living), 0, 0)
        change = {
            "to": targets,
            "remove_old": remove_old,
            "removed": removed if remove_old else [],
            "wrapped_by": wrapped,
        }
        author = await self._pass(
            by, "kms.rewrap", change, frozenset({"to", "remove_old"}), _MOVES_WRAPPINGS, reason
        )
        return await self._rewrapping.run(remove_old=remove_old, author=author)

    async def reseal(self, by: Operator, *, reason: str | None = None) -> Resealed:
        _require(by, _ALL)
        living = await self._list_living()
        retiring = [each.id for each in living if each.state == "retiring"]
        if not retiring:
            return Resealed(0, (), (), ())
        change = {
            "from": retiring,
            "into": {each.environment: each.id for each in living if each.state == "active"},
        }
        author = await self._pass(by, "kms.reseal", change, frozenset({"into"}), _MOVES_EPOCHS, reason)
        return await self._resealing.run(author=author)

    async def _list_living(self) -> list[StoredDataKey]:
        async with engine.reading(self._engine) as conn:
            return [each for each in await data_key_rows.list_all(conn) if each.state != "destroyed"]

    async def _pass(  # noqa: PLR0913, PLR0917  what an act is, and what of it stays the same while it is under way
        self,
        by: Operator,
        action: str,
        change: Mapping[str, Any],
        goal: frozenset[str],
        moving: frozenset[str],
        reason: str | None,
    ) -> Author:
        author = await self._gate.pass_(by, action=action, subject=SUBJECT, change=change, reason=reason)
        spending = author.clearance
        # Under break-glass every step looks for itself whether it is still open.
        if not isinstance(spending, Spending):
            return author
        steps = InSteps(
            approval=spending.approval,
            wanted=spending.wanted,
            goal=goal,
            moving=moving,
            approvers=spending.approvers,
        )
        return msgspec.structs.replace(author, clearance=steps)


def _require(by: Operator, environment: str) -> None:
    by.require(control.KMS_WRITE)
    by.require(control.ALL_PARTNERS)
    by.require_environment(environment)


def _describe(wrapping: wrappers.Wrapping) -> str:
    return f"{wrapping.kms_backend} key {wrapping.kms_key}"
