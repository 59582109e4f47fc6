"""`/oauth/authorize`: a client's request, put before the person it is about, and their answer sent back to the client.

Invariant: nothing of the browser's query is taken but which request it is; all else was pushed by the client itself.
What is asked can be allowed only by somebody who signed in, as recently as the client asks and, where money moves, as
recently as we do. An unknown request is told to the person, and redirects nowhere. A request that wants nobody asked is
answered as soon as it is looked at, and never with a code.
"""

from __future__ import annotations

from auth.oauth.authorization import Denial, PendingAuthorization
from auth.people.records import SignedIn
from gateway.pages import consent, ways
from gateway.pages.answers import Answer, Page, SeeOther
from gateway.pages.visit import SignInNeeded, StepUpNeeded, Visit

NOTHING_CHOSEN = "Choose at least one thing that the app may do, or refuse."


class UndecidedForm(Exception):
    """A form of this page without a decision in it."""


async def show(visit: Visit) -> Answer:
    way = ways.make("authorize", visit.asked)
    pending = await _find(visit, way)
    person = visit.signed_in
    if "none" in pending.prompt:
        # A person is always asked, and may not be: so nobody can be asked.
        error: Denial = "login_required" if person is None else "consent_required"
        return SeeOther(await visit.services.flows.authorization.deny(pending, error))
    person = _require_present(visit, way, pending)
    return _page(visit, way, pending, person, "")


async def decide(visit: Visit) -> Answer:
    way = ways.make("authorize", visit.asked)
    pending = await _find(visit, way)
    person = _require_present(visit, way, pending)
    authorization = visit.services.flows.authorization
    if is_denied(visit):
        visit.trace.reason = "access_denied"
        return SeeOther(await authorization.deny(pending))
    try:
        scope = _compose(visit, pending, person).chosen(visit.asked)
    except consent.NothingChosen:
        return _page(visit, way, pending, person, NOTHING_CHOSEN)
    return SeeOther(await authorization.approve(pending, person, scope, source=visit.source))


def is_denied(visit: Visit) -> bool:
    decision = visit.field("decision")
    if decision not in {"allow", "deny"}:
        raise UndecidedForm
    return decision == "deny"


async def _find(visit: Visit, way: ways.Way) -> PendingAuthorization:
    named = dict(way.parameters)
    return await visit.services.flows.authorization.find(named["client_id"], named["request_uri"])


def _require_present(visit: Visit, way: ways.Way, pending: PendingAuthorization) -> SignedIn:
    person = visit.signed_in
    if person is None:
        raise SignInNeeded(way)
    if _is_too_long_ago(visit, pending, person):
        raise StepUpNeeded(way)
    if _compose(visit, pending, person).is_trading and not visit.is_recent(person):
        raise StepUpNeeded(way)
    return person


def _is_too_long_ago(visit: Visit, pending: PendingAuthorization, person: SignedIn) -> bool:
    """Whoever has proved themselves since the client asked has done so recently enough, however little it allows."""
    if person.authenticated_at >= pending.created_at:
        return False
    if "login" in pending.prompt:
        return True
    return pending.max_age_ms is not None and visit.now_ms - person.authenticated_at > pending.max_age_ms


def _compose(visit: Visit, pending: PendingAuthorization, person: SignedIn) -> consent.Consent:
    services, client = visit.services, pending.client
    return consent.compose(
        client,
        pending.scope,
        services.flows.authorization.givable(pending, person),
        services.policies,
        services.lifetime_ms(client),
    )


def _page(visit: Visit, way: ways.Way, pending: PendingAuthorization, person: SignedIn, told: str) -> Page:
    values = {
        "consent": _compose(visit, pending, person),
        "action": "/oauth/authorize",
        "carried": way.parameters,
        "way": way,
        "user_code": "",
        "told": told,
    }
    return Page("consent.html", values, 400 if told else 200, form_target=pending.redirect_uri)
