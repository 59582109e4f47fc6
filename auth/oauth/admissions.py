"""How often may be asked, and that what proves something is good once.

Invariant: a source and a client are counted in this process before anything costly is done; once a client has proved
itself, one visit to the store charges the client's limit on all nodes together and takes what it proved itself with.
Without the store nothing that is good once passes.
A client that proves nothing is whoever knows its name: it has `CROWD` times the limit of one that does, so that one
source, which the first count stops at the limit, uses up no more than a part of what its users have together; and its
proofs take no room of its partner's.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from auth.admission import (
    Admission,
    AdmissionStore,
    Bucket,
    Charges,
    LimiterUnavailable,
    RateLimited,
    Replayed,
    StoreUnavailable,
    compile_charges,
)
from auth.admission.buckets import LocalBuckets
from auth.dpop import Proof
from auth.oauth import errors
from keys.served import Entitlement
from keys.served_clients import ServedClient
from policies.gcra import Limit

CROWD: Final = 4
# Where the proofs of clients that prove nothing else are remembered: what fills up is theirs, and no partner's.
STRANGERS: Final = "oauth:public-clients"

_MOST_KEPT: Final = 8_192
# Nobody's id is longer; what is kept by a name that a stranger chose must not be.
_LONGEST_NAME: Final = 64
_Wanted = tuple[Admission, Callable[[], errors.OAuthError]]


class Throttle:
    """`claimed` is whom the request says it is from: counted together with its source, so that strangers use up
    nobody's share but their own.
    """

    def __init__(self, source: Limit, client: Limit, monotonic_us: Callable[[], int]) -> None:
        self._source = source
        self._client = client
        self._clock = monotonic_us
        self._buckets = LocalBuckets()
        self._charges_of = lru_cache(_MOST_KEPT)(self._compile)

    def charge(self, network: str, claimed: str) -> None:
        try:
            charges = self._charges_of(network, claimed[:_LONGEST_NAME])
            self._buckets.charge(charges, self._clock(), known=False)
        except RateLimited as refused:
            raise errors.too_many(refused.retry_after_ms, refused.limit.name) from None
        except LimiterUnavailable:
            raise errors.unavailable("throttle_full") from None

    def _compile(self, network: str, claimed: str) -> Charges:
        by_source = Bucket("source", self._source, 1)
        by_client = Bucket(f"client:{claimed}", self._client, 1)
        return compile_charges(f"oauth:{network}", (by_source, by_client))


class Admissions:
    def __init__(self, store: AdmissionStore, client: Limit) -> None:
        self._store = store
        self._limit = client
        self._charges_of = lru_cache(_MOST_KEPT)(self._compile)

    async def take(self, client: ServedClient, assertion: bytes | None, proof: Proof | None) -> None:
        proves = client.authentication != "none"
        wanted = [(Admission(self._charges_of(client.entitlement, proves), assertion), _assertion_replayed)]
        if proof is not None:
            once = compile_charges(client.partner if proves else STRANGERS, (), holder=proof.jkt)
            wanted.append((Admission(once, proof.digest), _proof_replayed))
        if proves:
            await self._admit(wanted)
            return
        for each in wanted:
            # One by one: what strangers show takes room in the store only within the limit.
            await self._admit([each])

    async def _admit(self, wanted: Sequence[_Wanted]) -> None:
        """All of it goes out in one exchange: what is asked in one turn of the loop is."""
        asked = [asyncio.ensure_future(self._store.admit(admission)) for admission, _ in wanted]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        for outcome, (_, replayed) in zip(outcomes, wanted, strict=True):
            if isinstance(outcome, BaseException):
                raise _translated(outcome, replayed)

    def _compile(self, entitlement: Entitlement, proves: bool) -> Charges:
        limit = self._limit if proves else _of_crowd(self._limit)
        bucket = Bucket(f"oauth:{entitlement.id}", limit, 1)
        return compile_charges(entitlement.partner, (bucket,), holder=entitlement.id)


def _of_crowd(limit: Limit) -> Limit:
    # No limit lets through more than one a microsecond.
    rate = min(limit.rate * CROWD, limit.per_us)
    return msgspec.structs.replace(limit, rate=rate, burst=limit.burst * CROWD)


def _assertion_replayed() -> errors.OAuthError:
    return errors.unusable_client("The assertion has been used before.", "assertion_replayed")


def _proof_replayed() -> errors.OAuthError:
    return errors.OAuthError(
        "invalid_dpop_proof", "The DPoP proof has been used before.", reason="proof_replayed"
    )


def _translated(failure: BaseException, replayed: Callable[[], errors.OAuthError]) -> BaseException:
    if isinstance(failure, Replayed):
        return replayed()
    if isinstance(failure, RateLimited):
        return errors.too_many(failure.retry_after_ms, failure.limit.name)
    if isinstance(failure, StoreUnavailable):
        return errors.unavailable(f"admission_store:{failure.reason}")
    return failure
