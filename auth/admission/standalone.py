"""The way to a single Redis (or the one a Sentinel names): one lane, one connection, one command a batch."""

from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from auth.admission import Admission, AdmissionRefused, Admitted, OutageReason, wire
from auth.admission.lane import Bounds, Lane
from auth.admission.link import Link
from auth.admission.wire import Script


class StandaloneRoute:
    def __init__(
        self,
        redis: Redis,
        script: Script,
        bounds: Bounds,
        without_store: Callable[[Admission, OutageReason], Admitted | AdmissionRefused],
    ) -> None:
        pool = redis.connection_pool
        self._link = Link(pool.connection_class, pool.connection_kwargs, bounds.timeout_s)
        self._script = script
        self._lane: Lane[Admission, Admitted] = Lane(self._begin, self._link.drop, without_store, bounds)
        self.ask = self._lane.ask
        self._batch: list[Admission] = []

    async def aclose(self) -> None:
        self._lane.close()
        await self._link.aclose()

    def _begin(self, batch: list[Admission]) -> None:
        self._batch = batch
        self._link.send(self._script.command(batch), 1, self._receive, self._lane.fail)

    def _receive(self, replies: list[object]) -> None:
        if isinstance(replies[0], NoScriptError):
            # The server says that it ran nothing, so sending it again, with the body, can't count twice.
            command = self._script.command(self._batch, with_body=True)
            self._link.send(command, 1, self._receive_last, self._lane.fail)
        else:
            self._receive_last(replies)

    def _receive_last(self, replies: list[object]) -> None:
        try:
            outcomes = wire.parse_reply(replies[0], self._batch)
        except wire.MalformedReply:
            # An error, or no answer to this question at all: either way nothing more is read from this peer.
            self._link.drop()
            self._lane.fail("refused")
            return
        self._lane.answer(outcomes)
