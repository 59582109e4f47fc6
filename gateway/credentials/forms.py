"""What each form of credential consists of: its details, which anybody may see, and its material, which nobody may.

Invariant: what passes here makes well-formed header lines, under names that neither frame a message, nor belong to a
hop, nor are the gateway's own. No error repeats what was given.
Refuses: unknown and missing members, and any value that could add or hide a line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from gateway import headers
from gateway.settings import addresses
from keys import refusals
from keys.secret import Secret
from keys.upstream_credentials import Form

Material = Mapping[str, Secret]

MEMBERS: Final[Mapping[Form, tuple[str, ...]]] = {
    "header": ("value",),
    "basic": ("username", "password"),
    "hmac": ("key_id", "secret"),
    "oauth-client": ("client_id", "client_secret"),
}
# The member of each form that is no secret: it may stand on a command line, and in an approval.
PUBLIC_MEMBER: Final[Mapping[Form, str]] = {
    "basic": "username",
    "hmac": "key_id",
    "oauth-client": "client_id",
}
_LONGEST: Final = 8_192
_LINE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SECRET_ID: Final = re.compile(r"[A-Za-z0-9/_+=.@:-]{1,2048}")


class InvalidCredential(refusals.InvalidRequest):
    field = "credential"


class Details(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`secret_id`: where it lies in AWS Secrets Manager, by name or ARN; None where it lies in our own store."""

    secret_id: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The headers it takes for itself."""
        return ("authorization",)


class HeaderDetails(Details, frozen=True, kw_only=True):
    header: str

    @property
    def names(self) -> tuple[str, ...]:
        return (self.header,)


class BasicDetails(Details, frozen=True, kw_only=True):
    pass


class HmacDetails(Details, frozen=True, kw_only=True):
    key_header: str = "x-api-key"
    timestamp_header: str = "x-timestamp"
    signature_header: str = "x-signature"
    layout: Literal["lines", "joined"] = "lines"
    encoding: Literal["hex", "base64"] = "hex"
    timestamp: Literal["ms", "s"] = "ms"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.key_header, self.timestamp_header, self.signature_header)


class OAuthDetails(Details, frozen=True, kw_only=True):
    token_endpoint: str
    scope: str | None = None
    client_authentication: Literal["basic", "post"] = "basic"


_DETAILS: Final[Mapping[Form, type[Details]]] = {
    "header": HeaderDetails,
    "basic": BasicDetails,
    "hmac": HmacDetails,
    "oauth-client": OAuthDetails,
}


def parse_details(form: Form, details: Mapping[str, Any]) -> Details:
    try:
        parsed = msgspec.convert(details, _DETAILS[form])
    except msgspec.ValidationError as failure:
        raise InvalidCredential(f"{form}: {failure}") from None
    _require_names(parsed.names)
    if parsed.secret_id is not None and _SECRET_ID.fullmatch(parsed.secret_id) is None:
        raise InvalidCredential("secret_id: neither the name nor the ARN of a secret")
    if isinstance(parsed, OAuthDetails):
        _check_endpoint(parsed)
    return parsed


def parse_material(form: Form, material: Secret, *, strictly: bool = True) -> Material:
    """`strictly`: nothing but the form's own members. A secret that others keep may hold more."""
    wanted, text = MEMBERS[form], material.reveal()
    if not text.startswith("{") and len(wanted) == 1:
        members: dict[str, Any] = {wanted[0]: text}
    else:
        members = _parse_object(text)
    if strictly and set(members) - set(wanted):
        raise InvalidCredential(f"{form}: its members are {', '.join(wanted)}, and no others")
    return {name: Secret(_checked(form, name, members.get(name))) for name in wanted}


def write_material(form: Form, members: Material) -> Secret:
    """As it is sealed: the one spelling of it."""
    return Secret(msgspec.json.encode({name: members[name].reveal() for name in MEMBERS[form]}).decode())


def endpoint_of(details: OAuthDetails) -> tuple[addresses.UpstreamAddress, bytes]:
    """Where to, and what to ask for there."""
    scheme, _, rest = details.token_endpoint.partition("://")
    authority, slash, path = rest.partition("/")
    return addresses.parse_upstream(f"{scheme}://{authority}"), f"{slash}{path}".encode("ascii")


def _check_endpoint(details: OAuthDetails) -> None:
    try:
        addresses.check_public(details.token_endpoint)
        _, path = endpoint_of(details)
    except addresses.InvalidAddress as failure:
        raise InvalidCredential(f"token_endpoint: {failure}") from None
    if not path:
        raise InvalidCredential("token_endpoint: has no path")
    if details.scope is not None and _LINE.fullmatch(details.scope) is None:
        raise InvalidCredential("scope: holds something else than visible characters and spaces")


def _require_names(names: tuple[str, ...]) -> None:
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise InvalidCredential("a header's name is lowercase letters, digits and '-'")
        if not headers.may_carry_credential(name.encode()):
            raise InvalidCredential(f"{name} is no header for a credential: it frames, addresses or is ours")
    if len(set(names)) != len(names):
        raise InvalidCredential("each header needs a name of its own")


def _parse_object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        # Not chained: what a decoder says may hold a part of what it read.
        raise InvalidCredential("the secret is not a JSON object with the members of its form") from None


def _checked(form: Form, name: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        raise InvalidCredential(f"{form}: {name} is missing, or is no text of 1 to {_LONGEST} characters")
    if _LINE.fullmatch(value) is None:
        raise InvalidCredential(f"{form}: {name} holds something else than visible characters")
    if name == "username" and ":" in value:
        raise InvalidCredential("basic: a username holds no colon")
    return value
