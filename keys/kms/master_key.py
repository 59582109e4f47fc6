"""The master key file of the local KMS: one line of ASCII, readable by its owner alone.

    portreeve-master-key/1 plain <key>
    portreeve-master-key/1 argon2id <salt> <nonce> <sealed key>

Invariant: what is loaded was written by `create`, byte for byte, in a file that nobody else can read.
Refused: a file that its group or the world can open, one that belongs to somebody else, one that is no
regular file, another spelling of the same bytes, a missing or a needless passphrase (who configures one
believes the key is sealed).
"""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from argon2 import low_level
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keys.secret import Secret, SecretBytes

KEY_SIZE: Final = 32
_SALT_SIZE: Final = 16
_NONCE_SIZE: Final = 12
_HEADER: Final = "portreeve-master-key/1"
_LINE: Final = re.compile(
    rb"portreeve-master-key/1 (?:"
    rb"plain (?P<key>[0-9a-f]{64})"
    rb"|argon2id (?P<salt>[0-9a-f]{32}) (?P<nonce>[0-9a-f]{24}) (?P<sealed>[0-9a-f]{96})"
    rb")\n"
)
_LONGEST: Final = 512


class MasterKeyMissing(Exception):
    pass


class MasterKeyExists(Exception):
    pass


class MasterKeyExposed(Exception):
    pass


class MasterKeyMalformed(Exception):
    pass


class PassphraseNeeded(Exception):
    pass


class PassphraseNeedless(Exception):
    pass


class PassphraseRefused(Exception):
    pass


def create(path: Path, passphrase: Secret | None, entropy: Callable[[int], bytes]) -> None:
    line = _write(entropy(KEY_SIZE), passphrase, entropy)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise MasterKeyExists(
            f"{path} exists and is not overwritten: what it wrapped would be lost"
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def load(path: Path, passphrase: Secret | None) -> SecretBytes:
    match = _LINE.fullmatch(_read(path))
    if match is None:
        raise MasterKeyMalformed(f"{path} is not a master key file")
    if match["key"] is None:
        return _unseal(path, match, passphrase)
    if passphrase is not None:
        raise PassphraseNeedless(f"a passphrase is configured, but {path} is not sealed by one")
    return SecretBytes(_unhex(match["key"]))


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise MasterKeyMissing(f"there is no master key at {path}") from None
    try:
        # The open file is asked, not the path, which could have been swapped in between; and before it becomes a file
        # object, which a directory can not.
        _refuse_exposed(path, os.fstat(descriptor))
        return os.read(descriptor, _LONGEST)
    finally:
        os.close(descriptor)


def _refuse_exposed(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise MasterKeyExposed(f"{path} is not a regular file")
    if status.st_mode & 0o077:
        raise MasterKeyExposed(
            f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):04o}): chmod 600 it"
        )
    if status.st_uid not in {os.geteuid(), 0}:
        raise MasterKeyExposed(f"{path} belongs to another account")


def _write(key: bytes, passphrase: Secret | None, entropy: Callable[[int], bytes]) -> bytes:
    if passphrase is None:
        return f"{_HEADER} plain {key.hex()}\n".encode()
    salt, nonce = entropy(_SALT_SIZE), entropy(_NONCE_SIZE)
    sealed = _sealing_cipher(passphrase, salt).encrypt(nonce, key, _HEADER.encode())
    return f"{_HEADER} argon2id {salt.hex()} {nonce.hex()} {sealed.hex()}\n".encode()


def _unseal(path: Path, match: re.Match[bytes], passphrase: Secret | None) -> SecretBytes:
    if passphrase is None:
        raise PassphraseNeeded(f"{path} is sealed, and no passphrase is configured")
    cipher = _sealing_cipher(passphrase, _unhex(match["salt"]))
    try:
        return SecretBytes(cipher.decrypt(_unhex(match["nonce"]), _unhex(match["sealed"]), _HEADER.encode()))
    except InvalidTag:
        raise PassphraseRefused(f"the passphrase does not open {path}, or the file was altered") from None


def _sealing_cipher(passphrase: Secret, salt: bytes) -> AESGCM:
    """The costs are part of the version in the file's first word, so that no file can ask for cheaper ones.

    They are the second recommendation of RFC 9106: 64 MiB, three passes, four lanes.
    """
    key = low_level.hash_secret_raw(
        passphrase.reveal().encode(),
        salt,
        time_cost=3,
        memory_cost=64 * 1024,
        parallelism=4,
        hash_len=KEY_SIZE,
        type=low_level.Type.ID,
    )
    return AESGCM(key)


def _unhex(text: bytes) -> bytes:
    return bytes.fromhex(text.decode("ascii"))
