"""Redis admission against a peer that misbehaves, scripted byte for byte: each fault is exactly one."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from auth.admission import Admission, Bucket, LimiterUnavailable, Replayed, ReplayStoreUnavailable
from auth.admission.redis import RedisAdmission
from policies.gcra import Limit
from tests.support.admissions import admission

REFUSES = Limit(name="refuses", rate=1, per_us=3_600_000_000, burst=2)
LOCAL = Limit(name="local", rate=1, per_us=3_600_000_000, burst=2, outage="local")
ADMITTED = b"*1\r\n:0\r\n"
REPLAYED = b"*1\r\n:1\r\n"
# Long enough that a machine which is busy elsewhere doesn't look like a store that is silent.
TIMEOUT_MS = 2_000
NO_SCRIPT = b"-NOSCRIPT No matching script. Please use EVAL.\r\n"


class Peer:
    """A server that answers the n-th command it gets with the n-th reply; None: it closes instead.

    A reply may be preceded by waiting for `gate`.
    """

    def __init__(self) -> None:
        self.replies: list[bytes | None] = []
        self.commands: list[bytes] = []
        self.connections = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}?protocol=2"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while command := await reader.read(65536):
            self.commands.append(command)
            self.asked.set()
            reply = self.replies.pop(0) if self.replies else None
            await self.gate.wait()
            if reply is None:
                return
            writer.write(reply)
            await writer.drain()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    yield peer
    await peer.stop()


@pytest.fixture
async def store(peer: Peer) -> AsyncIterator[RedisAdmission]:
    # Without the library's introductions, the first bytes that the peer sees are an admission.
    redis = Redis.from_url(await peer.start(), driver_info=None)
    store = RedisAdmission(redis, nonce_ttl_ms=122_000, timeout_ms=TIMEOUT_MS)
    yield store
    await store.aclose()
    await redis.aclose()


def signed(nonce: str) -> Admission:
    return admission("acme", f"key:{nonce}", ())


def public(*limits: Limit) -> Admission:
    return admission("public", None, tuple(Bucket(f"r:{limit.name}", limit, 1) for limit in limits))


async def test_a_script_that_is_not_known_is_sent_along(peer: Peer, store: RedisAdmission) -> None:
    """The refusal to run it is certain, so it may be asked again."""
    peer.replies = [NO_SCRIPT, ADMITTED]
    await store.admit(signed("a"))
    assert peer.commands[0].split(b"\r\n")[2] == b"EVALSHA"
    assert peer.commands[1].split(b"\r\n")[2] == b"EVAL"


async def test_a_script_that_stays_unknown_refuses(peer: Peer, store: RedisAdmission) -> None:
    """It is not asked for ever."""
    peer.replies = [NO_SCRIPT, NO_SCRIPT]
    with pytest.raises(ReplayStoreUnavailable):
        await store.admit(signed("a"))
    assert len(peer.commands) == 2


async def test_a_command_whose_answer_is_lost_is_not_sent_again(peer: Peer, store: RedisAdmission) -> None:
    """It may have been executed: what is uncertain is refused, and not as a replay."""
    peer.replies = [None]
    with pytest.raises(ReplayStoreUnavailable) as refused:
        await store.admit(signed("a"))
    assert refused.value.reason == "unreachable"
    assert len(peer.commands) == 1
    peer.replies = [ADMITTED]
    await store.admit(signed("b"))


async def test_a_late_reply_answers_nobody(peer: Peer, store: RedisAdmission) -> None:
    """Its connection is gone before the next request is sent: that one gets its own answer."""
    peer.replies = [ADMITTED]
    peer.gate.clear()
    with pytest.raises(ReplayStoreUnavailable) as refused:
        await store.admit(signed("a"))
    assert refused.value.reason == "timeout"
    peer.gate.set()
    peer.replies = [REPLAYED]
    with pytest.raises(Replayed):
        await store.admit(signed("b"))
    assert peer.connections == 2


async def test_a_reply_nobody_asked_for_answers_nobody(peer: Peer, store: RedisAdmission) -> None:
    """Two replies to one command: the second does not become the answer to the next."""
    peer.replies = [ADMITTED + ADMITTED, REPLAYED]
    await store.admit(signed("a"))
    with pytest.raises(Replayed):
        await store.admit(signed("b"))
    assert peer.connections == 2


async def test_a_connection_closed_while_idle_costs_no_request(peer: Peer, store: RedisAdmission) -> None:
    """The end of the stream is seen before anything is sent, so nothing is uncertain."""
    peer.replies = [ADMITTED]
    await store.admit(signed("a"))
    for task in peer._serving:
        task.cancel()
    await asyncio.wait(peer._serving)
    await asyncio.sleep(0.05)
    peer.replies = [ADMITTED]
    await store.admit(signed("b"))
    assert peer.connections == 2


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"+OK\r\n",
        b":0\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*1\r\n:9\r\n",
        b"*1\r\n:-1\r\n",
        b"*1\r\n$1\r\n0\r\n",
        b"*1\r\n+0\r\n",
        b"*1\r\n-ERR\r\n",
        b"*2\r\n:0\r\n:0\r\n",
        b"*1\r\n:0",
        b"*99999999999999999999\r\n",
        b"$9999999999\r\n",
        b"#t\r\n",
        b"*1\r\n#f\r\n",
        b">2\r\n+push\r\n:0\r\n",
        b">1\r\n:0\r\n",
        b"\xff\xfe" * 500,
        b"\x00" * 500,
        b"-ERR \xff\xfe\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-BUSY Redis is busy running a script.\r\n",
        b"-MASTERDOWN Link with MASTER is down\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-MOVED 1 127.0.0.1:1\r\n",
        b"-CLUSTERDOWN Hash slot not served\r\n",
        b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    ],
)
async def test_any_other_answer_refuses_and_the_next_is_asked_afresh(
    peer: Peer, store: RedisAdmission, garbage: bytes
) -> None:
    """Nothing but the script's own answer admits; what follows finds a new connection."""
    peer.replies = [garbage]
    with pytest.raises(ReplayStoreUnavailable):
        await store.admit(signed("a"))
    peer.replies = [ADMITTED]
    await store.admit(signed("b"))
    assert len(peer.commands) == 2
    assert peer.connections == 2


@pytest.mark.parametrize("hello", [b"+OK\r\n", b"-ERR unknown command\r\n", b":1\r\n", b"*0\r\n", b"x", None])
async def test_a_peer_that_can_not_even_greet_refuses(peer: Peer, hello: bytes | None) -> None:
    """Whatever the library makes of its greeting."""
    url = await peer.start()
    async with Redis.from_url(url.replace("protocol=2", "protocol=3")) as redis:
        store = RedisAdmission(redis, nonce_ttl_ms=122_000, timeout_ms=TIMEOUT_MS)
        peer.replies = [hello]
        with pytest.raises(ReplayStoreUnavailable):
            await store.admit(signed("a"))
        await store.aclose()


async def test_a_caller_that_gives_up_leaves_the_others_their_answers(
    peer: Peer, store: RedisAdmission
) -> None:
    """The batch is on its way for all of them; one leaving does not cancel it."""
    peer.replies = [b"*3\r\n:0\r\n:0\r\n:1\r\n"]
    peer.gate.clear()
    tasks = [asyncio.ensure_future(store.admit(signed(nonce))) for nonce in "abc"]
    await peer.asked.wait()
    tasks[0].cancel()
    await asyncio.sleep(0)
    peer.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert not isinstance(results[1], BaseException)
    assert isinstance(results[2], Replayed)
    assert peer.connections == 1


async def test_nothing_to_ask_asks_nothing(peer: Peer, store: RedisAdmission) -> None:
    """A public route without limits needs no store."""
    assert (await store.admit(admission("public", None, ()))).buckets == ()
    assert peer.connections == 0


async def test_without_the_store_each_limit_does_what_it_declares(peer: Peer, store: RedisAdmission) -> None:
    """Refuse, or count on this node; one that refuses decides for all."""
    with pytest.raises(LimiterUnavailable):
        await store.admit(public(REFUSES))
    with pytest.raises(LimiterUnavailable):
        await store.admit(public(LOCAL, REFUSES))
    passed = [await store.admit(public(LOCAL)), await store.admit(public(LOCAL))]
    assert [answer.buckets[0].remaining for answer in passed] == [1, 0]


async def test_counting_on_this_node_is_still_a_limit(peer: Peer, store: RedisAdmission) -> None:
    """An outage opens no door; and no nonce ever passes on this node's word."""
    outcomes = await asyncio.gather(*(store.admit(public(LOCAL)) for _ in range(5)), return_exceptions=True)
    assert [type(outcome).__name__ for outcome in outcomes] == ["Admitted"] * 2 + ["RateLimited"] * 3
    with pytest.raises(ReplayStoreUnavailable):
        await store.admit(admission("acme", "key:a", (Bucket("k:1", LOCAL, 1),)))


async def test_a_closed_store_refuses(peer: Peer, store: RedisAdmission) -> None:
    """Draining: nothing hangs and nothing passes."""
    await store.aclose()
    with pytest.raises(ReplayStoreUnavailable) as refused:
        await store.admit(signed("a"))
    assert refused.value.reason == "closed"


async def test_an_outage_says_nothing_of_where_the_store_is(peer: Peer, store: RedisAdmission) -> None:
    """The message may travel further than an address should."""
    with pytest.raises(ReplayStoreUnavailable) as refused:
        await store.admit(signed("a"))
    assert str(refused.value) == "the admission store is unavailable: unreachable"
