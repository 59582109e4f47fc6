"""Values that must not be seen: wrappers whose text comes out only through `reveal`.

Invariant: no path that turns a value into text or bytes for someone else (repr, str, format, %,
pickle, copy, a traceback that shows locals) carries the secret. They refuse `==`, which stops at the first
different byte, and hashing: compare with `hmac.compare_digest` on what `reveal` gives.
"""

from typing import Generic, NoReturn, TypeVar

T = TypeVar("T", bound=str | bytes)


class _Wrapped(Generic[T]):
    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]  # a hash is an equality test by another name

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        return self._value

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


class Secret(_Wrapped[str]):
    __slots__ = ()


class SecretBytes(_Wrapped[bytes]):
    __slots__ = ()


class HmacKey(bytes):
    """An opened HMAC key. It is bytes, because `hmac` takes it on every request without unwrapping;
    all that differs is that it prints as stars, is not pickled, and does not compare with `==`.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # as above

    def __repr__(self) -> str:
        return "HmacKey(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("HmacKey does not compare: use hmac.compare_digest")

    __ne__ = __eq__  # bytes brings a `!=` of its own

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("HmacKey is not pickled or copied")
