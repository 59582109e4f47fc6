"""Passkeys: made and used with an authenticator of software, and refused in every way that there is."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from auth.people import passkey_rows
from auth.people.failures import (
    InvalidLabel,
    PasskeyRefused,
    SecondFactorNeeded,
    SessionMissing,
    Throttled,
    TooManyPasskeys,
    UnknownPasskey,
)
from auth.people.records import Step
from tests.support.people import (
    OPERATOR,
    SOURCE,
    House,
    SoftPasskey,
    build_house,
    count_successes,
    half,
    value,
    whole,
)


async def add(house: House, step: Step, device: SoftPasskey, label: str = "Laptop") -> Step:
    begun = await house.people.passkeys.begin_registration(value(step))
    return await house.people.passkeys.register(value(step), device.make(begun.options), label, source=SOURCE)


async def come(house: House, device: SoftPasskey) -> Step:
    """From nowhere, by the passkey alone."""
    begun = await house.people.passkeys.begin(None, source=SOURCE)
    assert begun.cookie is not None
    answer = device.sign(begun.options)
    return await house.people.passkeys.finish(begun.cookie.reveal(), answer, source=SOURCE)


async def test_a_passkey_is_enough_by_itself(house: House) -> None:
    """Its holder has it and was verified by it: that is two factors, for whatever role."""
    device = SoftPasskey()
    made = await add(house, await house.arrive(roles=("trader",)), device)
    assert whole(made).methods == {"pwd", "hwk", "mfa"}
    assert len(made.recovery_codes) == 10
    session = whole(await come(house, device))
    assert session.email == "ada@acme.example"
    assert session.methods == {"hwk", "mfa"}


async def test_a_passkey_is_a_second_factor(house: House) -> None:
    """After the password it is asked for by its id."""
    device = SoftPasskey()
    await add(house, await house.arrive(roles=("trader",)), device)
    step = await house.sign_in()
    assert half(step).offers == ("passkey", "recovery-code")
    begun = await house.people.passkeys.begin(value(step), source=SOURCE)
    assert begun.cookie is None
    assert len(msgspec.json.decode(begun.options)["allowCredentials"]) == 1
    proved = await house.people.passkeys.finish(value(step), device.sign(begun.options), source=SOURCE)
    assert whole(proved).methods == {"pwd", "hwk", "mfa"}
    assert await house.people.sessions.find(value(step)) is None


async def test_a_passkey_proves_somebody_again(house: House) -> None:
    """A session that is too old for something sensitive is young again, under another value."""
    device = SoftPasskey()
    step = await add(house, await house.arrive(roles=("trader",)), device)
    house.wait(600_000)
    begun = await house.people.passkeys.begin(value(step), source=SOURCE)
    proved = await house.people.passkeys.finish(value(step), device.sign(begun.options), source=SOURCE)
    assert whole(proved).authenticated_at == house.clock()
    assert whole(proved).session_id == whole(step).session_id


async def test_what_is_asked_for(house: House) -> None:
    """The options name our domain and ask the authenticator to verify its holder; nobody is told who has passkeys."""
    step = await house.arrive()
    made = msgspec.json.decode((await house.people.passkeys.begin_registration(value(step))).options)
    asked = msgspec.json.decode((await house.people.passkeys.begin(None, source=SOURCE)).options)
    assert (made["rp"]["id"], asked["rpId"]) == ("gate.example", "gate.example")
    assert made["authenticatorSelection"]["userVerification"] == asked["userVerification"] == "required"
    assert not asked.get("allowCredentials")


def _elsewhere(device: SoftPasskey) -> None:
    device.origin = "https://gate.example.evil"


def _other_party(device: SoftPasskey) -> None:
    device.party = "evil.example"


def _unverified(device: SoftPasskey) -> None:
    device.verified = False


def _rewound(device: SoftPasskey) -> None:
    device.count -= 1


def _another_key(device: SoftPasskey) -> None:
    device._key = SoftPasskey()._key


def _unknown(device: SoftPasskey) -> None:
    device.id = SoftPasskey().id


@pytest.mark.parametrize("spoil", [_elsewhere, _other_party, _unverified, _rewound, _another_key, _unknown])
async def test_what_does_not_prove_it(house: House, spoil: Callable[[SoftPasskey], None]) -> None:
    """Another origin or domain, an unverified holder, a counter that did not move, another key: one answer."""
    device = SoftPasskey()
    await add(house, await house.arrive(roles=("trader",)), device)
    await come(house, device)
    spoil(device)
    with pytest.raises(PasskeyRefused):
        await come(house, device)


@pytest.mark.parametrize("spoil", [_elsewhere, _other_party, _unverified])
async def test_what_is_not_taken_as_a_passkey(house: House, spoil: Callable[[SoftPasskey], None]) -> None:
    """Nothing is stored that could not be used."""
    device = SoftPasskey()
    spoil(device)
    with pytest.raises(PasskeyRefused):
        await add(house, await house.arrive(), device)


@pytest.mark.parametrize("answer", ["", "{}", "[]", "null", "x" * 70_000, '{"id":"x","rawId":"x"}', "\ud800"])
async def test_answers_that_are_none(house: House, answer: str) -> None:
    """Whatever a stranger sends is refused, never a defect."""
    begun = await house.people.passkeys.begin(None, source=SOURCE)
    assert begun.cookie is not None
    with pytest.raises(PasskeyRefused):
        await house.people.passkeys.finish(begun.cookie.reveal(), answer, source=SOURCE)
    step = await house.arrive()
    await house.people.passkeys.begin_registration(value(step))
    with pytest.raises(PasskeyRefused):
        await house.people.passkeys.register(value(step), answer, "Laptop", source=SOURCE)


async def test_a_challenge_is_answered_once(house: House) -> None:
    """Wrongly or rightly; what was answered with is worth nothing again, even where a counter would not tell."""
    device = SoftPasskey()
    await add(house, await house.arrive(roles=("trader",)), device)
    begun = await house.people.passkeys.begin(None, source=SOURCE)
    assert begun.cookie is not None
    cookie, answer = begun.cookie.reveal(), device.sign(begun.options)
    with pytest.raises(PasskeyRefused):
        await house.people.passkeys.finish(cookie, "{}", source=SOURCE)
    with pytest.raises(PasskeyRefused):
        await house.people.passkeys.finish(cookie, answer, source=SOURCE)


async def test_of_many_answers_to_one_challenge_one_passes(house: House) -> None:
    """Twenty at once, on two nodes: one session comes of it."""
    device = SoftPasskey()
    await add(house, await house.arrive(roles=("trader",)), device)
    nodes = (house, build_house(house.room.engine, room=house.room.another_node()))
    begun = await house.people.passkeys.begin(None, source=SOURCE)
    assert begun.cookie is not None
    cookie, answer = begun.cookie.reveal(), device.sign(begun.options)
    tries: list[Awaitable[object]] = [
        nodes[number % 2].people.passkeys.finish(cookie, answer, source=f"192.0.2.{number}")
        for number in range(20)
    ]
    assert await count_successes(tries, (PasskeyRefused, SessionMissing)) == 1


async def test_a_counter_moves_on_from_where_it_was_read(house: House) -> None:
    """Of two uses that were verified against one counter the second is none."""
    device = SoftPasskey()
    await add(house, await house.arrive(), device)
    async with house.room.changes.begin(OPERATOR) as change:
        account = await house.people.accounts.get_by("ada@acme.example")
        (stored,) = await passkey_rows.list_of(change.conn, account.id)
        used = [await passkey_rows.use(change, stored, count) for count in (1, 2)]
        await change.record("account.confirmed", account.id)
    assert used == [True, False]


async def test_a_challenge_is_of_its_session_time_and_purpose(house: House) -> None:
    """Another session's, an old one, or one for making a passkey is none."""
    device = SoftPasskey()
    step = await add(house, await house.arrive(roles=("trader",)), device)
    mine = await house.people.passkeys.begin(None, source=SOURCE)
    other = await house.people.passkeys.begin(None, source=SOURCE)
    assert mine.cookie is not None
    with pytest.raises(PasskeyRefused):
        await house.people.passkeys.finish(mine.cookie.reveal(), device.sign(other.options), source=SOURCE)
    late = await house.people.passkeys.begin(None, source=SOURCE)
    assert late.cookie is not None
    house.wait(300_000 - 1)
    making = await house.people.passkeys.begin(value(step), source=SOURCE)
    house.wait(1)
    with pytest.raises(PasskeyRefused):
        await house.people.passkeys.finish(late.cookie.reveal(), device.sign(late.options), source=SOURCE)
    proved = await house.people.passkeys.finish(value(step), device.sign(making.options), source=SOURCE)
    making = await house.people.passkeys.begin_registration(value(proved))
    with pytest.raises(PasskeyRefused):
        await house.people.passkeys.finish(value(proved), device.sign(making.options), source=SOURCE)


async def test_somebody_elses_passkey_is_no_second_factor(house: House) -> None:
    """Half a session of one person is not made whole by another's device."""
    mine, theirs = SoftPasskey(), SoftPasskey()
    await add(house, await house.arrive(roles=("trader",)), mine)
    await add(house, await house.arrive("eve@acme.example", ("trader",)), theirs)
    step = await house.sign_in()
    begun = await house.people.passkeys.begin(value(step), source=SOURCE)
    with pytest.raises(PasskeyRefused):
        await house.people.passkeys.finish(value(step), theirs.sign(begun.options), source=SOURCE)


async def test_one_passkey_belongs_to_one_account(house: House) -> None:
    """Registered a second time, it is refused, by whomever."""
    device = SoftPasskey()
    await add(house, await house.arrive(), device)
    with pytest.raises(PasskeyRefused):
        await add(house, await house.arrive("eve@acme.example"), device)


async def test_the_disabled_do_not_come_in_by_passkey(house: House) -> None:
    """Nor is it told that it was that."""
    device = SoftPasskey()
    await add(house, await house.arrive(), device)
    account = await house.people.accounts.get_by("ada@acme.example")
    await house.people.accounts.disable(account.id, author=OPERATOR)
    with pytest.raises(PasskeyRefused):
        await come(house, device)


async def test_passkeys_are_shown_and_taken_away(house: House) -> None:
    """By their holder alone; the last one stays where their roles need a factor."""
    first, second = SoftPasskey(), SoftPasskey()
    step = await add(house, await house.arrive(roles=("trader",)), first)
    house.wait(1)
    step = await add(house, step, second, "Telephone")
    shown = await house.people.passkeys.list_own(value(step))
    assert [each.label for each in shown] == ["Laptop", "Telephone"]
    with pytest.raises(UnknownPasskey):
        await house.people.passkeys.remove(value(step), "none", source=SOURCE)
    await house.people.passkeys.remove(value(step), shown[0].id, source=SOURCE)
    with pytest.raises(PasskeyRefused):
        await come(house, first)
    with pytest.raises(SecondFactorNeeded):
        await house.people.passkeys.remove(value(step), shown[1].id, source=SOURCE)


@pytest.mark.parametrize("label", ["", "x" * 65, "two\nlines"])
async def test_labels_are_one_line(house: House, label: str) -> None:
    """What people call their devices stands in the ledger."""
    with pytest.raises(InvalidLabel):
        await add(house, await house.arrive(), SoftPasskey(), label)


async def test_strangers_who_begin_are_counted(house: House) -> None:
    """A challenge is a row: nobody makes as many as they like."""
    for _ in range(30):
        await house.people.passkeys.begin(None, source=SOURCE)
    with pytest.raises(Throttled):
        await house.people.passkeys.begin(None, source=SOURCE)


@pytest.mark.parametrize("answer", ["[" * 30_000, '{"a":' * 8_000])
async def test_an_answer_that_is_nested_without_end_is_refused(house: House, answer: str) -> None:
    """As any other that is none: strangers cause no defect by it."""
    begun = await house.people.passkeys.begin(None, source=SOURCE)
    assert begun.cookie is not None
    with pytest.raises(PasskeyRefused):
        await house.people.passkeys.finish(begun.cookie.reveal(), answer, source=SOURCE)
    step = await house.arrive()
    await house.people.passkeys.begin_registration(value(step))
    with pytest.raises(PasskeyRefused):
        await house.people.passkeys.register(value(step), answer, "Laptop", source=SOURCE)


async def test_a_passkey_of_too_long_a_name_is_refused(house: House) -> None:
    """No authenticator has one, and no database would keep it."""
    device = SoftPasskey()
    device.id = os.urandom(5_000)
    with pytest.raises(PasskeyRefused):
        await add(house, await house.arrive(), device)


async def test_many_that_were_begun_at_once_are_no_more_than_may_be(house: House) -> None:
    """Each session was told that there is room; whoever comes after the last place was taken is refused."""
    step = await add(house, await house.arrive(), SoftPasskey())
    account = await house.people.accounts.get_by("ada@acme.example")
    device = SoftPasskey()
    begun = await house.people.passkeys.begin_registration(value(step))
    async with house.room.changes.begin(OPERATOR) as change:
        for number in range(19):
            await passkey_rows.insert(
                change, f"p{number}", account.id, public_key=b"", sign_count=0, label="x", backed_up=False
            )
        await change.record("account.passkey_added", account.id)
    with pytest.raises(TooManyPasskeys):
        await house.people.passkeys.register(value(step), device.make(begun.options), "Laptop", source=SOURCE)
