"""Fetching key sets of others: of issuers that the configuration trusts, of clients that keep theirs at an address.

Invariant: over https only; the host is looked up once, by us, each of its addresses must be one that a stranger may
lead us to, and only those are dialled, with the name for the certificate to match. Nothing is followed: a redirect is a
failure like any other answer but 200. What comes is bounded in size, and all of it in time, whatever the other side
does. Failures never say what came.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from msgspec import Struct

from auth import jose
from auth.oauth.client_keys import KeysUnreachable
from gateway import upstream
from gateway.upstream import ResponseLimits, Timeouts, UpstreamPool, UpstreamTarget
from gateway.webhooks import targets
from gateway.webhooks.resolving import NameNotFound, Resolve
from keys.webhook_records import InvalidUrl

MOST_BYTES: Final = 65_536
_MOST_ADDRESSES: Final = 3
_LIMITS: Final = ResponseLimits(head_bytes=16_384, headers=64, interim=2, silence_bytes=32_768)
_OK: Final = 200
_LINES: Final = b"accept: application/jwk-set+json, application/json\r\nuser-agent: portreeve-keys\r\n"


class FetchRules(Struct, frozen=True):
    """`networks`: exceptions from "public addresses only", for issuers within the company."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    connect_ms: int = 2_000
    total_ms: int = 5_000


class JwksFetcher:
    def __init__(self, rules: FetchRules, resolve: Resolve, tls: ssl.SSLContext) -> None:
        self._rules = targets.Rules(networks=rules.networks)
        total = rules.total_ms
        self._timeouts = Timeouts(
            connect_ms=rules.connect_ms, first_byte_ms=total, idle_ms=total, total_ms=total
        )
        self._total_s = total / 1000
        self._resolve = resolve
        self._tls = tls

    async def fetch(
        self, url: str, algorithms: Sequence[jose.Alg] = jose.FAPI
    ) -> tuple[jose.VerificationKey, ...]:
        """Raises `KeysUnreachable`, whatever the matter is."""
        try:
            # Over the whole: a name server may be as slow as whoever runs it likes.
            async with asyncio.timeout(self._total_s):
                body = await self._get(url)
            return jose.parse_key_set(jose.parse_json(body), algorithms=algorithms)
        except (TimeoutError, InvalidUrl, targets.AddressRefused, NameNotFound, upstream.UpstreamError):
            raise KeysUnreachable from None
        except (jose.MalformedJws, jose.InvalidJwk):
            raise KeysUnreachable from None

    async def _get(self, url: str) -> bytes:
        target = targets.parse(url, self._rules)
        places = (
            [target.host] if target.address is not None else await self._resolve(target.host, target.port)
        )
        allowed = targets.check_addresses(target, places, self._rules)[:_MOST_ADDRESSES]
        if not allowed:
            raise NameNotFound
        for place in allowed[:-1]:
            try:
                return await self._ask(target, place)
            except upstream.UpstreamUnreachable:
                continue
        return await self._ask(target, allowed[-1])

    async def _ask(self, target: targets.Target, place: str) -> bytes:
        opening = upstream.open_head(target.authority.encode("ascii"), b"GET", target.path.encode("ascii"))
        there = UpstreamTarget(
            name="keys",
            scheme=target.scheme,
            host=place,
            port=target.port,
            max_connections=1,
            tls=self._tls,
            server_hostname=target.host,
        )
        pool = UpstreamPool(there, limits=_LIMITS)
        try:
            request = upstream.prepare(opening, b"", 0, _LINES)
            response = await pool.send(request, self._timeouts)
            if response.status != _OK:
                raise KeysUnreachable
            return await _read(response)
        finally:
            await pool.aclose()


async def _read(response: upstream.UpstreamResponse) -> bytes:
    body = b""
    async for piece in response:
        body += piece
        if len(body) > MOST_BYTES:
            raise KeysUnreachable
    return body
