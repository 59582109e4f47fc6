"""The pieces that requests to the control surface are made of.

Invariant: every text and every number is bounded here, before anything is asked of a store: none holds a character or a
size that one store takes and the other does not.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

Value = TypeVar("Value")

# Times are Unix milliseconds; the bound is what JavaScript still counts exactly.
Moment = Annotated[int, Meta(ge=0, le=9_007_199_254_740_991, description="Unix milliseconds")]
PartnerId = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,62}$", description="The id of a partner")]
KeyId = Annotated[str, Meta(pattern="^[A-Za-z0-9_]{1,80}$", description="The id of a key")]
PublicKey = Annotated[
    str, Meta(pattern="^[0-9a-f]{64}$", description="The public half of an Ed25519 key, 32 bytes in hex")
]
Name = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Permission = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}:[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, Meta(max_length=200)]
Cidr = Annotated[str, Meta(max_length=64, description="An address range, such as 203.0.113.0/24")]
Reason = Annotated[str, Meta(min_length=1, max_length=500, description="Goes into the audit ledger")]
Limit = Annotated[int, Meta(ge=1, le=500, description="How many to answer with at most")]
After = Annotated[
    str, Meta(max_length=400, description="Where the page begins: as it stands in `next`, not to be made")
]
Word = Annotated[str, Meta(pattern="^[!-~]{1,128}$")]


class Paging(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    limit: Limit = 100
    after: After | UnsetType = UNSET


class Why(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of a change that needs nothing but a reason."""

    reason: Reason


def given(value: Value | UnsetType) -> Value | None:
    return None if isinstance(value, UnsetType) else value
