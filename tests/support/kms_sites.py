"""KMS backends as deployed: AWS KMS played by moto over real HTTP, an HSM played by SoftHSM2.

Invariant: both live on loopback and in temporary directories. A process loads a PKCS #11 module once, so the run has
one HSM, with as many keys as tests make in it.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pkcs11
import pytest

from keys.kms.aws import AwsKms
from keys.kms.pkcs11 import Pkcs11Kms
from keys.secret import Secret
from tests.support import optional

REGION = "eu-central-1"
OTHER_REGION = "eu-west-1"
PIN = "4711-pin"
HSM_LABEL = "portreeve-test"
_numbers = itertools.count(1)


class MotoKms:
    """AWS KMS, empty at first; its keys are made through the same SDK that an operator's tools use."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def client(self, region: str = REGION) -> Any:  # noqa: ANN401  the SDK has no types
        import boto3.session  # noqa: PLC0415  slow, and few tests need it

        return boto3.session.Session().client("kms", region_name=region, endpoint_url=self.endpoint)

    def create_key(self, region: str = REGION) -> str:
        arn: str = self.client(region).create_key()["KeyMetadata"]["Arn"]
        return arn

    def open(self, arn: str, **options: Any) -> AwsKms:  # noqa: ANN401  those of the backend
        return AwsKms(arn, endpoint=self.endpoint, **options)


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the SDK's chain finds first, so that it seeks no further."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  slow, and few tests need it

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def moto_kms(moto_server: str, aws_credentials: None) -> MotoKms:
    return MotoKms(moto_server)


class Hsm(NamedTuple):
    module: Path

    def open(self, key_label: str, *, pin: str = PIN, **options: Any) -> Pkcs11Kms:  # noqa: ANN401  as above
        return Pkcs11Kms(self.module, HSM_LABEL, key_label, Secret(pin), **options)

    def new_label(self) -> str:
        return f"key-{next(_numbers)}"

    async def with_key(self, key_label: str) -> Pkcs11Kms:
        backend = self.open(key_label)
        await backend.create_key()
        return backend


def make_hsm(directory: Path) -> Path:
    """Answers the configuration that SOFTHSM2_CONF has to name."""
    configuration = directory / "softhsm2.conf"
    kept = directory / "hsm"
    kept.mkdir()
    configuration.write_text(
        f"directories.tokendir = {kept}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    program = shutil.which("softhsm2-util")
    assert program is not None
    subprocess.run(
        [program, "--init-token", "--free", "--label", HSM_LABEL, "--pin", PIN, "--so-pin", "0815-so"],
        env=os.environ | {"SOFTHSM2_CONF": str(configuration)},
        check=True,
        capture_output=True,
    )
    return configuration


@pytest.fixture(scope="session")
def hsm_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    optional.require("softhsm2")
    made = make_hsm(tmp_path_factory.mktemp("softhsm"))
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(made)
    yield made
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.fixture
def hsm(hsm_configuration: Path) -> Hsm:
    module = optional.require("softhsm2")
    # A log-in holds for the whole process: what an earlier test left open would let a wrong PIN pass in this one.
    pkcs11.lib(str(module)).reinitialize()
    return Hsm(module)


class ScriptedKms:
    """Speaks HTTP and answers what it is told; `stalled` holds every answer back until it is set free."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[dict[str, Any]] = []
        self.released = threading.Event()
        self.released.set()
        outer = self

        class Answerer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked.append(json.loads(body))
                outer.released.wait(30)
                status, answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answerer)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=lambda: self._server.serve_forever(poll_interval=0.02), daemon=True
        )
        self._thread.start()

    def fail(self, status: int, code: str) -> tuple[int, dict[str, Any]]:
        return status, {"__type": code, "message": "with a secret in it: hunter2"}

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def scripted_kms(aws_credentials: None) -> Iterator[ScriptedKms]:
    server = ScriptedKms()
    yield server
    server.close()
