"""One redis-py connection, used for nothing but admissions; where the library's errors become ours.

Invariant: a connection on which anything at all went wrong (a timeout, a cancelled exchange, an error, an
answer nobody asked for) is closed before it is used again, so that a late reply dies with it and never
answers another request. Nothing is retried here: what may have been executed stays uncertain, and is
refused above.
"""

from collections.abc import Mapping
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from auth.admission.lane import Unavailable


class Link:
    """Built from the class and arguments with which a redis-py pool makes its own connections."""

    def __init__(
        self, connection_class: type[AbstractConnection], arguments: Mapping[str, Any], timeout_s: float
    ) -> None:
        # Whoever exchanges here bounds the whole of it, so the library's own retries, which back off for
        # longer than that, and its timer for every read are switched off.
        self._connection = connection_class(
            **{
                **arguments,
                "retry": Retry(NoBackoff(), 0),
                "retry_on_timeout": False,
                "retry_on_error": [],
                "socket_timeout": None,
                "socket_connect_timeout": timeout_s,
                "health_check_interval": 0,
                "maint_notifications_config": MaintNotificationsConfig(enabled=False),
            }
        )

    async def exchange(self, commands: bytes, replies: int) -> list[object]:
        """Send packed commands and read as many replies; an error reply of the server is a value in the
        list.
        """
        try:
            await self._make_ready()
            await self._connection.send_packed_command(commands, check_health=False)
            return [await self._read() for _ in range(replies)]
        except (RedisError, OSError) as error:
            await self.drop()
            raise Unavailable("unreachable") from error
        except Exception as error:
            # What the library does with a peer that speaks no Redis is not limited to its own exceptions.
            await self.drop()
            raise Unavailable("refused") from error
        except BaseException:
            await self.drop()
            raise

    async def drop(self) -> None:
        """Close the connection without waiting for the peer; the next exchange opens another."""
        await self._connection.disconnect(nowait=True)

    async def _make_ready(self) -> None:
        # Bytes that came unasked belong to no request; an end of stream shows here too, before anything is
        # sent.
        if self._connection.is_connected and await self._connection.can_read():
            await self.drop()
        if not self._connection.is_connected:
            await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it bare

    async def _read(self) -> object:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error
