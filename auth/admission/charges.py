"""What is charged together, compiled once: the buckets of one slot, by the names that each store gives them.

Who may ask what costs the same every time, so nothing of this is worked out per request. Keys of one admission share
the hash tag `{slot}`, and so live on one cluster node. Refuses a slot that would make no hash tag.
"""

import msgspec

from auth.admission import resp
from policies import gcra
from policies.gcra import Limit

NONCE_DIGEST_BYTES = 16


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


class Charges(msgspec.Struct, frozen=True, eq=False, gc=False):
    """`slot` keeps what belongs to one partner on one cluster node. The rest is derived by `compile_charges`."""

    slot: str
    buckets: tuple[Bucket, ...]
    limits: tuple[Limit, ...]
    costs: tuple[int, ...]
    # How far each bucket may be booked for its cost to fit on top.
    rooms_us: tuple[int, ...]
    size: int
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
    prefix = b"pr:{%b}:" % slot.encode()
    scope, size = f"{slot}\0{holder}:".encode(), len(buckets)
    amounts = b"".join([_amount(each) for each in buckets])
    return Charges(
        slot=slot,
        buckets=buckets,
        limits=tuple([each.limit for each in buckets]),
        costs=tuple([each.cost for each in buckets]),
        rooms_us=tuple([gcra.room_us(each.limit, each.cost) for each in buckets]),
        size=size,
        nonce_scope=scope,
        names=tuple([(slot, each.key) for each in buckets]),
        hash_tag=prefix,
        pieces=(
            scope,
            resp.bulk_head(len(prefix) + 2 + NONCE_DIGEST_BYTES) + prefix + b"n:",
            b"".join([resp.bulk(prefix + b"b:" + each.key.encode()) for each in buckets]),
            resp.integer(2 * size + 1) + amounts,
            resp.integer(2 * size) + amounts,
            size,
        ),
    )


def _amount(bucket: Bucket) -> bytes:
    limit = bucket.limit
    return resp.integer(limit.tolerance_us) + resp.integer(bucket.cost * limit.emission_us)
