"""The link over a connection that cleans up nothing by itself: dropping is the link's own doing."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from redis._parsers.base import BaseParser
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from auth.admission.lane import Unavailable
from auth.admission.link import Link


class Transport:
    """What a connected connection is taken over for: remembers what was written, and whether it was closed."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.sent: list[bytes] = []
        self.aborted = False

    def set_protocol(self, protocol: object) -> None:
        self.protocol = protocol

    def write(self, command: bytes) -> None:
        self.sent.append(command)

    def abort(self) -> None:
        self.aborted = True


class Connection:
    """Connects as it is told to; remembers how it was made and closed."""

    made: "list[Connection]" = []  # noqa: RUF012  one list a test, set by the fixture
    connecting: Exception | None = None
    gate: asyncio.Event | None = None
    unread = False

    def __init__(self, **arguments: object) -> None:
        self.arguments = arguments
        self.transport = Transport()
        self.closed = 0
        self._writer = SimpleNamespace(transport=self.transport)
        self._parser = BaseParser
        Connection.made.append(self)

    async def connect(self) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.connecting is not None:
            raise self.connecting

    async def can_read(self) -> bool:
        return self.unread

    def _close(self) -> None:
        self.closed += 1

    def receive(self, received: bytes) -> None:
        self.transport.protocol.data_received(received)


@pytest.fixture(autouse=True)
def _forget_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "made", [])


def link_over(**arguments: Any) -> Link:  # noqa: ANN401  whatever a pool was given
    kind: Any = Connection
    made: type[AbstractConnection] = kind
    return Link(made, arguments, timeout_s=5.0)


async def sent(link: Link, command: bytes, replies: int = 1) -> "asyncio.Task[list[object]]":
    """An exchange on its way, with its command written."""
    exchange = asyncio.ensure_future(link.exchange(command, replies))
    async with asyncio.timeout(30):
        while not Connection.made or Connection.made[-1].transport.sent[-1:] != [command]:  # noqa: ASYNC110  no event tells it
            await asyncio.sleep(0)
    return exchange


async def test_a_connection_that_works_is_used_again() -> None:
    """One connection, one command and its replies at a time, in whatever pieces they come."""
    link = link_over()
    first = await sent(link, b"one")
    Connection.made[0].receive(b"*1\r\n:0\r\n")
    assert await first == [[0]]
    second = await sent(link, b"two", 2)
    for piece in (b"*1\r", b"\n:1\r\n*1\r\n", b":2\r\n"):
        Connection.made[0].receive(piece)
    assert await second == [[1], [2]]
    assert len(Connection.made) == 1
    assert not Connection.made[0].closed
    await link.aclose()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RedisConnectionError("gone"), "unreachable"),
        (RedisError("odd"), "unreachable"),
        (OSError("gone"), "unreachable"),
        (AttributeError("no greeting"), "refused"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"), "refused"),
    ],
)
async def test_who_can_not_connect_says_so_and_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    """Whatever the library makes of the peer."""
    monkeypatch.setattr(Connection, "connecting", error)
    link = link_over()
    with pytest.raises(Unavailable) as refused:
        await link.exchange(b"one", 1)
    assert refused.value.reason == reason
    assert Connection.made[0].closed == 1


@pytest.mark.parametrize(("received", "reason"), [(b"HTTP/1.1 400\r\n", "refused"), (None, "unreachable")])
async def test_after_any_failure_the_connection_is_dropped(received: bytes | None, reason: str) -> None:
    """Replies that are still to come must find nobody."""
    link = link_over()
    exchange = await sent(link, b"one", 2)
    [connection] = Connection.made
    connection.receive(b":0\r\n")
    if received is None:
        connection.transport.protocol.connection_lost(None)
    else:
        connection.receive(received)
    with pytest.raises(Unavailable) as refused:
        await exchange
    assert refused.value.reason == reason
    assert connection.transport.aborted
    assert connection.closed
    await sent(link, b"two")
    assert len(Connection.made) == 2
    await link.aclose()


async def test_a_dropped_exchange_is_never_answered() -> None:
    """Its replies are on their way, and the next command must not meet them."""
    link = link_over()
    exchange = await sent(link, b"one")
    link.drop()
    [dropped] = Connection.made
    assert dropped.transport.aborted
    again = await sent(link, b"two")
    dropped.receive(b":1\r\n")
    dropped.transport.protocol.connection_lost(None)
    Connection.made[1].receive(b":2\r\n")
    assert await again == [2]
    assert not exchange.done()
    exchange.cancel()
    await link.aclose()


async def test_a_connection_that_is_still_opening_can_be_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was to be sent on it never is, and the next opens another."""
    gate = asyncio.Event()
    monkeypatch.setattr(Connection, "gate", gate)
    link = link_over()
    exchange = asyncio.ensure_future(link.exchange(b"one", 1))
    await asyncio.sleep(0.01)
    link.drop()
    again = asyncio.ensure_future(link.exchange(b"two", 1))
    await asyncio.sleep(0.01)
    gate.set()
    await asyncio.sleep(0.01)
    assert [made.transport.sent for made in Connection.made] == [[], [b"two"]]
    assert Connection.made[0].closed
    for waiting in (exchange, again):
        waiting.cancel()
    await link.aclose()


@pytest.mark.parametrize("swallows", [None, RedisError("timed out")])
async def test_an_opening_that_outlives_being_dropped_reaches_nobody(
    monkeypatch: pytest.MonkeyPatch, swallows: Exception | None
) -> None:
    """A library that turns a cancellation into success or into an error of its own ends no later exchange."""

    class Stubborn(Connection):
        async def connect(self) -> None:
            if len(Connection.made) > 1:
                return
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0.01)
                if swallows is not None:
                    raise swallows from None

    kind: Any = Stubborn
    link, heard = Link(kind, {}, timeout_s=5.0), list[object]()
    link.send(b"one", 1, heard.append, heard.append)
    await asyncio.sleep(0.01)
    link.drop()
    again = await sent(link, b"two")
    await asyncio.sleep(0.03)
    Connection.made[1].receive(b":2\r\n")
    assert await again == [2]
    assert heard == []
    assert Connection.made[0].transport.sent == []
    assert Connection.made[0].closed
    await link.aclose()


@pytest.mark.parametrize("received", [b"*1\r\n:1\r\n", b"*", b"\xff"])
async def test_bytes_nobody_asked_for_end_the_connection_before_anything_is_sent(received: bytes) -> None:
    """Behind a reply, or between two exchanges."""
    link = link_over()
    for number in range(3):
        exchange = await sent(link, b"ask-%d" % number)
        if number == 1:
            Connection.made[1].receive(b":0\r\n")
            Connection.made[1].receive(received)
        else:
            Connection.made[number].receive(b":0\r\n" + received)
        assert await exchange == [0]
        assert Connection.made[number].transport.aborted
    await link.aclose()


async def test_a_connection_that_has_something_to_say_first_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is left over from the greeting would be taken for an answer."""
    monkeypatch.setattr(Connection, "unread", True)
    link = link_over()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(link.exchange(b"one", 1), 5)
    [connection] = Connection.made
    assert connection.closed
    assert connection.transport.sent == []


async def test_an_end_of_the_stream_while_idle_is_seen_before_anything_is_sent() -> None:
    """Nothing is uncertain then."""
    link = link_over()
    exchange = await sent(link, b"one")
    Connection.made[0].receive(b":0\r\n")
    await exchange
    Connection.made[0].transport.protocol.connection_lost(None)
    await sent(link, b"two")
    assert [made.transport.sent for made in Connection.made] == [[b"one"], [b"two"]]
    await link.aclose()


async def test_an_error_reply_is_a_value_and_the_rest_is_still_read() -> None:
    """The server answered; what it answers is for the caller to judge."""
    link = link_over()
    exchange = await sent(link, b"one", 2)
    Connection.made[0].receive(b"-NOSCRIPT no such script\r\n*1\r\n:0\r\n")
    unknown, answer = await exchange
    assert isinstance(unknown, NoScriptError)
    assert answer == [0]
    assert not Connection.made[0].closed
    await link.aclose()


async def test_the_library_retries_nothing_and_sets_no_timer_of_its_own() -> None:
    """Whatever the client was told to do; the rest of its settings stay."""
    link = link_over(
        host="store", retry="as it likes", retry_on_timeout=True, socket_timeout=60.0, health_check_interval=5
    )
    await sent(link, b"one")
    arguments: dict[str, Any] = Connection.made[0].arguments
    assert arguments["host"] == "store"
    assert arguments["retry"].get_retries() == 0
    assert arguments["retry_on_timeout"] is False
    assert arguments["socket_timeout"] is None
    assert arguments["socket_connect_timeout"] == 5.0
    assert arguments["health_check_interval"] == 0
    await link.aclose()
