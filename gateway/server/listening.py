"""The address a node serves on. Taken by one process at a time; its workers inherit it."""

from __future__ import annotations

import socket

from gateway import clocks

BACKLOG = 2_048


class AddressTaken(Exception):
    """The address is in use, or is not this machine's."""


def take(host: str, port: int) -> tuple[socket.socket, int]:
    """A listening socket, and when it began to listen.

    Listening is what excludes a second process: two may bind one address while neither listens. Who connects before
    the node serves waits in the backlog.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as failure:
        listener.close()
        raise AddressTaken(f"{host} port {port}: {failure.strerror}") from failure
    listener.settimeout(0)
    listener.set_inheritable(True)
    return listener, clocks.wall_ms()


def adopt(descriptor: int) -> socket.socket:
    return socket.socket(fileno=descriptor)
