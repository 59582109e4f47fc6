"""Accounts, as those who keep them see them: who is invited, with which roles, and who is shut out.

Invariant: every change is atomic and audited (see `keys.changes`); of people the ledger holds ids and roles, and not
their addresses. A ticket reaches nobody but the mailbox it is for. Whoever is disabled has no session and no grant from
that moment on, and gets none by any proof. Refuses: two accounts of one address, and what the state does not allow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from auth.oauth import grants
from auth.people import (
    account_rows,
    email_addresses,
    mail,
    passkey_rows,
    recovery_codes,
    session_rows,
    tickets,
)
from auth.people.failures import (
    AccountAlreadyDisabled,
    AccountExists,
    AccountMoved,
    AccountNotActive,
    AccountNotDisabled,
    InvalidName,
    InvalidRoles,
    NothingToChange,
    UnknownAccount,
)
from auth.people.mail import Links, Mailer
from auth.people.records import Account
from auth.people.sessions import record
from keys import format as key_format
from keys import partners, totp_secrets
from keys.changes import Author, Change, Changes
from keys.secret import Secret
from storage import engine

ROLE_TAKEN: Final = "a role was taken from the account"

_ID_BYTES: Final = 12
_LONGEST_NAME: Final = 100
_MOST_ROLES: Final = 64
_DAY_MS: Final = 86_400_000
_MINUTE_MS: Final = 60_000


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """`email` as it was written."""

    email: str
    name: str
    partner: str | None
    roles: tuple[str, ...]


class TicketTimes(msgspec.Struct, frozen=True, kw_only=True):
    invitation_ms: int = 7 * _DAY_MS
    reset_ms: int = 30 * _MINUTE_MS


class Accounts:
    def __init__(  # noqa: PLR0913  where they lie, what changes them, who is written to, and chance
        self,
        engine_: AsyncEngine,
        changes: Changes,
        entropy: Callable[[int], bytes],
        *,
        mailer: Mailer,
        links: Links,
        times: TicketTimes,
    ) -> None:
        self._engine = engine_
        self._changes = changes
        self._entropy = entropy
        self._mailer = mailer
        self._links = links
        self._times = times

    def check_invitation(self, asked: Invitation) -> Invitation:
        """As it would be stored: what somebody else is to agree to."""
        email_addresses.parse(asked.email)
        name = asked.name.strip()
        is_plain = name.isprintable() and not key_format.holds_secret(name)
        if not (name and len(name) <= _LONGEST_NAME and is_plain):
            raise InvalidName(f"a name is 1 to {_LONGEST_NAME} printable characters, and no secret")
        return msgspec.structs.replace(
            asked, email=asked.email.strip(), name=name, roles=check_roles(asked.roles)
        )

    async def invite(self, asked: Invitation, *, author: Author) -> Account:
        """Raises `MailNotSent` where the account is made and its invitation could not be handed over."""
        account, ticket = await self.prepare(asked, author=author)
        await self._send_invitation(account, ticket)
        return account

    async def prepare(self, asked: Invitation, *, author: Author) -> tuple[Account, Secret]:
        """An account with its ticket, for whoever brings it to its holder in another way than by mail."""
        checked = self.check_invitation(asked)
        email = email_addresses.parse(checked.email)
        account_id = f"acc_{self._entropy(_ID_BYTES).hex()}"
        ticket = tickets.draw(self._entropy(tickets.BYTES))
        async with self._changes.begin(author) as change:
            if checked.partner is not None:
                await partners.get(change.conn, checked.partner)
            if await account_rows.find_held(change.conn, email) is not None:
                raise AccountExists(checked.email)
            await account_rows.insert(
                change,
                account_id,
                email=email,
                shown_email=checked.email,
                name=checked.name,
                partner=checked.partner,
                roles=checked.roles,
            )
            await self._issue(change, ticket, account_id, "invitation")
            account = await account_rows.get(change.conn, account_id)
            await record(change, "account.invited", account, {"roles": list(account.roles)})
        return account, ticket

    async def send_link(self, account_id: str, *, author: Author) -> Account:
        """A way to a new password; to who has not come yet, another invitation. The link before is worth nothing."""
        account, ticket = await self.prepare_link(account_id, author=author)
        if account.state == "invited":
            await self._send_invitation(account, ticket)
        else:
            await self._send_reset(account, ticket)
        return account

    async def prepare_link(self, account_id: str, *, author: Author) -> tuple[Account, Secret]:
        ticket = tickets.draw(self._entropy(tickets.BYTES))
        async with self._changes.begin(author) as change:
            account = await account_rows.get(change.conn, account_id)
            if account.state == "disabled":
                raise AccountNotActive(account_id)
            is_new = account.state == "invited"
            await self._issue(change, ticket, account_id, "invitation" if is_new else "reset")
            await record(change, "account.invited_again" if is_new else "account.reset_requested", account)
        return account, ticket

    async def remove_factors(self, account_id: str, *, author: Author) -> Account:
        """For somebody who has lost all that they had: their password is left, and whoever has it enrols anew. So every
        session and every grant ends.
        """
        async with self._changes.begin(author) as change:
            held = await account_rows.get_held(change.conn, account_id)
            ended = await session_rows.sign_out_everywhere(change, account_id, "second factors were removed")
            await recovery_codes.clear(change, account_id)
            await passkey_rows.delete_all(change, account_id)
            await account_rows.update(
                change, account_id, totp_id=None, totp_confirmed_at=None, totp_step=None
            )
            if held.totp_id is not None:
                await totp_secrets.end(change, held.totp_id)
            await record(change, "account.factors_removed", held.account, ended)
            return await account_rows.get(change.conn, account_id)

    async def _send_reset(self, account: Account, ticket: Secret) -> None:
        minutes = self._times.reset_ms // _MINUTE_MS
        written = mail.reset(account.shown_email, account.name, self._links.reset(ticket), minutes)
        await self._mailer.send(written)

    async def list_all(self, partner: str | None = None) -> tuple[Account, ...]:
        async with engine.reading(self._engine) as conn:
            return tuple(await account_rows.list_all(conn, partner))

    async def get(self, account_id: str) -> Account:
        async with engine.reading(self._engine) as conn:
            return await account_rows.get(conn, account_id)

    async def get_by(self, named: str) -> Account:
        """By id or by address, as people type either."""
        if "@" not in named:
            return await self.get(named)
        async with engine.reading(self._engine) as conn:
            held = await account_rows.find_held(conn, email_addresses.find(named) or "")
        if held is None:
            raise UnknownAccount(named)
        return held.account

    async def set_roles(self, seen: Account, roles: tuple[str, ...], *, author: Author) -> Account:
        """`seen` is what the change was decided on: refused when the account is no longer that. Their sessions go on,
        with what the new roles allow. Access tokens say which roles their person had: where one is taken away, what was
        allowed to clients ends.
        """
        asked = check_roles(roles)
        if asked == seen.roles:
            raise NothingToChange(seen.id)
        async with self._changes.begin(author) as change:
            before = await account_rows.get(change.conn, seen.id)
            if before.revision != seen.revision:
                raise AccountMoved(seen.id)
            await account_rows.update(change, seen.id, roles=list(asked))
            details: dict[str, object] = {"before": list(before.roles), "after": list(asked)}
            if not set(before.roles) <= set(asked):
                details["grants"] = await grants.revoke_of_account(change, seen.id, ROLE_TAKEN)
            await record(change, "account.roles_changed", before, details)
            return await account_rows.get(change.conn, seen.id)

    async def disable(self, account_id: str, *, author: Author) -> Account:
        async with self._changes.begin(author) as change:
            account = await account_rows.get(change.conn, account_id)
            if account.state == "disabled":
                raise AccountAlreadyDisabled(account_id)
            ended = await session_rows.sign_out_everywhere(change, account_id, "the account was disabled")
            await tickets.end_all(change, account_id)
            await account_rows.update(
                change, account_id, state="disabled", disabled_at=change.at, disabled_reason=author.reason
            )
            await record(change, "account.disabled", account, ended)
            return await account_rows.get(change.conn, account_id)

    async def enable(self, account_id: str, *, author: Author) -> Account:
        """With what they proved themselves by before; who never came has to be invited again."""
        async with self._changes.begin(author) as change:
            account = await account_rows.get(change.conn, account_id)
            if account.state != "disabled":
                raise AccountNotDisabled(account_id)
            state = "active" if account.has_password or account.passkeys else "invited"
            await account_rows.update(change, account_id, state=state, disabled_at=None, disabled_reason=None)
            await record(change, "account.enabled", account)
            return await account_rows.get(change.conn, account_id)

    async def _issue(self, change: Change, ticket: Secret, account_id: str, purpose: tickets.Purpose) -> None:
        lifetime_ms = self._times.invitation_ms if purpose == "invitation" else self._times.reset_ms
        await tickets.issue(change, ticket, account_id, purpose=purpose, lifetime_ms=lifetime_ms)

    async def _send_invitation(self, account: Account, ticket: Secret) -> None:
        days = max(1, self._times.invitation_ms // _DAY_MS)
        link = self._links.invitation(ticket)
        await self._mailer.send(mail.invite(account.shown_email, account.name, link, days))


def check_roles(roles: tuple[str, ...]) -> tuple[str, ...]:
    """Their shape; whether they exist is the policies' knowledge."""
    if len(roles) > _MOST_ROLES or not all(0 < len(role) <= _MOST_ROLES for role in roles):
        raise InvalidRoles(f"an account has at most {_MOST_ROLES} roles, each a role's name")
    return tuple(dict.fromkeys(roles))
