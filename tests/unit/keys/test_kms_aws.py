"""AWS KMS when it does not answer as hoped: scripted answers over real HTTP."""

import base64
import subprocess
import sys
from typing import Any

import pytest

from keys import kms
from keys.kms.aws import AwsKms
from keys.secret import SecretBytes
from tests.support.kms_sites import MotoKms, ScriptedKms

ARN = "arn:aws:kms:eu-central-1:123456789012:key/0a1b2c3d-0000-0000-0000-000000000001"
OTHER = ARN.replace("0001", "0002")
CONTEXT = {"purpose": "data-key"}
PLAINTEXT = base64.b64encode(bytes(32)).decode()


def open_kms(server: ScriptedKms, **options: Any) -> AwsKms:  # noqa: ANN401  those of the backend
    return AwsKms(ARN, endpoint=server.endpoint, pause=lambda _: None, **options)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ThrottlingException"),
        (400, "LimitExceededException"),
        (500, "KMSInternalException"),
        (503, "DependencyTimeoutException"),
        (503, "Anything"),
        (429, "Anything"),
    ],
)
async def test_what_passes_is_unavailable(scripted_kms: ScriptedKms, status: int, code: str) -> None:
    """Throttling, though it is said with a 400, and whatever is KMS's own failure: tried three times, no more."""
    scripted_kms.answers = [scripted_kms.fail(status, code)]
    backend = open_kms(scripted_kms)
    with pytest.raises(kms.KmsUnavailable) as told:
        await backend.unwrap(b"wrapped", CONTEXT)
    assert len(scripted_kms.asked) == 3
    assert "hunter2" not in str(told.value)
    await backend.aclose()


@pytest.mark.parametrize(
    "code",
    [
        "AccessDeniedException",
        "DisabledException",
        "IncorrectKeyException",
        "InvalidCiphertextException",
        "KMSInvalidStateException",
        "NotFoundException",
        "SomethingNew",
    ],
)
async def test_a_no_is_a_refusal(scripted_kms: ScriptedKms, code: str) -> None:
    """It is not asked again, and the words are ours: its message could quote what it was sent."""
    scripted_kms.answers = [scripted_kms.fail(400, code)]
    backend = open_kms(scripted_kms)
    with pytest.raises(kms.KmsRefused) as told:
        await backend.unwrap(b"wrapped", CONTEXT)
    assert len(scripted_kms.asked) == 1
    assert "hunter2" not in str(told.value) + repr(told.value.__cause__)
    assert told.value.__suppress_context__
    await backend.aclose()


async def test_one_throttled_call_is_made_up_for(scripted_kms: ScriptedKms) -> None:
    """A failure that passes is over by the next attempt, and nobody hears of it."""
    scripted_kms.answers = [
        scripted_kms.fail(400, "ThrottlingException"),
        (200, {"KeyId": ARN, "Plaintext": PLAINTEXT}),
    ]
    backend = open_kms(scripted_kms)
    assert (await backend.unwrap(b"wrapped", CONTEXT)).reveal() == bytes(32)
    assert [asked["EncryptionContext"] for asked in scripted_kms.asked] == [CONTEXT, CONTEXT]
    assert {asked["KeyId"] for asked in scripted_kms.asked} == {ARN}
    await backend.aclose()


async def test_an_answer_from_another_key_is_refused(scripted_kms: ScriptedKms) -> None:
    """Whoever can put an endpoint or a wrapped key in our way must not choose the key."""
    scripted_kms.answers = [(200, {"KeyId": OTHER, "Plaintext": PLAINTEXT, "CiphertextBlob": "eA=="})]
    backend = open_kms(scripted_kms)
    for asked in (
        backend.unwrap(b"x", CONTEXT),
        backend.generate_data_key(CONTEXT),
        backend.wrap(SecretBytes(bytes(32)), CONTEXT),
    ):
        with pytest.raises(kms.KmsRefused, match="another key"):
            await asked
    await backend.aclose()


async def test_what_is_no_data_key_is_refused(scripted_kms: ScriptedKms) -> None:
    """A data key has 32 bytes, whatever opened."""
    scripted_kms.answers = [(200, {"KeyId": ARN, "Plaintext": "AAAA"})]
    backend = open_kms(scripted_kms)
    with pytest.raises(kms.KmsRefused):
        await backend.unwrap(b"x", CONTEXT)
    await backend.aclose()


async def test_nobody_listening_is_unavailable(aws_credentials: None) -> None:
    """Port 1 of the loopback refuses at once."""
    backend = AwsKms(ARN, endpoint="http://127.0.0.1:1", pause=lambda _: None)
    with pytest.raises(kms.KmsUnavailable, match="EndpointConnectionError"):
        await backend.generate_data_key(CONTEXT)
    await backend.aclose()


async def test_without_credentials_it_is_unavailable(
    scripted_kms: ScriptedKms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chain may find some later, so nothing is decided; and nothing was sent."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    backend = open_kms(scripted_kms)
    with pytest.raises(kms.KmsUnavailable, match="NoCredentialsError"):
        await backend.generate_data_key(CONTEXT)
    assert not scripted_kms.asked
    await backend.aclose()


@pytest.mark.parametrize(
    "arn", ["alias/portreeve", "0a1b2c3d", ARN.replace("key/", "alias/"), f"{ARN}\n", ""]
)
def test_a_key_is_named_by_its_arn(arn: str) -> None:
    """An alias can be led elsewhere, and a bare id is another spelling of the same key."""
    with pytest.raises(ValueError, match="ARN"):
        AwsKms(arn)


async def test_another_regions_key_is_another_key(moto_kms: MotoKms) -> None:
    """Each region is asked for its own: what one wrapped is not given to the other."""
    here, there = moto_kms.open(moto_kms.create_key()), moto_kms.open(moto_kms.create_key("eu-west-1"))
    made = await here.generate_data_key(CONTEXT)
    wrapped = await there.wrap(made.plaintext, CONTEXT)
    assert (await there.unwrap(wrapped, CONTEXT)).reveal() == made.plaintext.reveal()
    with pytest.raises(kms.KmsRefused):
        await there.unwrap(made.wrapped, CONTEXT)
    for backend in (here, there):
        await backend.aclose()


def test_nothing_of_it_is_imported_before_it_is_used() -> None:
    """A node with a master key file pays nothing for the other backends."""
    program = (
        "import sys, gateway.composition, gateway.cli.kms_commands;"
        "sys.exit(bool({'boto3', 'botocore', 'pkcs11'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
