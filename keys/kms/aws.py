"""AWS KMS, or whatever speaks its protocol: a symmetric key that never leaves it wraps the data keys.

Invariant: a call names the key by its ARN, and an answer from any other key is refused, so nobody can make
the gateway use a key of theirs. The context is KMS's encryption context: authenticated, and there for key
policies to condition on. Credentials come by the SDK's own chain, never from our configuration.
Refuses: what KMS refuses, in words of our own, since its messages quote what they were sent.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from keys import envelope, kms
from keys.kms.lane import Lane
from keys.secret import SecretBytes

ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]+", re.ASCII)

_THREADS: Final = 4
# In all, the first included. A failure that passes is mostly over by the second.
_ATTEMPTS: Final = 3
_PAUSE_S: Final = 0.05
_LONGEST_WRAPPED: Final = 6_144
_LATER: Final = frozenset(
    {
        "DependencyTimeoutException",
        "KMSInternalException",
        "KeyUnavailableException",
        "LimitExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_NO: Final = MappingProxyType(
    {
        "AccessDeniedException": "does not let these credentials use the key",
        "DisabledException": "has the key disabled",
        "IncorrectKeyException": "wrapped it under another key",
        "InvalidCiphertextException": "did not wrap it, or for another context, or it was altered",
        "InvalidKeyUsageException": "has the key for something else than encrypting",
        "KMSInvalidStateException": "has the key in a state in which it cannot be used",
        "NotFoundException": "does not know the key",
    }
)
_SOME_FAILURE: Final = 500
_TOO_MANY: Final = 429


class AwsKms:
    """Implements `KmsBackend`. The SDK is imported, and credentials are sought, at the first call."""

    name: Final = "aws"

    def __init__(
        self,
        key_arn: str,
        *,
        endpoint: str | None = None,
        timeout_ms: int = 5_000,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        found = ARN.fullmatch(key_arn)
        if found is None:
            raise ValueError("a KMS key is named by its ARN: an alias may lead elsewhere tomorrow")
        self._arn = key_arn
        self._region = found["region"]
        self._endpoint = endpoint
        # The attempts together have to fit into what a caller waits.
        self._attempt_s = timeout_ms / 1000 / _ATTEMPTS
        self._pause = pause
        self._lane = Lane("AWS KMS", threads=_THREADS, timeout_ms=timeout_ms)
        self._client: Any = None
        self._connecting = threading.Lock()

    @property
    def key_id(self) -> str:
        return self._arn

    async def generate_data_key(self, context: Mapping[str, str]) -> kms.DataKey:
        answer = await self._ask("generate_data_key", KeySpec="AES_256", EncryptionContext=dict(context))
        return kms.DataKey(_opened(answer), answer["CiphertextBlob"])

    async def wrap(self, plaintext: SecretBytes, context: Mapping[str, str]) -> bytes:
        answer = await self._ask("encrypt", Plaintext=plaintext.reveal(), EncryptionContext=dict(context))
        wrapped: bytes = answer["CiphertextBlob"]
        return wrapped

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> SecretBytes:
        # The SDK's own complaint about a length would quote what it was given.
        if not 0 < len(wrapped) <= _LONGEST_WRAPPED:
            raise kms.KmsRefused("AWS KMS never wraps to this length")
        return _opened(await self._ask("decrypt", CiphertextBlob=wrapped, EncryptionContext=dict(context)))

    async def aclose(self) -> None:
        self._lane.close()
        if self._client is not None:
            self._client.close()

    async def _ask(self, operation: str, **parameters: object) -> dict[str, Any]:
        return await self._lane.run(lambda: self._call(operation, parameters))

    def _call(self, operation: str, parameters: dict[str, object]) -> dict[str, Any]:
        """On one of the lane's threads."""
        attempt = 1
        while True:
            try:
                return self._call_once(operation, parameters)
            except kms.KmsUnavailable:
                if attempt == _ATTEMPTS:
                    raise
            self._pause(_PAUSE_S * 2**attempt)
            attempt += 1

    def _call_once(self, operation: str, parameters: dict[str, object]) -> dict[str, Any]:
        import botocore.exceptions as failures  # noqa: PLC0415  the SDK is there only where this backend is configured

        try:
            client = self._connect()
            answer: dict[str, Any] = getattr(client, operation)(KeyId=self._arn, **parameters)
        except failures.ClientError as refusal:
            # The chain is cut: the SDK's message quotes the request.
            raise _translate(refusal.response) from None
        except failures.BotoCoreError as failure:
            raise kms.KmsUnavailable(f"AWS KMS cannot be asked ({type(failure).__name__})") from None
        if answer.get("KeyId") != self._arn:
            raise kms.KmsRefused("AWS KMS answered with another key than the one that it was asked for")
        return answer

    def _connect(self) -> Any:  # noqa: ANN401  the SDK has no types of its own
        with self._connecting:
            if self._client is None:
                self._client = self._make_client()
            return self._client

    def _make_client(self) -> Any:  # noqa: ANN401  as above
        import boto3.session  # noqa: PLC0415  as above
        import botocore.config  # noqa: PLC0415  as above

        config = botocore.config.Config(
            connect_timeout=self._attempt_s,
            read_timeout=self._attempt_s,
            # Attempts are counted here, where the bound is known.
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=_THREADS,
        )
        return boto3.session.Session().client(
            "kms", region_name=self._region, endpoint_url=self._endpoint, config=config
        )


def _opened(answer: dict[str, Any]) -> SecretBytes:
    plaintext: bytes = answer["Plaintext"]
    if len(plaintext) != envelope.DATA_KEY_SIZE:
        raise kms.KmsRefused("AWS KMS answered with something else than a data key")
    return SecretBytes(plaintext)


def _translate(response: Mapping[str, Any]) -> Exception:
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    # Throttling is said with a 400, so the code is asked before the status.
    if code in _LATER:
        return kms.KmsUnavailable(f"AWS KMS says to come back later ({code})")
    if status >= _SOME_FAILURE or status == _TOO_MANY:
        return kms.KmsUnavailable(f"AWS KMS failed with {status}")
    if code in _NO:
        return kms.KmsRefused(f"AWS KMS {_NO[code]}")
    return kms.KmsRefused(f"AWS KMS refused with {status}")
