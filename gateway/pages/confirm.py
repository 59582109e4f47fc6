"""`/oauth/confirm`: somebody signed in proves once more that it is them, for what must not be done by anybody else.

Invariant: it asks for as much as signing in did: a password, with a code where there is an authenticator app, or a
passkey. Whose only second factor is a passkey confirms by that: a password alone would be less.
"""

from __future__ import annotations

from typing import Any

from auth.people.failures import PasskeyRefused
from auth.people.records import SignedIn
from gateway.pages import excuses, sign_in, ways
from gateway.pages.answers import Answer, Page
from gateway.pages.visit import Visit

PATH = "/oauth/confirm"
_ANSWER = "/oauth/confirm/passkey/answer"


async def show(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    return Page("confirm.html", await _values(visit, way, visit.require_person(way)))


async def with_password(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    values = await _values(visit, way, visit.require_person(way))
    if not values["password"]:
        return excuses.again(visit.trace, PasskeyRefused(), "confirm.html", values)
    try:
        step = await visit.services.people.sign_in.confirm(
            visit.require_cookie(), visit.field("password"), visit.asked.get("code"), source=visit.source
        )
    except excuses.EXCUSED as failure:
        return excuses.again(visit.trace, failure, "confirm.html", values)
    return sign_in.go_on(visit, way, step)


async def begin_passkey(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    visit.require_person(way)
    question = await visit.services.people.passkeys.begin(visit.require_cookie(), source=visit.source)
    values = {
        "way": way,
        "told": "",
        "question": question.options,
        "action": _ANSWER,
        "back": way.through(PATH),
    }
    return Page("passkey_sign_in.html", values)


async def with_passkey(visit: Visit) -> Answer:
    way = ways.parse(visit.asked)
    person = visit.require_person(way)
    try:
        step = await visit.services.people.passkeys.finish(
            visit.require_cookie(), visit.field("answer"), source=visit.source
        )
    except excuses.EXCUSED as failure:
        return excuses.again(visit.trace, failure, "confirm.html", await _values(visit, way, person))
    return sign_in.go_on(visit, way, step)


async def _values(visit: Visit, way: ways.Way, person: SignedIn) -> dict[str, Any]:
    account = await visit.services.people.accounts.get(person.account_id)
    return {
        "way": way,
        "told": "",
        "passkey": account.passkeys > 0,
        "password": account.has_password and (account.has_totp or not account.passkeys),
        "codes": account.has_totp,
    }
