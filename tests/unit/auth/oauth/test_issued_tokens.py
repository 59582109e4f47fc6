"""Introspection and revocation: each client sees and ends its own tokens, and learns nothing of any other."""

import hashlib
from typing import Any

import pytest
import sqlalchemy as sa

from auth import jose
from keys.changes import Author
from keys.signing_keys import PrivateKey
from storage import engine, schema
from tests.support import jws
from tests.support.oauth_clients import MadeClient
from tests.support.oauth_desk import ISSUER, Desk

INACTIVE = {"active": False}
SOMEBODY = Author("client:somebody")


async def _introspected(desk: Desk, client: MadeClient, presented: str) -> dict[str, Any]:
    served = desk.clients.find(client.id)
    assert served is not None
    return await desk.issued.introspect(served, presented, desk.room.clock.now_ms)


async def _revoke(desk: Desk, client: MadeClient, presented: str) -> None:
    served = desk.clients.find(client.id)
    assert served is not None
    author = Author(f"client:{client.id}")
    await desk.issued.revoke(served, presented, author, desk.room.clock.now_ms)


async def _issued(desk: Desk, client: MadeClient) -> str:
    return str((await desk.ask(desk.good(client)))["access_token"])


async def _granted(desk: Desk, client: MadeClient, refresh: str, **row: Any) -> None:  # noqa: ANN401  any column
    """A grant, and a refresh token of it, as they lie in the store once somebody has allowed the client something."""
    now = desk.room.clock.now_ms
    async with desk.room.changes.begin(SOMEBODY) as change:
        grant = {
            "id": "grant-1",
            "client_id": client.id,
            "account_id": "account-1",
            "partner_id": "acme",
            "roles": ["viewer"],
            "scope": "orders:read",
            "resource": ISSUER,
            "authenticated_at": now,
            "methods": ["pwd"],
            "created_at": now,
            "expires_at": now + 86_400_000,
            "revision": change.revision,
        }
        await change.conn.execute(sa.insert(schema.oauth_grants).values(**grant))
        kept = {
            "digest": hashlib.sha256(refresh.encode()).hexdigest(),
            "grant_id": "grant-1",
            "client_id": client.id,
            "scope": "orders:read",
            "jkt": None,
            "rotates": False,
            "created_at": now,
            "expires_at": now + 86_400_000,
        }
        await change.conn.execute(sa.insert(schema.oauth_refresh_tokens).values(**kept | row))
        await change.record("grant.allowed", "grant-1")


async def test_12_a_client_is_told_of_its_own_token(stored: Desk) -> None:
    """What the token says, and that it is active."""
    client = await stored.made()
    told = await _introspected(stored, client, await _issued(stored, client))
    assert told["active"] is True
    assert (told["client_id"], told["scope"], told["token_type"]) == (
        client.id,
        "orders:read orders:write",
        "DPoP",
    )
    assert "cnf" in told


async def test_12_of_all_else_a_client_is_told_the_same_nothing(stored: Desk) -> None:
    """Another client's, one that has expired, a forged one, another kind of statement, no token at all."""
    client, other = await stored.made(), await stored.made(number=2)
    token = await _issued(stored, client)
    signer = stored.ring.get_signer()
    claims = jose.parse(token).claims
    others = [
        await _issued(stored, other),
        token[:-2] + ("AA" if token[-2:] != "AA" else "BB"),
        _signed({"typ": "JWT", "kid": signer.kid}, claims, signer.private_key),
        _signed(
            {"typ": "at+jwt", "kid": signer.kid}, claims | {"iss": "https://other.test"}, signer.private_key
        ),
        jws.compact({"typ": "at+jwt", "alg": "ES256", "kid": signer.kid}, claims, jws.P256),
        jws.compact({"typ": "at+jwt", "alg": "ES256"}, claims, jws.P256),
        stored.assertion(client),
        "refresh",
        "",
        "\ud800",
        "x" * 10_000,
    ]
    for presented in others:
        assert await _introspected(stored, client, presented) == INACTIVE
    stored.room.clock.now_ms += 300_000
    assert await _introspected(stored, client, token) == INACTIVE


async def test_12_a_revoked_token_is_active_no_more(stored: Desk) -> None:
    """It is a change that every node follows: the revision moves, and the ledger tells who did it."""
    client = await stored.made()
    token = await _issued(stored, client)
    announced = len(stored.room.wakeup.announced)
    await _revoke(stored, client, token)
    assert await _introspected(stored, client, token) == INACTIVE
    assert len(stored.room.wakeup.announced) == announced + 1
    async with engine.reading(stored.room.engine) as conn:
        row = (await conn.execute(sa.select(schema.oauth_revoked_tokens))).one()
        assert row.revision == stored.room.wakeup.announced[-1]
        event = sa.select(schema.audit_events).order_by(schema.audit_events.c.seq.desc())
        last = (await conn.execute(event.limit(1))).mappings().one()
    assert row.client_id == client.id
    assert "access_token.revoked" in str(dict(last))
    assert token not in str(dict(last))


async def test_12_revoking_again_changes_nothing(stored: Desk) -> None:
    """Nor does it to revoke what has expired, or what is no token."""
    client = await stored.made()
    token, late = await _issued(stored, client), await _issued(stored, client)
    await _revoke(stored, client, token)
    announced = len(stored.room.wakeup.announced)
    await _revoke(stored, client, token)
    await _revoke(stored, client, "nothing of ours")
    stored.room.clock.now_ms += 300_000
    await _revoke(stored, client, late)
    assert len(stored.room.wakeup.announced) == announced


async def test_12_nobody_revokes_what_is_anothers(stored: Desk) -> None:
    """And hears nothing of it: the token stays as it was."""
    client, other = await stored.made(), await stored.made(number=2)
    token = await _issued(stored, client)
    await _granted(stored, client, "refresh")
    for presented in (token, "refresh"):
        await _revoke(stored, other, presented)
        assert (await _introspected(stored, client, presented))["active"] is True
        assert await _introspected(stored, other, presented) == INACTIVE


async def test_12_revoking_a_refresh_token_ends_what_it_was_given_for(stored: Desk) -> None:
    """The grant, and so the access tokens that were issued for it."""
    client = await stored.made()
    await _granted(stored, client, "refresh", jkt="thumbprint")
    told = await _introspected(stored, client, "refresh")
    assert (told["active"], told["sub"], told["cnf"]) == (True, "account-1", {"jkt": "thumbprint"})
    signer = stored.ring.get_signer()
    now = stored.now_s()
    claims = {"iss": ISSUER, "client_id": client.id, "exp": now + 60, "jti": "1", "grant": "grant-1"}
    token = _signed({"typ": "at+jwt", "kid": signer.kid}, claims, signer.private_key)
    assert (await _introspected(stored, client, token))["active"] is True
    await _revoke(stored, client, "refresh")
    for presented in ("refresh", token):
        assert await _introspected(stored, client, presented) == INACTIVE
    await _revoke(stored, client, "refresh")


@pytest.mark.parametrize("row", [{"rotates": True, "used_at": 1}, {"expires_at": 1}])
async def test_a_refresh_token_that_is_over_is_not_active(stored: Desk, row: dict[str, Any]) -> None:
    """One that was exchanged for the next, and one past its time."""
    client = await stored.made()
    await _granted(stored, client, "refresh", **row)
    assert await _introspected(stored, client, "refresh") == INACTIVE


async def test_what_expired_long_ago_is_forgotten(stored: Desk) -> None:
    """Rows of tokens that nobody can present any more go, a few with each revocation."""
    client = await stored.made()
    await _revoke(stored, client, await _issued(stored, client))
    stored.room.clock.now_ms += 300_000 + 3_600_001
    await _revoke(stored, client, await _issued(stored, client))
    async with engine.reading(stored.room.engine) as conn:
        assert len((await conn.execute(sa.select(schema.oauth_revoked_tokens))).all()) == 1


def _signed(header: dict[str, Any], claims: dict[str, Any], key: PrivateKey) -> str:
    return jose.sign(header, claims, key)
