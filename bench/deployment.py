"""A gateway to measure: configured in a temporary folder, driven by its command line like any other."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from bench.configuration import POLICIES, TARGET, configuration

__all__ = ["TARGET", "Deployment", "free_port", "hmac_signer", "signed_requests"]

_LATEST_BYTES = 64 * 1024 * 1024


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Deployment:
    """Starts on entering, with an upstream unless it is given one's port; ends by process id on leaving.

    `behind_proxy`: whoever loads it may say where each request comes from. `database`: the URL of a PostgreSQL without
    its password, in place of a SQLite file. `prepare` is called with the configuration's path when the store is there
    and nothing serves yet.
    """

    def __init__(  # noqa: PLR0913  what differs from one deployment to another
        self,
        folder: Path,
        redis_url: str | None = None,
        workers: int = 1,
        *,
        upstream_port: int | None = None,
        extra_routes: int = 0,
        at_rest: bool = False,
        database: str | None = None,
        behind_proxy: bool = False,
        prepare: Callable[[Path], None] | None = None,
    ) -> None:
        self.port = free_port()
        self._own_upstream = upstream_port is None
        self._upstream_port = upstream_port or free_port()
        self._config = folder / "portreeve.toml"
        self._config.write_text(
            configuration(
                port=self.port,
                upstream_port=self._upstream_port,
                redis_url=redis_url,
                workers=workers,
                extra_routes=extra_routes,
                at_rest=at_rest,
                database=database,
                behind_proxy=behind_proxy,
            )
        )
        (folder / "policies.toml").write_text(POLICIES)
        self._prepare = prepare
        self._log = folder / "log"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.start_seconds = 0.0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            process.wait(15)

    def _start(self) -> None:
        self._command("init")
        self.create_partner("acme", "standard")
        if self._prepare is not None:
            self._prepare(self._config)
        if self._own_upstream:
            self._processes.append(
                subprocess.Popen([sys.executable, "-m", "bench.upstream", str(self._upstream_port)])
            )
        began = time.perf_counter()
        # Appending, so that the file can be emptied while it is written.
        with self._log.open("ab") as log:
            self.gateway = subprocess.Popen(self._portreeve("serve"), stdout=log)
        self._processes.append(self.gateway)
        self._wait_until_ready()
        self.start_seconds = round(time.perf_counter() - began, 2)

    def forget_log(self) -> None:
        """A line a request for ten minutes would fill a disk."""
        os.truncate(self._log, 0)

    def refusals(self) -> dict[str, int]:
        """Why the latest requests were refused, by the request lines: for whoever expected none."""
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _LATEST_BYTES))
            # The first line may be cut.
            lines = [json.loads(line) for line in log.readlines()[1:] if line.endswith(b"}\n")]
        return dict(Counter(line["reason"] for line in lines if line.get("reason")))

    def create_partner(self, name: str, tier: str) -> None:
        self._command("partners", "create", name, "--tier", tier)

    def create_key(self, *arguments: str, partner: str = "acme") -> dict[str, Any]:
        asked = ["--partner", partner, "--environment", "paper", "--role", "reader", "--json", *arguments]
        key: dict[str, Any] = json.loads(self._command("keys", "create", *asked))
        return key

    def create_client(self, jwk: dict[str, str], *arguments: str) -> str:
        """An OAuth client with this public key; its id."""
        file = self._config.parent / "client.jwk"
        file.write_text(json.dumps(jwk))
        told = self._command(
            "clients",
            "create",
            "--partner",
            "acme",
            "--environment",
            "paper",
            "--name",
            "bench",
            "--role",
            "reader",
            "--jwks",
            str(file),
            "--json",
            *arguments,
        )
        client_id: str = json.loads(told)["id"]
        return client_id

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
