"""Values that must not be seen: wrappers whose text comes out only through `reveal`, and a key that only verifies.

Invariant: no path that turns a value into text or bytes for someone else (repr, str, format, %,
pickle, copy, a traceback that shows locals) carries the secret. They refuse `==`, which stops at the first
different byte, and hashing: compare with `hmac.compare_digest` on what `reveal` gives.
"""

from hmac import compare_digest
from typing import Generic, NoReturn, TypeVar

from cryptography.hazmat.primitives import hashes, hmac

T = TypeVar("T", bound=str | bytes)


class _Unseen:
    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # a hash is an equality test by another name

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} does not compare: use hmac.compare_digest")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is not pickled or copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is not pickled or copied")


class _Wrapped(_Unseen, Generic[T]):
    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        return self._value


class Secret(_Wrapped[str]):
    __slots__ = ()


class SecretBytes(_Wrapped[bytes]):
    __slots__ = ()


class HmacKey(_Unseen):
    """An opened HMAC-SHA256 key. All it does is verify: neither what it was made of nor a signature can be had from it.

    The key is worked into the hash state once, when it is opened: a request then costs two copies of a state, and the
    time that takes does not depend on the length of the secret.
    """

    __slots__ = ("_primed",)

    def __init__(self, secret: bytes) -> None:
        self._primed = hmac.HMAC(secret, hashes.SHA256())

    def verifies(self, signature: bytes, message: bytes) -> bool:
        signing = self._primed.copy()
        signing.update(message)
        return compare_digest(signing.finalize(), signature)
