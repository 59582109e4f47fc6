"""The written form of key ids and secrets.

    prk_<environment>_<22 base62><check>
    prs_<environment>_<43 base62><check>
    prc_<environment>_<22 base62><check>    an OAuth client's id
    pcs_<environment>_<43 base62><check>    an OAuth client's secret
    pit_<environment>_<43 base62><check>    what lets its holder register OAuth clients
    prt_<environment>_<43 base62><check>    what a client that was registered so leads itself by

The check is the CRC32 of everything before it, as six base62 digits. It catches typing errors and lets
scanners tell a leaked secret from noise; it proves nothing about who wrote it.

Invariant: the text itself is the value. Nothing but the environment is read out of it, so no two texts mean
one key, and of all spellings of a check exactly one is accepted. Everything else is refused.
"""

import re
import zlib
from typing import Final, cast

from keys import environment as environments
from keys.environment import Environment
from keys.secret import Secret

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
KEY_ID_ENTROPY: Final = 16
SECRET_ENTROPY: Final = 32
CLIENT_SECRET_PREFIX: Final = "pcs_"  # noqa: S105  how one begins

_KEY_ID_DIGITS: Final = 22
_SECRET_DIGITS: Final = 43
_CHECK_DIGITS: Final = 6
_BASE: Final = len(ALPHABET)
# Two digits at a time: the check of a key id is computed on every request.
_PAIRS: Final = tuple(high + low for high in ALPHABET for low in ALPHABET)
_PAIR: Final = len(_PAIRS)

_NAMES: Final = "|".join(environments.ENVIRONMENTS)
# Used with fullmatch, because `$` lets a newline through, and without \w, which lets other scripts through.
_KEY_ID: Final = re.compile(
    rf"(prk_({_NAMES})_[0-9A-Za-z]{{{_KEY_ID_DIGITS}}})([0-9A-Za-z]{{{_CHECK_DIGITS}}})"
)
_SECRET: Final = re.compile(
    rf"(prs_({_NAMES})_[0-9A-Za-z]{{{_SECRET_DIGITS}}})([0-9A-Za-z]{{{_CHECK_DIGITS}}})"
)
_CLIENT_ID: Final = re.compile(
    rf"(prc_({_NAMES})_[0-9A-Za-z]{{{_KEY_ID_DIGITS}}})([0-9A-Za-z]{{{_CHECK_DIGITS}}})"
)
_CLIENT_SECRET: Final = re.compile(
    rf"(pcs_({_NAMES})_[0-9A-Za-z]{{{_SECRET_DIGITS}}})([0-9A-Za-z]{{{_CHECK_DIGITS}}})"
)
_REGISTRATION: Final = re.compile(
    rf"(p(?:it|rt)_({_NAMES})_[0-9A-Za-z]{{{_SECRET_DIGITS}}})([0-9A-Za-z]{{{_CHECK_DIGITS}}})"
)


class MalformedKeyId(ValueError):
    def __init__(self) -> None:
        super().__init__("not a key id: the prefix, the length, the alphabet or the check is wrong")


class MalformedClientId(ValueError):
    def __init__(self) -> None:
        super().__init__("not a client id: the prefix, the length, the alphabet or the check is wrong")


class MalformedSecret(ValueError):
    """Carries nothing of what was given, which may be a secret with one letter wrong."""

    def __init__(self) -> None:
        super().__init__("not a secret: the prefix, the length, the alphabet or the check is wrong")


def mint_key_id(environment: Environment, entropy: bytes) -> str:
    return _mint("prk", environment, entropy, KEY_ID_ENTROPY, _KEY_ID_DIGITS)


def mint_secret(environment: Environment, entropy: bytes) -> Secret:
    return Secret(_mint("prs", environment, entropy, SECRET_ENTROPY, _SECRET_DIGITS))


def mint_client_id(environment: Environment, entropy: bytes) -> str:
    return _mint("prc", environment, entropy, KEY_ID_ENTROPY, _KEY_ID_DIGITS)


def mint_client_secret(environment: Environment, entropy: bytes) -> Secret:
    return Secret(_mint("pcs", environment, entropy, SECRET_ENTROPY, _SECRET_DIGITS))


def mint_initial_access(environment: Environment, entropy: bytes) -> Secret:
    return Secret(_mint("pit", environment, entropy, SECRET_ENTROPY, _SECRET_DIGITS))


def mint_registration_access(environment: Environment, entropy: bytes) -> Secret:
    return Secret(_mint("prt", environment, entropy, SECRET_ENTROPY, _SECRET_DIGITS))


def parse_registration(text: str) -> Environment:
    """Of either kind: both are looked for by their digests, which say which it is."""
    match = _REGISTRATION.fullmatch(text)
    if match is None or _check(match[1]) != match[3]:
        raise MalformedSecret
    return cast("Environment", match[2])


def parse_client_id(text: str) -> Environment:
    match = _CLIENT_ID.fullmatch(text)
    if match is None or _check(match[1]) != match[3]:
        raise MalformedClientId
    return cast("Environment", match[2])


def parse_client_secret(text: str) -> Environment:
    match = _CLIENT_SECRET.fullmatch(text)
    if match is None or _check(match[1]) != match[3]:
        raise MalformedSecret
    return cast("Environment", match[2])


def parse_key_id(text: str) -> Environment:
    match = _KEY_ID.fullmatch(text)
    if match is None or _check(match[1]) != match[3]:
        raise MalformedKeyId
    return cast("Environment", match[2])


def parse_secret(text: str) -> Environment:
    match = _SECRET.fullmatch(text)
    if match is None or _check(match[1]) != match[3]:
        raise MalformedSecret
    return cast("Environment", match[2])


def holds_secret(text: str) -> bool:
    """Whether a secret, whole and rightly written, stands anywhere in it."""
    return any(
        _check(match[1]) == match[3]
        for written in (_SECRET, _CLIENT_SECRET, _REGISTRATION)
        for match in written.finditer(text)
    )


def _mint(prefix: str, environment: Environment, entropy: bytes, size: int, digits: int) -> str:
    if len(entropy) != size:
        raise ValueError(f"{size} bytes of entropy are needed, {len(entropy)} were given")
    head = f"{prefix}_{environments.parse_environment(environment)}_{_base62(entropy, digits)}"
    return head + _check(head)


def _check(head: str) -> str:
    crc = zlib.crc32(head.encode("ascii"))
    return _PAIRS[crc // (_PAIR * _PAIR)] + _PAIRS[crc // _PAIR % _PAIR] + _PAIRS[crc % _PAIR]


def _base62(raw: bytes, digits: int) -> str:
    number = int.from_bytes(raw)
    written = ""
    while len(written) < digits:
        number, digit = divmod(number, _BASE)
        written = ALPHABET[digit] + written
    return written
