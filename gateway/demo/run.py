"""`portreeve demo`: the whole product on its embedded defaults, with two upstreams to trade at.

Invariant: one demo per state directory. It reports ready only when the gateway says so itself; when any of
its processes ends, or it is told to stop, all of them are stopped, and it says which one it was.
"""

import asyncio
import fcntl
import http.client
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from gateway import clocks, composition, initialise, settings
from gateway.demo import children, example, operators, seed, welcome
from gateway.demo.contents import Contents, DemoOperator

HOST: Final = "127.0.0.1"
PREFERRED_PORTS: Final = {"paper": 8081, "live": 8082}
READY_WITHIN_S: Final = 30.0
_POLL_S: Final = 0.05


class DemoRefused(Exception):
    """The demo can't start, and why."""


def run(state_dir: Path, port: int) -> None:
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _sole_use(state_dir), _bound(port) as listeners:
        ports = example.Ports(port, *(listeners[name].getsockname()[1] for name in ("paper", "live")))
        config = example.render(state_dir, ports)
        asyncio.run(_run(_Demo(state_dir, config, settings.load(config), ports), listeners))


class _Demo(msgspec.Struct, frozen=True):
    state_dir: Path
    config: Path
    settings: settings.Settings
    ports: example.Ports

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.ports.gateway}"


async def _run(demo: _Demo, listeners: dict[str, socket.socket]) -> None:
    stop = asyncio.Event()
    async with children.Children() as started:
        _stop_on_signals(stop, started)
        credentials = await _prepare(demo)
        await _start(demo, listeners, started)
        watching = asyncio.create_task(started.watch())
        stopping = asyncio.create_task(stop.wait())
        announcing = asyncio.create_task(_announce(demo, credentials))
        try:
            await _until_either(watching, stopping, announcing)
        finally:
            for task in (watching, stopping, announcing):
                task.cancel()
        sys.stdout.write("Stopping.\n")


async def _until_either(*tasks: asyncio.Task[object]) -> None:
    """Wait for a death or a signal; the announcement only matters when it fails."""
    watching, stopping, announcing = tasks
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if announcing.done():
        announcing.result()
        await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
    if watching.done() and not stopping.done():
        watching.result()


async def _prepare(demo: _Demo) -> Contents:
    await initialise.initialise(demo.settings, clocks.wall_ms, secrets.token_bytes, author=seed.AUTHOR)
    async with composition.opened_store(demo.settings, clocks.wall_ms) as store:
        file = demo.state_dir / seed.FILE_NAME
        people = partial(_seed_people, store)
        return await seed.seed(
            store.custody, store.oauth_clients, file, demo.base_url, secrets.token_bytes, people=people
        )


async def _seed_people(store: composition.Store, known: tuple[DemoOperator, ...]) -> tuple[DemoOperator, ...]:
    return await operators.find_or_create(
        store.people, known, clocks.wall_ms, secrets.token_bytes, author=seed.AUTHOR
    )


async def _start(demo: _Demo, listeners: dict[str, socket.socket], started: children.Children) -> None:
    for environment, listener in listeners.items():
        command = [sys.executable, "-m", "gateway.demo.upstream", "--leashed"]
        command += ["--environment", environment, "--name", f"{environment}-trading"]
        command += ["--issuer", demo.settings.service.issuer, "--gateway", demo.base_url]
        command += ["--fd", str(listener.fileno())]
        await started.start(f"{environment} upstream", command, sockets=(listener.fileno(),))
        listener.close()  # the child's now: connections must fail once it has gone
    command = [sys.executable, "-m", "gateway.demo.node", str(demo.config)]
    await started.start("gateway", command, log=demo.state_dir / welcome.REQUEST_LOG)


async def _announce(demo: _Demo, credentials: Contents) -> None:
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            while not await asyncio.to_thread(_is_ready, demo.ports.gateway):  # noqa: ASYNC110  another process
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise DemoRefused(f"the gateway was not ready within {READY_WITHIN_S:.0f} s") from None
    sys.stdout.write(welcome.welcome(welcome.Places(demo.state_dir, demo.ports), credentials))
    sys.stdout.flush()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop_on_signals(stop: asyncio.Event, started: children.Children) -> None:
    def on_signal() -> None:
        if stop.is_set():
            started.kill()
        stop.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # ignored: someone wants this to outlive a terminal
        numbers.append(signal.SIGHUP)
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, on_signal)


@contextmanager
def _sole_use(state_dir: Path) -> Iterator[None]:
    descriptor = os.open(state_dir / "demo.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoRefused(f"a demo is running in {state_dir} already") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _bound(port: int) -> Iterator[dict[str, socket.socket]]:
    """Bind the upstreams' ports before anything names them, so that nobody takes one in between."""
    with ExitStack() as stack:
        try:
            held = socket.create_server((HOST, port))
        except OSError as error:
            raise DemoRefused(
                f"port {port} can't be had ({error.strerror}): choose another with PORT=…"
            ) from None
        with held:  # the gateway binds it itself, later; until then it must be none of the upstreams'
            listeners = {name: _bind_near(wished) for name, wished in PREFERRED_PORTS.items()}
        for listener in listeners.values():
            stack.callback(listener.close)
        yield listeners


def _bind_near(wished: int) -> socket.socket:
    try:
        return socket.create_server((HOST, wished))
    except OSError:
        return socket.create_server((HOST, 0))
