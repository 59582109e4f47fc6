"""The demo's people: they can sign in with what stands in demo.json, also after that was lost."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from secrets import token_bytes

import pytest

from auth.admission.memory import MemoryAdmission
from auth.people import one_time_passwords
from auth.people.records import SignedIn
from gateway import composition, initialise, settings
from gateway.demo import example, operators, seed
from gateway.demo.contents import DemoOperator
from keys.changes import Author
from keys.secret import SecretBytes
from tests.support.people import CHEAP, SOURCE, CountedHashes

NOW_MS = 1_763_596_800_123


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[composition.Store]:
    configured = settings.load(example.render(tmp_path, example.Ports(8080, 1, 2)))
    await initialise.initialise(configured, lambda: NOW_MS, token_bytes, author=Author("test"))
    async with composition.opened_store(configured, lambda: NOW_MS) as opened:
        file = tmp_path / "demo.json"
        await seed.seed(opened.custody, opened.oauth_clients, file, "http://127.0.0.1:8080", token_bytes)
        yield opened


async def sow(store: composition.Store, known: tuple[DemoOperator, ...] = ()) -> tuple[DemoOperator, ...]:
    return await operators.find_or_create(
        store.people, known, lambda: NOW_MS, token_bytes, author=Author("demo"), parameters=CHEAP
    )


async def sign_in(store: composition.Store, operator: DemoOperator) -> SignedIn:
    """At the very moment at which the demo has become ready."""
    hashes = CountedHashes()
    people = store.people.serve(MemoryAdmission(lambda: NOW_MS * 1000, 1), hashes, lambda: b"k")
    step = await people.sign_in.with_password(operator.email, operator.password, source=SOURCE)
    device = SecretBytes(base64.b32decode(operator.totp_secret))
    code = one_time_passwords.code_at(device, one_time_passwords.step_of(NOW_MS))
    proved = await people.sign_in.with_totp(step.cookie.reveal(), code, source=SOURCE)
    hashes.close()
    assert isinstance(proved.session, SignedIn)
    return proved.session


async def test_they_sign_in_with_what_the_file_says(store: composition.Store) -> None:
    """An officer of the gateway's own, and acme's administrator and trader, each with a second factor."""
    made = await sow(store)
    assert [(one.email, one.roles, one.partner) for one in made] == [
        ("security@demo.example", ("security-officer",), None),
        ("partner@acme.example", ("partner-admin",), "acme"),
        ("trader@acme.example", ("trader",), "acme"),
    ]
    for operator in made:
        session = await sign_in(store, operator)
        assert (session.roles, session.partner) == (operator.roles, operator.partner)


async def test_they_are_made_once(store: composition.Store) -> None:
    """A second start finds them, and leaves them as they are."""
    made = await sow(store)
    assert await sow(store, made) == made


async def test_a_lost_file_gives_them_others(store: composition.Store) -> None:
    """The same accounts, with another password and another device."""
    first = await sow(store)
    second = await sow(store)
    assert {one.password for one in first}.isdisjoint({one.password for one in second})
    await sign_in(store, second[0])
    assert len(await store.people.accounts.list_all()) == len(first)
