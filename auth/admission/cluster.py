"""The way to a Redis Cluster: a lane and a connection for each primary, so that a stopped node refuses only
what lives on it.

A slot that has moved is asked again where it went, within the caller's time: the old node says that it ran
nothing. While a slot is being moved (ASK, TRYAGAIN) what lives in it is refused. Every failure starts a
look at the cluster's layout in the background, so that a failover is followed without a restart.
"""

import asyncio
import logging
from collections.abc import Sequence

from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import MovedError, NoScriptError

from auth.admission import wire
from auth.admission.lane import Bounds, Lane, Unavailable
from auth.admission.link import Link
from auth.admission.wire import Counted, Packed, Script

_log = logging.getLogger(__name__)

_MAX_MOVES = 3
# Finding the layout may have to wait for several nodes that don't answer; no request waits for it this long.
_LAYOUT_TIMEOUT_S = 5.0
_LAYOUT_INTERVAL_S = 0.25

_Outcome = Counted | MovedError


class ClusterRoute:
    def __init__(self, cluster: RedisCluster, script: Script, bounds: Bounds) -> None:
        self._cluster = cluster
        self._script = script
        self._bounds = bounds
        self._primaries: dict[str, _Primary] = {}
        self._layout: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")
        self._known = False

    async def ask(self, packed: Packed) -> Counted:
        try:
            async with asyncio.timeout(self._bounds.timeout_s):
                return await self._follow(packed)
        except TimeoutError as error:
            self._look()
            raise Unavailable("timeout") from error
        except Unavailable:
            self._look()
            raise

    async def aclose(self) -> None:
        if self._layout is not None:
            self._layout.cancel()
            await asyncio.wait([self._layout])
        for primary in self._primaries.values():
            await primary.aclose()

    async def _follow(self, packed: Packed) -> Counted:
        if not self._known:
            await self._await_layout()
        for _ in range(_MAX_MOVES):
            outcome = await self._primary(packed).lane.ask(packed)
            if isinstance(outcome, Counted):
                return outcome
            await self._cluster.nodes_manager.move_slot(outcome)
        raise Unavailable("refused")

    def _primary(self, packed: Packed) -> "_Primary":
        slot = self._cluster.keyslot(packed.hash_tag)
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
        self.lane: Lane[Packed, _Outcome] = Lane(self._exchange, bounds)

    async def aclose(self) -> None:
        await self.lane.aclose()
        await self._link.drop()

    async def _exchange(self, batch: Sequence[Packed]) -> list[_Outcome | Unavailable]:
        groups: dict[bytes, list[int]] = {}
        for index, packed in enumerate(batch):
            groups.setdefault(packed.hash_tag, []).append(index)
        members = [[batch[index] for index in group] for group in groups.values()]
        replies = await self._run(members)
        outcomes: dict[int, _Outcome | Unavailable] = {}
        for group, asked, reply in zip(groups.values(), members, replies, strict=True):
            outcomes.update(zip(group, await self._read(reply, asked), strict=True))
        return [outcomes[index] for index in range(len(batch))]

    async def _run(self, groups: list[list[Packed]]) -> list[object]:
        replies = await self._link.exchange(b"".join(map(self._script.command, groups)), len(groups))
        unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            commands = [self._script.command(groups[index], with_body=True) for index in unknown]
            again = await self._link.exchange(b"".join(commands), len(unknown))
            for index, reply in zip(unknown, again, strict=True):
                replies[index] = reply
        return replies

    async def _read(self, reply: object, asked: Sequence[Packed]) -> Sequence[_Outcome | Unavailable]:
        if isinstance(reply, MovedError):
            return [reply] * len(asked)
        try:
            return wire.parse_reply(reply, asked)
        except wire.MalformedReply:
            await self._link.drop()
            return [Unavailable("refused")] * len(asked)
