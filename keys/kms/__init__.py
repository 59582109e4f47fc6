"""What a key management service does for Portreeve: it makes data keys, wraps them and opens what it wrapped.

Invariant: the plaintext of a data key leaves a backend only towards memory; what is stored is what it
wrapped. A wrapped key opens only under the context it was made for.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from keys.secret import SecretBytes


class KmsUnavailable(Exception):
    """No answer, or an answer that says to come back later: nothing was decided."""


class KmsRefused(Exception):
    """An answer, and it is no: another master key, another context, altered bytes, or a right that is missing."""


class DataKey(NamedTuple):
    plaintext: SecretBytes
    wrapped: bytes


class KmsBackend(Protocol):
    """Each call is atomic, bounded by the backend's own timeout, and never blocks the loop.

    Failure: `KmsUnavailable` when it cannot answer, `KmsRefused` when it will not; never a wrong key.
    `name` says which backend it is and `key_id` which of its keys wraps, both stored beside what was wrapped:
    together they name one key, always in the same spelling.
    """

    @property
    def name(self) -> str: ...

    @property
    def key_id(self) -> str: ...

    async def generate_data_key(self, context: Mapping[str, str]) -> DataKey: ...

    async def wrap(self, plaintext: SecretBytes, context: Mapping[str, str]) -> bytes:
        """For a data key that another backend made."""
        ...

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> SecretBytes: ...

    async def aclose(self) -> None: ...
