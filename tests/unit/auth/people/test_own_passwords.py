"""Invitations and resets: links that work once, and what a new password ends."""

from __future__ import annotations

import asyncio
import logging

import pytest
import sqlalchemy as sa

from auth.people import passwords
from auth.people.failures import PasswordRefused, SignInRefused, StepUpNeeded, Throttled, TicketRefused
from auth.people.mail import Mail
from auth.people.records import SignedIn
from keys.secret import Secret
from storage import engine, schema
from tests.support.people import (
    OPERATOR,
    PASSWORD,
    SOURCE,
    CountedHashes,
    House,
    build_house,
    count_successes,
    half,
    value,
    whole,
)

NEW = "another one entirely"


async def reset_ticket(house: House, email: str = "ada@acme.example") -> str:
    await house.people.passwords.request_reset(email, source=SOURCE)
    await house.people.passwords.answer_all()
    return house.mails.ticket()


async def test_an_invitation_is_accepted_once(house: House) -> None:
    """The link that made an account makes no second password."""
    await house.invite()
    ticket = house.mails.ticket()
    assert (await house.people.passwords.find_invited(ticket)).email == "ada@acme.example"
    whole(await house.people.passwords.accept_invitation(ticket, PASSWORD, source=SOURCE))
    for act in (
        house.people.passwords.accept_invitation(ticket, NEW, source=SOURCE),
        house.people.passwords.find_invited(ticket),
    ):
        with pytest.raises(TicketRefused):
            await act
    whole(await house.sign_in())


@pytest.mark.parametrize("purpose", ["invitation", "reset"])
async def test_of_many_uses_of_one_link_one_passes(house: House, purpose: str) -> None:
    """Fifty at once, on two nodes: one password is set."""
    nodes = tuple(
        build_house(house.room.engine, room=room, hashes_=CountedHashes(waiting=100))
        for room in (house.room, house.room.another_node())
    )
    await house.invite()
    ticket = house.mails.ticket()
    if purpose == "reset":
        await house.people.passwords.accept_invitation(ticket, PASSWORD, source=SOURCE)
        ticket = await reset_ticket(house)

    async def use(number: int) -> object:
        node = nodes[number % 2].people.passwords
        source = f"192.0.2.{number}"
        password = f"the password of number {number}"
        if purpose == "reset":
            return await node.reset(ticket, password, source=source)
        return await node.accept_invitation(ticket, password, source=source)

    assert await count_successes([use(number) for number in range(50)], TicketRefused) == 1


async def test_links_end_in_time_and_with_a_newer_one(house: House) -> None:
    """What lies in a mailbox for long, or was replaced, is worth nothing."""
    await house.arrive()
    first = await reset_ticket(house)
    second = await reset_ticket(house)
    with pytest.raises(TicketRefused):
        await house.people.passwords.reset(first, NEW, source=SOURCE)
    house.wait(1_800_000)
    with pytest.raises(TicketRefused):
        await house.people.passwords.reset(second, NEW, source=SOURCE)


async def test_a_link_is_good_for_its_purpose_alone(house: House) -> None:
    """An invitation resets nothing, and a reset invites nobody."""
    await house.invite()
    with pytest.raises(TicketRefused):
        await house.people.passwords.find_resetting(house.mails.ticket())
    with pytest.raises(TicketRefused):
        await house.people.passwords.reset(house.mails.ticket(), NEW, source=SOURCE)
    await house.people.passwords.accept_invitation(house.mails.ticket(), PASSWORD, source=SOURCE)
    with pytest.raises(TicketRefused):
        await house.people.passwords.accept_invitation(await reset_ticket(house), NEW, source=SOURCE)


async def test_a_link_that_is_good_for_nothing_costs_no_hash(house: House) -> None:
    """Whoever guesses links does not keep the processor busy."""
    with pytest.raises(TicketRefused):
        await house.people.passwords.reset("x" * 43, NEW, source=SOURCE)
    assert house.hashes.hashed == 0


async def test_a_reset_ends_all_sessions_and_keeps_the_second_factor(house: House) -> None:
    """Whoever reads somebody's mail has a password, and no way past the second factor."""
    step, device = await house.enrol(await house.arrive(roles=("trader",)))
    await house.people.passwords.reset(await reset_ticket(house), NEW, source=SOURCE)
    assert await house.people.sessions.find(value(step)) is None
    with pytest.raises(SignInRefused):
        await house.sign_in()
    house.wait(60_000)
    again = await house.sign_in(password=NEW)
    assert half(again).needs == "second-factor"
    whole(await house.people.sign_in.with_totp(value(again), house.code(device), source=SOURCE))


async def test_asking_for_a_reset_does_nothing_while_it_is_asked(house: House) -> None:
    """Known or not, the answer is the same and nothing is read, written or sent for it."""
    await house.arrive()
    statements: list[str] = []
    sa.event.listen(
        house.room.engine.sync_engine, "before_execute", lambda *given: statements.append(str(given[1]))
    )
    house.mails.mails.clear()
    for email in ("ada@acme.example", "nobody@acme.example", "no address at all"):
        assert await house.people.passwords.request_reset(email, source=SOURCE) is None  # type: ignore[func-returns-value]
    assert statements == []
    assert house.mails.mails == []
    await house.people.passwords.answer_all()
    assert [mail.recipient for mail in house.mails.mails] == ["ada@acme.example"]


async def test_resets_are_counted_by_address_and_source(house: House) -> None:
    """Nobody's mailbox is filled by strangers, known or not."""
    for email in ("ada@acme.example", "nobody@acme.example"):
        for number in range(3):
            await house.people.passwords.request_reset(email, source=f"192.0.2.{number}")
        with pytest.raises(Throttled):
            await house.people.passwords.request_reset(email, source="192.0.2.9")


async def test_a_mail_that_cannot_be_sent_is_told_in_the_log_alone(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """The one who asked is answered as ever; the next one is served."""
    await house.arrive()
    house.mails.broken = True
    with caplog.at_level(logging.WARNING):
        await house.people.passwords.request_reset("ada@acme.example", source=SOURCE)
        await house.people.passwords.answer_all()
    assert "could not be sent" in caplog.text
    house.mails.broken = False
    await reset_ticket(house)


async def test_a_password_is_changed_by_whoever_knows_it(house: House) -> None:
    """Every other session ends, and this one goes on under another value."""
    step = await house.arrive()
    other = await house.sign_in()
    with pytest.raises(SignInRefused):
        await house.people.passwords.change(value(step), "a wrong password indeed", NEW, source=SOURCE)
    changed = await house.people.passwords.change(value(step), PASSWORD, NEW, source=SOURCE)
    found = [await house.people.sessions.find(value(each)) for each in (step, other, changed)]
    assert found[:2] == [None, None]
    assert isinstance(found[2], SignedIn)
    house.wait(300_000)
    with pytest.raises(StepUpNeeded):
        await house.people.passwords.change(value(changed), NEW, PASSWORD, source=SOURCE)


@pytest.mark.parametrize(
    "password",
    [
        "elevenchars",
        "a" * 12,
        "Password1234",
        "ada@acme.example",
        "ADA@ACME.EXAMPLE",
        "with a\x00null in it",
        "x" * 1025,
        "",
        "\ud800 lone surrogate here",
    ],
)
async def test_passwords_that_nobody_may_have(house: House, password: str) -> None:
    """Too short, too long, guessed first, or not to be typed: refused before anything is hashed, and never repeated."""
    await house.invite()
    with pytest.raises(PasswordRefused) as refused:
        await house.people.passwords.accept_invitation(house.mails.ticket(), password, source=SOURCE)
    assert house.hashes.hashed == 0
    assert not password or password not in str(refused.value)


def test_one_password_has_one_form() -> None:
    """However a keyboard composes it; nothing is cut off and nothing folded."""
    composed, decomposed = "caf\u00e9 au lait, svp", "cafe\u0301\u00a0au lait, svp"
    assert passwords.prepare(composed) == passwords.prepare(decomposed)
    assert passwords.prepare("A horse that runs") != passwords.prepare("a horse that runs")
    assert passwords.prepare("x" * 1024) != passwords.prepare("x" * 1023 + "y")


async def test_nothing_secret_is_stored_logged_or_shown(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """No password, link, code, cookie or device secret stands in store, ledger or log, or in any text of a value."""
    caplog.set_level(logging.DEBUG)
    await house.invite(roles=("trader",))
    mail, invitation = house.mails.mails[-1], house.mails.ticket()
    step = await house.people.passwords.accept_invitation(invitation, PASSWORD, source=SOURCE)
    offered = await house.people.factors.enrol_totp(value(step), source=SOURCE)
    enrolled, device = await house.enrol(step)
    reset = await reset_ticket(house)
    secrets = [PASSWORD, invitation, reset, value(step), value(enrolled), offered.secret.reveal()]
    secrets += [code.reveal() for code in enrolled.recovery_codes]
    secrets += [half(step).csrf, whole(enrolled).csrf, device.reveal().hex()]
    shown = [
        repr(each)
        for each in (mail, step, step.session, enrolled, enrolled.session, offered, Secret(PASSWORD))
    ]
    looked = await house.people.sessions.look(value(enrolled))
    text = "\n".join([*shown, repr(looked), caplog.text, repr(await house.ledger()), await _dump(house)])
    assert [each for each in secrets if each in text] == []
    assert device.reveal() not in (await _dump(house)).encode("latin-1", "replace")


async def _dump(house: House) -> str:
    async with engine.reading(house.room.engine) as conn:
        rows = [
            row for table in schema.metadata.sorted_tables for row in await conn.execute(sa.select(table))
        ]
    return repr([tuple(row) for row in rows])


async def test_the_reset_is_not_the_doing_of_whoever_it_is_for(house: House) -> None:
    """That somebody asked is in the ledger, by nobody in particular: anybody can type an address."""
    await house.arrive()
    await reset_ticket(house)
    event = next(event for event in await house.ledger() if event.action == "account.reset_requested")
    assert (event.actor, event.source, event.partner) == ("anybody", SOURCE, "acme")
    assert OPERATOR.actor != event.actor


async def test_one_reset_that_fails_keeps_nobody_else_from_theirs(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong with it: the node goes on with the next, and says that something did."""
    await house.arrive()
    await house.arrive("eve@acme.example")
    send, sent = house.mails.send, asyncio.Event()

    async def fail_once(mail: Mail) -> None:
        if mail.recipient.startswith("ada"):
            raise RuntimeError("a secret of the inside")
        await send(mail)
        sent.set()

    house.mails.send = fail_once  # type: ignore[method-assign]  # a mailer with a defect
    working = asyncio.create_task(house.people.passwords.run())
    await house.people.passwords.request_reset("ada@acme.example", source=SOURCE)
    await house.people.passwords.request_reset("eve@acme.example", source=SOURCE)
    async with asyncio.timeout(30):
        await sent.wait()
    working.cancel()
    assert house.mails.mails[-1].recipient == "eve@acme.example"
    assert "RuntimeError" in caplog.text
    assert "inside" not in caplog.text


async def test_whoever_comes_leaves_no_session_behind_in_their_browser(house: House) -> None:
    """Somebody else was signed in there: their session has no cookie any more, and ends."""
    before = await house.arrive("eve@acme.example")
    await house.invite()
    await house.people.passwords.accept_invitation(
        house.mails.ticket(), PASSWORD, source=SOURCE, presented=value(before)
    )
    assert await house.people.sessions.find(value(before)) is None
