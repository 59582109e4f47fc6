"""Approvals as values: what was asked for, by whom, and what binds a yes to exactly that.

Invariant: the digest covers all that the change is and the revision of what it is about, under a label of its own; two
requests have one digest only if they ask for the same. None of these values holds a secret: whoever asks names the
change without.
"""

import hashlib
from typing import Any, Final, Literal

import msgspec

State = Literal["pending", "approved", "refused", "withdrawn", "used", "expired"]
# `open`: what can still be decided or used.
Wished = Literal["open", "pending", "approved", "refused", "withdrawn", "used", "expired"]
# What has a revision by which it is seen that it was changed.
StandingKind = Literal["account", "client", "key", "partner", "secret", "webhook", "route", "environment"]

# By whom a yes counts: by whoever may decide, or by a key that signed its request alone.
Deciders = Literal["anybody", "keys"]

PREFIX: Final = "apr_"
_LABEL: Final = b"portreeve/approval/1\n"
_OPEN: Final = ("pending", "approved")


class Standing(msgspec.Struct, frozen=True):
    """The subject as it was when it was looked at."""

    kind: StandingKind
    name: str
    revision: int


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to do. `environment` and `partner`: None is what belongs to neither."""

    action: str
    subject: str
    environment: str | None = None
    partner: str | None = None
    change: dict[str, Any] = {}
    standing: Standing | None = None

    def digest(self) -> str:
        return hashlib.sha256(_LABEL + msgspec.json.encode(self, order="sorted")).hexdigest()


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """`requester_partner`: the one that the requester belongs to, none where they reach all of them.
    `approvers`: whoever decides has a role of each of these lists.
    """

    id: str
    action: str
    subject: str
    environment: str | None
    partner: str | None
    change: dict[str, Any]
    digest: str
    subject_revision: int | None
    approvers: tuple[tuple[str, ...], ...]
    state: State
    requested_by: str
    requester_partner: str | None
    requested_at: int
    reason: str | None
    expires_at: int
    decided_by: str | None = None
    decided_at: int | None = None
    decision_reason: str | None = None
    used_at: int | None = None

    def seen_at(self, now_ms: int) -> "Approval":
        """An expired one reads as expired, though nobody has written that down."""
        if self.state in _OPEN and self.expires_at <= now_ms:
            return msgspec.structs.replace(self, state="expired")
        return self
