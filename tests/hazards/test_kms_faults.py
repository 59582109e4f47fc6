"""Hazards, "Limits and faults": the KMS down, silent, throttling, refusing.

Running nodes go on with the keys that they opened, new secrets are refused with a clear problem, readiness says
degraded and stays 200, and nothing has to be restarted afterwards.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Iterator

import pytest

from tests.support import rawhttp
from tests.support.gateway import CommandFailed, Deployment, deployed, wait_until
from tests.support.interposer import Interposer
from tests.support.kms_sites import MotoKms
from tests.support.signing import plain_request

ORDERS = b"/paper/v1/orders"
LIFETIMES = {"soft_lifetime_ms": 400, "timeout_ms": 900}


def http_error(status: str, code: str) -> bytes:
    body = json.dumps({"__type": code, "message": "a message of its own"}).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


FAULTS: dict[str, Callable[[Interposer], None]] = {
    "down": Interposer.refuse,
    "silent": Interposer.fall_silent,
    "throttling": lambda way: way.answer(http_error("400 Bad Request", "ThrottlingException")),
    "failing": lambda way: way.answer(http_error("500 Internal Server Error", "KMSInternalException")),
    "refusing": lambda way: way.answer(http_error("400 Bad Request", "AccessDeniedException")),
    "another key": lambda way: way.answer(http_error("400 Bad Request", "IncorrectKeyException")),
    "garbage": lambda way: way.answer(b"\x00\xff no HTTP at all\r\n" * 3),
}


@pytest.fixture(scope="module")
def way(moto_server: str) -> Iterator[Interposer]:
    parts = urllib.parse.urlsplit(moto_server)
    assert parts.hostname is not None
    assert parts.port is not None
    made = Interposer((parts.hostname, parts.port))
    yield made
    made.close()


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, moto_server: str, way: Interposer
) -> Iterator[Deployment]:
    """One node whose data keys a KMS in AWS wraps, asked anew every 400 ms."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        arn = MotoKms(moto_server).create_key()
        kms = {"backend": "aws", "master_key": None, "key": arn, "endpoint": f"http://127.0.0.1:{way.port}"}
        with deployed(tmp_path_factory.mktemp("kms"), changes={"kms": kms | LIFETIMES}) as made:
            made.key()
            yield made


def readiness(deployment: Deployment) -> dict[str, object]:
    answer = deployment.node.ask(plain_request("GET", b"/health/ready"))
    assert answer.status == 200
    found: dict[str, object] = json.loads(answer.body)
    return found


def trade(deployment: Deployment) -> rawhttp.Answer:
    return deployment.node.ask(deployment.key().request("POST", ORDERS, b'{"qty":1}'))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_kms_in_trouble_stops_no_request(deployment: Deployment, way: Interposer, fault: str) -> None:
    """Readiness tells, trading goes on, a new key is refused in a line, and it all passes by itself."""
    wait_until(lambda: readiness(deployment)["kms"] == "ready", 15, "healthy before")
    FAULTS[fault](way)
    try:
        wait_until(lambda: readiness(deployment)["kms"] == "degraded", 15, "readiness tells")
        assert readiness(deployment)["status"] == "degraded"
        assert [trade(deployment).status for _ in range(5)] == [200] * 5
        with pytest.raises(CommandFailed) as failed:
            deployment.new_key(partner="acme")
        assert failed.value.code == 1
        assert "KMS" in failed.value.errors
        assert "Traceback" not in failed.value.errors
        assert "prs_" not in failed.value.output
        assert "a message of its own" not in failed.value.errors + deployment.node.log_text()
    finally:
        way.mend()
    wait_until(lambda: readiness(deployment)["kms"] == "ready", 15, "recovery without restart")
    assert trade(deployment).status == 200


def test_a_key_frozen_while_the_kms_is_away_is_refused(deployment: Deployment, way: Interposer) -> None:
    """What takes a right away never waits for the KMS."""
    signer = deployment.new_key(partner="acme")
    way.refuse()
    try:
        wait_until(lambda: readiness(deployment)["kms"] == "degraded", 15, "readiness tells")
        deployment.command("keys", "freeze", signer.key_id, "--reason", "while the KMS is away")
        refused = lambda: deployment.node.ask(signer.request("GET", ORDERS)).code == "key_frozen"  # noqa: E731
        wait_until(refused, 5, "the freeze arrives")
    finally:
        way.mend()
