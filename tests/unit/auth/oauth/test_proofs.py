"""DPoP at the token endpoint: the proof that comes with a request, and the nonce that it has to carry."""

from typing import Any

import pytest

from auth import dpop
from tests.support import jws
from tests.support.oauth_desk import ISSUER, TOKEN_URL, Desk


async def test_11_without_a_nonce_of_ours_a_fresh_one_is_handed_out(desk: Desk) -> None:
    """`use_dpop_nonce` with `DPoP-Nonce`; the proof made with that passes, with the same assertion."""
    client = await desk.made()
    form = desk.form(client)
    for nonce in (None, "invented"):
        refused = await desk.refused(desk.request(form, dpop=(desk.proof(nonce=nonce),)))
        assert (refused.error, refused.status) == ("use_dpop_nonce", 400)
        assert dict(refused.headers) == {"DPoP-Nonce": desk.nonces.current()}
    await desk.ask(desk.request(form, dpop=(desk.proof(nonce=desk.nonces.current()),)))


async def test_11_a_nonce_is_good_for_two_windows(desk: Desk) -> None:
    """Nothing is kept for it: it passes in its own window and the next, and then no more."""
    client = await desk.made()
    nonce = desk.nonces.current()
    desk.room.clock.now_ms += dpop.NONCE_WINDOW_MS
    await desk.ask(desk.request(desk.form(client), dpop=(desk.proof(nonce=nonce),)))
    desk.room.clock.now_ms += dpop.NONCE_WINDOW_MS
    refused = await desk.refused(desk.request(desk.form(client), dpop=(desk.proof(nonce=nonce),)))
    assert refused.error == "use_dpop_nonce"


async def test_11_a_proof_passes_once(desk: Desk) -> None:
    """Its `jti` is single-use, also with a fresh assertion, and also from another client of that key."""
    client, other = await desk.made(), await desk.made(number=2)
    proof = desk.proof()
    await desk.ask(desk.request(desk.form(client), dpop=(proof,)))
    for each in (client, other):
        refused = await desk.refused(desk.request(desk.form(each), dpop=(proof,)))
        assert (refused.error, refused.reason) == ("invalid_dpop_proof", "proof_replayed")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"htm": "GET"}, "proof_wrong_method"),
        ({"htu": ISSUER + "/oauth/par"}, "proof_wrong_uri"),
        ({"htu": "https://elsewhere.test/oauth/token"}, "proof_wrong_uri"),
        ({"htu": None}, "proof_bad_claims"),
        ({"jti": None}, "proof_bad_claims"),
        ({"iat": None}, "proof_bad_claims"),
    ],
)
async def test_11_a_proof_is_for_this_method_and_this_address(
    desk: Desk, claims: dict[str, Any], reason: str
) -> None:
    """One that was made for another request is none for this."""
    client = await desk.made()
    refused = await desk.refused(desk.request(desk.form(client), dpop=(desk.proof(**claims),)))
    assert (refused.error, refused.reason) == ("invalid_dpop_proof", reason)


async def test_11_a_proof_is_of_this_minute(desk: Desk) -> None:
    """61 seconds old, or more than ten ahead: refused, whatever its nonce says."""
    client, now = await desk.made(), desk.now_s()
    for issued in (now - 61, now + 11):
        refused = await desk.refused(desk.request(desk.form(client), dpop=(desk.proof(iat=issued),)))
        assert refused.reason == "proof_stale"
    await desk.ask(desk.request(desk.form(client), dpop=(desk.proof(iat=now + 10),)))


async def test_11_two_proofs_or_none_that_verifies_are_refused(desk: Desk) -> None:
    """Which of two would be bound to? And a proof signed by another key than it shows proves none."""
    client = await desk.made()
    two = desk.request(desk.form(client), dpop=(desk.proof(), desk.proof()))
    assert (await desk.refused(two)).reason == "several_proofs"
    forged = jws.proof(
        jws.OTHER_P256,
        {"jwk": jws.public_jwk(jws.P256)},
        htm="POST",
        htu=TOKEN_URL,
        iat=desk.now_s(),
        jti="1",
    )
    assert (
        await desk.refused(desk.request(desk.form(client), dpop=(forged,)))
    ).reason == "proof_bad_signature"


async def test_a_proof_that_is_refused_costs_the_client_no_assertion(desk: Desk) -> None:
    """Nothing is taken before all that came has been looked at."""
    client = await desk.made()
    form = desk.form(client)
    await desk.refused(desk.request(form, dpop=(desk.proof(htm="GET"),)))
    await desk.ask(desk.request(form, dpop=(desk.proof(),)))
