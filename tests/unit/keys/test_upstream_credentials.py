import asyncio
import os

import pytest
import sqlalchemy as sa

from keys import envelope, refusals, rotation
from keys.changes import Author
from keys.secret import Secret
from keys.upstream_credentials import (
    CredentialExists,
    CredentialRequest,
    NoPendingVersion,
    NotHeldHere,
    UnknownCredential,
    UpstreamCredentials,
)
from storage import engine, schema
from tests.support.custody import START_MS, Room

OPERATOR = Author("operator", "a test")
SPREAD_MS = 30_000
HEADER = CredentialRequest(
    upstream="paper", environment="paper", form="header", source="local", details={"header": "x-api-key"}
)
ELSEWHERE = CredentialRequest(
    upstream="live",
    environment="live",
    form="header",
    source="aws-secrets-manager",
    details={"header": "x-api-key", "secret_id": "broker"},
)


def credentials(room: Room) -> UpstreamCredentials:
    return UpstreamCredentials(room.engine, room.data_keys, room.changes, os.urandom, spread_ms=SPREAD_MS)


async def sent(held: UpstreamCredentials, upstream: str = "paper") -> str | None:
    """What is to be sent, as a node reads it."""
    (found,) = [each for each in await held.read_stored() if each.credential.upstream == upstream]
    return None if found.active is None else (await held.open(found.credential, found.active)).reveal()


async def states(held: UpstreamCredentials) -> list[str]:
    return [version.state for version in (await held.get("paper")).versions]


async def test_exactly_the_active_version_is_sent(empty_room: Room) -> None:
    """The whole way of a version: pending is not sent, active is, retiring is not any more."""
    held = credentials(empty_room)
    await held.create(HEADER, Secret("first"), author=OPERATOR)
    await held.announce("paper", Secret("second"), author=OPERATOR)
    assert await sent(held) == "first"
    activated = await held.activate("paper", author=OPERATOR)
    assert await sent(held) == "second"
    assert activated.versions[0].retires_at == START_MS + SPREAD_MS
    await held.rotate("paper", Secret("third"), author=OPERATOR)
    assert await sent(held) == "third"
    assert await states(held) == ["revoked", "retiring", "active"]
    await held.retire("paper", 2, author=OPERATOR)
    await held.destroy("paper", 2, author=OPERATOR)
    assert await states(held) == ["revoked", "destroyed", "active"]


async def test_what_was_revoked_is_not_sent(empty_room: Room) -> None:
    """Neither one version, nor all: then nothing is left to be sent until there is another."""
    held = credentials(empty_room)
    await held.create(HEADER, Secret("first"), author=OPERATOR)
    with pytest.raises(rotation.StepRefused):
        await held.revoke("paper", 1, author=OPERATOR)
    await held.revoke("paper", author=OPERATOR)
    assert await sent(held) is None
    await held.rotate("paper", Secret("second"), author=OPERATOR)
    assert await sent(held) == "second"


async def test_one_that_was_removed_can_be_set_again(empty_room: Room) -> None:
    """Its versions go on counting, and no earlier one comes back."""
    held = credentials(empty_room)
    await held.create(HEADER, Secret("first"), author=OPERATOR)
    await held.remove("paper", author=OPERATOR)
    assert await held.list_all() == []
    with pytest.raises(UnknownCredential):
        await held.get("paper")
    again = await held.create(HEADER, Secret("second"), author=OPERATOR)
    assert [(each.version, each.state) for each in again.versions] == [(1, "revoked"), (2, "active")]
    assert await sent(held) == "second"


async def test_an_upstream_has_one_credential(empty_room: Room) -> None:
    """Whoever sets a second one at the same time is refused."""
    first, second = credentials(empty_room), credentials(empty_room.another_node())
    outcomes = await asyncio.gather(
        *(each.create(HEADER, Secret("s"), author=OPERATOR) for each in (first, second)),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "CredentialExists",
        "UpstreamCredential",
    ]
    with pytest.raises(CredentialExists):
        await first.create(HEADER, Secret("s"), author=OPERATOR)


async def test_of_one_that_lies_elsewhere_only_the_place_is_held(empty_room: Room) -> None:
    """It has no versions here, and none can be added."""
    held = credentials(empty_room)
    made = await held.create(ELSEWHERE, None, author=OPERATOR)
    assert (made.versions, made.details["secret_id"]) == ((), "broker")
    assert await sent(held, "live") is None
    with pytest.raises(NotHeldHere):
        await held.rotate("live", Secret("s"), author=OPERATOR)
    with pytest.raises(NotHeldHere):
        await held.create(HEADER, None, author=OPERATOR)


async def test_what_the_state_does_not_allow_is_refused(empty_room: Room) -> None:
    """Each by its name."""
    held = credentials(empty_room)
    for step in (
        held.activate("paper", author=OPERATOR),
        held.announce("paper", Secret("s"), author=OPERATOR),
    ):
        with pytest.raises(refusals.NotFound):
            await step
    await held.create(HEADER, Secret("first"), author=OPERATOR)
    with pytest.raises(NoPendingVersion):
        await held.activate("paper", author=OPERATOR)
    await held.announce("paper", Secret("second"), author=OPERATOR)
    with pytest.raises(rotation.StepRefused):
        await held.announce("paper", Secret("third"), author=OPERATOR)


async def test_a_secret_moved_to_another_environment_does_not_open(empty_room: Room) -> None:
    """Whoever can write to the store but not seal cannot make a paper secret a live one."""
    held = credentials(empty_room)
    await held.create(HEADER, Secret("first"), author=OPERATOR)
    async with engine.transaction(empty_room.engine) as conn:
        await conn.execute(sa.update(schema.secrets).values(environment="live"))
    with pytest.raises(envelope.EnvelopeRefused):
        await sent(held)


async def test_a_secret_moved_to_another_upstream_does_not_open(empty_room: Room) -> None:
    """Nor one upstream's another's."""
    held = credentials(empty_room)
    await held.create(HEADER, Secret("first"), author=OPERATOR)
    other = CredentialRequest(
        upstream="other", environment="paper", form="header", source="local", details={"header": "x-api-key"}
    )
    await held.create(other, Secret("second"), author=OPERATOR)
    versions = schema.secret_versions
    async with engine.transaction(empty_room.engine) as conn:
        theirs = (
            await conn.execute(sa.select(versions).where(versions.c.secret_id == "upstream_other"))
        ).one()
        await conn.execute(
            sa.update(versions)
            .where(versions.c.secret_id == "upstream_paper")
            .values(ciphertext=theirs.ciphertext)
        )
    with pytest.raises(envelope.EnvelopeRefused):
        await sent(held)


async def test_the_secret_stands_nowhere_but_sealed(empty_room: Room) -> None:
    """Neither in a row, nor in the ledger."""
    held = credentials(empty_room)
    await held.create(HEADER, Secret("canary-first"), author=OPERATOR)
    await held.rotate("paper", Secret("canary-second"), author=OPERATOR)
    async with engine.reading(empty_room.engine) as conn:
        shown = ""
        for table in schema.metadata.tables.values():
            shown += repr((await conn.execute(sa.select(table))).all())
    assert "upstream_credential.activated" in shown
    assert "canary" not in shown
    assert "canary" not in repr(await held.list_all()) + repr(await held.read_stored())
