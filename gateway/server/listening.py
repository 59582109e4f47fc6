"""The address a node serves on. Taken by one process at a time; its workers inherit it."""

from __future__ import annotations

import socket
import time


class AddressTaken(Exception):
    """The address is in use, or is not this machine's."""


def take(host: str, port: int) -> tuple[socket.socket, int]:
    """The bound socket, and when it was bound. Nobody can connect until it listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as failure:
        listener.close()
        raise AddressTaken(f"{host} port {port}: {failure.strerror}") from failure
    listener.settimeout(0)
    listener.set_inheritable(True)
    return listener, time.time_ns() // 1_000_000


def adopt(descriptor: int) -> socket.socket:
    return socket.socket(fileno=descriptor)
