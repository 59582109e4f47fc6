"""The values of a decision: what is required, the facts of the request, and the answer with its reasons."""

from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import msgspec

ReasonCode = Literal["environment_mismatch", "source_not_allowed", "permission_denied", "key_store_stale"]


class Requirement(msgspec.Struct, frozen=True):
    """What a route asks. No field has a default: asking nothing has to be written out."""

    permission: str | None
    environment: str | None
    trading: bool


class RequestFacts(msgspec.Struct, frozen=True, gc=False):
    source: IPv4Address | IPv6Address
    directory_age_ms: int
    staleness_bound_ms: int


class Reason(msgspec.Struct, frozen=True):
    """Why a request is refused; `subject` names what was missing or wrong."""

    code: ReasonCode
    subject: str


class Decision(msgspec.Struct, frozen=True):
    allowed: bool
    reasons: tuple[Reason, ...]
