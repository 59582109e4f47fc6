"""Signing in and out: a password and what has to follow it, or a passkey alone.

Invariant: with every proof that counts the browser gets another value for its session; where it goes on then is a step
of ours. Which of email and password was wrong is not told, here or in the log.
"""

from __future__ import annotations

from typing import Any

from auth.people.records import HalfSignedIn, SignedIn, Step
from gateway.pages import excuses, ways
from gateway.pages.answers import Answer, Page, SeeOther
from gateway.pages.visit import SignInNeeded, Visit

PATH = "/oauth/sign-in"
_SECOND = "/oauth/sign-in/second"
_ANSWER = "/oauth/sign-in/passkey/answer"


async def show(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    if visit.signed_in is not None:
        return SeeOther(way.address)
    return Page("sign_in.html", await _values(visit, way))


async def with_password(visit: Visit) -> Answer:
    way, email = ways.parse(visit.asked), visit.field("email").strip()
    try:
        step = await visit.services.people.sign_in.with_password(
            email, visit.field("password"), source=visit.source, agent=visit.agent, presented=visit.cookie
        )
    except excuses.EXCUSED as failure:
        values = {**await _values(visit, way), "email": email}
        return excuses.again(visit.trace, failure, "sign_in.html", values)
    return go_on(visit, way, step)


async def show_second(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    if visit.signed_in is not None:
        return SeeOther(way.address)
    return Page("second_factor.html", _offered(_require_half(visit, way), way))


async def with_code(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    session = _require_half(visit, way)
    try:
        step = await visit.services.people.sign_in.with_totp(
            visit.require_cookie(), visit.field("code"), source=visit.source
        )
    except excuses.EXCUSED as failure:
        return excuses.again(visit.trace, failure, "second_factor.html", _offered(session, way))
    return go_on(visit, way, step)


async def with_recovery_code(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    session = _require_half(visit, way)
    try:
        step = await visit.services.people.sign_in.with_recovery_code(
            visit.require_cookie(), visit.field("code"), source=visit.source
        )
    except excuses.EXCUSED as failure:
        values = {**_offered(session, way), "recovery_open": True}
        return excuses.again(visit.trace, failure, "second_factor.html", values)
    return go_on(visit, way, step)


async def begin_passkey(visit: Visit) -> Answer:
    """By a passkey alone: whoever was half signed in begins anew."""
    way = ways.parse(visit.asked)
    if visit.signed_in is not None:
        return SeeOther(way.address)
    question = await visit.services.people.passkeys.begin(None, source=visit.source, agent=visit.agent)
    if question.cookie is not None:
        await visit.begin_anonymous(question.cookie.reveal())
    return _ask(way, question.options, PATH)


async def begin_second_passkey(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    _require_half(visit, way)
    question = await visit.services.people.passkeys.begin(
        visit.require_cookie(), source=visit.source, agent=visit.agent
    )
    return _ask(way, question.options, _SECOND)


async def with_passkey(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    if visit.session is None:
        raise SignInNeeded(way)
    try:
        step = await visit.services.people.passkeys.finish(
            visit.require_cookie(), visit.field("answer"), source=visit.source, agent=visit.agent
        )
    except excuses.EXCUSED as failure:
        if isinstance(visit.session, HalfSignedIn) and visit.session.needs == "second-factor":
            return excuses.again(visit.trace, failure, "second_factor.html", _offered(visit.session, way))
        return excuses.again(visit.trace, failure, "sign_in.html", await _values(visit, way))
    return go_on(visit, way, step)


async def sign_out(visit: Visit) -> Answer:
    """With a way, for whoever is to sign in as somebody else: without one, to the door."""
    if visit.cookie is not None:
        await visit.services.people.sessions.end(visit.cookie, source=visit.source)
    visit.end_session()
    return SeeOther(ways.parse(visit.asked).through(PATH) if "to" in visit.asked else PATH)


def go_on(visit: Visit, way: ways.Way, step: Step) -> Answer:
    """To what is still missing, or to where they were going."""
    visit.go_on(step)
    return SeeOther(following(step.session, way))


def following(session: SignedIn | HalfSignedIn, way: ways.Way) -> str:
    if isinstance(session, SignedIn):
        return way.address
    if session.needs == "enrolment":
        return way.through("/oauth/enrol")
    return way.through(_SECOND if session.needs == "second-factor" else PATH)


def _require_half(visit: Visit, way: ways.Way) -> HalfSignedIn:
    session = visit.session
    if not isinstance(session, HalfSignedIn) or session.needs != "second-factor":
        raise SignInNeeded(way)
    return session


async def _values(visit: Visit, way: ways.Way) -> dict[str, Any]:
    """An app's request names it above the form; one that has ended is told before anybody signs in for it."""
    app, email = "", ""
    if way.step == "authorize":
        named = dict(way.parameters)
        pending = await visit.services.flows.authorization.find(named["client_id"], named["request_uri"])
        app, email = pending.client.name, pending.login_hint or ""
    return {"way": way, "told": "", "app": app, "email": email, "passkeys": visit.services.passkeys}


def _offered(session: HalfSignedIn, way: ways.Way) -> dict[str, Any]:
    return {
        "way": way,
        "told": "",
        "passkey": "passkey" in session.offers,
        "codes": "totp" in session.offers,
        "recovery": "recovery-code" in session.offers,
        "recovery_open": False,
    }


def _ask(way: ways.Way, question: str, back: str) -> Page:
    values = {"way": way, "told": "", "question": question, "action": _ANSWER, "back": way.through(back)}
    return Page("passkey_sign_in.html", values)
