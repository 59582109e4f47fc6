"""What a kind of secret has to know so that its secrets can be rotated like every other's.

Invariant: a draft is made before the transaction opens, and may ask the KMS; from then on sealing is arithmetic. The
number that the version gets is known only under the lock, and is bound into what is sealed.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from keys import refusals
from keys.changes import Change
from keys.held import HeldSecret
from keys.secret import Secret
from keys.versions import Material


class OfferRefused(refusals.InvalidRequest):
    """What was brought along for a new version does not fit this secret."""


class NotEndedHere(refusals.Conflict):
    """Without any version the kind's secrets would leave something without a way to go on."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What whoever asks brings along for the new version: a public key, and a signature that proves they hold its other
    half.
    """

    public_key: bytes | None = None
    proof: bytes | None = None


NOTHING = Offer()


class Draft(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A new version before it has its number. `shown` is told once, to whoever asked."""

    seal: Callable[[int], Material]
    shown: Secret | None = None
    public_key: bytes | None = None
    public_id: str | None = None


class Kind(Protocol):
    """`ends_older`: see `rotation.activate`."""

    @property
    def ends_older(self) -> bool: ...

    async def draft(self, secret: HeldSecret, offer: Offer) -> Draft:
        """Outside any transaction. Refuses an offer that does not fit with an InvalidRequest."""
        ...

    async def end(self, change: Change, secret: HeldSecret) -> str:
        """What else of it ends when all its versions are revoked, in the same transaction. Answers the action by which
        the ledger tells of it. Refuses with `NotEndedHere` where the secret cannot be done without.
        """
        ...
