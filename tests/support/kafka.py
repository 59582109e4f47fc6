"""A real Kafka for tests: one node that is its own controller, on loopback, out of the jars of a directory."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
from pathlib import Path

from tests.support.processes import ServerFailed, ServerProcess, free_port

# The first version of the request, number 7, from nobody, for all topics.
_METADATA = struct.pack(">ihhihi", 14, 3, 0, 7, -1, 0)
_CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"


class KafkaServer(ServerProcess):
    """`port` takes clients; the controller listens on another one."""

    name = "kafka"

    def __init__(self, jars: Path) -> None:
        super().__init__()
        self._jars = jars
        self._controller = free_port()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _prepare(self) -> None:
        self._settings.write_text(
            "process.roles=broker,controller\nnode.id=1\n"
            f"controller.quorum.voters=1@127.0.0.1:{self._controller}\n"
            f"listeners=PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{self._controller}\n"
            f"advertised.listeners=PLAINTEXT://{self.address}\ncontroller.listener.names=CONTROLLER\n"
            f"log.dirs={self.place / 'logs'}\nnum.partitions=3\noffsets.topic.replication.factor=1\n"
            "transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
        )
        if (self.place / "logs").exists():
            return
        command = [
            *self._java(),
            "kafka.tools.StorageTool",
            "format",
            "-t",
            _CLUSTER,
            "-c",
            str(self._settings),
        ]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        if done.returncode:
            raise ServerFailed(done.stderr.decode(errors="replace"))

    def command(self) -> list[str]:
        self._prepare()
        return [*self._java(), "kafka.Kafka", str(self._settings)]

    def is_ready(self) -> bool:
        """It knows of a broker, which is itself: until then it takes connections and leaves them hanging."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(_METADATA)
                answer = connection.recv(12)
        except OSError:
            return False
        return int.from_bytes(answer[8:12], "big") > 0

    @property
    def _settings(self) -> Path:
        return self.place / "server.properties"

    def _java(self) -> list[str]:
        java = shutil.which("java")
        assert java is not None
        return [java, "-Xms64m", "-Xmx256m", "-cp", f"{self._jars}/*"]
