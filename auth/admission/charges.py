"""What is charged together, compiled once: the buckets of one slot, by the names that each store gives them.

Who may ask what costs the same every time, so nothing of this is worked out per request. Keys of one admission share
the hash tag `{slot}`, and so live on one cluster node. Refuses a slot that would make no hash tag.
"""

import msgspec

from auth.admission import resp
from policies.gcra import Limit

NONCE_DIGEST_BYTES = 16


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
    size: int
    # What is digested before a nonce, so that equal nonces of two holders are two.
    nonce_scope: bytes
    # In this process: one bucket's name is a pair, so that two buckets can never be one.
    names: tuple[tuple[str, str], ...]
    # In Redis: what the script is given, already in the bytes of its protocol.
    hash_tag: bytes
    nonce_key_head: bytes
    bucket_keys: bytes
    arguments: bytes
    arguments_with_nonce: bytes


def compile_charges(slot: str, buckets: tuple[Bucket, ...], holder: str = "") -> Charges:
    """`holder`: whose nonces are taken together with these charges, where any are."""
    if not slot or slot[0] == "}":
        raise InvalidSlot("a slot must not be empty or begin with '}'")
    prefix = b"pr:{%b}:" % slot.encode()
    amounts = b"".join([_amount(each) for each in buckets])
    return Charges(
        slot=slot,
        buckets=buckets,
        limits=tuple([each.limit for each in buckets]),
        costs=tuple([each.cost for each in buckets]),
        size=len(buckets),
        nonce_scope=f"{slot}\0{holder}:".encode(),
        names=tuple([(slot, each.key) for each in buckets]),
        hash_tag=prefix,
        nonce_key_head=resp.bulk_head(len(prefix) + 2 + NONCE_DIGEST_BYTES) + prefix + b"n:",
        bucket_keys=b"".join([resp.bulk(prefix + b"b:" + each.key.encode()) for each in buckets]),
        arguments=resp.integer(2 * len(buckets)) + amounts,
        arguments_with_nonce=resp.integer(2 * len(buckets) + 1) + amounts,
    )


def _amount(bucket: Bucket) -> bytes:
    limit = bucket.limit
    return resp.integer(limit.tolerance_us) + resp.integer(bucket.cost * limit.emission_us)
