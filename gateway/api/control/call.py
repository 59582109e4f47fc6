"""One call of a control endpoint, as its handler sees it: who asks, for what, and on what condition.

Invariant: a change that was declared conditional is made under the condition that the request names, and a create that
was declared to settle is made once for each idempotency key: a handler that forgets either is a defect, and told so.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from gateway.api.control import reading
from gateway.api.control.rules import Rule
from gateway.operations import Operations, Operator
from gateway.problems import Refusal
from keys import conditions

Position = TypeVar("Position", str, int)

_LONGEST: Final = 80
# What the stores, and JavaScript, count exactly.
_LARGEST: Final = 9_007_199_254_740_991
_LABEL: Final = b"portreeve/control-request/1\n"


class Reply(msgspec.Struct, frozen=True):
    """`revision`: of the one resource that it shows. `location`: of one that was made. `next`: of the page after."""

    value: msgspec.Struct
    revision: int | None = None
    location: str | None = None
    next: str | None = None


class ConditionForgotten(RuntimeError):
    """A handler made a change without the condition that its rule promises."""


class Request(msgspec.Struct, frozen=True):
    path: str
    query: bytes
    body: bytes
    headers: reading.Headers

    def __repr__(self) -> str:
        # A body may hold secrets: the ones that were found, when it reports a leak.
        return f"Request({self.path!r})"


class Call:
    def __init__(  # noqa: PLR0913, PLR0917  what a call is made of, each by its name
        self,
        rule: Rule,
        operations: Operations,
        operator: Operator,
        request: Request,
        parameters: dict[str, str],
        now_ms: int,
    ) -> None:
        self._rule = rule
        self._request = request
        self.now_ms = now_ms
        self._conditions_used: set[str] = set()
        self.operations = operations
        self.operator = operator
        self.parameters = parameters
        self.query: Any = reading.read_query(request.query, rule.query)
        self.body: Any = reading.read_body(request.headers, request.body, rule.body)
        self._expected = reading.read_if_match(request.headers) if rule.conditional else None
        self._idempotency_key = reading.read_idempotency_key(request.headers) if rule.settles else None

    # Conditions -------------------------------------------------------------------------------------------

    def if_unchanged(self, find_revision: conditions.FindRevision) -> Operator:
        """The operator, whose change is made only while the resource is as they say they know it."""
        self._conditions_used.add("if-match")
        if self._expected is None:
            return self.operator
        condition = conditions.Unchanged(find_revision, self._expected)
        return msgspec.structs.replace(self.operator, condition=condition)

    async def once(
        self,
        make: Callable[[Operator], Awaitable[Reply]],
        again: Callable[[Operator, str], Awaitable[Reply]],
    ) -> Reply:
        """`make` it, or tell of what an earlier request under the same idempotency key made.

        `again` reads it with the rule's own permission to make it: whoever made a thing was shown it.
        """
        self._conditions_used.add("idempotency-key")
        if self._idempotency_key is None or self._rule.settles is None:
            return await make(self.operator)
        once = conditions.OnlyOnce(
            self.operator.actor, self._idempotency_key, self._digest(), self._rule.settles
        )
        subject = await self.operations.find_settled(once, self.now_ms)
        if subject is None:
            try:
                return await make(msgspec.structs.replace(self.operator, condition=once))
            except conditions.AlreadySettled as settled:
                # Another copy of the request was first, between our looking and our turn.
                subject = settled.subject
        return await again(self.operator, subject)

    def require_kept(self) -> None:
        promised = {"if-match"} if self._rule.conditional else set[str]()
        promised |= {"idempotency-key"} if self._rule.settles else set()
        if promised - self._conditions_used:
            raise ConditionForgotten(self._rule.id)

    def _digest(self) -> str:
        request = self._request
        told = f"{self._rule.method}\n{request.path}\n".encode() + request.query + b"\n" + request.body
        return hashlib.sha256(_LABEL + told).hexdigest()

    # Pages ------------------------------------------------------------------------------------------------

    def position(self, kind: type[Position]) -> Position | None:
        """Where the page begins. A cursor is not secret and not signed: it opens nothing that may not be seen."""
        if isinstance(self.query.after, msgspec.UnsetType):
            return None
        try:
            packed = base64.urlsafe_b64decode(self.query.after.encode("ascii"))
            _, position = msgspec.json.decode(packed, type=tuple[str, kind])  # type: ignore[valid-type]
        except (ValueError, binascii.Error, msgspec.MsgspecError):
            raise self.refuse_cursor() from None
        # Packed again it says the same, so it was made here, for this list; and the stores can count as far, and
        # take it as text.
        if self._pack(position) != self.query.after or not _is_storable(position):
            raise self.refuse_cursor()
        return position

    def refuse_cursor(self) -> Refusal:
        return Refusal("invalid_request", "That is no cursor of this list.", members={"parameter": "after"})

    def next(self, position: str | int | None) -> str | None:
        """The address of the page that begins behind that position, with the rest of the query as it was."""
        if position is None:
            return None
        pairs = urllib.parse.parse_qsl(self._request.query.decode("ascii"), keep_blank_values=True)
        kept = [(name, value) for name, value in pairs if name != "after"]
        return f"{self._request.path}?{urllib.parse.urlencode([*kept, ('after', self._pack(position))])}"

    def _pack(self, position: str | int) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode((self._rule.id, position))).decode("ascii")


def _is_storable(position: str | int) -> bool:
    if isinstance(position, int):
        return 0 <= position <= _LARGEST
    return position.isascii() and position.isprintable() and len(position) <= _LONGEST
