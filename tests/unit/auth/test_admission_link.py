"""The link over a connection that cleans up nothing by itself: dropping is the link's own doing."""

import asyncio
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from auth.admission.lane import Unavailable
from auth.admission.link import Link


class Connection:
    """Answers with what it was given, raising errors; remembers how it was made and dropped."""

    made: "list[Connection]" = []  # noqa: RUF012  one list a test, set by the fixture

    def __init__(self, **arguments: object) -> None:
        self.arguments = arguments
        self.is_connected = False
        self.connects = 0
        self.drops = 0
        self.sent: list[bytes] = []
        self.answers: list[object] = []
        self.unread = False
        Connection.made.append(self)

    async def connect(self) -> None:
        self.connects += 1
        self.is_connected = True

    async def disconnect(self, *, nowait: bool) -> None:
        assert nowait
        self.drops += 1
        self.is_connected = False
        self.unread = False

    async def can_read(self) -> bool:
        return self.unread

    async def send_packed_command(self, command: bytes, *, check_health: bool) -> None:
        assert not check_health
        self.sent.append(command)

    async def read_response(self) -> object:
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _forget_connections() -> None:
    Connection.made = []


def link_over(**arguments: Any) -> tuple[Link, Connection]:  # noqa: ANN401  whatever a pool was given
    kind: Any = Connection
    made: type[AbstractConnection] = kind
    link = Link(made, arguments, timeout_s=0.25)
    return link, Connection.made[-1]


async def test_a_connection_that_works_is_used_again() -> None:
    """One connection, one command and its replies at a time."""
    link, connection = link_over()
    connection.answers = [[0], [1], [2]]
    assert await link.exchange(b"one", 1) == [[0]]
    assert await link.exchange(b"two", 2) == [[1], [2]]
    assert (connection.connects, connection.drops) == (1, 0)


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
async def test_after_any_failure_the_connection_is_dropped(error: Exception, reason: str) -> None:
    """Replies that are still to come must find nobody."""
    link, connection = link_over()
    connection.answers = [[0], error]
    with pytest.raises(Unavailable) as refused:
        await link.exchange(b"one", 2)
    assert refused.value.reason == reason
    assert connection.drops == 1


async def test_a_cancelled_exchange_drops_the_connection() -> None:
    """Its replies are on their way, and the next command must not meet them."""
    link, connection = link_over()
    exchange = asyncio.create_task(link.exchange(b"one", 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    exchange.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange
    assert connection.sent == [b"one"]
    assert connection.drops == 1


async def test_a_connection_with_something_unread_is_replaced_before_sending() -> None:
    """Bytes nobody asked for, or the end of the stream: either way nothing is sent there."""
    link, connection = link_over()
    connection.answers = [[0], [1]]
    await link.exchange(b"one", 1)
    connection.unread = True
    assert await link.exchange(b"two", 1) == [[1]]
    assert (connection.connects, connection.drops) == (2, 1)


async def test_an_error_reply_is_a_value_and_the_rest_is_still_read() -> None:
    """The server answered; what it answers is for the caller to judge."""
    link, connection = link_over()
    unknown = NoScriptError("no such script")
    connection.answers = [unknown, [0]]
    assert await link.exchange(b"one", 2) == [unknown, [0]]
    assert connection.drops == 0


def test_the_library_retries_nothing_and_sets_no_timer_of_its_own() -> None:
    """Whatever the client was told to do; the rest of its settings stay."""
    _, connection = link_over(
        host="store", retry_on_timeout=True, socket_timeout=60.0, health_check_interval=5
    )
    arguments: dict[str, Any] = connection.arguments
    assert arguments["host"] == "store"
    assert arguments["retry"].get_retries() == 0
    assert arguments["retry_on_timeout"] is False
    assert arguments["socket_timeout"] is None
    assert arguments["socket_connect_timeout"] == 0.25
    assert arguments["health_check_interval"] == 0
