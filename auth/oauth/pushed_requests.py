"""Pushed authorization requests (RFC 9126): what a client asks for, over its own connection, before a person comes.

Invariant: every parameter was checked against the client when it was pushed, and is never taken from a browser. A
request is its client's alone, lives less than ten minutes, and leads to one answer. Whoever has it before the lifetime
that its client was told is over may take until the ten minutes to sign in and decide. Refuses requests within requests,
anything but a code with an S256 challenge, a redirect URI that was not registered, and a key other than the one proved.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, cast, get_args

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from auth.oauth import drawn, pkce, redirects, scopes
from auth.oauth.ground import Ground
from auth.oauth.refusals import Refused
from auth.oauth.terms import LONGEST_REQUEST_MS
from keys.served_clients import ServedClient
from storage import engine, schema

PREFIX: Final = "urn:ietf:params:oauth:request_uri:"
GRANT: Final = "authorization_code"
Prompt = Literal["none", "login", "consent", "select_account"]

_TABLE: Final = schema.oauth_requests
_CLEANED_AT_ONCE: Final = 50
_LONGEST_TEXT: Final = 1_024
_LONGEST_HINT: Final = 320
_TEXT: Final = re.compile(r"[\x20-\x7e]*")
_HINT: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*")
_SECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_PROMPTS: Final = frozenset(get_args(Prompt))


class Parameters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`scope`: all that is asked for, which the client has. `prompt`: none of them, `none` alone, or some."""

    redirect_uri: str
    scope: tuple[str, ...]
    resource: str
    challenge: str
    state: str | None = None
    nonce: str | None = None
    prompt: tuple[Prompt, ...] = ()
    max_age_ms: int | None = None
    login_hint: str | None = None


class Pushed(msgspec.Struct, frozen=True):
    request_uri: str
    expires_in_s: int


class PendingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One that has not been answered. `digest` is its name in the store."""

    digest: str
    client_id: str
    parameters: Parameters
    jkt: str | None
    created_at: int
    expires_at: int


class PushedRequests:
    def __init__(self, ground: Ground) -> None:
        self._engine = ground.engine
        self._policies = ground.policies
        self._clock = ground.clock
        self._entropy = ground.entropy
        self._terms = ground.terms

    async def push(self, client: ServedClient, form: Mapping[str, str], proved_jkt: str | None) -> Pushed:
        """`client` was authenticated. `proved_jkt`: of the DPoP proof that came along."""
        parameters = self.parse(client, form)
        jkt = _parse_jkt(_given(form, "dpop_jkt"), proved_jkt)
        uri, now = drawn.draw(self._entropy).reveal(), self._clock()
        row = {
            "digest": drawn.digest(uri),
            "client_id": client.id,
            "parameters": msgspec.to_builtins(parameters),
            "jkt": jkt,
            "created_at": now,
            "expires_at": now + self._terms.request_ms,
        }
        async with engine.transaction(self._engine) as conn:
            await _clean(conn, now)
            await conn.execute(sa.insert(_TABLE).values(**row))
        return Pushed(PREFIX + uri, self._terms.request_ms // 1000)

    def parse(self, client: ServedClient, form: Mapping[str, str]) -> Parameters:
        _require_plain(client, form)
        _require_code(client, form)
        return Parameters(
            redirect_uri=redirects.require_registered(_given(form, "redirect_uri"), client.redirect_uris),
            scope=tuple(
                sorted(scopes.narrow(_given(form, "scope"), scopes.of_client(self._policies, client)))
            ),
            resource=self._terms.choose_resource(_given(form, "resource")),
            challenge=pkce.parse_challenge(
                _given(form, "code_challenge"), _given(form, "code_challenge_method")
            ),
            state=_bounded(form, "state", _LONGEST_TEXT, _TEXT),
            nonce=_bounded(form, "nonce", _LONGEST_TEXT, _TEXT),
            prompt=_parse_prompt(_given(form, "prompt")),
            max_age_ms=_parse_max_age(_given(form, "max_age")),
            login_hint=_bounded(form, "login_hint", _LONGEST_HINT, _HINT),
        )

    async def find(self, request_uri: str) -> PendingRequest | None:
        """One that is still to be answered; from now on it lives as long as any may."""
        if not request_uri.startswith(PREFIX):
            return None
        digest, now = drawn.digest(request_uri.removeprefix(PREFIX)), self._clock()
        waiting = is_waiting(digest, now)
        async with engine.reading(self._engine) as conn:
            row = (await conn.execute(sa.select(_TABLE).where(waiting))).mappings().first()
        if row is None:
            return None
        until = row["created_at"] + LONGEST_REQUEST_MS
        if row["expires_at"] < until:
            async with engine.transaction(self._engine) as conn:
                await conn.execute(sa.update(_TABLE).where(waiting).values(expires_at=until))
        return _from_row(row, until)


def is_waiting(digest: str, now: int) -> sa.ColumnElement[bool]:
    return sa.and_(_TABLE.c.digest == digest, _TABLE.c.used_at.is_(None), _TABLE.c.expires_at > now)


async def consume(conn: AsyncConnection, digest: str, now: int) -> bool:
    """Whether it was this call that answered it."""
    using = sa.update(_TABLE).where(is_waiting(digest, now)).values(used_at=now)
    return (await conn.execute(using)).rowcount == 1


def _from_row(row: sa.RowMapping, until: int) -> PendingRequest:
    return PendingRequest(
        digest=row["digest"],
        client_id=row["client_id"],
        parameters=msgspec.convert(row["parameters"], Parameters),
        jkt=row["jkt"],
        created_at=row["created_at"],
        expires_at=until,
    )


async def _clean(conn: AsyncConnection, now: int) -> None:
    """A few at a time, so that nobody waits for it, and more than come. Nobody waits for another one's cleaning."""
    over = sa.select(_TABLE.c.digest).where(_TABLE.c.expires_at < now - LONGEST_REQUEST_MS)
    some = over.order_by(_TABLE.c.expires_at).limit(_CLEANED_AT_ONCE).with_for_update(skip_locked=True)
    digests = (await conn.execute(some)).scalars().all()
    if digests:
        await conn.execute(sa.delete(_TABLE).where(_TABLE.c.digest.in_(digests)))


def _require_plain(client: ServedClient, form: Mapping[str, str]) -> None:
    if "request_uri" in form:
        raise Refused("invalid_request", "a pushed request does not name another one")
    if "request" in form:
        raise Refused("request_not_supported", "parameters are taken from the form, not from a signed object")
    if form.get("client_id", client.id) != client.id:
        raise Refused("invalid_request", "client_id is not the client that authenticated")


def _require_code(client: ServedClient, form: Mapping[str, str]) -> None:
    if GRANT not in client.grants:
        raise Refused("unauthorized_client", "this client does not use authorization codes")
    response_type = _given(form, "response_type")
    if response_type is None:
        raise Refused("invalid_request", "response_type is required")
    if response_type != "code":
        raise Refused("unsupported_response_type", "response_type has to be code")
    if _given(form, "response_mode") not in {None, "query"}:
        raise Refused("invalid_request", "response_mode has to be query")


def _given(form: Mapping[str, str], name: str) -> str | None:
    """RFC 6749: a parameter without a value counts as left out."""
    return form.get(name) or None


def _bounded(form: Mapping[str, str], name: str, longest: int, grammar: re.Pattern[str]) -> str | None:
    value = _given(form, name)
    if value is not None and (len(value) > longest or grammar.fullmatch(value) is None):
        raise Refused("invalid_request", f"{name} has at most {longest} characters, none of them for control")
    return value


def _parse_prompt(prompt: str | None) -> tuple[Prompt, ...]:
    asked = frozenset(() if prompt is None else prompt.split(" "))
    if not asked <= _PROMPTS or ("none" in asked and len(asked) > 1):
        raise Refused("invalid_request", "prompt is none, or some of login, consent and select_account")
    return cast("tuple[Prompt, ...]", tuple(sorted(asked)))


def _parse_max_age(max_age: str | None) -> int | None:
    if max_age is None:
        return None
    if _SECONDS.fullmatch(max_age) is None:
        raise Refused("invalid_request", "max_age is a number of seconds")
    return int(max_age) * 1000


def _parse_jkt(named: str | None, proved: str | None) -> str | None:
    if named is None:
        return proved
    if _THUMBPRINT.fullmatch(named) is None:
        raise Refused("invalid_request", "dpop_jkt is the SHA-256 thumbprint of a key, in base64url")
    if proved is not None and proved != named:
        raise Refused("invalid_request", "dpop_jkt is not the key of the DPoP proof")
    return named
