"""Reading what a page is asked with: its query, or a form.

Invariant: it can be read in one way only, as `gateway.forms` has it: a field comes once, in UTF-8 without
controls, within bounds. What was left empty counts as not sent. Nothing that was sent is repeated in a refusal.
"""

from __future__ import annotations

from collections.abc import Mapping

from auth.oauth.errors import OAuthError
from gateway import forms


class MalformedFields(ValueError):
    """What was sent is no form, or not one that is read in one way only."""


def read_form(
    content_type: str | None, content_encoding: str | None, query: bytes, body: bytes
) -> dict[str, str]:
    """A form is sent in the body alone."""
    try:
        forms.require_form(content_type, content_encoding, query)
        return forms.parse(body)
    except OAuthError as refused:
        raise MalformedFields(refused.description) from None


def read_query(query: bytes) -> dict[str, str]:
    try:
        return forms.parse(query)
    except OAuthError as refused:
        raise MalformedFields(refused.description) from None


def get(fields: Mapping[str, str], name: str) -> str:
    return fields.get(name, "")
