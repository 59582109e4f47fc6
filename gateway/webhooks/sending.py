"""One attempt to tell a target something, over a connection of its own.

Invariant: the host is looked up once, by us, and only the addresses that were checked are connected to; the name is
what the certificate is checked against. Redirects are answers like any other and lead nowhere. Whatever the target
does, an attempt ends at its deadline, holds little memory, and comes to a status or to a failure by a name of ours:
not a byte of the target's is kept.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from gateway import upstream
from gateway.upstream import ResponseLimits, Timeouts, UpstreamPool, UpstreamTarget
from gateway.webhooks import targets
from gateway.webhooks.resolving import NameNotFound, Resolve
from gateway.webhooks.signing import Headers
from keys.webhook_records import InvalidUrl

# A target that is slow to end its answer has given it nonetheless; but it gets no more of our time than this.
_MOST_BODY: Final = 65_536
_MOST_ADDRESSES: Final = 3
_LIMITS: Final = ResponseLimits(head_bytes=16_384, headers=64, interim=2, silence_bytes=32_768)
_DELIVERED: Final = range(200, 300)
_GONE: Final = 410


class Outcome(Struct, frozen=True):
    """`failure` is None when the target said that it has it."""

    status: int | None
    failure: str | None

    @property
    def is_gone(self) -> bool:
        return self.status == _GONE


class Sender:
    def __init__(
        self, rules: targets.Rules, resolve: Resolve, timeouts: Timeouts, tls: ssl.SSLContext
    ) -> None:
        self._rules = rules
        self._resolve = resolve
        self._timeouts = timeouts
        self._tls = tls

    async def post(self, url: str, headers: Headers, body: bytes) -> Outcome:
        try:
            # Read again: the rules may have changed since it was stored.
            target = targets.parse(url, self._rules)
            places = await self._find_places(target)
            request = _write(target, headers, body)
            return _judge(await self._ask_one_of(target, places, request))
        except InvalidUrl:
            return Outcome(None, "url refused")
        except targets.AddressRefused:
            return Outcome(None, "address refused")
        except NameNotFound:
            return Outcome(None, "name not found")
        except upstream.UpstreamError as failure:
            return Outcome(None, _name(failure))

    async def _find_places(self, target: targets.Target) -> Sequence[str]:
        if target.address is not None:
            return targets.check_addresses(target, [target.host], self._rules)
        found = await self._resolve(target.host, target.port)
        if not found:
            raise NameNotFound
        return targets.check_addresses(target, found, self._rules)[:_MOST_ADDRESSES]

    async def _ask_one_of(
        self, target: targets.Target, places: Sequence[str], request: upstream.OutboundRequest
    ) -> int:
        """The next address only if nothing was sent to the one before."""
        for place in places[:-1]:
            try:
                return await self._ask(target, place, request)
            except upstream.UpstreamUnreachable as failure:
                if failure.reason not in {"refused", "network"}:
                    raise
        return await self._ask(target, places[-1], request)

    async def _ask(self, target: targets.Target, place: str, request: upstream.OutboundRequest) -> int:
        secure = target.scheme == "https"
        there = UpstreamTarget(
            name="webhook",
            scheme=target.scheme,
            host=place,
            port=target.port,
            max_connections=1,
            tls=self._tls if secure else None,
            server_hostname=target.host if secure else None,
        )
        pool = UpstreamPool(there, limits=_LIMITS)
        try:
            response = await pool.send(request, self._timeouts)
            await _discard(response)
            return response.status
        finally:
            await pool.aclose()


def _write(target: targets.Target, headers: Headers, body: bytes) -> upstream.OutboundRequest:
    opening = upstream.open_head(target.authority.encode("ascii"), b"POST", target.path.encode("ascii"))
    lines = (("content-type", "application/json"), ("user-agent", "portreeve-webhooks"), *headers)
    written = "".join(f"{name}: {value}\r\n" for name, value in lines).encode("ascii")
    return upstream.prepare(opening, written, len(lines), b"", body)


async def _discard(response: upstream.UpstreamResponse) -> None:
    """A little of it, so that a well-behaved target sees its answer taken. The status stands whatever comes now."""
    size = 0
    try:
        async for piece in response:
            size += len(piece)
            if size > _MOST_BODY:
                break
    except upstream.UpstreamError:
        pass


def _judge(status: int) -> Outcome:
    return Outcome(status, None if status in _DELIVERED else f"status {status}")


def _name(failure: upstream.UpstreamError) -> str:
    match failure:
        case upstream.UpstreamUnreachable(reason=reason):
            return f"unreachable: {reason}"
        case upstream.UpstreamTimeout(which=which):
            return f"timeout: {which}"
        case upstream.UpstreamBroken(reason=reason):
            return f"broken answer: {reason}"
        case _:
            return "not answered"
