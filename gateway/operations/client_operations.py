"""What can be done with OAuth clients, the same for the command line and the control surface.

Invariant: what belongs to a partner out of reach is unknown. A client's tokens never carry a permission of the control
surface, so none is handed out here, whatever its roles grant; and one that is weaker than FAPI 2.0 asks for gets no
permission to trade. Whoever reaches one partner alone takes back no freeze of those who reach all.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.operations.gate import Facts, Gate, Standing
from gateway.operations.operator import Operator
from keys import changing, oauth_client_rows, refusals, rotation
from keys.changes import Author
from keys.client_records import ClientChange, ClientPage, ClientRequest, CreatedClient, OAuthClient
from keys.custody import Custody
from keys.oauth_clients import OAuthClients
from policies import control
from policies.document import Policies

_HANDING_OUT: Final = frozenset({"roles", "permissions", "grants"})


class VersionWaits(refusals.Conflict):
    """Whoever prepared it has it, for a client that could less; it begins to serve without anybody being asked."""

    def __init__(self, client_id: str) -> None:
        super().__init__(
            f"a version of {client_id} is prepared: activate or revoke it before the client is given more to do"
        )


class MoreForItself(Exception):
    """A client that leads itself asks for more than it was left: what was taken from it would be taken in vain."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"{client_id} may not give itself more to do")


class TradingRefused(refusals.InvalidRequest):
    field = "exceptions"

    def __init__(self, exception: str, permission: str) -> None:
        super().__init__(
            f"a client with the exception {exception} never trades, and its roles grant {permission}: "
            "give it other roles, or permissions that leave it out"
        )


def find_granted(
    policies: Policies, roles: tuple[str, ...], permissions: tuple[str, ...] | None
) -> frozenset[str]:
    """What tokens for such a client may carry at most."""
    granted = policies.permissions_of(roles, permissions)
    return frozenset(name for name in granted if not name.startswith(control.SCOPE))


def get_grantable(policies: Policies, asked: ClientRequest | OAuthClient) -> frozenset[str]:
    """What tokens for it may carry at most, where that is something that it may be given."""
    for role in asked.roles:
        policies.get_role(role)
    policies.check_narrowing(asked.roles, asked.permissions or ())
    granted = find_granted(policies, asked.roles, asked.permissions)
    for permission in sorted(granted):
        if asked.exceptions and policies.is_trading(frozenset({permission})):
            raise TradingRefused(asked.exceptions[0], permission)
    return granted


class ClientOperations:
    def __init__(self, clients: OAuthClients, custody: Custody, policies: Policies, gate: Gate) -> None:
        self._clients = clients
        self._custody = custody
        self._policies = policies
        self._gate = gate

    async def create(
        self, by: Operator, request: ClientRequest, *, reason: str | None = None
    ) -> CreatedClient:
        by.require(control.CLIENTS_WRITE)
        by.require_reach(request.partner)
        by.require_environment(request.environment)
        # As it would be stored, so that one wish has one spelling.
        asked = self._clients.check_request(request)
        granted = self._get_grantable(asked)
        await self._custody.get_partner(asked.partner)
        author = await self._gate.pass_(
            by,
            action="client.create",
            subject=asked.partner,
            environment=asked.environment,
            partner=asked.partner,
            change=_describe(asked),
            facts=Facts(granted=granted),
            reason=reason,
        )
        return await self._clients.create(asked, author=author)

    async def change(
        self,
        by: Operator,
        client_id: str,
        asked: ClientChange,
        *,
        of_itself: bool = False,
        reason: str | None = None,
    ) -> OAuthClient:
        """`of_itself`: by the client, and by nobody who could hand out anything."""
        seen = await self._get_own(by, client_id)
        if seen.revoked_at is not None:
            raise oauth_client_rows.ClientAlreadyRevoked(client_id)
        after = self._clients.check_change(seen, asked)
        self._get_grantable(after)
        widened = changing.find_client_widenings(seen, after)
        hands_out = not _HANDING_OUT.isdisjoint(widened)
        if hands_out and of_itself:
            raise MoreForItself(client_id)
        if hands_out and rotation.find_pending(seen.versions) is not None:
            raise VersionWaits(client_id)
        change = {**changing.describe(seen, after), "widened": list(widened)}
        action = "client.widen" if widened else "client.change"
        author = await self._pass(by, action, after, reason, change=change)
        return await self._clients.change(seen, asked, author=author)

    async def find_page(
        self,
        by: Operator,
        *,
        partner: str | None = None,
        environment: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> ClientPage:
        by.require(control.CLIENTS_READ)
        narrowed = by.narrow(partner)
        if after is not None:
            # Where a page begins tells whether that client is there, so it has to be one that they may see.
            await self._get_reached(by, after)
        return await self._clients.find_page(
            partner=narrowed, environment=environment, after=after, limit=limit
        )

    async def get(self, by: Operator, client_id: str) -> OAuthClient:
        by.require(control.CLIENTS_READ)
        return await self._get_reached(by, client_id)

    async def revoke(self, by: Operator, client_id: str, *, reason: str | None = None) -> OAuthClient:
        author = await self._pass(by, "client.revoke", await self._get_own(by, client_id), reason)
        return await self._clients.revoke(client_id, author=author)

    async def freeze(self, by: Operator, client_id: str, *, reason: str | None = None) -> OAuthClient:
        client = await self._get_own(by, client_id, control.FREEZE)
        author = await self._pass(by, "client.freeze", client, reason)
        return await self._clients.freeze(client_id, within=by.within, author=author)

    async def unfreeze(self, by: Operator, client_id: str, *, reason: str | None = None) -> OAuthClient:
        client = await self._get_own(by, client_id, control.UNFREEZE)
        if client.revoked_at is not None:
            raise oauth_client_rows.ClientAlreadyRevoked(client_id)
        if client.frozen_at is None:
            # Nobody is asked to approve what could not be done.
            raise oauth_client_rows.ClientNotFrozen(client_id)
        await self._clients.require_thawable(client_id, within=by.within)
        author = await self._pass(by, "client.unfreeze", client, reason)
        return await self._clients.unfreeze(client_id, within=by.within, author=author)

    async def _pass(
        self,
        by: Operator,
        action: str,
        client: OAuthClient,
        reason: str | None,
        *,
        change: dict[str, Any] | None = None,
    ) -> Author:
        return await self._gate.pass_(
            by,
            action=action,
            subject=client.id,
            environment=client.environment,
            partner=client.partner,
            change=change,
            facts=Facts(granted=find_granted(self._policies, client.roles, client.permissions)),
            standing=Standing("client", client.id, client.revision),
            reason=reason,
        )

    async def _get_own(
        self, by: Operator, client_id: str, permission: str = control.CLIENTS_WRITE
    ) -> OAuthClient:
        by.require(permission)
        client = await self._get_reached(by, client_id)
        by.require_environment(client.environment)
        return client

    async def _get_reached(self, by: Operator, client_id: str) -> OAuthClient:
        client = await self._clients.get(client_id)
        if not by.reaches(client.partner):
            raise oauth_client_rows.UnknownClient(client_id)
        return client

    def _get_grantable(self, asked: ClientRequest | OAuthClient) -> frozenset[str]:
        return get_grantable(self._policies, asked)


def _describe(asked: ClientRequest) -> dict[str, Any]:
    """All of it, and the key as whoever agrees can read it."""
    described: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(asked, public_key=None))
    described["public_key"] = None if asked.public_key is None else msgspec.json.decode(asked.public_key)
    return described
