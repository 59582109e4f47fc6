"""The way to a Redis Cluster: a lane and a connection for each primary, so that a stopped node refuses only
what lives on it.

A slot that has moved is asked again where it went, within the caller's time: the old node says that it ran
nothing. While a slot is being moved (ASK, TRYAGAIN) what lives in it is refused. Every failure starts a
look at the cluster's layout in the background, so that a failover is followed without a restart.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

import msgspec
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import MovedError, NoScriptError

from auth.admission import Admission, AdmissionRefused, Admitted, OutageReason, wire
from auth.admission.lane import Bounds, Lane, Unavailable
from auth.admission.link import Link
from auth.admission.wire import Script
from compiled.tasks import own_task

_log = logging.getLogger(__name__)

_MAX_MOVES = 3
# Finding the layout may have to wait for several nodes that don't answer; no request waits for it this long.
_LAYOUT_TIMEOUT_S = 5.0
_LAYOUT_INTERVAL_S = 0.25


class _Moved(msgspec.Struct, frozen=True):
    """Not here, says the node, and where to ask instead."""

    error: MovedError


_Outcome = Admitted | AdmissionRefused | Unavailable | _Moved


class ClusterRoute:
    def __init__(
        self,
        cluster: RedisCluster,
        script: Script,
        bounds: Bounds,
        without_store: Callable[[Admission, OutageReason], Admitted | AdmissionRefused],
    ) -> None:
        self._cluster = cluster
        self._script = script
        self._bounds = bounds
        self._without_store = without_store
        self._primaries: dict[str, _Primary] = {}
        self._layout: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")
        self._known = False

    async def ask(self, admission: Admission) -> Admitted:
        until = time.monotonic() + self._bounds.timeout_s
        moved: _Moved | None = None
        try:
            if self._known:
                # Ordinarily one node answers, and its lane keeps the time.
                outcome = await self._primary(admission).lane.ask(admission)
                if isinstance(outcome, Admitted):
                    return outcome
                moved = outcome
            return await self._follow(admission, moved, until)
        except TimeoutError:
            reason: OutageReason = "timeout"
        except Unavailable as outage:
            reason = outage.reason
        self._look()
        answer = self._without_store(admission, reason)
        if isinstance(answer, AdmissionRefused):
            raise answer
        return answer

    async def aclose(self) -> None:
        if self._layout is not None:
            self._layout.cancel()
            await asyncio.wait([self._layout])
        for primary in self._primaries.values():
            await primary.aclose()

    async def _follow(self, admission: Admission, moved: _Moved | None, until: float) -> Admitted:
        """To where its slot has moved, or to where it is once that is known."""
        await own_task()
        async with asyncio.timeout(until - time.monotonic()):
            if not self._known:
                await self._await_layout()
            for _ in range(_MAX_MOVES):
                if moved is not None:
                    await self._cluster.nodes_manager.move_slot(moved.error)
                outcome = await self._primary(admission).lane.ask(admission)
                if isinstance(outcome, Admitted):
                    return outcome
                moved = outcome
        raise Unavailable("refused")

    def _primary(self, admission: Admission) -> "_Primary":
        slot = self._cluster.keyslot(admission.charges.hash_tag)
        nodes = self._cluster.nodes_manager.slots_cache.get(slot)
        if not nodes:
            raise Unavailable("unreachable")
        node = nodes[0]
        primary = self._primaries.get(node.name)
        if primary is None:
            primary = self._primaries[node.name] = _Primary(node, self._script, self._bounds)
        return primary

    async def _await_layout(self) -> None:
        self._look()
        if self._layout is not None:
            # Waiting does not cancel what is waited for: others wait for the same look.
            await asyncio.wait([self._layout])
        if not self._known:
            raise Unavailable("unreachable")

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._layout is None and now - self._looked_at >= _LAYOUT_INTERVAL_S:
            self._looked_at = now
            self._layout = asyncio.create_task(self._find_layout())

    async def _find_layout(self) -> None:
        try:
            async with asyncio.timeout(_LAYOUT_TIMEOUT_S):
                await (self._cluster.nodes_manager if self._known else self._cluster).initialize()
            self._known = True
        except Exception as error:  # noqa: BLE001  a garbled answer makes the library raise anything
            # The layout known so far stays in use; the next failure looks again.
            _log.warning("the cluster's layout can't be found: %s", type(error).__name__)
        finally:
            self._layout = None


class _Primary:
    """One node's lane. A batch is divided by slot: a script may touch only one."""

    def __init__(self, node: ClusterNode, script: Script, bounds: Bounds) -> None:
        self._link = Link(node.connection_class, node.connection_kwargs, bounds.timeout_s)
        self._script = script
        self._exchange: asyncio.Task[None] | None = None
        self.lane: Lane[Admission, Admitted | _Moved] = Lane(
            self._begin, self._abandon, lambda _, reason: Unavailable(reason), bounds
        )

    async def aclose(self) -> None:
        exchange = self._exchange
        self.lane.close()
        if exchange is not None:
            await asyncio.wait([exchange])
        await self._link.aclose()

    def _begin(self, batch: list[Admission]) -> None:
        self._exchange = asyncio.get_running_loop().create_task(self._run(batch))

    def _abandon(self) -> None:
        if self._exchange is not None:
            self._exchange.cancel()
        self._link.drop()

    async def _run(self, batch: list[Admission]) -> None:
        try:
            outcomes = await self._ask(batch)
        except Unavailable as outage:
            self.lane.fail(outage.reason)
        else:
            self.lane.answer(outcomes)

    async def _ask(self, batch: list[Admission]) -> list[_Outcome]:
        groups: dict[bytes, list[int]] = {}
        for index, admission in enumerate(batch):
            groups.setdefault(admission.charges.hash_tag, []).append(index)
        members = [[batch[index] for index in group] for group in groups.values()]
        replies = await self._replies(members)
        outcomes: dict[int, _Outcome] = {}
        for group, asked, reply in zip(groups.values(), members, replies, strict=True):
            outcomes.update(zip(group, self._read(reply, asked), strict=True))
        return [outcomes[index] for index in range(len(batch))]

    async def _replies(self, groups: list[list[Admission]]) -> list[object]:
        replies = await self._link.exchange(b"".join(map(self._script.command, groups)), len(groups))
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            commands = [self._script.command_with_body(groups[index]) for index in unknown]
            again = await self._link.exchange(b"".join(commands), len(unknown))
            for index, reply in zip(unknown, again, strict=True):
                replies[index] = reply
        return replies

    def _read(self, reply: object, asked: Sequence[Admission]) -> Sequence[_Outcome]:
        if isinstance(reply, MovedError):
            return [_Moved(reply)] * len(asked)
        try:
            return self._script.parse_reply(reply, asked)
        except wire.MalformedReply:
            self._link.drop()
            # Each raises its own.
            return [Unavailable("refused") for _ in asked]
