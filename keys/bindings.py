"""What each kind of secret binds its ciphertext to: the envelope's fields, found from the stored row.

Invariant: a kind that is not listed here is not guessed at. Whoever adds a kind of secret that is sealed adds its
binding here, or its data keys can never be retired.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


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


def _bind_api_key(row: Sealed) -> Binding:
    return Binding("api-key-secret", row.secret_id, row.version)


def _bind_ring_key(row: Sealed) -> Binding:
    # A ring key's id is the thumbprint of its public half, and says more than a number.
    return Binding(f"ring-key/{row.label}", row.public_id or "", row.version)


def _bind_upstream_credential(row: Sealed) -> Binding:
    return Binding("upstream-credential", row.secret_id, row.version)


def _bind_webhook_secret(row: Sealed) -> Binding:
    return Binding("webhook-secret", row.secret_id, row.version)


BINDINGS: Final[Mapping[str, Callable[[Sealed], Binding]]] = MappingProxyType(
    {
        "api-key": _bind_api_key,
        "ring": _bind_ring_key,
        "upstream": _bind_upstream_credential,
        "webhook": _bind_webhook_secret,
    }
)


def bind(row: Sealed) -> Binding:
    found = BINDINGS.get(row.kind)
    if found is None:
        raise UnknownBinding(row.kind)
    return found(row)
