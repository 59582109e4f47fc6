"""What becomes of a pushed request once a person has come with it: a code, or a refusal.

Invariant: a request is answered once. Whoever allows it acts for their own partner, whosesoever the client is, and
gives no more than was asked for, the client has, and they have themselves. Every response that goes to a redirect URI
names its issuer (RFC 9207), errors included, and that URI is one that the client has registered at that moment. Refuses
what is not to be answered with `NoSuchRequest`, which is for the person and never for a redirect.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from auth.oauth import codes, grants, pushed_requests, redirects
from auth.oauth.ground import Ground
from auth.oauth.pushed_requests import Prompt, PushedRequests
from auth.oauth.standing import find_account
from auth.oauth.terms import Person
from keys.changes import Change
from keys.served_clients import ServedClient
from storage import engine

Denial = Literal[
    "access_denied",
    "account_selection_required",
    "consent_required",
    "interaction_required",
    "login_required",
    "server_error",
    "temporarily_unavailable",
]

NOTHING_TO_GIVE: Final = "this person cannot give what is asked for"


class NoSuchRequest(LookupError):
    """Unknown, expired, answered, or no longer the client's to make."""

    def __init__(self) -> None:
        super().__init__("there is no such request to answer")


class PendingAuthorization(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`max_age_ms`: how long ago the person may have proved themselves; `prompt`: what the client wants them shown."""

    digest: str
    client: ServedClient
    scope: tuple[str, ...]
    resource: str
    redirect_uri: str
    challenge: str
    jkt: str | None
    state: str | None
    nonce: str | None
    prompt: tuple[Prompt, ...]
    max_age_ms: int | None
    login_hint: str | None
    created_at: int
    expires_at: int


class Authorization:
    def __init__(self, ground: Ground, requests: PushedRequests) -> None:
        self._requests = requests
        self._engine = ground.engine
        self._changes = ground.changes
        self._clients = ground.clients
        self._standing = ground.standing
        self._clock = ground.clock
        self._entropy = ground.entropy
        self._terms = ground.terms

    async def find(self, client_id: str, request_uri: str) -> PendingAuthorization:
        """May be asked as often as the page is shown: only an answer uses the request up."""
        found = await self._requests.find(request_uri)
        client = self._clients.find(client_id)
        if found is None or client is None or found.client_id != client.id:
            raise NoSuchRequest
        asked = found.parameters
        if (
            client.refused_from <= self._clock()
            or pushed_requests.GRANT not in client.grants
            or not redirects.is_registered(asked.redirect_uri, client.redirect_uris)
        ):
            raise NoSuchRequest
        return PendingAuthorization(
            digest=found.digest,
            client=client,
            jkt=found.jkt,
            created_at=found.created_at,
            expires_at=found.expires_at,
            **msgspec.structs.asdict(asked),
        )

    def givable(self, pending: PendingAuthorization, person: Person) -> frozenset[str]:
        """What of what is asked for this person could allow: nothing, if they act for no partner that is served."""
        return self._standing.givable(pending.client, person, pending.scope)

    async def approve(
        self,
        pending: PendingAuthorization,
        person: Person,
        scope: Iterable[str],
        *,
        source: str | None = None,
    ) -> str:
        """Where to send the browser (303): with a code, or with an error where there was nothing to give."""
        given = self.givable(pending, person) & frozenset(scope)
        if not given:
            return await self.deny(pending, description=NOTHING_TO_GIVE)
        async with self._changes.begin(grants.author_of(person, source)) as change:
            if not await pushed_requests.consume(change.conn, pending.digest, change.at):
                raise NoSuchRequest
            account = await find_account(change.conn, person.account_id)
            if account is None or account.find_fault(person.partner, person.authenticated_at):
                raise NoSuchRequest
            code = await self._make_code(change, pending, person, given)
        return self._respond(pending, {"code": code})

    async def deny(
        self,
        pending: PendingAuthorization,
        error: Denial = "access_denied",
        description: str | None = None,
    ) -> str:
        """Where to send the browser (303)."""
        async with engine.transaction(self._engine) as conn:
            if not await pushed_requests.consume(conn, pending.digest, self._clock()):
                raise NoSuchRequest
        return self._respond(pending, {"error": error, "error_description": description})

    async def _make_code(
        self, change: Change, pending: PendingAuthorization, person: Person, given: frozenset[str]
    ) -> str:
        until = change.at + self._terms.code_ms
        grant = grants.draft(
            self._entropy,
            pending.client,
            person,
            scope=given,
            resource=pending.resource,
            at=change.at,
            until=until,
        )
        await grants.insert(change, grant)
        code = await codes.insert(
            change,
            self._entropy,
            grant_id=grant.id,
            client_id=grant.client_id,
            redirect_uri=pending.redirect_uri,
            challenge=pending.challenge,
            jkt=pending.jkt,
            expires_at=until,
        )
        return code.reveal()

    def _respond(self, pending: PendingAuthorization, answer: dict[str, str | None]) -> str:
        return redirects.add(
            pending.redirect_uri, answer | {"state": pending.state, "iss": self._terms.issuer}
        )
