"""The demo's own machinery: children, ports, one at a time, and what it says."""

import asyncio
import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.credentials import DemoKey
from gateway.demo import children, example, run, welcome
from gateway.demo.contents import Contents
from tests.support.processes import free_port

KEY = DemoKey("prk_paper_k", "hmac-sha256", "paper", ("trader",), "acme", secret="prs_paper_s")

SLEEPS = (sys.executable, "-c", "import sys; sys.stdin.read()")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); sys.stdin.read()",
)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pids(started: children.Children) -> list[int]:
    return [process.pid for _, process in started._running]


async def test_children_end_with_the_block() -> None:
    """Whatever ends it."""
    born: list[int] = []

    async def fail_among_children() -> None:
        async with children.Children() as started:
            await started.start("one", SLEEPS)
            await started.start("two", SLEEPS)
            born.extend(pids(started))
            raise LookupError

    with pytest.raises(LookupError):
        await fail_among_children()
    assert len(born) == 2
    assert not any(is_running(pid) for pid in born)


async def test_a_child_that_ignores_the_request_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopping takes bounded time."""
    monkeypatch.setattr(children, "GRACE_S", 0.1)
    log = tmp_path / "log"
    async with children.Children() as started:
        await started.start("stubborn", STUBBORN, log=log)
        while not log.read_bytes():  # noqa: ASYNC110  it says when it has begun to ignore
            await asyncio.sleep(0.01)
        born = pids(started)
    assert not any(is_running(pid) for pid in born)
    assert log.stat().st_mode & 0o777 == 0o600


async def test_the_first_death_is_told_by_name() -> None:
    """With what it ended by."""
    async with children.Children() as started:
        await started.start("healthy", SLEEPS)
        await started.start("weak", (sys.executable, "-c", "raise SystemExit(3)"))
        with pytest.raises(children.ChildDied, match="the weak process ended with exit code 3"):
            await started.watch()


async def test_asking_twice_kills_at_once() -> None:
    """A killed child is told by its signal."""
    async with children.Children() as started:
        await started.start("victim", SLEEPS)
        started.kill()
        with pytest.raises(children.ChildDied, match="by signal 9"):
            await started.watch()
        started.kill()  # nobody left: not an error


def test_a_leash_that_ends_stops_the_process() -> None:
    """A child of a demo that was killed outright goes, too."""
    code = "from gateway.server import leash; import time; leash.hold(); print(flush=True); time.sleep(60)"
    with subprocess.Popen(
        (sys.executable, "-c", code), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()
        child.stdin.close()
        assert child.wait(10) == -15


def test_a_taken_port_is_told_with_the_way_out(tmp_path: Path) -> None:
    """Before anything is made."""
    with socket.create_server((run.HOST, 0)) as taken, pytest.raises(run.DemoRefused, match="PORT="):
        run.run(tmp_path / "state", taken.getsockname()[1])
    assert [file.name for file in (tmp_path / "state").iterdir()] == ["demo.lock"]


def test_one_demo_at_a_time_uses_a_directory(tmp_path: Path) -> None:
    """The second is refused for as long as the first runs."""
    with socket.create_server(
        (run.HOST, 0)
    ) as taken:  # so that a missing lock fails this test and runs nothing
        port = taken.getsockname()[1]
        with run._sole_use(tmp_path), pytest.raises(run.DemoRefused, match="is running in"):
            run.run(tmp_path, port)
        with pytest.raises(run.DemoRefused, match="PORT="):
            run.run(tmp_path, port)


def test_upstreams_take_other_ports_when_theirs_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a stranger's port nor the gateway's own is used."""
    with socket.create_server((run.HOST, 0)) as stranger:
        taken, own = stranger.getsockname()[1], free_port()
        monkeypatch.setattr(run, "PREFERRED_PORTS", {"paper": taken, "live": own})
        with run._bound(own) as listeners:
            chosen = {listener.getsockname()[1] for listener in listeners.values()}
            assert len(chosen) == 2
            assert chosen.isdisjoint({taken, own})


def test_the_welcome_says_where_things_are(tmp_path: Path) -> None:
    """Places, both ways to sign, and how to stop."""
    places = welcome.Places(tmp_path, example.Ports(8080, 8081, 8082))
    said = welcome.welcome(places, Contents("http://127.0.0.1:8080", (KEY,)))
    for part in ("/health/ready", "demo.json", "portreeve.toml", "requests.log", "8081", "8082", "Ctrl-C"):
        assert part in said
    assert welcome.snippet("http://127.0.0.1:8080", KEY) in said


def test_the_command_to_paste_names_credentials_only_where_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual directory is found without; the secret is never in the command."""
    monkeypatch.setattr(sys, "argv", [".venv/bin/portreeve", "demo"])
    usual = welcome.portreeve_command(Path(".portreeve"), KEY)
    assert usual == ".venv/bin/portreeve request GET /paper/v1/orders --key prk_paper_k"
    monkeypatch.setattr(sys, "argv", ["/x/gateway/__main__.py", "demo"])
    other = shlex.split(welcome.portreeve_command(Path("/with space"), KEY))
    assert other[:3] == [sys.executable, "-m", "gateway"]
    assert other[-2:] == ["--credentials", "/with space/demo.json"]
