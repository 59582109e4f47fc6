"""The script's command and its reply as bytes and numbers: this is the hot path, so it joins what was compiled before.

Refuses any reply that is not exactly what the script answers to what was asked.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import resources
from typing import Literal

import compiled
from auth.admission import Admission, AdmissionRefused, Admitted, Replayed, counting, resp
from auth.admission.nonces import UNDIGESTED, digest

if compiled.IS_USED:
    from compiled.script import CommandWriter, divide

ADMITTED: Literal[0] = 0
REPLAYED: Literal[1] = 1
LIMITED: Literal[2] = 2
# Of the type itself: a bool is no answer of the script.
_INTEGERS = frozenset([int])
# Beside keys and what each admission brings: the script's name, the number of keys, and two arguments for all.
_FIXED_PARTS = 5
_KEPT_NUMBERS = 1024

Batch = Sequence[Admission]
Outcome = Admitted | AdmissionRefused


class MalformedReply(Exception):
    """An answer that the script could not have given."""


class Script:
    """The Lua script, the commands that run it, and what comes of its replies."""

    def __init__(self, nonce_ttl_ms: int, *, is_compiled: bool = compiled.IS_USED) -> None:
        body = resources.files("auth.admission").joinpath("admit.lua").read_bytes()
        # Redis names a script by its SHA-1; nothing is secured by it.
        name = hashlib.sha1(body, usedforsecurity=False).hexdigest()
        self._by_digest = resp.bulk(b"EVALSHA") + resp.bulk(name.encode())
        self._by_body = resp.bulk(b"EVAL") + resp.bulk(body)
        self._nonce_ttl = resp.integer(nonce_ttl_ms)
        # Batches of few sizes come again and again.
        self._numbers = lru_cache(_KEPT_NUMBERS)(self._count)
        # Of these two an ordinary batch has a compiled form.
        self.command: Callable[[Batch], bytes] = self._write
        self.parse_reply: Callable[[object, Batch], list[Outcome]] = parse_reply
        if is_compiled:
            writer = CommandWriter(self._by_digest, self._numbers, UNDIGESTED)
            self.command = lambda batch: writer.write(batch) or self._write(batch)
            self.parse_reply = _parse_compiled

    def command_with_body(self, batch: Batch) -> bytes:
        """Where the server doesn't know the script yet."""
        return self._join(batch, self._by_body)

    def _write(self, batch: Batch) -> bytes:
        """One command for the whole batch."""
        return self._join(batch, self._by_digest)

    def _join(self, batch: Batch, script: bytes) -> bytes:
        # Grown in place: each piece is copied once here, and once into the command.
        nonce_keys, bucket_keys, arguments = bytearray(), bytearray(), bytearray()
        nonces, buckets = len(batch), 0
        for admission in batch:
            scope, key_head, keys, with_nonce, without_nonce, size = admission.charges.pieces
            nonce = admission.nonce
            bucket_keys += keys
            buckets += size
            if nonce is None:
                nonces -= 1
                arguments += without_nonce
            else:
                arguments += with_nonce
                nonce_keys += key_head + digest(scope, nonce) + b"\r\n"
        parts, key_count, common = self._numbers(len(batch), nonces, buckets)
        return b"".join((parts, script, key_count, nonce_keys, bucket_keys, common, arguments))

    def _count(self, admissions: int, nonces: int, buckets: int) -> tuple[bytes, bytes, bytes]:
        """How many parts the command has, how many of them are keys, and the arguments that are common to all."""
        keys = nonces + buckets
        parts = _FIXED_PARTS + keys + admissions + 2 * buckets
        return b"*%d\r\n" % parts, resp.integer(keys), self._nonce_ttl + resp.integer(nonces)


def _parse_compiled(reply: object, batch: Batch) -> list[Outcome]:
    outcomes: list[Outcome] | None = divide(reply, batch, Admitted, Replayed, counting.limited)
    return parse_reply(reply, batch) if outcomes is None else outcomes


def parse_reply(reply: object, batch: Batch) -> list[Outcome]:
    """Divide the script's flat answer among the admissions of the batch; raises `MalformedReply`."""
    # A push is a list of another type: it answers nothing that was asked.
    if type(reply) is not list or not _INTEGERS.issuperset(map(type, reply)):
        raise MalformedReply
    outcomes: list[Outcome] = []
    at = 0
    try:
        for admission in batch:
            charges, status, begins = admission.charges, reply[at], at + 1
            at = begins + charges.tariff.size
            if status == ADMITTED:
                outcomes.append(Admitted(charges, reply[begins:at]))
            elif status == REPLAYED:
                outcomes.append(Replayed())
                at = begins
            elif status == LIMITED and begins < at <= len(reply):
                outcomes.append(counting.limited(charges, reply[begins:at]))
            else:
                raise MalformedReply
    except IndexError:
        raise MalformedReply from None
    # Nothing may be left over, and the last admission may not reach past the end.
    if at != len(reply):
        raise MalformedReply
    return outcomes
