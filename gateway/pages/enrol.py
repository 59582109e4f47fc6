"""`/oauth/enrol`: somebody whose roles ask for a second factor, and who has none, sets one up before anything else.

Invariant: only for a session that lacks just this; whoever has a factor proves it instead, and changes it in their
account. What is shown once (a key, recovery codes) is in the answer to a form, which no address leads back to.
"""

from __future__ import annotations

from typing import Any

from auth.people.records import HalfSignedIn, Step
from gateway.pages import excuses, pictures, sign_in, ways
from gateway.pages.answers import Answer, Page, SeeOther
from gateway.pages.visit import SignInNeeded, Visit

PATH = "/oauth/enrol"
_CONFIRM = "/oauth/enrol/one-time-codes/confirm"


async def show(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    if visit.signed_in is not None:
        return SeeOther(way.address)
    _require_entitled(visit, way)
    return Page("enrol.html", {"way": way, "told": "", "passkeys": visit.services.passkeys})


async def begin_codes(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    _require_entitled(visit, way)
    return await offer_codes(visit, _CONFIRM, way.fields)


async def confirm_codes(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    _require_entitled(visit, way)
    return await take_code(visit, _CONFIRM, way)


async def begin_passkey(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    _require_entitled(visit, way)
    return await offer_passkey(visit, "/oauth/enrol/passkey/answer", way, way.through(PATH))


async def add_passkey(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    _require_entitled(visit, way)
    return await take_passkey(visit, way, way.through(PATH))


def _require_entitled(visit: Visit, way: ways.Way) -> None:
    session = visit.session
    if not isinstance(session, HalfSignedIn) or session.needs != "enrolment":
        raise SignInNeeded(way)


# The same steps as somebody's account page takes them -----------------------------------------------------


async def offer_codes(visit: Visit, action: str, carried: tuple[tuple[str, str], ...]) -> Answer:
    enrolment = await visit.services.people.factors.enrol_totp(visit.require_cookie(), source=visit.source)
    key, uri = enrolment.secret.reveal(), enrolment.uri.reveal()
    shown = {
        "key": " ".join(key[at : at + 4] for at in range(0, len(key), 4)),
        "uri": uri,
        "picture": _draw(uri),
    }
    values = {"told": "", "state": "offered", "enrolment": shown, "action": action, "carried": carried}
    return Page("one_time_codes.html", values)


async def take_code(visit: Visit, action: str, way: ways.Way) -> Answer:
    try:
        step = await visit.services.people.factors.confirm_totp(
            visit.require_cookie(), visit.field("code"), source=visit.source
        )
    except excuses.EXCUSED as failure:
        # The key is not shown again: the device has it, or the person begins anew.
        values: dict[str, Any] = {
            "state": "offered",
            "enrolment": None,
            "action": action,
            "carried": way.fields,
        }
        return excuses.again(visit.trace, failure, "one_time_codes.html", values)
    return _enrolled(visit, way, step)


async def offer_passkey(visit: Visit, action: str, way: ways.Way, back: str) -> Answer:
    question = await visit.services.people.passkeys.begin_registration(visit.require_cookie())
    values = {
        "told": "",
        "question": question.options,
        "action": action,
        "carried": way.fields,
        "back": back,
    }
    return Page("new_passkey.html", values)


async def take_passkey(visit: Visit, way: ways.Way, back: str) -> Answer:
    try:
        step = await visit.services.people.passkeys.register(
            visit.require_cookie(), visit.field("answer"), visit.field("label"), source=visit.source
        )
    except excuses.EXCUSED as failure:
        values = {"title": "No passkey was added", "link": back, "link_text": "Try again"}
        return excuses.again(visit.trace, failure, "notice.html", {**values, "text": _text(failure)})
    return _enrolled(visit, way, step)


def _enrolled(visit: Visit, way: ways.Way, step: Step) -> Answer:
    if not step.recovery_codes:
        return sign_in.go_on(visit, way, step)
    visit.go_on(step)
    codes = [each.reveal() for each in step.recovery_codes]
    following = sign_in.following(step.session, way)
    return Page("recovery_codes.html", {"told": "", "codes": codes, "next": following})


def _text(failure: Exception) -> str:
    excuse = excuses.find(failure)
    return "" if excuse is None else excuse.text


def _draw(uri: str) -> str:
    try:
        return pictures.draw(uri)
    except pictures.TooLong:
        return ""
