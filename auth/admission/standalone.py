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
        # What was asked last, and whether the script went along.
        self._batch: list[Admission] = []
        self._with_body = False

    async def aclose(self) -> None:
        self._lane.close()
        await self._link.aclose()

    def _begin(self, batch: list[Admission]) -> None:
        self._batch, self._with_body = batch, False
        self._link.send(self._script.command(batch), 1, self._receive, self._lane.fail)

    def _receive(self, replies: list[object]) -> None:
        try:
            outcomes = self._script.parse_reply(replies[0], self._batch)
        except wire.MalformedReply:
            self._receive_none(replies[0])
        else:
            self._lane.answer(outcomes)

    def _receive_none(self, reply: object) -> None:
        if isinstance(reply, NoScriptError) and not self._with_body:
            # The server says that it ran nothing, so sending it again, with the body, can't count twice.
            self._with_body = True
            command = self._script.command_with_body(self._batch)
            self._link.send(command, 1, self._receive, self._lane.fail)
            return
        # An error, or no answer to this question at all: either way nothing more is read from this peer.
        self._link.drop()
        self._lane.fail("refused")
