"""What a key management service does for Portreeve: it makes data keys and opens the ones it wrapped.

Invariant: the plaintext of a data key leaves a backend only towards memory; what is stored is what it
wrapped. A wrapped key opens only under the context it was made for.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from keys.secret import SecretBytes


class KmsUnavailable(Exception):
    """No answer, or an answer that says to come back later: nothing was decided."""


class KmsRefused(Exception):
    """An answer, and it is no: another master key, another context, or altered bytes."""


class DataKey(NamedTuple):
    plaintext: SecretBytes
    wrapped: bytes


class KmsBackend(Protocol):
    """Each call is one round trip, atomic, and bounded by the backend's own timeout.

    Failure: `KmsUnavailable` when it cannot answer, `KmsRefused` when it will not; never a wrong key.
    `name` says which backend it is and `key_id` which of its keys wraps, both stored beside what was wrapped.
    """

    @property
    def name(self) -> str: ...

    @property
    def key_id(self) -> str: ...

    async def generate_data_key(self, context: Mapping[str, str]) -> DataKey: ...

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> SecretBytes: ...
