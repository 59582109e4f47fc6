"""The script's command and its reply as bytes and numbers: packing costs little because this is the hot path.

Keys of one admission share the hash tag `{slot}`. Refuses a slot that would make no hash tag, and any reply
that is not exactly what the script answers to what was asked.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib import resources
from typing import Literal

import msgspec

from auth.admission import Admission, nonces

ADMITTED: Literal[0] = 0
REPLAYED: Literal[1] = 1
LIMITED: Literal[2] = 2
# Of the type itself: a bool is no answer of the script.
_INTEGERS = frozenset([int])


class MalformedReply(Exception):
    """An answer that the script could not have given."""


class InvalidSlot(ValueError):
    """A slot that would leave the keys of one admission on different cluster nodes."""


class Packed(msgspec.Struct, frozen=True):
    """One admission, ready to be joined with others into a command."""

    hash_tag: bytes
    keys: bytes
    key_count: int
    arguments: bytes
    buckets: int
    argument_count: int


class Counted(msgspec.Struct, frozen=True):
    """What the store says of one admission: the status, and what is booked in each bucket."""

    status: int
    booked_us: list[int]


def pack(admission: Admission) -> Packed:
    slot = admission.slot
    if not slot or slot[0] == "}":
        raise InvalidSlot("a slot must not be empty or begin with '}'")
    prefix = b"pr:{%b}:" % slot.encode()
    keys = [] if admission.nonce is None else [bulk(prefix + b"n:" + nonces.digest(slot, admission.nonce))]
    arguments = [_shape(len(admission.buckets), admission.nonce is not None)]
    for bucket in admission.buckets:
        keys.append(bulk(prefix + b"b:" + bucket.key.encode()))
        arguments.append(_charge(bucket.limit.tolerance_us, bucket.cost * bucket.limit.emission_us))
    return Packed(
        hash_tag=prefix,
        keys=b"".join(keys),
        key_count=len(keys),
        arguments=b"".join(arguments),
        buckets=len(admission.buckets),
        argument_count=1 + 2 * len(admission.buckets),
    )


class Script:
    """The Lua script and the commands that run it."""

    def __init__(self, nonce_ttl_ms: int) -> None:
        body = resources.files("auth.admission").joinpath("admit.lua").read_bytes()
        # Redis names a script by its SHA-1; nothing is secured by it.
        digest = hashlib.sha1(body, usedforsecurity=False).hexdigest()
        self._by_digest = bulk(b"EVALSHA") + bulk(digest.encode())
        self._by_body = bulk(b"EVAL") + bulk(body)
        self._nonce_ttl = bulk(b"%d" % nonce_ttl_ms)

    def command(self, batch: Sequence[Packed], *, with_body: bool = False) -> bytes:
        """One command for the whole batch; with the body where the server doesn't know the script yet."""
        key_count = sum([each.key_count for each in batch])
        argument_count = 1 + sum([each.argument_count for each in batch])
        parts = [
            b"*%d\r\n" % (3 + key_count + argument_count),
            self._by_body if with_body else self._by_digest,
            bulk(b"%d" % key_count),
            *[each.keys for each in batch],
            self._nonce_ttl,
            *[each.arguments for each in batch],
        ]
        return b"".join(parts)


def parse_reply(reply: object, batch: Iterable[Packed]) -> list[Counted]:
    """Divide the script's flat answer among the admissions of the batch; raises `MalformedReply`."""
    if not isinstance(reply, list) or not _INTEGERS.issuperset(map(type, reply)):
        raise MalformedReply
    counted = []
    at = 0
    for each in batch:
        status = reply[at] if at < len(reply) else None
        if status not in (ADMITTED, REPLAYED, LIMITED):
            raise MalformedReply
        end = at + 1 if status == REPLAYED else at + 1 + each.buckets
        counted.append(Counted(status, reply[at + 1 : end]))
        at = end
    if at != len(reply):
        raise MalformedReply
    return counted


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


@lru_cache(maxsize=64)
def _shape(buckets: int, nonce: bool) -> bytes:
    return bulk(b"%d" % (2 * buckets + nonce))


# Limits and costs come from configuration, so a few pairs cover every request.
@lru_cache(maxsize=4096)
def _charge(tolerance_us: int, increment_us: int) -> bytes:
    return bulk(b"%d" % tolerance_us) + bulk(b"%d" % increment_us)
