"""Portreeve itself, configured through its own command line like any other deployment."""

from __future__ import annotations

import time
from contextlib import ExitStack

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.contenders.requests import Maker, Signed
from bench.contenders.server import Made, folder_of
from bench.deployment import Deployment, hmac_signer
from bench.ground import NO_REDIS, Ground
from bench.oauth import OAuthClient

# Every worker knows a new key by then.
_NOTICED_S = 1.0


class Portreeve:
    """`algorithm`: what requests are signed with; `dpop`, or `bearer`, for those that carry an access token."""

    def __init__(
        self, name: str, *, algorithm: str = "hmac-sha256", redis: bool = False, workers: int = 1
    ) -> None:
        self.name = name
        # A bearer token is presented again and again: nothing tells a copy of such a request.
        self.checks = frozenset({"signature"} if algorithm == "bearer" else {"signature", "replay"})
        self._algorithm = algorithm
        self._redis = redis
        self._workers = workers

    def missing(self, ground: Ground) -> str | None:
        return NO_REDIS if self._redis and ground.redis_port is None else None

    def start(self, ground: Ground) -> RunningPortreeve:
        deployment = Deployment(
            folder_of(ground.folder, self.name),
            ground.redis_url if self._redis else None,
            self._workers,
            upstream_port=ground.upstream_port,
        )
        with ExitStack() as until_stopped:
            until_stopped.enter_context(deployment)
            signed = _signed(deployment, self._algorithm)
            time.sleep(_NOTICED_S)
            return RunningPortreeve(deployment, signed, until_stopped.pop_all())


class RunningPortreeve(Made):
    def __init__(self, deployment: Deployment, signed: Maker, until_stopped: ExitStack) -> None:
        super().__init__(signed)
        self.port = deployment.port
        self.pid = deployment.gateway.pid
        self._until_stopped = until_stopped

    def stop(self) -> None:
        self._until_stopped.close()


def _signed(deployment: Deployment, algorithm: str) -> Maker:
    match algorithm:
        case "dpop" | "bearer" as kind:
            return OAuthClient(deployment, kind)
        case "hmac-sha256":
            key = deployment.create_key("--algorithm", algorithm)
            return Signed(key["id"], hmac_signer(key))
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw().hex()
    key = deployment.create_key("--algorithm", algorithm, "--public-key", public)
    return Signed(key["id"], lambda text: private.sign(text).hex())
