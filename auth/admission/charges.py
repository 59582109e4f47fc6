"""What is charged together, compiled once: the buckets of one slot, by the names that each store gives them.

Who may ask what costs the same every time, so nothing of this is worked out per request. Keys of one admission share
the hash tag `{slot}`, and so live on one cluster node. Refuses a slot that would make no hash tag.
"""

from functools import lru_cache

import msgspec

from auth.admission import resp
from policies import gcra
from policies.gcra import Limit

NONCE_DIGEST_BYTES = 16
# There are as many tariffs as tiers and limits of routes make, and a node serves a few thousand partners at the most.
_MOST_TARIFFS = 1_024
_MOST_SLOTS = 8_192


# Of a command, already in the bytes of its protocol: the scope of a nonce and what its key begins with, the keys of the
# buckets, the arguments with a nonce and without one, and how many buckets there are. One value, because it is taken
# apart for each admission.
Pieces = tuple[bytes, bytes, bytes, bytes, bytes, int]


class InvalidSlot(ValueError):
    """A slot that would leave the keys of one admission on different cluster nodes."""


class Bucket(msgspec.Struct, frozen=True, gc=False):
    """One limit to charge. `key` is namespaced by the caller and occurs once within an admission."""

    key: str
    limit: Limit
    cost: int


class Tariff(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What is charged, whoever it is charged to: one value for all who pay alike. So of thousands who ask in turn it is
    always in the processor's caches, and what is worked out from it is worked out once.
    """

    limits: tuple[Limit, ...]
    costs: tuple[int, ...]
    # How far each bucket may be booked for its cost to fit on top.
    rooms_us: tuple[int, ...]
    size: int
    # In Redis: the script's arguments with a nonce and without one.
    with_nonce: bytes
    without_nonce: bytes


class Charges(msgspec.Struct, frozen=True, eq=False, gc=False):
    """`slot` keeps what belongs to one partner on one cluster node. The rest is derived by `compile_charges`."""

    slot: str
    buckets: tuple[Bucket, ...]
    tariff: Tariff
    # What is digested before a nonce, so that equal nonces of two holders are two.
    nonce_scope: bytes
    # In this process: one bucket's name is a pair, so that two buckets can never be one.
    names: tuple[tuple[str, str], ...]
    # In Redis: what the script is given.
    hash_tag: bytes
    pieces: Pieces


def compile_charges(slot: str, buckets: tuple[Bucket, ...], holder: str = "") -> Charges:
    """`holder`: whose nonces are taken together with these charges, where any are."""
    if not slot or slot[0] == "}":
        raise InvalidSlot("a slot must not be empty or begin with '}'")
    prefix, key_head = _begin(slot)
    scope = f"{slot}\0{holder}:".encode()
    tariff = _tariff_of(tuple([each.limit for each in buckets]), tuple([each.cost for each in buckets]))
    return Charges(
        slot=slot,
        buckets=buckets,
        tariff=tariff,
        nonce_scope=scope,
        names=tuple([(slot, each.key) for each in buckets]),
        hash_tag=prefix,
        pieces=(
            scope,
            key_head,
            b"".join([resp.bulk(prefix + b"b:" + each.key.encode()) for each in buckets]),
            tariff.with_nonce,
            tariff.without_nonce,
            tariff.size,
        ),
    )


@lru_cache(_MOST_SLOTS)
def _begin(slot: str) -> tuple[bytes, bytes]:
    """The hash tag of a slot, and how the key of a nonce begins in it: one for all that a partner has."""
    prefix = b"pr:{%b}:" % slot.encode()
    return prefix, resp.bulk_head(len(prefix) + 2 + NONCE_DIGEST_BYTES) + prefix + b"n:"


@lru_cache(_MOST_TARIFFS)
def _tariff_of(limits: tuple[Limit, ...], costs: tuple[int, ...]) -> Tariff:
    size = len(limits)
    rooms_us = tuple(map(gcra.room_us, limits, costs))
    amounts = b"".join(map(_amount, limits, costs))
    with_nonce, without_nonce = resp.integer(2 * size + 1) + amounts, resp.integer(2 * size) + amounts
    return Tariff(limits, costs, rooms_us, size, with_nonce, without_nonce)


def _amount(limit: Limit, cost: int) -> bytes:
    return resp.integer(limit.tolerance_us) + resp.integer(cost * limit.emission_us)
