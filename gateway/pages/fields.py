"""Reading what a page is asked with: its query, or a form.

Invariant: a field comes once, or the whole is refused; text is UTF-8 without controls, and short. Nothing that was
sent is repeated in a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

_FORM: Final = re.compile(r"application/x-www-form-urlencoded(?: *; *charset=\"?utf-8\"?)?", re.IGNORECASE)
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_MOST: Final = 64
_LONGEST: Final = 16_384


class MalformedFields(ValueError):
    """What was sent is no form, or not one that is read in one way only."""


def read_form(media_type: str | None, body: bytes) -> dict[str, str]:
    if media_type is None or not _FORM.fullmatch(media_type):
        raise MalformedFields("the form is of another type than forms are")
    return read(body)


def read(encoded: bytes) -> dict[str, str]:
    if not encoded:
        return {}
    try:
        pairs = parse_qsl(
            encoded.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MOST,
        )
    except ValueError:
        raise MalformedFields("it is not encoded as forms are") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedFields("a field comes twice")
    if any(len(value) > _LONGEST or _CONTROLS.search(name + value) for name, value in pairs):
        raise MalformedFields("a field is too long, or holds controls")
    return fields


def get(fields: Mapping[str, str], name: str) -> str:
    """A field that has to be there; it may be empty, as browsers send what was left out."""
    try:
        return fields[name]
    except KeyError:
        raise MalformedFields("a field is missing") from None
