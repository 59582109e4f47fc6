"""Reading what a control request says: its body, its query, and the headers that make it conditional or repeatable.

Invariant: what does not fit its declared type reaches no operation, and the refusal points to the part that does not,
never quoting a value.
"""

from __future__ import annotations

import re
import urllib.parse
from typing import Any, Final

import msgspec

from gateway.problems import Refusal

Header = tuple[bytes, bytes]

_PLACE: Final = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`$")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[([^\]]*)\]")
_ETAG: Final = re.compile(r'(?:W/)?"[!#-~\x80-\xff]*"')
_STRONG: Final = re.compile(r'"r([1-9][0-9]{0,18})"')
_IDEMPOTENCY_KEY: Final = re.compile(r'("?)([A-Za-z0-9_.:-]{8,128})\1')
_JSON: Final = re.compile(r'application/json(?: *; *charset="?utf-8"?)?', re.IGNORECASE)
_MOST_PARAMETERS: Final = 32
_LONGEST_DETAIL: Final = 300


class Headers:
    def __init__(self, headers: list[Header]) -> None:
        self._headers = headers

    def find(self, name: bytes) -> str | None:
        """Lists may come in several lines; they are one value."""
        values = [value for key, value in self._headers if key == name]
        return b", ".join(values).decode("latin-1") if values else None


def read_body(headers: Headers, body: bytes, kind: type[msgspec.Struct] | None) -> Any:  # noqa: ANN401  of that kind
    if kind is None:
        if body:
            raise Refusal("invalid_request", "This operation takes no body.", members={"pointer": "#"})
        return None
    if not body and is_optional(kind):
        return kind()
    media_type = headers.find(b"content-type")
    if media_type is None or _JSON.fullmatch(media_type) is None:
        raise Refusal("unsupported_media_type", "The body has to be application/json, in UTF-8.")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as failure:
        raise _misfit(failure, "pointer") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Refusal("invalid_request", "The body is not JSON.", members={"pointer": "#"}) from None


def is_optional(kind: type[msgspec.Struct]) -> bool:
    """A body in which nothing is required may be left out."""
    return not any(field.required for field in msgspec.structs.fields(kind))


def read_query(query: bytes, kind: type[msgspec.Struct] | None) -> Any:  # noqa: ANN401  of that kind
    pairs = _pairs(query)
    names = [name for name, _ in pairs]
    for name in names:
        if kind is None or name not in kind.__struct_fields__ or names.count(name) > 1:
            raise Refusal(
                "invalid_request",
                "The query has a parameter that this operation does not take, or one of its own twice.",
                members={"parameter": name[:_LONGEST_DETAIL]},
            )
    if kind is None:
        return None
    try:
        return msgspec.convert(dict(pairs), kind, strict=False)
    except msgspec.ValidationError as failure:
        raise _misfit(failure, "parameter") from None


def _pairs(query: bytes) -> list[tuple[str, str]]:
    if not query:
        return []
    try:
        return urllib.parse.parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError:
        raise Refusal("invalid_request", "The query is not made of name=value pairs in UTF-8.") from None


def _misfit(failure: msgspec.ValidationError, member: str) -> Refusal:
    """The decoder states the place at the end of its message; it is moved into a member, and decides nothing."""
    message = str(failure)
    found = _PLACE.search(message)
    said = message if found is None else message[: found.start()]
    steps = [] if found is None else [name or index for name, index in _STEP.findall(found["path"])]
    place = "/".join(steps) if member == "parameter" else "#" + "".join(f"/{step}" for step in steps)
    return Refusal(
        "invalid_request", f"{said[:_LONGEST_DETAIL]}.", members={member: place} if place else None
    )


def etag(revision: int) -> str:
    """Strong: a revision is given once, and what the resource is told as follows from its rows alone."""
    return f'"r{revision}"'


def read_if_match(headers: Headers) -> frozenset[int] | None:
    """The revisions that the change may rest on; None for whichever it is, which has to be asked for."""
    value = headers.find(b"if-match")
    if value is None:
        raise Refusal(
            "precondition_required",
            "A change names the state that it rests on.",
            hint="Send If-Match with the ETag that you read, or If-Match: * to change it whatever it is.",
        )
    if value.strip() == "*":
        return None
    # A weak one names no state, so it never matches; nor does what no answer of ours ever said.
    strong = [_STRONG.fullmatch(tag) for tag in _tags(value, "if-match")]
    return frozenset(int(match[1]) for match in strong if match is not None)


def is_known(headers: Headers, current: str) -> bool:
    """Whether the client says that it has this state already: compared weakly, as RFC 9110 has it for reads."""
    value = headers.find(b"if-none-match")
    if value is None:
        return False
    if value.strip() == "*":
        return True
    return current in {tag.removeprefix("W/") for tag in _tags(value, "if-none-match")}


def _tags(value: str, name: str) -> list[str]:
    tags = [tag.strip() for tag in value.split(",")]
    if not all(_ETAG.fullmatch(tag) for tag in tags):
        raise Refusal("invalid_request", "That is no list of entity tags.", members={"header": name})
    return tags


def read_idempotency_key(headers: Headers) -> str | None:
    value = headers.find(b"idempotency-key")
    if value is None:
        return None
    match = _IDEMPOTENCY_KEY.fullmatch(value)
    if match is None:
        raise Refusal(
            "invalid_request",
            "An idempotency key is 8 to 128 of A-Z, a-z, 0-9 and _ . : -",
            members={"header": "idempotency-key"},
        )
    return match[2]
