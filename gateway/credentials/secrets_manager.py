"""Secrets that lie in AWS Secrets Manager: asked for beside the requests, in threads of their own, with a timeout.

Invariant: what is labelled AWSCURRENT is what counts; a secret is fetched only when that label has moved to another
version. boto3 is imported when the first secret is asked for. Refuses, by one name and without a word of what came:
whatever the service or the way to it refuses, and what is not text.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from gateway.settings import SecretsManagerSettings
from keys.secret import Secret

CURRENT: Final = "AWSCURRENT"
# Two: one that hangs until its timeout holds up no other.
_THREADS: Final = 2


class SecretsManagerUnavailable(Exception):
    """No answer that can be used. Says what failed by its name."""


class Found(msgspec.Struct, frozen=True, eq=False):
    """`labels`: which version bears which, such as AWSPENDING and AWSPREVIOUS beside AWSCURRENT."""

    version_id: str
    material: Secret
    labels: dict[str, str]


class SecretsManager:
    def __init__(self, settings: SecretsManagerSettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(_THREADS, "secrets-manager")
        self._client: Any = None
        self._making = threading.Lock()

    async def read(self, secret_id: str, known_version: str | None) -> Found | None:
        """None where AWSCURRENT still is the version that is known."""
        loop = asyncio.get_running_loop()
        # Connecting and reading are bounded in the thread, and so is everything together here.
        seconds = self._settings.timeout_ms / 1000
        try:
            async with asyncio.timeout(2 * seconds):
                return await loop.run_in_executor(self._threads, self._read, secret_id, known_version)
        except TimeoutError:
            raise SecretsManagerUnavailable("no answer in time") from None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, secret_id: str, known_version: str | None) -> Found | None:
        exceptions = importlib.import_module("botocore.exceptions")
        try:
            return self._ask(secret_id, known_version)
        except exceptions.ClientError as failure:
            code = failure.response.get("Error", {}).get("Code", "unknown")
            raise SecretsManagerUnavailable(str(code)) from None
        except exceptions.BotoCoreError as failure:
            raise SecretsManagerUnavailable(type(failure).__name__) from None

    def _ask(self, secret_id: str, known_version: str | None) -> Found | None:
        client = self._get_client()
        stages: dict[str, list[str]] = client.describe_secret(SecretId=secret_id).get(
            "VersionIdsToStages", {}
        )
        labels = {label: version for version, borne in stages.items() for label in borne}
        current = labels.get(CURRENT)
        if current is None:
            raise SecretsManagerUnavailable(f"no version is {CURRENT}")
        if current == known_version:
            return None
        # By its id: what is fetched is what was named, even if the label moves in between.
        text = client.get_secret_value(SecretId=secret_id, VersionId=current).get("SecretString")
        if not isinstance(text, str):
            raise SecretsManagerUnavailable("the secret is not text")
        return Found(current, Secret(text), labels)

    def _get_client(self) -> Any:  # noqa: ANN401  boto3 makes its classes as it runs
        with self._making:
            if self._client is None:
                self._client = self._make_client()
            return self._client

    def _make_client(self) -> Any:  # noqa: ANN401  as above
        boto3 = importlib.import_module("boto3")
        config = importlib.import_module("botocore.config").Config(
            connect_timeout=self._settings.timeout_ms / 1000,
            read_timeout=self._settings.timeout_ms / 1000,
            retries={"total_max_attempts": 1},
        )
        return boto3.session.Session().client(
            "secretsmanager",
            region_name=self._settings.region,
            endpoint_url=self._settings.endpoint_url,
            config=config,
        )
