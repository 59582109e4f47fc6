"""Arithmetic that shares nothing with anybody: what it costs beside its like tells what the machine itself takes.

Two cores may be two threads of one, or share their clock, caches and host with others. Whatever then becomes dearer for
this does so for every program. `python -m bench.arithmetic ROUNDS` does one piece of work when it is told to.
"""

from __future__ import annotations

import subprocess
import sys
import time

_ROUNDS = 2_000_000
_READY = b"ready\n"


def cpu_us_each(count: int, rounds: int = _ROUNDS) -> float:
    """Of one piece of work, the mean of as many as are done at once, each by a process of its own."""
    workers = [_start(rounds) for _ in range(count)]
    try:
        # All are there before the first begins: a start beside another's work would be counted as beside it.
        for worker in workers:
            _await_ready(worker)
        for worker in workers:
            _tell(worker)
        told = [float(worker.communicate(timeout=120)[0]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    return round(sum(told) / count * 1e6, 1)


def _start(rounds: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.arithmetic", str(rounds)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _await_ready(worker: subprocess.Popen[bytes]) -> None:
    if worker.stdout is None or worker.stdout.readline() != _READY:
        raise RuntimeError("arithmetic did not start")


def _tell(worker: subprocess.Popen[bytes]) -> None:
    if worker.stdin is not None:
        worker.stdin.write(b"\n")
        worker.stdin.flush()


def work(rounds: int) -> int:
    """A congruence: each step needs the one before, and all of it stays in registers and the first cache."""
    value = 1
    for _ in range(rounds):
        value = (value * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
    return value


def main() -> None:
    sys.stdout.buffer.write(_READY)
    sys.stdout.flush()
    sys.stdin.readline()
    before = time.process_time()
    work(int(sys.argv[1]))
    print(time.process_time() - before)


if __name__ == "__main__":
    main()
