"""The demo's processes: started here, watched here, and stopped here, each by its own id.

Invariant: whatever ends the `Children` block, every process that it started has ended when it is left: asked
first, and killed when asking was not enough.
"""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

GRACE_S: Final = 10.0


class ChildDied(Exception):
    """A process ended that nobody had asked to."""

    def __init__(self, name: str, code: int) -> None:
        how = f"with exit code {code}" if code >= 0 else f"by signal {-code}"
        super().__init__(f"the {name} process ended {how}")


class Children:
    def __init__(self) -> None:
        self._running: list[tuple[str, asyncio.subprocess.Process]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The gateway was started last and goes first: what it has taken on still finds its upstreams.
        for _, process in reversed(self._running):
            await _stop(process)

    async def start(
        self, name: str, command: Sequence[str], *, log: Path | None = None, sockets: Sequence[int] = ()
    ) -> None:
        with _opened(log) as out:
            process = await asyncio.create_subprocess_exec(
                *command,
                # Held open for as long as we live: that is the leash.
                stdin=subprocess.PIPE,
                stdout=out,
                pass_fds=sockets,
                # Ctrl-C reaches the terminal's whole group; only we decide in which order things stop.
                start_new_session=True,
            )
        self._running.append((name, process))

    async def watch(self) -> None:
        """Raise as soon as one of them ends."""
        waiting = {asyncio.create_task(process.wait()): name for name, process in self._running}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        first = done.pop()
        raise ChildDied(waiting[first], first.result())

    def kill(self) -> None:
        """For those who ask twice."""
        for _, process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


@contextlib.contextmanager
def _opened(log: Path | None) -> Iterator[int]:
    if log is None:
        yield subprocess.DEVNULL
        return
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(GRACE_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
