"""An upstream's access token, asked for with our client credentials (RFC 6749, 4.4), used until shortly before its end.

Invariant: one request to the token endpoint at a time, however many requests wait for it, and after a failure none
for a moment. A token is renewed ahead of its end, while the one at hand is used. Nothing that the endpoint says is
repeated: a failure has a name of ours. Refuses what is no bearer token, and to go on with one that has expired.
"""

from __future__ import annotations

import asyncio
import logging
import re
from base64 import b64encode
from collections.abc import Callable
from typing import Final
from urllib.parse import quote_plus, urlencode

import msgspec

from gateway import upstream
from gateway.credentials.forms import Material, OAuthDetails, endpoint_of
from gateway.credentials.proof import Asked, taking, unavailable

_LOG: Final = logging.getLogger("portreeve.credentials")
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{1,8192}=*")
_LARGEST_ANSWER: Final = 65_536
_TIMEOUTS: Final = upstream.Timeouts(connect_ms=2_000, first_byte_ms=5_000, idle_ms=5_000, total_ms=5_000)
# Where the endpoint does not say how long a token is good for.
_DEFAULT_LIFETIME_S: Final = 60
_REST_MS: Final = 1_000
_OK: Final = 200


class GrantFailed(Exception):
    """The endpoint gave no token. Says why by a name of ours, never by what it answered."""


class _Answer(msgspec.Struct, frozen=True):
    access_token: str
    token_type: str
    expires_in: int = _DEFAULT_LIFETIME_S


class _Granted(msgspec.Struct, frozen=True, eq=False):
    lines: bytes
    renew_at: int
    ends_at: int
    since: int

    def __repr__(self) -> str:
        return "_Granted(***)"


class OAuthClient:
    """`clock_ms` only ever goes forward."""

    lines = None

    def __init__(
        self,
        upstream_name: str,
        details: OAuthDetails,
        members: Material,
        clock_ms: Callable[[], int],
    ) -> None:
        self.taken = taking(details.names)
        self._name = upstream_name
        self._clock_ms = clock_ms
        self._pool = _pool(details)
        self._request = _request(details, members, self._pool.authority)
        self._granted: _Granted | None = None
        self._asking: asyncio.Task[None] | None = None
        self._rests_until: int | None = None

    def __repr__(self) -> str:
        return "OAuthClient(***)"

    async def prove(self, asked: Asked) -> bytes:  # noqa: ARG002  the same for all
        now_ms, granted = self._clock_ms(), self._granted
        if granted is not None and now_ms < granted.renew_at:
            return granted.lines
        asking = self._ask(now_ms)
        if granted is not None and now_ms < granted.ends_at:
            return granted.lines
        if asking is not None:
            # Shielded: whoever goes away leaves the others waiting.
            await asyncio.shield(asking)
        granted = self._granted
        if granted is None or self._clock_ms() >= granted.ends_at:
            raise unavailable()
        return granted.lines

    def note_refused(self, lines: bytes) -> None:
        """The upstream has forgotten it, perhaps: another one is asked for, but not for every 401."""
        granted = self._granted
        if granted is not None and granted.lines == lines and self._clock_ms() - granted.since >= _REST_MS:
            self._granted = None

    async def aclose(self) -> None:
        if self._asking is not None:
            await self._asking
        await self._pool.aclose()

    def _ask(self, now_ms: int) -> asyncio.Task[None] | None:
        if self._asking is not None:
            return self._asking
        if self._rests_until is not None and now_ms < self._rests_until:
            return None
        self._asking = asyncio.get_running_loop().create_task(self._renew(now_ms))
        return self._asking

    async def _renew(self, now_ms: int) -> None:
        try:
            self._granted = await self._fetch(now_ms)
            self._rests_until = None
        except (GrantFailed, upstream.UpstreamError) as failure:
            self._rests_until = self._clock_ms() + _REST_MS
            why = str(failure) if isinstance(failure, GrantFailed) else type(failure).__name__
            _LOG.warning("no access token for upstream %s: %s", self._name, why)
        finally:
            self._asking = None

    async def _fetch(self, now_ms: int) -> _Granted:
        async with await self._pool.send(self._request, _TIMEOUTS) as response:
            if response.status != _OK:
                raise GrantFailed(f"the endpoint answered {response.status}")
            body = b""
            async for piece in response:
                body += piece
                if len(body) > _LARGEST_ANSWER:
                    raise GrantFailed("the answer is too large")
        return _parse(body, now_ms)


def _parse(body: bytes, now_ms: int) -> _Granted:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.MsgspecError, RecursionError):
        # Not chained: a decoder may repeat what it read.
        raise GrantFailed("the answer is no token") from None
    if answer.token_type.lower() != "bearer" or _TOKEN.fullmatch(answer.access_token) is None:
        raise GrantFailed("the answer is no bearer token")
    if answer.expires_in < 1:
        raise GrantFailed("the token has expired already")
    lifetime_ms = answer.expires_in * 1000
    return _Granted(
        b"authorization: Bearer %b\r\n" % answer.access_token.encode(),
        now_ms + lifetime_ms * 3 // 4,
        # Counted from when it was asked for, and a little earlier: the upstream's clock is another one.
        now_ms + lifetime_ms - min(5_000, lifetime_ms // 10),
        now_ms,
    )


def _pool(details: OAuthDetails) -> upstream.UpstreamPool:
    address, _ = endpoint_of(details)
    return upstream.UpstreamPool(
        upstream.UpstreamTarget(
            name="token-endpoint",
            scheme=address.scheme,
            host=address.host,
            port=address.port,
            max_connections=1,
            tls=upstream.client_context() if address.scheme == "https" else None,
        )
    )


def _request(details: OAuthDetails, members: Material, authority: bytes) -> upstream.OutboundRequest:
    client_id, client_secret = (members[name].reveal() for name in ("client_id", "client_secret"))
    form = {"grant_type": "client_credentials"}
    if details.scope is not None:
        form["scope"] = details.scope
    own = b"content-type: application/x-www-form-urlencoded\r\naccept: application/json\r\n"
    if details.client_authentication == "post":
        form |= {"client_id": client_id, "client_secret": client_secret}
    else:
        # Encoded like a form's, before they are joined (RFC 6749, 2.3.1).
        pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}".encode()
        own += b"authorization: Basic %b\r\n" % b64encode(pair)
    _, path = endpoint_of(details)
    opening = upstream.open_head(authority, b"POST", path)
    return upstream.prepare(opening, b"", 0, own, urlencode(form).encode())
