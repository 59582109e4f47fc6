"""One address in front of several nodes: each connection goes to the next of them, byte for byte.

Invariant: its port stays the same while nodes come and go, so that an issuer can be named before anything serves it.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Sequence


class Balancer:
    """`ports`: where connections go, in turn. Until there are any, whoever connects waits."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._ports: Sequence[int] = ()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._accepting: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, ports: Sequence[int]) -> None:
        self._ports = tuple(ports)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        if self._accepting is not None:
            self._accepting.join(5)

    def _accept(self) -> None:
        for port in itertools.cycle(self._ports):
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._join, args=(client, port), daemon=True).start()

    def _join(self, client: socket.socket, port: int) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
            with self._lock:
                self._open |= {client, server}
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()
            with self._lock:
                self._open -= {client, server}


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65_536):
            sink.sendall(part)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
