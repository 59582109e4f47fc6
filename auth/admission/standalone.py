"""The way to a single Redis (or the one a Sentinel names): one lane, one connection, one command a batch."""

from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from auth.admission import wire
from auth.admission.lane import Bounds, Lane, Unavailable
from auth.admission.link import Link
from auth.admission.wire import Counted, Packed, Script


class StandaloneRoute:
    def __init__(self, redis: Redis, script: Script, bounds: Bounds) -> None:
        pool = redis.connection_pool
        self._link = Link(pool.connection_class, pool.connection_kwargs, bounds.timeout_s)
        self._script = script
        self._lane = Lane(self._exchange, bounds)

    async def ask(self, packed: Packed) -> Counted:
        return await self._lane.ask(packed)

    async def aclose(self) -> None:
        await self._lane.aclose()
        await self._link.drop()

    async def _exchange(self, batch: Sequence[Packed]) -> list[Counted]:
        [reply] = await self._link.exchange(self._script.command(batch), 1)
        if isinstance(reply, NoScriptError):
            # The server says that it ran nothing, so sending it again, with the body, can't count twice.
            [reply] = await self._link.exchange(self._script.command(batch, with_body=True), 1)
        try:
            return wire.parse_reply(reply, batch)
        except wire.MalformedReply as error:
            # An error, or no answer to this question at all: either way nothing more is read from this peer.
            await self._link.drop()
            raise Unavailable("refused") from error
