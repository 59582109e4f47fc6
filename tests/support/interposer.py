"""A TCP relay in front of a real server that can be told to refuse, to fall silent, or to answer garbage.

Invariant: it listens on one port for its whole life, so that what is behind it can fail and recover without
anybody's configuration changing.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

_RELAY = "relay"
_REFUSE = "refuse"
_SILENT = "silent"


class Interposer:
    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._mode: str | bytes = _RELAY
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def refuse(self) -> None:
        """As if the server had stopped: what is open breaks, and nothing new is answered."""
        self._change(_REFUSE)

    def fall_silent(self) -> None:
        """As if the server were frozen: connections stay and are made, and nothing ever comes."""
        self._mode = _SILENT

    def answer(self, garbage: bytes) -> None:
        """Whatever is asked, answer these bytes."""
        self._change(garbage)

    def mend(self) -> None:
        """Relay again; what was open in between breaks."""
        self._change(_RELAY)

    def close(self) -> None:
        self._mode = _REFUSE
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._break_all()
        for thread in self._threads:
            thread.join(5)
        for opened in self._sockets:
            opened.close()

    def _change(self, mode: str | bytes) -> None:
        self._mode = mode
        self._break_all()

    def _break_all(self) -> None:
        with self._lock:
            for opened in self._sockets:
                with contextlib.suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _keep(self, opened: socket.socket) -> socket.socket:
        with self._lock:
            self._sockets.append(opened)
        return opened

    def _accept(self) -> None:
        while True:
            try:
                client = self._keep(self._listener.accept()[0])
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._mode == _REFUSE:
                client.shutdown(socket.SHUT_RDWR)
                return
            if isinstance(self._mode, bytes):
                self._babble(client)
                return
            server = self._keep(socket.create_connection(self._target, timeout=30))
            server.settimeout(None)
            self._start(self._relay, server, client)
            self._relay(client, server)

    def _babble(self, client: socket.socket) -> None:
        while client.recv(65536):
            if isinstance(self._mode, bytes):
                client.sendall(self._mode)

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                if self._mode == _SILENT:
                    continue
                sink.sendall(part)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
