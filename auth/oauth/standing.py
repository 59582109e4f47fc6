"""What is left of a grant at the moment when something of it is redeemed.

Invariant: nothing is issued for a grant that was revoked or has ended, for an account that is no longer active, that
signed out everywhere since, or that moved to another partner; and never more than both its person and its client have
at that moment. Refuses by `Ended`, which names why the whole family has to go, and by `Refused`, after which it stays.
"""

from collections.abc import Iterable
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from auth.oauth import grants, scopes
from auth.oauth.grants import Grant
from auth.oauth.refusals import Refused
from auth.oauth.terms import Clients, Person, is_served
from keys.secret import Secret
from keys.served_clients import ServedClient
from policies.document import Policies
from storage import schema

_ACCOUNTS: Final = schema.accounts

ACCOUNT_NOT_ACTIVE: Final = "the account is not active"
SIGNED_OUT: Final = "the person signed out everywhere"


class Ended(Exception):
    """The family is to be ended, after the transaction in which that was seen."""

    def __init__(self, grant_id: str, why: str) -> None:
        super().__init__(why)
        self.grant_id = grant_id
        self.why = why


class Account(msgspec.Struct, frozen=True):
    partner: str | None
    roles: tuple[str, ...]
    is_active: bool
    signed_out_at: int | None

    def find_fault(self, partner: str | None, authenticated_at: int) -> str | None:
        """Why it may not act (any more) for this partner, having signed in at that time."""
        if not self.is_active:
            return ACCOUNT_NOT_ACTIVE
        if self.signed_out_at is not None and authenticated_at < self.signed_out_at:
            return SIGNED_OUT
        if self.partner != partner:
            return "the person belongs to another partner"
        return None


class Bound(msgspec.Struct, frozen=True):
    """What whoever redeems something has proved to hold: thumbprints of a DPoP key, and of a TLS certificate."""

    jkt: str | None = None
    x5t: str | None = None


class Redeemed(msgspec.Struct, frozen=True, kw_only=True):
    """What an access token is to be issued for. `refresh`: what goes with it, where that is a new one."""

    grant: Grant
    roles: tuple[str, ...]
    scope: frozenset[str]
    refresh: Secret | None = None


class Standing:
    def __init__(self, policies: Policies, clients: Clients) -> None:
        self._policies = policies
        self._clients = clients

    def scope_of(self, client: ServedClient, roles: tuple[str, ...], asked: Iterable[str]) -> frozenset[str]:
        """What of it both the client and somebody with these roles have."""
        held = scopes.of_client(self._policies, client) & scopes.of_roles(self._policies, roles)
        return frozenset(asked) & held

    def givable(self, client: ServedClient, person: Person, asked: Iterable[str]) -> frozenset[str]:
        """What of it this person could allow: nothing, if they act for no partner that is served."""
        if person.partner is None or not is_served(self._clients, person.partner):
            return frozenset()
        return self.scope_of(client, person.roles, asked)

    async def require(
        self, conn: AsyncConnection, client: ServedClient, grant_id: str, asked: Iterable[str], now: int
    ) -> Redeemed:
        grant = await grants.find(conn, grant_id)
        if grant is None or grant.revoked_at is not None or grant.expires_at <= now:
            raise Refused("invalid_grant", "what was allowed has ended")
        account = await find_account(conn, grant.account_id)
        fault = ACCOUNT_NOT_ACTIVE
        if account is not None:
            fault = account.find_fault(grant.partner, grant.authenticated_at) or ""
        if account is None or fault:
            raise Ended(grant_id, fault)
        if not is_served(self._clients, grant.partner):
            raise Refused("invalid_grant", "the partner is not served")
        roles = tuple(role for role in grant.roles if role in account.roles)
        scope = self.scope_of(client, roles, asked)
        if not scope:
            raise Refused("invalid_scope", "nothing of what was allowed is left")
        return Redeemed(grant=grant, roles=roles, scope=scope)


def require_resource(redeemed: Redeemed, asked: str | None) -> None:
    """RFC 8707: what was allowed for one resource gives tokens for no other."""
    if asked not in {None, redeemed.grant.resource}:
        raise Refused("invalid_target", "another resource was allowed")


async def find_account(conn: AsyncConnection, account_id: str) -> Account | None:
    columns = _ACCOUNTS.c
    query = sa.select(columns.partner_id, columns.roles, columns.state, columns.signed_out_at)
    row = (await conn.execute(query.where(columns.id == account_id))).first()
    if row is None:
        return None
    return Account(row.partner_id, tuple(row.roles), row.state == "active", row.signed_out_at)
