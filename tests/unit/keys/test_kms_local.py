from pathlib import Path

import pytest

from keys.kms import local
from keys.kms.local import LocalKms
from keys.secret import Secret


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "master.key"


async def test_a_wrapped_key_begins_with_its_version_marker(path: Path) -> None:
    """What is stored says first which layout it has."""
    LocalKms.create(path)
    made = await LocalKms(path).generate_data_key({})
    assert made.wrapped[:1] == local.MARKER


async def test_a_sealed_master_key_is_the_same_key(path: Path) -> None:
    """With a passphrase the backend opens after a restart what it wrapped before."""
    passphrase = Secret("correct horse")
    LocalKms.create(path, passphrase)
    made = await LocalKms(path, passphrase).generate_data_key({})
    assert (await LocalKms(path, passphrase).unwrap(made.wrapped, {})).reveal() == made.plaintext.reveal()


def test_the_name_of_the_key_says_nothing_of_its_bytes(path: Path) -> None:
    """The name is derived from the master key and is no part of it."""
    LocalKms.create(path, entropy=lambda size: b"\xab" * size)
    name = LocalKms(path).key_id
    assert len(name) == 16
    assert "abab" not in name
