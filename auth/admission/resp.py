"""The few forms of the Redis protocol that a command of ours is made of."""

from functools import lru_cache


def bulk(value: bytes) -> bytes:
    return bulk_head(len(value)) + value + b"\r\n"


def bulk_head(length: int) -> bytes:
    return b"$%d\r\n" % length


# Counts of keys are small, and amounts come from configuration: few numbers are written again and again.
@lru_cache(maxsize=4096)
def integer(value: int) -> bytes:
    """As a command carries one: written out, in a bulk string."""
    return bulk(b"%d" % value)
