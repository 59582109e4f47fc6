"""What can be done with our own signing keys, the same for the command line and the control surface.

Invariant: a step is agreed on for all the rings that it names together, each as it was seen; what one ring refuses
keeps no other from its step. What is for a leak (to revoke, and to rotate now, which revokes) takes one person.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from gateway.operations.gate import Gate, Standing
from gateway.operations.operator import Operator
from keys import refusals
from keys.approvals import Spending
from keys.changes import Author
from keys.clearances import Unmoved
from keys.records import SecretVersion
from keys.ring_rotation import RingRotation, UnknownRingKey
from keys.rotations import Rotations
from policies import control

Step = Literal["announce", "activate", "rotate"]

_BOTH: Final = "service"


class UnknownRing(refusals.NotFound):
    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no ring {name!r:.80}: {', '.join(known)}")


class RingVersion(msgspec.Struct, frozen=True):
    ring: str
    version: SecretVersion


class Stepped(msgspec.Struct, frozen=True):
    """`refused`: what the other rings had to say."""

    taken: tuple[RingVersion, ...]
    refused: tuple[str, ...]


class RingOperations:
    def __init__(self, rings: Mapping[str, RingRotation], rotations: Rotations, gate: Gate) -> None:
        self._rings = rings
        self._rotations = rotations
        self._gate = gate

    async def find_all(self, by: Operator) -> list[RingVersion]:
        """Every ring's keys, oldest first."""
        by.require(control.SECRETS_READ)
        by.require(control.ALL_PARTNERS)
        return [
            RingVersion(name, version)
            for name, ring in self._rings.items()
            for version in await ring.list_versions()
        ]

    async def step(
        self,
        by: Operator,
        step: Step,
        names: Sequence[str] = (),
        *,
        now: bool = False,
        reason: str | None = None,
    ) -> Stepped:
        """Of the rings that are named, or of all. `now`: see `RingRotation`."""
        _require(by)
        rings = [self._get(name) for name in dict.fromkeys(names or self._rings)]
        seen = {ring.name: await self._look(ring) for ring in rings}
        author = await self._gate.pass_(
            by,
            action="ring.revoke" if step == "rotate" and now else "ring.rotate",
            subject=" ".join(seen),
            change={
                "step": step,
                "now": now,
                "seen": {name: standing.revision for name, standing in seen.items()},
            },
            reason=reason,
        )
        taken, refused = list[RingVersion](), list[str]()
        for ring in rings:
            try:
                made = await _take(ring, step, now=now)(_cleared(author, seen[ring.name]))
            except refusals.Conflict as refusal:
                refused.append(str(refusal))
            else:
                taken.append(RingVersion(ring.name, made))
                author = _spent(author)
        return Stepped(tuple(taken), tuple(refused))

    async def revoke(self, by: Operator, kid: str, *, reason: str | None = None) -> RingVersion:
        """Of whatever ring it is."""
        _require(by)
        for name, ring in self._rings.items():
            if any(version.public_id == kid for version in await ring.list_versions()):
                author = await self._gate.pass_(
                    by,
                    action="ring.revoke",
                    subject=kid,
                    change={"ring": name},
                    standing=await self._look(ring),
                    reason=reason,
                )
                return RingVersion(name, await ring.revoke(kid, author=author))
        raise UnknownRingKey(" or any other ".join(self._rings), kid)

    def _get(self, name: str) -> RingRotation:
        ring = self._rings.get(name)
        if ring is None:
            raise UnknownRing(name, sorted(self._rings))
        return ring

    async def _look(self, ring: RingRotation) -> Standing:
        return Standing("secret", ring.secret_id, (await self._rotations.get(ring.secret_id)).revision)


def _require(by: Operator) -> None:
    by.require(control.SECRETS_ROTATE)
    by.require(control.ALL_PARTNERS)
    by.require_environment(_BOTH)


def _take(ring: RingRotation, step: Step, *, now: bool) -> Callable[[Author], Awaitable[SecretVersion]]:
    match step:
        case "announce":
            return lambda author: ring.announce(author=author)
        case "activate":
            return lambda author: ring.activate(author=author, now=now)
        case "rotate":
            return lambda author: ring.rotate(author=author, now=now)


def _cleared(author: Author, seen: Standing) -> Author:
    """Whoever acts by an approval acts on the ring as it was when it was asked for."""
    if author.approval is None:
        return author
    return msgspec.structs.replace(author, clearance=Unmoved(seen, author.clearance))


def _spent(author: Author) -> Author:
    """The first step that was taken has spent the approval; whether the glass is open is looked at in each."""
    return author.going_on() if isinstance(author.clearance, Spending) else author
