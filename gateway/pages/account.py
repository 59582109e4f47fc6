"""`/oauth/account`: what somebody's account is, where they are signed in, and which apps act in their name.

Invariant: everything here is the asker's own, found by their session and by nothing in the form. What changes how they
sign in takes a recent confirmation; to sign out, and to withdraw what an app may do, never does.
"""

from __future__ import annotations

from typing import Any

import msgspec

from auth.oauth.grants import Grant
from auth.people.records import Account, SignedIn
from gateway.pages import enrol, excuses, sign_in, ways
from gateway.pages.answers import Answer, Page, SeeOther
from gateway.pages.visit import Visit
from keys import format as key_format
from keys.changes import person as author_of

_PASSWORD = ways.Way("password")
_CODES = ways.Way("one-time-codes")
_PASSKEYS = ways.Way("passkeys")
_RECOVERY = ways.Way("recovery-codes")


class ShownGrant(msgspec.Struct, frozen=True):
    id: str
    app: str
    partner: str
    environment: str
    scope: str
    created_at: int
    expires_at: int


async def show(visit: Visit) -> Answer:
    person = visit.require_person(ways.ACCOUNT)
    people, flows = visit.services.people, visit.services.flows
    granted = await flows.grants.list_of_account(person.account_id)
    values = {
        "account": await people.accounts.get(person.account_id),
        "sessions": await people.sessions.list_own(visit.require_cookie()),
        "grants": [_show_grant(visit, each) for each in granted],
        "told": "",
    }
    return Page("account.html", values)


async def withdraw(visit: Visit) -> Answer:
    person = visit.require_person(ways.ACCOUNT)
    await visit.services.flows.grants.revoke(
        visit.field("grant"),
        author_of(person.account_id, visit.source),
        "withdrawn by the person",
        account_id=person.account_id,
    )
    return SeeOther(ways.ACCOUNT.address)


async def sign_out_everywhere(visit: Visit) -> Answer:
    visit.require_person(ways.ACCOUNT)
    await visit.services.people.sessions.end_all_own(visit.require_cookie(), source=visit.source)
    visit.end_session()
    return SeeOther(sign_in.PATH)


async def end_session(visit: Visit) -> Answer:
    visit.require_person(ways.ACCOUNT)
    await visit.services.people.sessions.end_own(
        visit.require_cookie(), visit.field("session"), source=visit.source
    )
    return SeeOther(ways.ACCOUNT.address)


# One-time codes -------------------------------------------------------------------------------------------


async def show_codes(visit: Visit) -> Answer:
    person = visit.require_recent(_CODES)
    account = await _account(visit, person)
    return Page("one_time_codes.html", {"told": "", "state": "set" if account.has_totp else "none"})


async def begin_codes(visit: Visit) -> Answer:
    visit.require_recent(_CODES)
    return await enrol.offer_codes(visit, "/oauth/account/one-time-codes/confirm", ())


async def confirm_codes(visit: Visit) -> Answer:
    visit.require_recent(_CODES)
    return await enrol.take_code(visit, "/oauth/account/one-time-codes/confirm", ways.ACCOUNT)


async def remove_codes(visit: Visit) -> Answer:
    visit.require_recent(_CODES)
    try:
        await visit.services.people.factors.remove_totp(visit.require_cookie(), source=visit.source)
    except excuses.EXCUSED as failure:
        return excuses.again(visit.trace, failure, "one_time_codes.html", {"state": "set"})
    return SeeOther(ways.ACCOUNT.address)


# Passkeys -------------------------------------------------------------------------------------------------


async def show_passkeys(visit: Visit) -> Answer:
    visit.require_recent(_PASSKEYS)
    return Page("passkeys.html", await _passkeys(visit))


async def begin_passkey(visit: Visit) -> Answer:
    visit.require_recent(_PASSKEYS)
    return await enrol.offer_passkey(
        visit, "/oauth/account/passkeys/add", ways.Way("passkeys"), _PASSKEYS.address
    )


async def add_passkey(visit: Visit) -> Answer:
    visit.require_recent(_PASSKEYS)
    return await enrol.take_passkey(visit, _PASSKEYS, _PASSKEYS.address)


async def rename_passkey(visit: Visit) -> Answer:
    visit.require_recent(_PASSKEYS)
    try:
        await visit.services.people.passkeys.rename(
            visit.require_cookie(), visit.field("passkey"), visit.field("label"), source=visit.source
        )
    except excuses.EXCUSED as failure:
        return excuses.again(visit.trace, failure, "passkeys.html", await _passkeys(visit))
    return SeeOther(_PASSKEYS.address)


async def remove_passkey(visit: Visit) -> Answer:
    visit.require_recent(_PASSKEYS)
    try:
        await visit.services.people.passkeys.remove(
            visit.require_cookie(), visit.field("passkey"), source=visit.source
        )
    except excuses.EXCUSED as failure:
        return excuses.again(visit.trace, failure, "passkeys.html", await _passkeys(visit))
    return SeeOther(_PASSKEYS.address)


# Recovery codes -------------------------------------------------------------------------------------------


async def show_recovery_codes(visit: Visit) -> Answer:
    account = await _account(visit, visit.require_recent(_RECOVERY))
    return Page("recovery_codes.html", _left(account))


async def make_recovery_codes(visit: Visit) -> Answer:
    account = await _account(visit, visit.require_recent(_RECOVERY))
    try:
        made = await visit.services.people.factors.make_recovery_codes(
            visit.require_cookie(), source=visit.source
        )
    except excuses.EXCUSED as failure:
        return excuses.again(visit.trace, failure, "recovery_codes.html", _left(account))
    values = {"told": "", "codes": [each.reveal() for each in made], "next": ways.ACCOUNT.address}
    return Page("recovery_codes.html", values)


def _left(account: Account) -> dict[str, Any]:
    return {"told": "", "codes": (), "left": account.recovery_codes, "possible": account.has_second_factor}


async def _account(visit: Visit, person: SignedIn) -> Account:
    return await visit.services.people.accounts.get(person.account_id)


async def _passkeys(visit: Visit) -> dict[str, Any]:
    mine = await visit.services.people.passkeys.list_own(visit.require_cookie())
    return {"told": "", "passkeys": mine, "possible": visit.services.passkeys}


def _show_grant(visit: Visit, grant: Grant) -> ShownGrant:
    client = visit.services.clients.find(grant.client_id)
    return ShownGrant(
        grant.id,
        grant.client_id if client is None else client.name,
        grant.partner if client is None else client.partner,
        key_format.parse_client_id(grant.client_id) or "",
        " ".join(grant.scope),
        grant.created_at,
        grant.expires_at,
    )
