"""A gateway to measure: configured in a temporary folder, driven by its command line like any other."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

_CONFIG = """\
[service]
issuer = "https://bench.example"
docs_base = "https://bench.example/docs"

[server]
port = {port}
workers = {workers}

[storage]
url = "sqlite:portreeve.db"

[kms]
master_key = "file:master.key"

[signing]
window_ms = 60000

[source_limit]
rate = 1000000
burst = 1000000
{redis}
[upstreams.fast]
url = "http://127.0.0.1:{upstream}"
environment = "paper"

[[routes]]
name = "orders"
methods = ["GET", "POST"]
path = "/paper/v1/orders"
environment = "paper"
upstream = "fast"
permission = "orders:read"
strip_prefix = "/paper/v1"
"""

_POLICIES = """\
[permissions."orders:read"]
description = "Read orders."

[roles.reader]
permissions = ["orders:read"]

[tiers.standard]
key = { rate = 1000000, per = "1s", burst = 1000000 }
partner = { rate = 1000000, per = "1s", burst = 1000000 }
"""

TARGET = "/paper/v1/orders?symbol=BTC-EUR"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Deployment:
    """Starts on entering, with its upstream; ends by process id on leaving."""

    def __init__(self, folder: Path, redis_url: str | None = None, workers: int = 1) -> None:
        self.port, self._upstream_port = free_port(), free_port()
        self._config = folder / "portreeve.toml"
        redis = "" if redis_url is None else f'\n[redis]\nurl = "{redis_url}"\n'
        self._config.write_text(
            _CONFIG.format(port=self.port, workers=workers, upstream=self._upstream_port, redis=redis)
        )
        (folder / "policies.toml").write_text(_POLICIES)
        self._log = folder / "log"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.start_seconds = 0.0

    def __enter__(self) -> Self:
        self._command("init")
        self._command("partners", "create", "acme", "--name", "Acme", "--tier", "standard")
        self._processes.append(
            subprocess.Popen([sys.executable, "-m", "bench.upstream", str(self._upstream_port)])
        )
        began = time.perf_counter()
        log = self._log.open("wb")
        self.gateway = subprocess.Popen(self._portreeve("serve"), stdout=log)
        log.close()
        self._processes.append(self.gateway)
        self._wait_until_ready()
        self.start_seconds = round(time.perf_counter() - began, 2)
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            process.wait(15)

    def create_key(self, *arguments: str) -> dict[str, Any]:
        created = self._command(
            "keys",
            "create",
            "--partner",
            "acme",
            "--environment",
            "paper",
            "--role",
            "reader",
            "--json",
            *arguments,
        )
        key: dict[str, Any] = json.loads(created)
        return key

    def _portreeve(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "gateway", "--config", str(self._config), *arguments]

    def _command(self, *arguments: str) -> bytes:
        return subprocess.run(
            self._portreeve(*arguments), check=True, stdout=subprocess.PIPE, timeout=60
        ).stdout

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
            try:
                connection.request("GET", "/health/ready")
                if connection.getresponse().status == http.HTTPStatus.OK:
                    return
            except OSError:
                time.sleep(0.01)
            finally:
                connection.close()
        raise TimeoutError(self._log.read_text(errors="replace"))


def signed_requests(key: dict[str, Any], count: int, sign: Any, *, body: bytes = b"") -> list[bytes]:  # noqa: ANN401  a callable from bytes to hex
    """Each with a nonce of its own, made ahead so that signing is not what is measured."""
    path, _, query = TARGET.partition("?")
    digest, method = hashlib.sha256(body).hexdigest(), "POST" if body else "GET"
    length = f"content-length: {len(body)}\r\n" if body else ""
    requests = []
    for _ in range(count):
        at, nonce = str(time.time_ns() // 1_000_000), secrets.token_urlsafe(16)
        signed = "\n".join(["PORTREEVE1", at, nonce, key["id"], method, path, query, digest])
        head = (
            f"{method} {TARGET} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\n{length}"
            f"portreeve-key: {key['id']}\r\nportreeve-timestamp: {at}\r\nportreeve-nonce: {nonce}\r\n"
            f"portreeve-signature: {sign(signed.encode())}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


def hmac_signer(key: dict[str, Any]) -> Any:  # noqa: ANN401  a callable from bytes to hex
    secret = key["secret"].encode()
    return lambda signed: hmac.new(secret, signed, "sha256").hexdigest()
