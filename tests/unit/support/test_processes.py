"""Ports for servers that are yet to start."""

import socket
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.processes import free_port


def test_no_port_is_one_that_the_kernel_gives_away() -> None:
    """Otherwise anybody's connection could have it by the time that its server starts."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(1_024 <= port < lowest for port in ports)


def test_a_port_that_somebody_has_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is the next in turn."""
    first, second = free_port(), free_port()
    monkeypatch.setattr(processes, "_free_ports", iter([first, second]))
    with socket.create_server(("127.0.0.1", first)):
        assert free_port() == second


def test_processes_of_a_run_do_not_begin_at_the_same_port() -> None:
    """They start servers at the same time."""
    assert len({next(processes._ports()) for _ in range(8)}) > 1
