"""Opening a connection: the only place where the failures of sockets and of TLS get our names."""

from __future__ import annotations

import asyncio
import socket
import ssl

from gateway.upstream.errors import Deadline, UpstreamTimeout, UpstreamUnreachable
from gateway.upstream.values import UpstreamTarget
from gateway.upstream.wire import Connection
from gateway.waits import own_task


async def dial(connection: Connection, target: UpstreamTarget, seconds: float, on_timeout: Deadline) -> None:
    """Returns when it is open, TLS and all. After an exception the caller closes it, open or not."""
    loop = asyncio.get_running_loop()
    await own_task()
    try:
        async with asyncio.timeout(seconds):
            await loop.create_connection(
                lambda: connection,
                target.host,
                target.port,
                ssl=target.tls,
                server_hostname=(target.server_hostname or target.host) if target.tls else None,
            )
    except TimeoutError as error:
        raise UpstreamTimeout(on_timeout) from error
    except OSError as error:
        raise _unreachable(error) from error
    if connection.is_lost:
        raise UpstreamUnreachable("closed")


def _unreachable(error: OSError) -> UpstreamUnreachable:
    if isinstance(error, ssl.SSLError):
        return UpstreamUnreachable("tls")
    if isinstance(error, socket.gaierror):
        return UpstreamUnreachable("dns")
    if isinstance(error, ConnectionRefusedError):
        return UpstreamUnreachable("refused")
    return UpstreamUnreachable("network")
