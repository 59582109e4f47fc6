"""Signing in: what a password and a second factor come to, and what is refused."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from auth.people import passwords
from auth.people.failures import CodeRefused, HashingBusy, SessionMissing, SignInRefused, Throttled
from auth.people.hashing import PARAMETERS, Parameters
from auth.people.records import HalfSignedIn, SignedIn
from tests.support.people import (
    CHEAP,
    OPERATOR,
    PASSWORD,
    SOURCE,
    CountedHashes,
    House,
    build_house,
    half,
    value,
    whole,
)


async def test_a_password_is_enough_where_no_role_asks_for_more(house: House) -> None:
    """Somebody who only looks has a whole session by their password alone."""
    await house.arrive()
    session = whole(await house.sign_in("  ADA@Acme.example "))
    assert (session.email, session.partner, session.roles) == ("ada@acme.example", "acme", ("viewer",))
    assert session.methods == {"pwd"}


async def test_trading_and_control_ask_for_a_second_factor(house: House) -> None:
    """Roles that reach trading or the gateway leave a session half until there is a second factor."""
    for number, role in enumerate(("trader", "partner-admin")):
        step = await house.arrive(f"p{number}@acme.example", (role,))
        assert half(step).needs == "enrolment"
        found = await house.people.sessions.find(value(step))
        assert isinstance(found, HalfSignedIn)


async def test_a_role_that_is_given_later_asks_at_once(house: House) -> None:
    """What a session is worth follows the roles of this moment, and not those of when it began."""
    step = await house.arrive()
    account = await house.people.accounts.get_by("ada@acme.example")
    await house.people.accounts.set_roles(account, ("trader",), author=OPERATOR)
    found = await house.people.sessions.find(value(step))
    assert isinstance(found, HalfSignedIn)
    assert found.needs == "enrolment"


async def test_the_second_factor_makes_it_whole(house: House) -> None:
    """After the password comes the code, and then it is a session of two factors."""
    _, device = await house.enrol(await house.arrive(roles=("trader",)))
    house.wait(60_000)
    first = await house.sign_in()
    assert half(first).needs == "second-factor"
    assert "totp" in half(first).offers
    session = whole(await house.people.sign_in.with_totp(value(first), house.code(device), source=SOURCE))
    assert session.methods == {"pwd", "otp", "mfa"}


async def test_whoever_has_a_second_factor_is_asked_for_it(house: House) -> None:
    """A factor that nobody asked for is asked for once it is there."""
    await house.enrol(await house.arrive())
    assert half(await house.sign_in()).needs == "second-factor"


async def test_half_a_session_adds_no_factor_where_there_is_one(house: House) -> None:
    """A stolen password does not replace the factor that it lacks."""
    await house.enrol(await house.arrive(roles=("trader",)))
    step = await house.sign_in()
    with pytest.raises(SessionMissing):
        await house.people.factors.enrol_totp(value(step), source=SOURCE)
    with pytest.raises(SessionMissing):
        await house.people.passkeys.begin_registration(value(step))


async def test_unknown_wrong_and_disabled_are_one_answer_after_one_verification(house: House) -> None:
    """Whoever guesses learns nothing of who is there, by the answer or by the work done for it."""
    await house.arrive()
    await house.arrive("eve@acme.example")
    eve = await house.people.accounts.get_by("eve@acme.example")
    await house.people.accounts.disable(eve.id, author=OPERATOR)
    await house.invite("new@acme.example")
    told, writes = set(), list[object]()
    sa.event.listen(
        house.room.engine.sync_engine,
        "before_execute",
        lambda *given: writes.append(given[1]) if isinstance(given[1], sa.UpdateBase) else None,
    )
    for email, password in (
        ("ada@acme.example", "a wrong password indeed"),
        ("nobody@acme.example", PASSWORD),
        ("eve@acme.example", PASSWORD),
        ("new@acme.example", PASSWORD),
        ("not an address", PASSWORD),
        ("ada@acme.example", "short"),
        ("ada@acme.example", ""),
    ):
        house.wait(3_600_000)
        house.hashes.verified.clear()
        with pytest.raises(SignInRefused) as refused:
            await house.sign_in(email, password)
        told.add(str(refused.value))
        assert len(house.hashes.verified) == 1
    assert len(told) == 1
    assert writes == []


async def test_a_decoy_costs_what_a_password_costs(house: House) -> None:
    """The hash that nobody has carries the parameters of today."""
    real = await house.hashes.hash(PASSWORD.encode())
    assert house.hashes.decoy.split("$")[:4] == real.split("$")[:4]
    assert len(house.hashes.decoy) == len(real)
    assert not await house.hashes.verify(house.hashes.decoy, PASSWORD.encode())


async def test_attempts_are_counted_before_anything_is_hashed(house: House) -> None:
    """Once a source's attempts at an account are used up nothing is worked out for them."""
    await house.arrive()
    house.hashes.verified.clear()
    refused = 0
    for _ in range(30):
        try:
            await house.sign_in(password="a wrong password indeed", source=SOURCE)
        except Throttled:
            refused += 1
        except SignInRefused:
            pass
    assert len(house.hashes.verified) == 10
    assert refused == 20


async def test_a_source_that_tries_many_accounts_is_stopped(house: House) -> None:
    """Stuffing credentials from one place ends after a burst, whether the accounts exist or not."""
    for number in range(30):
        with pytest.raises(SignInRefused):
            await house.sign_in(f"p{number}@acme.example")
    with pytest.raises(Throttled) as refused:
        await house.sign_in("p30@acme.example")
    assert len(house.hashes.verified) == 30
    assert refused.value.retry_after_ms > 0


async def test_guesses_of_the_code_are_counted(house: House) -> None:
    """Six digits stand five guesses, and then the right one is not even looked at."""
    _, device = await house.enrol(await house.arrive(roles=("trader",)))
    house.wait(3_600_000)
    step = await house.sign_in()
    for _ in range(5):
        with pytest.raises(CodeRefused):
            await house.people.sign_in.with_totp(value(step), "000000", source=SOURCE)
    with pytest.raises(Throttled):
        await house.people.sign_in.with_totp(value(step), house.code(device), source=SOURCE)
    assert (await house.actions()).count("account.second_factor_refused") == 5


async def test_a_password_of_old_parameters_is_hashed_again(house: House) -> None:
    """Whoever signs in leaves with a hash of today, without noticing."""
    await house.arrive()
    dearer = CountedHashes(Parameters(memory_kib=16, passes=2, lanes=1))
    node = build_house(house.room.engine, room=house.room, hashes_=dearer)
    for _ in range(2):
        whole(await node.sign_in())
    assert dearer.hashed == 1
    assert [each.split("$")[3] for each in dearer.verified] == ["m=8,t=1,p=1", "m=16,t=2,p=1"]
    dearer.close()


async def test_a_password_that_changes_meanwhile_signs_nobody_in(house: House) -> None:
    """What was verified is looked at again where the session is made."""
    await house.arrive()
    account = await house.people.accounts.get_by("ada@acme.example")
    await house.people.accounts.send_link(account.id, author=OPERATOR)
    verify = house.hashes.verify

    async def slowly(hashed: str, password: bytes) -> bool:
        found = await verify(hashed, password)
        await house.people.passwords.reset(house.mails.ticket(), "another one entirely", source=SOURCE)
        return found

    house.hashes.verify = slowly  # type: ignore[method-assign]  # the reset comes in between
    with pytest.raises(SignInRefused):
        await house.sign_in()


async def test_every_proof_gives_another_value(house: House) -> None:
    """A value that was known before somebody proved something is worth nothing after it (fixation)."""
    _, device = await house.enrol(await house.arrive(roles=("trader",)))
    house.wait(60_000)
    planted = await house.people.passkeys.begin(None, source=SOURCE)
    assert planted.cookie is not None
    first = await house.sign_in(presented=planted.cookie.reveal())
    second = await house.people.sign_in.with_totp(value(first), house.code(device), source=SOURCE)
    house.wait(60_000)
    third = await house.people.sign_in.confirm(value(second), PASSWORD, house.code(device), source=SOURCE)
    values = [planted.cookie.reveal(), value(first), value(second), value(third)]
    assert len(set(values)) == 4
    found = [await house.people.sessions.find(each) for each in values]
    assert found[:3] == [None, None, None]
    assert isinstance(found[3], SignedIn)


async def test_forms_carry_something_of_this_session_alone(house: House) -> None:
    """Two sessions of one person have two values for their forms, and a new value brings another."""
    await house.arrive()
    first, second = whole(await house.sign_in()), whole(await house.sign_in())
    assert first.csrf != second.csrf


async def test_whoever_is_turned_away_for_others_has_not_tried(house: House) -> None:
    """While a flood fills the pool people come again and again, and are let in once there is room."""
    await house.arrive()
    places = house.hashes._places
    while places.acquire(blocking=False):
        pass
    for _ in range(12):
        with pytest.raises(HashingBusy):
            await house.sign_in()
    places.release()
    whole(await house.sign_in())


async def test_a_full_pool_takes_nobody_else_on() -> None:
    """Whoever comes when as many wait is refused at once, and costs nothing."""
    hashes = CountedHashes(Parameters(memory_kib=64 * 1024, passes=3, lanes=1), workers=1, waiting=1)
    tries = [asyncio.ensure_future(hashes.hash(PASSWORD.encode())) for _ in range(5)]
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(each, HashingBusy) for each in found) == 3
    assert isinstance(await hashes.hash(PASSWORD.encode()), str)
    hashes.close()


def test_the_parameters_are_those_that_are_recommended() -> None:
    """At least what OWASP asks for, whatever tests use."""
    assert PARAMETERS.memory_kib >= 19 * 1024
    assert PARAMETERS.passes >= 2
    assert CHEAP.memory_kib < PARAMETERS.memory_kib
    assert passwords.SHORTEST == 12
