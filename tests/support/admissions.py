"""Admissions made by hand: whom they are of, and what they take and charge."""

from auth.admission import Admission, Bucket, compile_charges


def admission(slot: str, named: str | None, buckets: tuple[Bucket, ...]) -> Admission:
    """`named`: whose nonce and which, as `holder:nonce`; None where none is taken."""
    if named is None:
        return Admission(compile_charges(slot, buckets), None)
    holder, _, nonce = named.partition(":")
    return Admission(compile_charges(slot, buckets, holder), nonce.encode())
