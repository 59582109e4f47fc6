"""What can be done about clients that register themselves: who lets them, and what they may do to themselves.

Invariant: whoever makes a registration token passes the gate for all clients that come by it, with all that these may
be granted; after that nobody is asked about each. A client that leads itself passes the gate like every operator: what
the rules want a second person for, it does not do to itself. What it may do it only narrows: what an operator has taken
from it stays taken, and whoever wants more registers another one.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.operations.client_operations import ClientOperations, find_granted, get_grantable
from gateway.operations.gate import Facts, Gate
from gateway.operations.operator import Operator
from gateway.operations.secret_operations import SecretOperations
from keys import client_registration, public_jwks, rotation
from keys.changes import Author
from keys.changing import NothingToChange
from keys.client_records import ClientChange, ClientRequest, OAuthClient
from keys.client_registration import ClientRegistration
from keys.kinds import Offer
from keys.registration_records import (
    CreatedRegistrationToken,
    RegisteredClient,
    RegistrationRequest,
    RegistrationToken,
)
from keys.secret import Secret
from policies import control
from policies.document import Policies


class RegistrationOperations:
    def __init__(
        self,
        registration: ClientRegistration,
        secrets: SecretOperations,
        clients: ClientOperations,
        policies: Policies,
        gate: Gate,
    ) -> None:
        self._registration = registration
        self._secrets = secrets
        self._clients = clients
        self._policies = policies
        self._gate = gate

    async def create(
        self, by: Operator, request: RegistrationRequest, *, reason: str | None = None
    ) -> CreatedRegistrationToken:
        by.require(control.CLIENTS_WRITE)
        by.require_reach(request.partner)
        by.require_environment(request.environment)
        for role in request.roles:
            self._policies.get_role(role)
        asked = self._registration.check_request(request)
        change: dict[str, Any] = msgspec.to_builtins(asked)
        author = await self._gate.pass_(
            by,
            action="client.create",
            subject=asked.partner,
            environment=asked.environment,
            partner=asked.partner,
            change={"registration": change},
            facts=Facts(granted=find_granted(self._policies, asked.roles, None)),
            reason=reason,
        )
        return await self._registration.create(asked, author=author)

    async def find_all(self, by: Operator, *, partner: str | None = None) -> list[RegistrationToken]:
        by.require(control.CLIENTS_READ)
        if partner is not None:
            by.require_reach(partner)
        return [each for each in await self._registration.list(partner) if by.reaches(each.partner)]

    async def revoke(
        self, by: Operator, registration_id: str, *, reason: str | None = None
    ) -> RegistrationToken:
        """Nobody is asked about it: it takes away, and what it takes away can be made again."""
        by.require(control.CLIENTS_WRITE)
        found = await self._registration.get(registration_id)
        if not by.reaches(found.partner):
            raise client_registration.UnknownRegistration(registration_id)
        by.require_environment(found.environment)
        return await self._registration.revoke(registration_id, author=by.author(reason))

    # Those who register themselves ------------------------------------------------------------------------

    async def find_usable(self, presented: Secret) -> RegistrationToken:
        return await self._registration.find_usable(presented)

    async def register(
        self,
        presented: Secret,
        token: RegistrationToken,
        asked: ClientRequest,
        *,
        source: str,
        request_id: str,
    ) -> RegisteredClient:
        get_grantable(self._policies, asked)
        author = Author(f"registration:{token.id}", source=source, request_id=request_id)
        return await self._registration.register(presented, asked, author=author)

    async def find_client(self, client_id: str, presented: Secret) -> OAuthClient:
        return await self._registration.find_client(client_id, presented)

    async def change(
        self,
        seen: OAuthClient,
        asked: ClientChange,
        public_key: bytes | None,
        *,
        source: str,
        request_id: str,
    ) -> OAuthClient:
        """`public_key`: what its key is to be; another one than it is follows it with an overlap."""
        by = _itself(seen, source, request_id)
        try:
            changed = await self._clients.change(by, seen.id, asked, of_itself=True)
        except NothingToChange:
            changed = seen
        if public_key is None or _has(changed, public_key):
            return changed
        await self._secrets.rotate(by, seen.id, offer=Offer(public_key=public_key))
        return await self._clients.get(by, seen.id)

    async def remove(self, seen: OAuthClient, *, source: str, request_id: str) -> None:
        await self._clients.revoke(_itself(seen, source, request_id), seen.id)


def _has(client: OAuthClient, public_key: bytes) -> bool:
    active = rotation.find_active(client.versions)
    if active is None or active.public_key is None:
        return False
    brought = public_jwks.parse_serialised(public_key)
    return public_jwks.parse_serialised(active.public_key).thumbprint == brought.thumbprint


def _itself(client: OAuthClient, source: str, request_id: str) -> Operator:
    return Operator(
        actor=f"client:{client.id}",
        permissions=frozenset({control.CLIENTS_READ, control.CLIENTS_WRITE, control.SECRETS_ROTATE}),
        environments=frozenset({client.environment}),
        partner=client.partner,
        source=source,
        request_id=request_id,
    )
