"""Passwords that people choose: invited, because they forgot theirs, or because they want another.

Invariant: a ticket is carried by the address of one page and from there in its form; looking at the page uses nothing
up, so that whatever opens links in mails before people do takes nothing away. Whoever asks for a reset is answered
alike, whether there is such an account.
"""

from __future__ import annotations

from typing import Any

from auth.people import failures, passwords
from gateway.pages import excuses, sign_in, ways
from gateway.pages.answers import Answer, Page, SeeOther
from gateway.pages.visit import Visit

_PASSWORD = ways.Way("password")
_DIFFERENT = "The two new passwords are not the same."
_SENT = (
    "If there is an account with this address, a link is on its way to it. It works once, and not for long. "
    "If nothing comes, look among unwanted mail."
)


async def show_invitation(visit: Visit) -> Answer:
    ticket = visit.field("ticket")
    invited = await visit.services.people.passwords.find_invited(ticket)
    return Page("new_password.html", _invited(ticket, invited.name))


async def accept_invitation(visit: Visit) -> Answer:
    ticket, password = visit.field("ticket"), visit.field("password")
    if password != visit.field("again"):
        return _differ(visit, "new_password.html", _invited(ticket, ""))
    try:
        step = await visit.services.people.passwords.accept_invitation(
            ticket, password, source=visit.source, agent=visit.agent, presented=visit.cookie
        )
    except failures.TicketRefused:
        raise
    except excuses.EXCUSED as failure:
        return excuses.again(visit.trace, failure, "new_password.html", _invited(ticket, ""))
    return sign_in.go_on(visit, ways.ACCOUNT, step)


async def show_reset(visit: Visit) -> Answer:
    """Without a ticket, the form that asks for one."""
    ticket = visit.asked.get("ticket")
    if ticket is None:
        return Page("reset_request.html", {"told": ""})
    await visit.services.people.passwords.find_resetting(ticket)
    return Page("new_password.html", _resetting(ticket))


async def request_reset(visit: Visit) -> Answer:
    try:
        await visit.services.people.passwords.request_reset(visit.field("email").strip(), source=visit.source)
    except excuses.EXCUSED as failure:
        return excuses.again(visit.trace, failure, "reset_request.html", {})
    return _notice("Look at your mail", _SENT)


async def reset(visit: Visit) -> Answer:
    ticket, password = visit.field("ticket"), visit.field("password")
    if password != visit.field("again"):
        return _differ(visit, "new_password.html", _resetting(ticket))
    try:
        await visit.services.people.passwords.reset(ticket, password, source=visit.source)
    except failures.TicketRefused:
        raise
    except excuses.EXCUSED as failure:
        return excuses.again(visit.trace, failure, "new_password.html", _resetting(ticket))
    if visit.cookie is not None:
        # Whose browser this was signed in for is not told by the ticket.
        visit.end_session()
    return _notice("Your password is set", "You are signed out everywhere. Sign in with the new one.")


async def show_change(visit: Visit) -> Answer:
    visit.require_recent(_PASSWORD)
    return Page("password.html", _changing())


async def change(visit: Visit) -> Answer:
    visit.require_recent(_PASSWORD)
    password = visit.field("password")
    if password != visit.field("again"):
        return _differ(visit, "password.html", _changing())
    try:
        step = await visit.services.people.passwords.change(
            visit.require_cookie(), visit.field("current"), password, source=visit.source
        )
    except excuses.EXCUSED as failure:
        return excuses.again(visit.trace, failure, "password.html", _changing())
    visit.go_on(step)
    return SeeOther(ways.ACCOUNT.address)


def _invited(ticket: str, name: str) -> dict[str, Any]:
    hello = f"Hello {name}. Choose a password for your account." if name else "Choose a password."
    return _choosing(ticket, "Welcome", hello, "/oauth/invitation")


def _resetting(ticket: str) -> dict[str, Any]:
    text = "Choose a new password. You will be signed out everywhere."
    return _choosing(ticket, "A new password", text, "/oauth/reset")


def _choosing(ticket: str, title: str, text: str, action: str) -> dict[str, Any]:
    return {
        "told": "",
        "title": title,
        "text": text,
        "action": action,
        "ticket": ticket,
        "shortest": passwords.SHORTEST,
    }


def _changing() -> dict[str, Any]:
    return {"told": "", "shortest": passwords.SHORTEST}


def _differ(visit: Visit, template: str, values: dict[str, Any]) -> Page:
    visit.trace.refuse("invalid_request")
    return Page(template, {**values, "told": _DIFFERENT}, 400)


def _notice(title: str, text: str) -> Page:
    values = {"title": title, "text": text, "link": sign_in.PATH, "link_text": "Sign in"}
    return Page("notice.html", values)
