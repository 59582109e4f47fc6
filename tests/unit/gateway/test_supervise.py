"""Several workers on one socket: replaced when they die, given up on when none can live, never left behind."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.server import supervise
from gateway.server.supervise import Supervisor, WorkerFailed

ROOT = Path(__file__).resolve().parents[3]
# Serves nothing: says that it lives, and ends with its leash or by SIGTERM.
WORKER = """
import pathlib, sys, time
from gateway.server import leash
leash.hold()
pathlib.Path(sys.argv[1], str(__import__("os").getpid())).touch()
time.sleep(60)
"""
SUPERVISOR = f"""
import socket, sys
from gateway.server.supervise import Supervisor
with socket.create_server(("127.0.0.1", 0)) as listener:
    Supervisor([sys.executable, "-c", {WORKER!r}, sys.argv[1]], [listener], 2, 20).run()
"""


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.fixture
def supervisor(tmp_path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(tmp_path)], cwd=ROOT)


def workers(folder: Path) -> list[int]:
    return [int(file.name) for file in folder.iterdir()]


def test_a_worker_that_dies_is_replaced(supervisor: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Also right after its start: one accident is no reason to end the node."""
    try:
        wait_for(lambda: len(workers(tmp_path)) == 2)
        os.kill(workers(tmp_path)[0], signal.SIGKILL)
        wait_for(lambda: len(workers(tmp_path)) == 3)
        assert supervisor.poll() is None
    finally:
        supervisor.terminate()
        assert supervisor.wait(20) == 0
    assert not any(is_running(pid) for pid in workers(tmp_path))


def test_no_worker_outlives_a_supervisor_that_is_killed(
    supervisor: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """They would go on serving an old configuration on a port that nobody can take."""
    wait_for(lambda: len(workers(tmp_path)) == 2)
    supervisor.kill()
    supervisor.wait(20)
    wait_for(lambda: not any(is_running(pid) for pid in workers(tmp_path)))


def test_workers_that_cannot_live_end_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of starting for ever."""
    monkeypatch.setattr(supervise, "_FIRST_PAUSE_S", 0.001)
    assert threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(WorkerFailed):
            Supervisor([sys.executable, "-c", "raise SystemExit(3)"], [listener], 2, 20).run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
