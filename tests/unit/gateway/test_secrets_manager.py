"""Credentials that lie in AWS Secrets Manager, over HTTP to a server that speaks its protocol."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import os
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.credentials.secrets_manager import SecretsManager, SecretsManagerUnavailable
from gateway.credentials.served import ServedCredentials
from gateway.settings import SecretsManagerSettings
from keys.changes import Author
from keys.upstream_credentials import CredentialRequest, UpstreamCredentials
from tests.support import custody
from tests.support.recording_upstream import Exchange, RecordingUpstream

OPERATOR = Author("operator")
REGION = "eu-central-1"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = importlib.import_module("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who we are to AWS comes from where boto3 looks, and nothing else of this machine's does."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def aws(endpoint: str, account: None) -> Any:  # noqa: ANN401  boto3 makes its classes as it runs
    """An administrator's client."""
    boto3 = importlib.import_module("boto3")
    return boto3.session.Session().client("secretsmanager", region_name=REGION, endpoint_url=endpoint)


@pytest.fixture
def secret(aws: Any) -> str:  # noqa: ANN401  as above
    name = f"broker/{next(_numbers)}"
    aws.create_secret(Name=name, SecretString='{"value": "canary-1", "engine": "x"}')
    return name


def manager(endpoint: str, timeout_ms: int = 5_000) -> SecretsManager:
    settings = SecretsManagerSettings(region=REGION, endpoint_url=endpoint, timeout_ms=timeout_ms)
    return SecretsManager(settings)


def lies_in(secret_id: str) -> CredentialRequest:
    return CredentialRequest(
        upstream="paper",
        environment="paper",
        form="header",
        source="aws-secrets-manager",
        details={"header": "x-api-key", "secret_id": secret_id},
    )


@pytest.fixture
async def serve(engine: AsyncEngine) -> AsyncIterator[Callable[..., Any]]:
    """What a node serves, with a credential of the upstream `paper` that lies elsewhere."""
    room, made = custody.build_room(engine), []

    async def begin(endpoint: str, secret_id: str, timeout_ms: int = 5_000) -> ServedCredentials:
        held = UpstreamCredentials(room.engine, room.data_keys, room.changes, os.urandom)
        await held.create(lies_in(secret_id), None, author=OPERATOR)
        served = ServedCredentials(
            held,
            manager(endpoint, timeout_ms),
            {"paper": "paper"},
            (),
            wall_ms=room.clock,
            monotonic_ms=room.clock,
        )
        made.append(served)
        await served.refresh()
        return served

    yield begin
    for served in made:
        await served.aclose()


def put(aws: Any, secret: str, text: str, *labels: str) -> str:  # noqa: ANN401  as above
    version = str(uuid.uuid4())
    aws.put_secret_value(
        SecretId=secret, ClientRequestToken=version, SecretString=text, VersionStages=list(labels)
    )
    return version


async def test_current_is_sent_through_a_whole_rotation(
    endpoint: str,
    aws: Any,  # noqa: ANN401  as above
    secret: str,
    serve: Callable[..., Any],
) -> None:
    """AWSPENDING is not sent; when AWSCURRENT moves, what is sent moves with it; AWSPREVIOUS is not sent any more."""
    served = await serve(endpoint, secret)
    assert served.missing == {"paper": "it was not fetched yet"}
    await served.look()
    assert served.by_upstream["paper"].lines == b"x-api-key: canary-1\r\n"
    pending = put(aws, secret, '{"value": "canary-2"}', "AWSPENDING")
    await served.look()
    assert served.by_upstream["paper"].lines == b"x-api-key: canary-1\r\n"
    before = served.labels("paper")["AWSCURRENT"]
    aws.update_secret_version_stage(
        SecretId=secret, VersionStage="AWSCURRENT", MoveToVersionId=pending, RemoveFromVersionId=before
    )
    await served.look()
    assert served.by_upstream["paper"].lines == b"x-api-key: canary-2\r\n"
    assert served.labels("paper")["AWSCURRENT"] == pending
    assert served.labels("paper")["AWSPREVIOUS"] == before


async def test_the_secret_is_fetched_only_when_the_label_has_moved(endpoint: str, secret: str) -> None:
    """What is known is not asked for again."""
    asked = manager(endpoint)
    found = await asked.read(secret, None)
    assert found is not None
    assert await asked.read(secret, found.version_id) is None
    assert "canary" not in repr(found)
    asked.close()


async def test_the_last_good_one_goes_on(
    endpoint: str,
    aws: Any,  # noqa: ANN401  as above
    secret: str,
    serve: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A secret that is gone, or makes no sense, takes nothing away; it is told once, and without a word of it."""
    served = await serve(endpoint, secret)
    await served.look()
    put(aws, secret, '{"other": "canary-2"}', "AWSCURRENT")
    for _ in range(3):
        await served.look()
    assert served.by_upstream["paper"].lines == b"x-api-key: canary-1\r\n"
    assert caplog.text.count("cannot be had") == 1
    put(aws, secret, '{"value": "canary-3"}', "AWSCURRENT")
    await served.look()
    assert served.by_upstream["paper"].lines == b"x-api-key: canary-3\r\n"
    aws.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    await served.look()
    assert served.by_upstream["paper"].lines == b"x-api-key: canary-3\r\n"
    assert "ResourceNotFoundException" in caplog.text
    assert "canary" not in caplog.text


async def test_without_a_first_answer_nothing_is_sent(serve: Callable[..., Any]) -> None:
    """A service that nobody answers for: the node goes on, and asks this upstream nothing."""
    served = await serve("http://127.0.0.1:1", "broker")
    await served.look()
    assert set(served.missing) == {"paper"}


async def test_a_service_that_hangs_is_given_up_on() -> None:
    """By a timeout of ours, long before it would answer."""
    release = threading.Event()

    def hang(_: Exchange) -> None:
        release.wait(10)

    hanging = RecordingUpstream(hang)
    asked = manager(hanging.url, timeout_ms=200)
    async with asyncio.timeout(10):
        with pytest.raises(SecretsManagerUnavailable):
            await asked.read("broker", None)
    release.set()
    asked.close()
    hanging.stop()


async def test_a_node_looks_at_once_at_what_was_entered(
    endpoint: str, secret: str, serve: Callable[..., Any]
) -> None:
    """Not only at its next poll, which may be a minute off."""
    served = await serve("http://127.0.0.1:1", "elsewhere")
    served._elsewhere = manager(endpoint)
    following = asyncio.create_task(served.run())
    async with asyncio.timeout(10):
        while not served._followed["paper"].is_failing:  # noqa: ASYNC110  what runs in the background tells nobody
            await asyncio.sleep(0.005)
        entered = served._stored
        await entered.remove("paper", author=OPERATOR)
        await entered.create(lies_in(secret), None, author=OPERATOR)
        await served.refresh()
        while served.missing:  # noqa: ASYNC110  as above
            await asyncio.sleep(0.005)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    assert served.by_upstream["paper"].lines == b"x-api-key: canary-1\r\n"


async def test_a_refusal_makes_the_next_look_come_sooner(
    endpoint: str, secret: str, serve: Callable[..., Any]
) -> None:
    """The label may have moved while the upstream refuses what was current."""
    served = await serve(endpoint, secret)
    await served.look()
    served._look.clear()
    proof = served.by_upstream["paper"]
    proof.note_refused(b"")
    assert served._look.is_set()
