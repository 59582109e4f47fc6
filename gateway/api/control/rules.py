"""What an endpoint of the control surface declares of itself.

Invariant: a rule is everything that others need to know of an endpoint; none of it is said again elsewhere.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

PREFIX: Final = "/control/v1"
LARGEST_BODY: Final = 65_536

_PARAMETER: Final = re.compile(r"\{([a-z_]+)\}")

# Whose subject it may be. `own`: the operator's partner's, anybody's for who reaches all partners; what is out of reach
# does not exist. `all`: only who reaches all partners may ask. `listed`: anybody may, and is shown what they reach.
# `any`: it may be about anybody's, for it is the caller who knows of it. `asked`: only what the caller has asked for
# themselves; to anybody else it does not exist, whatever they reach.
Reach = Literal["own", "all", "listed", "any", "asked"]
# Whose key may ask. `subject`: only one of the environment that the subject belongs to.
Environments = Literal["any", "live", "subject"]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """`conditional`: it changes what is there, so `If-Match` is required. `settles`: the audit action of a create.

    `refuses`: the problem codes that are its own, beyond those that every endpoint may answer. `tagged`: what it shows
    is at some revision; not so where the answer changes without a change, by time passing or by what nodes say.
    """

    id: str
    method: Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
    path: str
    tag: str
    summary: str
    permission: str
    reach: Reach
    environment: Environments = "any"
    description: str = ""
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct]
    status: int = 200
    conditional: bool = False
    settles: str | None = None
    tagged: bool = True
    refuses: tuple[str, ...] = ()
    sample_body: msgspec.Struct | None = None
    sample: msgspec.Struct

    @property
    def parameters(self) -> list[str]:
        return _PARAMETER.findall(self.path)

    @property
    def route_name(self) -> str:
        """What the log and the metrics call it. Configured routes have no dot in their names."""
        return f"control.{self.id}"

    @property
    def handler_path(self) -> str:
        return _PARAMETER.sub(r"{\1:str}", self.path)

    @property
    def has_etag(self) -> bool:
        return bool(self.parameters) and self.method == "GET" and self._shows_one

    @property
    def tells_revision(self) -> bool:
        """A change of one resource: its answer names the revision that it committed."""
        return self.method != "GET" and self._shows_one

    @property
    def _shows_one(self) -> bool:
        return self.tagged and "items" not in self.answer.__struct_fields__

    def own_refusals(self) -> tuple[str, ...]:
        """The codes that follow from what is declared, and those that are declared."""
        found = [*self.refuses]
        if self.body is not None:
            found.append("unsupported_media_type")
        if self.parameters:
            found.append("not_found")
        if self.environment != "any":
            found.append("environment_mismatch")
        if self.method != "GET":
            found += ["conflict", "approval_needed"]
        if self.conditional:
            found += ["precondition_required", "precondition_failed"]
        if self.settles is not None:
            found.append("idempotency_mismatch")
        return tuple(dict.fromkeys(found))
