"""The demo trading upstream, one process per environment: `python -m gateway.demo.upstream --help`.

Invariant: it listens on loopback only, either on a port of its own or on a socket that it inherits, and
prints one line once it answers. SIGTERM and SIGINT end it.
"""

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from auth import identity_keys
from gateway import clocks
from gateway.demo import assertions, trading, wire
from gateway.server import leash

LOOPBACK: Final = "127.0.0.1"


@contextlib.asynccontextmanager
async def listening(answer: wire.Answer, listener: socket.socket) -> AsyncIterator[int]:
    """Serve on this socket for as long as the block runs; yields the port."""
    conversations: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            conversations.add(task)
            task.add_done_callback(conversations.discard)
        with contextlib.suppress(asyncio.CancelledError):  # the end of the server, not a failure
            await wire.serve_connection(answer, reader, writer)

    server = await asyncio.start_server(serve, sock=listener)
    try:
        yield listener.getsockname()[1]
    finally:
        server.close()
        for task in list(conversations):
            task.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)


async def run(options: argparse.Namespace) -> None:
    # A demo's gateway is young: keys missed while it was starting may be asked for again soon.
    keys = identity_keys.IdentityKeys(partial(assertions.fetch_jwks, options.gateway), refetch_ms=500)
    expected = assertions.Expectation(options.issuer, options.name, options.environment)
    verifier = assertions.AssertionVerifier(keys, expected, clocks.wall_ms)
    app = trading.Trading(options.environment, verifier.identify, clocks.wall_ms)
    listener = _inherit(options.fd) if options.fd is not None else _bind(options.port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.leashed:
        leash.hold()
    async with listening(app.answer, listener) as port:
        sys.stdout.write(f"{options.name} listens on http://{LOOPBACK}:{port}\n")
        sys.stdout.flush()
        await stop.wait()


def _inherit(descriptor: int) -> socket.socket:
    return socket.socket(fileno=descriptor)


def _bind(port: int) -> socket.socket:
    return socket.create_server((LOOPBACK, port))


def parse_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gateway.demo.upstream", description="A demo upstream.")
    parser.add_argument("--environment", choices=("paper", "live"), required=True)
    parser.add_argument("--name", required=True, help="what the gateway calls it: the assertions' audience")
    parser.add_argument("--issuer", required=True, help="who must have issued the assertions")
    parser.add_argument("--gateway", required=True, help="base URL of the gateway, for its public keys")
    parser.add_argument("--port", type=int, default=0, help="port on loopback (default: any free one)")
    parser.add_argument("--fd", type=int, help="a listening socket that was inherited, instead of --port")
    parser.add_argument("--leashed", action="store_true", help="stop when standard input ends")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    asyncio.run(run(parse_options(sys.argv[1:])))
