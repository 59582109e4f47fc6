"""What strangers may use up of what the store keeps: those who name a client that proves nothing of itself."""

import pytest

from auth import dpop
from auth.admission.memory import MemoryAdmission
from auth.oauth.admissions import CROWD, Admissions
from auth.oauth.errors import OAuthError
from policies.gcra import Limit
from tests.support.oauth_people import CLIENT, JKT, PUBLIC

LIMIT = Limit("oauth-client", 1, 60_000_000, 2)
PLENTY = Limit("oauth-client", 1_000, 1_000_000, 1_000)


def proof(number: int) -> dpop.Proof:
    return dpop.Proof(JKT, str(number), b"digest %d" % number, 0)


async def test_what_strangers_show_takes_room_only_within_the_limit() -> None:
    """Over it, nothing of theirs is remembered, however many keys and proofs they make."""
    store = MemoryAdmission(lambda: 0, 140_000)
    admissions = Admissions(store, LIMIT)
    allowed = LIMIT.burst * CROWD
    for number in range(allowed):
        await admissions.take(PUBLIC, None, proof(number))
    for number in range(allowed, 50):
        with pytest.raises(OAuthError) as refused:
            await admissions.take(PUBLIC, None, proof(number))
        assert refused.value.status == 429
    assert len(store.all_taken()) == allowed


async def test_strangers_who_fill_their_room_leave_partners_theirs() -> None:
    """The client's own partner goes on proving what it proves."""
    store = MemoryAdmission(lambda: 0, 140_000, max_nonces=8)
    admissions = Admissions(store, PLENTY)
    for number in range(4):
        await admissions.take(PUBLIC, None, proof(number))
    with pytest.raises(OAuthError) as refused:
        await admissions.take(PUBLIC, None, proof(4))
    assert refused.value.status == 503
    assert PUBLIC.partner == CLIENT.partner
    await admissions.take(CLIENT, b"assertion", proof(5))
