"""What a process tree costs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import machine

# A parent whose other thread starts a child; the child works for 0.3 s of CPU, holds 64 MiB for a moment, and waits.
CHILD = (
    "import time; big = b'x' * 67_108_864; del big\n"
    "while time.process_time() < 0.3: pass\n"
    "print('ready', flush=True); input()"
)
PARENT = (
    "import subprocess, sys, threading\n"
    "thread = threading.Thread(target=subprocess.run, args=([sys.executable, '-c', sys.argv[1]],))\n"
    "thread.start(); thread.join()"
)


@pytest.fixture
def parent() -> Iterator[int]:
    command = [sys.executable, "-c", PARENT, CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"ready\n"
        yield started.pid
        started.communicate(b"\n", timeout=10)


def test_a_tree_includes_children_of_every_thread(parent: int) -> None:
    """The kernel lists children by thread, and a server may start its workers from any."""
    assert machine.tree(parent)[0] == parent
    assert len(machine.tree(parent)) == 2


def test_cpu_and_memory_are_those_of_the_whole_tree(parent: int) -> None:
    """The child's work and its peak count, also after it has let go of the memory."""
    assert 0.3 <= machine.cpu_seconds(parent) < 5
    assert machine.peak_mib(parent) > machine.rss_mib(parent) + 50


def test_cpu_is_what_the_kernel_bills() -> None:
    """The clock that is read is the one of the process asked for."""
    before, billed = machine.cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() - billed < 0.05:
        pass
    assert machine.cpu_seconds(os.getpid()) - before == pytest.approx(time.process_time() - billed, abs=0.02)


@pytest.mark.parametrize(("told", "threads"), [(["0", "1"], 1.0), (["0-1", "0-1"], 2.0), ([], 0.0)])
def test_threads_of_one_core_are_told(told: list[str], threads: float, tmp_path: Path) -> None:
    """As many as name the same siblings; nothing where the kernel says nothing."""
    for number, siblings in enumerate(told):
        topology = tmp_path / f"cpu{number}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{siblings}\n")
    assert machine.threads_of_a_core(tmp_path) == threads
