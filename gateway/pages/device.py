"""`/oauth/device`: a code that a device shows, typed by the person who is to allow it.

Invariant: nobody looks up a code who has not signed in, so every guess counts against an account; and a code alone
decides nothing: it is put before the person as any other request is.
"""

from __future__ import annotations

from auth.oauth.devices import NoSuchUserCode, PendingDevice, TooManyGuesses
from auth.oauth.refusals import Refused
from auth.people.records import SignedIn
from gateway.pages import consent, ways
from gateway.pages.answers import Answer, Page
from gateway.pages.authorize import NOTHING_CHOSEN, is_denied
from gateway.pages.visit import StepUpNeeded, Visit

_UNKNOWN = "No device waits for this code. Look at it again; if it has expired, start again on the device."
_TOO_MANY = "Too many codes were tried. Wait a minute, then try again."


async def show(visit: Visit) -> Answer:
    """A code in the address only fills the field: somebody else may have written it."""
    way = ways.make("device", visit.asked)
    visit.require_person(way)
    return _ask(dict(way.parameters).get("user_code", ""), "", 200)


async def look(visit: Visit) -> Answer:
    """The code was typed."""
    user_code = visit.field("user_code").strip()
    person = visit.require_person(_way(user_code))
    try:
        pending = await visit.services.flows.devices.find(user_code, asker=person.account_id)
    except (NoSuchUserCode, TooManyGuesses) as failure:
        return _refuse(visit, user_code, failure)
    return _page(visit, user_code, pending, person, "")


async def decide(visit: Visit) -> Answer:
    user_code = visit.field("user_code").strip()
    person, devices = visit.require_person(_way(user_code)), visit.services.flows.devices
    try:
        pending = await devices.find(user_code, asker=person.account_id)
        if is_denied(visit):
            await devices.deny(pending)
            visit.trace.reason = "access_denied"
            return _notice("Refused", "The device was told that you do not allow it.")
        return await _allow(visit, user_code, pending, person)
    except (NoSuchUserCode, TooManyGuesses) as failure:
        return _refuse(visit, user_code, failure)


async def _allow(visit: Visit, user_code: str, pending: PendingDevice, person: SignedIn) -> Answer:
    shown = _compose(visit, pending, person)
    if shown.is_trading and not visit.is_recent(person):
        raise StepUpNeeded(_way(user_code))
    try:
        chosen = shown.chosen(visit.asked)
        await visit.services.flows.devices.approve(pending, person, chosen, source=visit.source)
    except (consent.NothingChosen, Refused):
        return _page(visit, user_code, pending, person, NOTHING_CHOSEN)
    return _notice("Your device is connected", "You can go back to it now.")


def _way(user_code: str) -> ways.Way:
    try:
        return ways.make("device", {"user_code": user_code})
    except ways.MalformedWay:
        return ways.make("device", {})


def _compose(visit: Visit, pending: PendingDevice, person: SignedIn) -> consent.Consent:
    services, client = visit.services, pending.client
    return consent.compose(
        client,
        pending.scope,
        services.flows.devices.givable(pending, person),
        services.policies,
        services.lifetime_ms(client),
    )


def _ask(user_code: str, told: str, status: int, headers: dict[str, str] | None = None) -> Page:
    return Page("device.html", {"user_code": user_code, "told": told}, status, headers=headers or {})


def _refuse(visit: Visit, user_code: str, failure: NoSuchUserCode | TooManyGuesses) -> Page:
    if isinstance(failure, NoSuchUserCode):
        visit.trace.refuse("no_such_user_code")
        return _ask(user_code, _UNKNOWN, 400)
    visit.trace.refuse("rate_limited")
    return _ask("", _TOO_MANY, 429, {"retry-after": str(-(-failure.retry_after_ms // 1000))})


def _page(visit: Visit, user_code: str, pending: PendingDevice, person: SignedIn, told: str) -> Page:
    values = {
        "consent": _compose(visit, pending, person),
        "action": "/oauth/device/decision",
        "carried": (("user_code", user_code),),
        "way": _way(user_code),
        "user_code": user_code,
        "told": told,
    }
    return Page("consent.html", values, 400 if told else 200)


def _notice(title: str, text: str) -> Page:
    return Page("notice.html", {"title": title, "text": text, "link": "", "link_text": ""})
