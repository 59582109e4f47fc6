"""Accounts, as those who keep them change them."""

from __future__ import annotations

import msgspec
import pytest

from auth.people import email_addresses
from auth.people.accounts import Invitation
from auth.people.failures import (
    AccountAlreadyDisabled,
    AccountExists,
    AccountMoved,
    AccountNotActive,
    AccountNotDisabled,
    InvalidEmail,
    InvalidName,
    InvalidRoles,
    NothingToChange,
    TicketRefused,
    UnknownAccount,
)
from auth.people.mail import MailNotSent
from keys import partners
from tests.support.people import OPERATOR, PASSWORD, SOURCE, House

ASKED = Invitation(email="Ada@Acme.example", name="Ada", partner="acme", roles=("viewer",))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@acme.example",
        "ada@",
        "ada@@acme.example",
        "a da@acme.example",
        "ada@acme.example\nBcc: x@y.example",
        "ada@acme..example",
        "ada@-acme.example",
        "=?utf-8?q?eve=40evil.example=2C?=@acme.example",
        "=?utf-8?b?YQ0KQmNjOiB4QHg=?=@acme.example",
        ".ada@acme.example",
        '"ada"@acme.example',
        "ada@[192.0.2.1]",
        "ad\u0430@acme.example",
        "a" * 65 + "@acme.example",
        "ada@" + "a" * 64 + ".example",
        "ada@" + "a.b" * 90,
    ],
)
def test_addresses_that_are_none(text: str) -> None:
    """What could be written in two ways, or does more in a mail's header than to name a mailbox, is refused."""
    with pytest.raises(InvalidEmail):
        email_addresses.parse(text)


async def test_one_address_has_one_account(house: House) -> None:
    """However it is written; it is shown as it was."""
    account = await house.people.accounts.invite(ASKED, author=OPERATOR)
    assert (account.email, account.shown_email) == ("ada@acme.example", "Ada@Acme.example")
    assert (account.state, account.has_password) == ("invited", False)
    with pytest.raises(AccountExists):
        await house.invite("ADA@acme.EXAMPLE ")


@pytest.mark.parametrize(
    ("wrong", "failure"),
    [
        ({"email": "nobody"}, InvalidEmail),
        ({"name": ""}, InvalidName),
        ({"name": "a\nb"}, InvalidName),
        ({"name": "a" * 101}, InvalidName),
        ({"roles": tuple(str(number) for number in range(65))}, InvalidRoles),
        ({"roles": ("",)}, InvalidRoles),
        ({"partner": "nobody"}, partners.UnknownPartner),
    ],
)
async def test_invitations_that_are_refused(
    house: House, wrong: dict[str, object], failure: type[Exception]
) -> None:
    """Nothing is stored of them and no mail leaves."""
    with pytest.raises(failure):
        await house.people.accounts.invite(msgspec.structs.replace(ASKED, **wrong), author=OPERATOR)
    assert house.mails.mails == []
    assert await house.people.accounts.list_all() == ()


async def test_an_invitation_that_was_not_sent_can_be_sent_again(house: House) -> None:
    """The account is there; the link that nobody got is worth nothing once there is another."""
    house.mails.broken = True
    with pytest.raises(MailNotSent):
        await house.invite()
    house.mails.broken = False
    account = await house.people.accounts.get_by("ada@acme.example")
    await house.people.accounts.send_link(account.id, author=OPERATOR)
    first = house.mails.ticket()
    await house.people.accounts.send_link(account.id, author=OPERATOR)
    with pytest.raises(TicketRefused):
        await house.people.passwords.accept_invitation(first, PASSWORD, source=SOURCE)
    await house.people.passwords.accept_invitation(house.mails.ticket(), PASSWORD, source=SOURCE)


async def test_an_invitation_of_somebody_disabled_is_worth_nothing(house: House) -> None:
    """Shut out before they came; let in again, they are invited anew."""
    account = await house.invite()
    await house.people.accounts.disable(account.id, author=OPERATOR)
    with pytest.raises(TicketRefused):
        await house.people.passwords.accept_invitation(house.mails.ticket(), PASSWORD, source=SOURCE)
    with pytest.raises(AccountAlreadyDisabled):
        await house.people.accounts.disable(account.id, author=OPERATOR)
    with pytest.raises(AccountNotActive):
        await house.people.accounts.send_link(account.id, author=OPERATOR)
    assert (await house.people.accounts.enable(account.id, author=OPERATOR)).state == "invited"
    with pytest.raises(AccountNotDisabled):
        await house.people.accounts.enable(account.id, author=OPERATOR)


async def test_roles_are_changed_on_what_was_seen(house: House) -> None:
    """Of two changes decided on the same account the second is refused."""
    seen = await house.invite()
    changed = await house.people.accounts.set_roles(seen, ("trader", "trader"), author=OPERATOR)
    assert changed.roles == ("trader",)
    with pytest.raises(AccountMoved):
        await house.people.accounts.set_roles(seen, (), author=OPERATOR)
    with pytest.raises(NothingToChange):
        await house.people.accounts.set_roles(changed, ("trader",), author=OPERATOR)
    event = next(each for each in await house.ledger() if each.action == "account.roles_changed")
    assert (event.partner, event.actor) == ("acme", "cli:operator")
    assert event.details == {"before": ["viewer"], "after": ["trader"], "grants": 0}


async def test_the_ledger_holds_no_addresses(house: House) -> None:
    """People are named there by their ids: it forgets nothing."""
    await house.arrive()
    assert "ada@" not in repr(await house.ledger())


async def test_accounts_are_found_by_id_and_address(house: House) -> None:
    """As people type either; an unknown one is told, and no more than its beginning."""
    account = await house.invite()
    for named in (account.id, "ADA@acme.example"):
        assert (await house.people.accounts.get_by(named)).id == account.id
    for named in ("acc_none", "nobody@acme.example", "@"):
        with pytest.raises(UnknownAccount):
            await house.people.accounts.get_by(named)
    assert await house.people.accounts.list_all("other") == ()
