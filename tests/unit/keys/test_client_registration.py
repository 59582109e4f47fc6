"""Clients that register themselves: how many, until when, and what each leads itself by."""

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from keys import client_registration, partners, requests
from keys import format as key_format
from keys.changes import Author
from keys.client_registration import RegistrationRefused
from keys.registration_records import CreatedRegistrationToken, RegisteredClient, RegistrationRequest
from keys.secret import Secret
from storage import engine, schema
from tests.support import misspelled, oauth_clients
from tests.support.custody import Room

BY = Author("operator", "a test")
LATER_MS = 3_600_000


def asked(room: Room, **fields: Any) -> RegistrationRequest:  # noqa: ANN401  whatever a request has
    standing: dict[str, Any] = {
        "partner": "acme",
        "environment": "paper",
        "roles": ("trader",),
        "expires_at": room.clock() + LATER_MS,
    }
    return RegistrationRequest(**standing | fields)


async def let(room: Room, **fields: Any) -> CreatedRegistrationToken:  # noqa: ANN401  the same
    return await room.client_registration.create(asked(room, **fields), author=BY)


async def register(room: Room, presented: Secret) -> RegisteredClient:
    author = Author("registration:test")
    return await room.client_registration.register(presented, oauth_clients.request(), author=author)


async def test_who_holds_one_registers_as_many_as_it_is_good_for(room: Room) -> None:
    """And no more, be they asked for at once or one after the other."""
    made = await let(room, uses=3)
    outcomes = await asyncio.gather(*(register(room, made.secret) for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(each, RegisteredClient) for each in outcomes) == 3
    assert all(isinstance(each, RegisteredClient | RegistrationRefused) for each in outcomes)
    with pytest.raises(RegistrationRefused):
        await room.client_registration.find_usable(made.secret)
    assert len((await room.oauth_clients.find_page()).clients) == 3
    assert (await room.client_registration.get(made.registration.id)).uses_left == 0


@pytest.mark.parametrize("ending", ["expired", "revoked", "partner-frozen"])
async def test_what_has_ended_lets_nobody_register(room: Room, ending: str) -> None:
    """Looked at before, and again in the transaction that would make the client."""
    made = await let(room)
    assert (await room.client_registration.find_usable(made.secret)).id == made.registration.id
    if ending == "expired":
        room.clock.now_ms += LATER_MS
    elif ending == "revoked":
        await room.client_registration.revoke(made.registration.id, author=BY)
    else:
        await room.custody.freeze_partner("acme", author=BY)
    with pytest.raises(RegistrationRefused):
        await room.client_registration.find_usable(made.secret)
    with pytest.raises(RegistrationRefused):
        await register(room, made.secret)
    assert (await room.oauth_clients.find_page()).clients == ()


async def test_nothing_else_lets_anybody_register(room: Room) -> None:
    """Not another of the same form, not a client's own, and nothing that only looks like one."""
    made = await let(room, uses=2)
    registered = await register(room, made.secret)
    other = key_format.mint_initial_access("paper", bytes(range(32)))
    looks_alike = Secret(misspelled.last(made.secret.reveal()))
    for presented in (other, registered.access, looks_alike, Secret("")):
        with pytest.raises(RegistrationRefused):
            await register(room, presented)


async def test_a_client_is_led_by_its_own_alone(room: Room) -> None:
    """What another one, or an operator's token, opens is nothing here."""
    made = await let(room, uses=2)
    one, two = await register(room, made.secret), await register(room, made.secret)
    found = await room.client_registration.find_client(one.client.id, one.access)
    assert found == one.client
    by_operator = await oauth_clients.made(room.oauth_clients)
    for client_id, presented in (
        (one.client.id, two.access),
        (one.client.id, made.secret),
        (by_operator.id, one.access),
        ("prc_paper_nobody", one.access),
    ):
        with pytest.raises(RegistrationRefused):
            await room.client_registration.find_client(client_id, presented)


@pytest.mark.parametrize("ending", ["revoke", "freeze", "partner-frozen"])
async def test_a_client_that_was_stopped_leads_itself_no_more(room: Room, ending: str) -> None:
    """Whoever stopped it did so against its will."""
    made = await let(room)
    registered = await register(room, made.secret)
    if ending == "partner-frozen":
        await room.custody.freeze_partner("acme", author=BY)
    else:
        await getattr(room.oauth_clients, ending)(registered.client.id, author=BY)
    with pytest.raises(RegistrationRefused):
        await room.client_registration.find_client(registered.client.id, registered.access)


async def test_only_digests_are_stored(room: Room) -> None:
    """Whoever reads the store can present nothing."""
    made = await let(room)
    registered = await register(room, made.secret)
    async with engine.reading(room.engine) as conn:
        for table in (schema.oauth_registration_tokens, schema.oauth_clients, schema.audit_events):
            told = str((await conn.execute(sa.select(table))).all())
            assert made.secret.reveal() not in told
            assert registered.access.reveal() not in told


async def test_what_cannot_be_is_refused(room: Room) -> None:
    """Before anything is stored."""
    for fields, refusal in (
        ({"uses": 0}, client_registration.InvalidUses),
        ({"uses": client_registration.MOST_USES + 1}, client_registration.InvalidUses),
        ({"expires_at": room.clock()}, requests.InvalidExpiry),
        ({"roles": ()}, requests.InvalidRoles),
        ({"partner": "nobody"}, partners.UnknownPartner),
    ):
        with pytest.raises(refusal):
            await let(room, **fields)
    made = await let(room)
    await room.client_registration.revoke(made.registration.id, author=BY)
    with pytest.raises(client_registration.RegistrationRevoked):
        await room.client_registration.revoke(made.registration.id, author=BY)
    with pytest.raises(client_registration.UnknownRegistration):
        await room.client_registration.get("reg_none")
