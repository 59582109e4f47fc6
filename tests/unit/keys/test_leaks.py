"""Found credentials: what is real is frozen with the find in the ledger, and nothing else comes of a report."""

import os
import unicodedata
import urllib.parse
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from keys import format as key_format
from keys import leaks, oauth_client_secrets
from keys.changes import Author
from keys.leaks import Leaks, Suspect
from keys.secret import Secret
from storage import engine, schema
from tests.support import oauth_clients
from tests.support.custody import Room

REPORTER = Author("scanner:github", "found in public", "192.0.2.7", "req-1")


def open_leaks(room: Room) -> Leaks:
    return Leaks(room.engine, room.data_keys, room.changes, os.urandom)


async def events(room: Room, action: str) -> list[sa.RowMapping]:
    query = sa.select(schema.audit_events).where(schema.audit_events.c.action == action)
    async with engine.reading(room.engine) as conn:
        return list((await conn.execute(query)).mappings())


async def report(room: Room, *texts: str, place: str = "") -> list[leaks.Verdict]:
    suspects = [Suspect(Secret(text), place) for text in texts]
    return await open_leaks(room).report(suspects, author=REPORTER)


async def leaked(room: Room, **asked: object) -> tuple[str, str]:
    made = await room.create_key(**asked)
    assert made.secret is not None
    return made.key.id, made.secret.reveal()


async def test_a_real_secret_freezes_its_key(room: Room) -> None:
    """Of many keys exactly the one whose secret was found, in the ledger with who found it and where."""
    others = [await leaked(room) for _ in range(3)]
    key_id, secret = await leaked(room)
    (verdict,) = await report(room, secret, place="https://code.example/repo/file.py")
    assert verdict == leaks.Verdict("frozen", key_id, 1, "acme")
    assert (await room.custody.get_key(key_id)).frozen_at is not None
    for other, _ in others:
        assert (await room.custody.get_key(other)).frozen_at is None
    (event,) = await events(room, "leak.found")
    assert (event["actor"], event["subject"], event["partner"]) == ("scanner:github", key_id, "acme")
    assert event["details"] == {
        "version": 1,
        "outcome": "frozen",
        "place": "https://code.example/repo/file.py",
    }
    assert [each["subject"] for each in await events(room, "api_key.frozen")] == [key_id]


async def test_live_secrets_are_looked_for_among_live_ones(room: Room) -> None:
    """Each suspect finds its own environment's keys, in one report."""
    paper, live = await leaked(room), await leaked(room, environment="live")
    verdicts = await report(room, live[1], paper[1])
    assert [verdict.key_id for verdict in verdicts] == [live[0], paper[0]]


async def test_what_is_none_of_ours_changes_nothing(room: Room) -> None:
    """A well-formed stranger, a secret with one letter wrong, a key id and noise are all unknown."""
    key_id, secret = await leaked(room)
    stranger = key_format.mint_secret("paper", os.urandom(32)).reveal()
    wrong = secret[:-1] + ("0" if secret[-1] != "0" else "1")
    verdicts = await report(room, stranger, wrong, key_id, "", "ghp_noise", "é\x00")
    assert {verdict.outcome for verdict in verdicts} == {"unknown"}
    assert (await room.custody.get_key(key_id)).frozen_at is None
    assert await events(room, "leak.found") == []


async def test_one_secret_found_in_many_places_is_one_find(room: Room) -> None:
    """Each of its suspects gets the verdict."""
    key_id, secret = await leaked(room)
    verdicts = await report(room, secret, secret, secret)
    assert [verdict.key_id for verdict in verdicts] == [key_id] * 3
    assert len(await events(room, "leak.found")) == 1


async def test_a_find_says_how_the_key_stood(room: Room) -> None:
    """A frozen key stays frozen for its first reason, a revoked one stays revoked; both finds are recorded."""
    key_id, secret = await leaked(room)
    await room.custody.freeze_key(key_id, author=Author("officer", "on holiday"))
    assert (await report(room, secret))[0].outcome == "was-frozen"
    assert (await room.custody.get_key(key_id)).frozen_reason == "on holiday"
    await room.custody.revoke_key(key_id, author=Author("officer"))
    assert (await report(room, secret))[0].outcome == "was-revoked"
    assert [event["details"]["outcome"] for event in await events(room, "leak.found")] == [
        "was-frozen",
        "was-revoked",
    ]


async def test_a_superseded_version_freezes_nothing(room: Room) -> None:
    """A secret that verifies nothing any more is a find, and no reason to stop its partner."""
    key_id, secret = await leaked(room)
    async with engine.transaction(room.engine) as conn:
        await conn.execute(sa.update(schema.secret_versions).values(state="revoked"))
    assert (await report(room, secret))[0].outcome == "superseded"
    assert (await room.custody.get_key(key_id)).frozen_at is None


async def test_a_version_that_is_to_serve_freezes_its_key(room: Room) -> None:
    """Whoever holds it waits for its time to come."""
    _, secret = await leaked(room)
    async with engine.transaction(room.engine) as conn:
        await conn.execute(sa.update(schema.secret_versions).values(state="pending"))
    assert (await report(room, secret))[0].outcome == "frozen"


async def test_a_broken_ciphertext_hides_no_other_key(room: Room) -> None:
    """What does not open is passed over."""
    broken, _ = await leaked(room)
    key_id, secret = await leaked(room)
    async with engine.transaction(room.engine) as conn:
        of_broken = schema.secret_versions.c.secret_id == broken
        await conn.execute(sa.update(schema.secret_versions).where(of_broken).values(ciphertext=b"\x01gone"))
    assert (await report(room, secret))[0].key_id == key_id


async def test_all_pages_are_looked_through(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key has its turn, wherever a page ends."""
    monkeypatch.setattr(leaks, "_PAGE", 2)
    made = [await leaked(room) for _ in range(5)]
    verdicts = await report(room, *(secret for _, secret in made))
    assert [verdict.key_id for verdict in verdicts] == [key_id for key_id, _ in made]


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("https://ada:pw@code.example/a?t=prs_live_x#y", "https://code.example/a"),
        ("https://[broken", ""),
        ("logs/\x1b[31mred", "logs/[31mred"),
        ("https://code.example/" + "a/" * 900, "https://code.example/" + "a/" * 239 + "a"),
        (f"https://code.example/{'0a' * 20}/x%20y.py", f"https://code.example/{'0a' * 20}/x y.py"),
        (f"https://code.example/%{'25' * 9}5F", ""),
    ],
)
async def test_a_place_carries_nothing_that_a_ledger_should_not(room: Room, place: str, shown: str) -> None:
    """No password, no query, no control characters, no more than fits."""
    _, secret = await leaked(room)
    await report(room, secret, place=place)
    assert [event["details"]["place"] for event in await events(room, "leak.found")] == [shown]


@pytest.mark.parametrize(
    "spell",
    [
        str,
        lambda secret: secret.replace("_", "%5F"),
        lambda secret: secret.replace("_", "%255f"),
        lambda secret: "".join(f"%{ord(letter):02x}" for letter in secret),
        lambda secret: f"{secret[:7]}\u200b{secret[7:]}",
        lambda secret: f"{secret[:7]}%E2%80%8B{secret[7:]}",
        lambda secret: f"\N{FULLWIDTH LATIN SMALL LETTER P}{secret[1:]}",
        lambda secret: secret.removeprefix("prs_paper_"),
    ],
)
async def test_what_was_found_stands_nowhere(room: Room, spell: Callable[[str], str]) -> None:
    """Not even when the place that a scanner names holds it, however it is written there."""
    _, secret = await leaked(room)
    await report(room, secret, place=f"https://code.example/{spell(secret)}/x")
    async with engine.reading(room.engine) as conn:
        rows = (await conn.execute(sa.select(schema.audit_events))).all()
    said = unicodedata.normalize("NFKC", urllib.parse.unquote(urllib.parse.unquote(repr(rows))))
    assert secret.removeprefix("prs_paper_") not in said
    assert secret not in repr(Suspect(Secret(secret)))


async def test_a_batch_is_bounded(room: Room) -> None:
    """More than a batch is refused whole."""
    with pytest.raises(leaks.BatchTooLarge):
        await report(room, *["x"] * (leaks.LARGEST_BATCH + 1))


async def test_a_client_s_secret_freezes_its_client(room: Room) -> None:
    """Only its digest is kept, and that is enough to know it again; other clients and keys go on."""
    other = await oauth_clients.made_with_secret(room.oauth_clients)
    key_id, _ = await leaked(room)
    made = await oauth_clients.made_with_secret(room.oauth_clients)
    assert made.secret is not None
    (verdict,) = await report(room, made.secret.reveal(), place="https://code.example/a")
    assert verdict == leaks.Verdict("frozen", made.id, 1, "acme")
    assert (await room.oauth_clients.get(made.id)).frozen_at is not None
    assert (await room.oauth_clients.get(other.id)).frozen_at is None
    assert (await room.custody.get_key(key_id)).frozen_at is None
    assert [each["subject"] for each in await events(room, "oauth_client.frozen")] == [made.id]
    (again,) = await report(room, made.secret.reveal(), place="https://code.example/a")
    assert again.outcome == "was-frozen"


async def test_the_digest_of_a_client_s_secret_is_not_the_secret(room: Room) -> None:
    """Whoever has read the store has nothing to report."""
    made = await oauth_clients.made_with_secret(room.oauth_clients)
    assert made.secret is not None
    (verdict,) = await report(room, oauth_client_secrets.digest(made.secret).hex())
    assert verdict.outcome == "unknown"
