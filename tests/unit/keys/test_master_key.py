import os
import stat
from pathlib import Path

import pytest

from keys.kms import master_key
from keys.secret import Secret

PASSPHRASE = Secret("correct horse")


def fixed_entropy(size: int) -> bytes:
    return bytes(range(size))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "master.key"


def write(path: Path, line: bytes) -> None:
    path.write_bytes(line)
    path.chmod(0o600)


def test_a_plain_key_loads(path: Path) -> None:
    """What was created without a passphrase loads without one."""
    master_key.create(path, None, fixed_entropy)
    assert master_key.load(path, None).reveal() == bytes(range(32))


def test_a_sealed_key_loads_with_its_passphrase(path: Path) -> None:
    """What was created with a passphrase loads with it, and its bytes are not in the file."""
    master_key.create(path, PASSPHRASE, fixed_entropy)
    assert master_key.load(path, PASSPHRASE).reveal() == bytes(range(32))
    assert bytes(range(32)).hex().encode() not in path.read_bytes()


def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    """The file is created 0600 whatever the umask allows."""
    before = os.umask(0)
    try:
        master_key.create(path, None, os.urandom)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_existing_file_is_not_overwritten(path: Path) -> None:
    """Creating over a master key would lose all that it wrapped."""
    write(path, b"precious")
    with pytest.raises(master_key.MasterKeyExists):
        master_key.create(path, None, os.urandom)
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666])
def test_a_file_open_to_others_is_refused(path: Path, mode: int) -> None:
    """Any right of the group or the world on the file is one too many."""
    master_key.create(path, None, os.urandom)
    path.chmod(mode)
    with pytest.raises(master_key.MasterKeyExposed, match="chmod 600"):
        master_key.load(path, None)


def test_a_link_is_judged_by_what_it_points_to(path: Path, tmp_path: Path) -> None:
    """A link hides nothing of the mode of the file behind it."""
    master_key.create(path, None, os.urandom)
    path.chmod(0o644)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(master_key.MasterKeyExposed):
        master_key.load(link, None)


def test_a_file_of_somebody_else_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose owner is neither this account nor root could have been planted."""
    master_key.create(path, None, os.urandom)
    path_owner = path.stat().st_uid
    if path_owner == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path_owner + 1)
    with pytest.raises(master_key.MasterKeyExposed, match="belongs to another account"):
        master_key.load(path, None)


def test_what_is_no_regular_file_is_refused(path: Path) -> None:
    """A pipe at the place of the master key is refused, and does not make the start hang."""
    os.mkfifo(path, 0o600)
    with pytest.raises(master_key.MasterKeyExposed, match="not a regular file"):
        master_key.load(path, None)


def test_a_directory_is_refused(path: Path) -> None:
    """By its name, in the words of every other thing that is no master key file."""
    path.mkdir(0o700)
    with pytest.raises(master_key.MasterKeyExposed, match=r"master\.key is not a regular file"):
        master_key.load(path, None)


def test_a_missing_file_is_named(path: Path) -> None:
    """The error names the path, so that the operator knows what to restore."""
    with pytest.raises(master_key.MasterKeyMissing, match=r"master\.key"):
        master_key.load(path, None)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"portreeve-master-key/1 plain " + b"0" * 64,
        b"portreeve-master-key/1 plain " + b"0" * 63 + b"\n",
        b"portreeve-master-key/1 plain " + b"A" * 64 + b"\n",
        b"portreeve-master-key/1  plain " + b"0" * 64 + b"\n",
        b"portreeve-master-key/2 plain " + b"0" * 64 + b"\n",
        b"portreeve-master-key/1 plain " + b"0" * 64 + b"\n\n",
        b"portreeve-master-key/1 plain " + b"0" * 64 + b"\r\n",
        b"x" * 100_000,
    ],
)
def test_any_other_spelling_is_refused(path: Path, line: bytes) -> None:
    """The file has one spelling: a missing newline, upper case and a second line are refused."""
    write(path, line)
    with pytest.raises(master_key.MasterKeyMalformed):
        master_key.load(path, None)


def test_a_wrong_passphrase_is_refused(path: Path) -> None:
    """Another passphrase does not open the file, and is not repeated."""
    master_key.create(path, PASSPHRASE, os.urandom)
    with pytest.raises(master_key.PassphraseRefused) as caught:
        master_key.load(path, Secret("incorrect horse"))
    assert "horse" not in str(caught.value)


def test_a_missing_passphrase_is_said(path: Path) -> None:
    """A sealed file without a passphrase is not read as something else."""
    master_key.create(path, PASSPHRASE, os.urandom)
    with pytest.raises(master_key.PassphraseNeeded):
        master_key.load(path, None)


def test_a_needless_passphrase_is_said(path: Path) -> None:
    """Whoever configures a passphrase learns that the file is not sealed by any."""
    master_key.create(path, None, os.urandom)
    with pytest.raises(master_key.PassphraseNeedless):
        master_key.load(path, PASSPHRASE)


@pytest.mark.parametrize("field", [2, 3, 4])
def test_an_altered_sealed_file_is_refused(path: Path, field: int) -> None:
    """One changed digit of the salt, the nonce or the sealed key, and the file does not open."""
    master_key.create(path, PASSPHRASE, os.urandom)
    words = path.read_bytes().split(b" ")
    words[field] = (b"0" if words[field][:1] != b"0" else b"1") + words[field][1:]
    write(path, b" ".join(words))
    with pytest.raises(master_key.PassphraseRefused):
        master_key.load(path, PASSPHRASE)
