"""What each kind of secret binds its ciphertext to: the envelope's fields, found from the stored row.

Invariant: a kind that is not listed here is not guessed at. Where the row does not tell all of it, every binding that
it could have is named; a ciphertext opens under one of them at most. Whoever adds a kind of secret that is sealed adds
its binding here, or its data keys can never be retired.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple, get_args

from keys import signing_keys


class Sealed(NamedTuple):
    """A sealed secret version, with what its kind may bind it to."""

    kind: str
    environment: str
    label: str
    secret_id: str
    version: int
    public_id: str | None
    data_key_id: str
    ciphertext: bytes


class Binding(NamedTuple):
    kind: str
    record_id: str
    version: int


class UnknownBinding(Exception):
    def __init__(self, kind: str) -> None:
        super().__init__(f"nothing here knows how secrets of the kind {kind!r} are sealed")


def ring_key_kind(ring: str, algorithm: signing_keys.Algorithm) -> str:
    """The same bytes are never a key of two algorithms."""
    suffix = "" if algorithm == "EdDSA" else f"/{algorithm}"
    return f"ring-key/{ring}{suffix}"


def _bind_api_key(row: Sealed) -> tuple[Binding, ...]:
    return (Binding("api-key-secret", row.secret_id, row.version),)


def _bind_oauth_client(row: Sealed) -> tuple[Binding, ...]:
    return (Binding("oauth-client-secret", row.secret_id, row.version),)


def _bind_totp(row: Sealed) -> tuple[Binding, ...]:
    return (Binding("totp-secret", row.secret_id, row.version),)


def _bind_ring_key(row: Sealed) -> tuple[Binding, ...]:
    # A ring key's id is the thumbprint of its public half, and says more than a number. Its algorithm is the ring's to
    # know, and in no row.
    return tuple(
        Binding(ring_key_kind(row.label, algorithm), row.public_id or "", row.version)
        for algorithm in get_args(signing_keys.Algorithm)
    )


def _bind_upstream_credential(row: Sealed) -> tuple[Binding, ...]:
    return (Binding("upstream-credential", row.secret_id, row.version),)


def _bind_webhook_secret(row: Sealed) -> tuple[Binding, ...]:
    return (Binding("webhook-secret", row.secret_id, row.version),)


BINDINGS: Final[Mapping[str, Callable[[Sealed], tuple[Binding, ...]]]] = MappingProxyType(
    {
        "api-key": _bind_api_key,
        "oauth-client": _bind_oauth_client,
        "ring": _bind_ring_key,
        "totp": _bind_totp,
        "upstream": _bind_upstream_credential,
        "webhook": _bind_webhook_secret,
    }
)


def bind(row: Sealed) -> tuple[Binding, ...]:
    found = BINDINGS.get(row.kind)
    if found is None:
        raise UnknownBinding(row.kind)
    return found(row)
