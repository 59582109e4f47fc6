"""People set their own passwords: invited, because they have forgotten it, or because they want another.

Invariant: a ticket is worth nothing once it is used, and one that is good for nothing costs no hashing. A new password
by a ticket ends every session and every grant of the account, and takes away no second factor. Whoever asks for a
reset is answered alike and in the same time, whether there is such an account: all else is done afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from auth.people import account_rows, email_addresses, passwords, session_rows, tickets
from auth.people.accounts import Accounts
from auth.people.failures import AccountNotActive, SignInRefused, TicketRefused, UnknownAccount
from auth.people.hashing import PasswordHashes
from auth.people.mail import MailNotSent
from auth.people.records import PASSWORD, Account, Step
from auth.people.session_rows import Began
from auth.people.sessions import Sessions, record
from auth.people.throttle import Throttle
from keys.changes import Author, Change, Changes, person
from keys.secret import Secret
from storage import engine

_LOG: Final = logging.getLogger("portreeve.people")
# Whoever asks when as many wait is not told, and asks again when no mail comes.
_MOST_WAITING: Final = 256


class OwnPasswords:
    def __init__(  # noqa: PLR0913  where accounts lie, what changes them, what is counted and hashed, and who is asked
        self,
        engine_: AsyncEngine,
        changes: Changes,
        *,
        sessions: Sessions,
        throttle: Throttle,
        hashes: PasswordHashes,
        accounts: Accounts,
    ) -> None:
        self._engine = engine_
        self._changes = changes
        self._sessions = sessions
        self._throttle = throttle
        self._hashes = hashes
        self._accounts = accounts
        self._asked: asyncio.Queue[tuple[str, str]] = asyncio.Queue(_MOST_WAITING)

    async def find_invited(self, ticket: str) -> Account:
        """Whom a page may greet, before they have chosen anything. Raises `TicketRefused`."""
        return await self._find(ticket, "invitation")

    async def find_resetting(self, ticket: str) -> Account:
        return await self._find(ticket, "reset")

    async def accept_invitation(
        self, ticket: str, password: str, *, source: str, agent: str = "", presented: str | None = None
    ) -> Step:
        """Somebody has come: signed in, or, where their roles ask for a second factor, on the way to one.

        `presented`: the cookie that came along, whosever it was: that session ends.
        """
        hashed, account = await self._choose(ticket, "invitation", password, source)
        async with self._changes.begin(person(account.id, source)) as change:
            await tickets.use(change, ticket, "invitation")
            now = await account_rows.get(change.conn, account.id)
            if now.state != "invited":
                raise TicketRefused
            await _set(change, account.id, hashed, state="active")
            now = await account_rows.get(change.conn, account.id)
            await record(change, "account.activated", now)
            if presented is not None:
                await session_rows.end(change.conn, session_rows.digest(Secret(presented)), change.at)
            cookie, _ = await self._sessions.begin(
                change, now, (PASSWORD,), Began(source=source, agent=agent)
            )
            return await self._sessions.describe(change, cookie)

    async def request_reset(self, email: str, *, source: str) -> None:
        """Says nothing: a mail comes, or none does. Raises `Throttled`, whoever is meant."""
        address = email_addresses.find(email) or ""
        await self._throttle.admit_mail(source, address)
        if self._asked.full():
            _LOG.warning("too many resets are asked for at once: one from %s is left out", source)
            return
        self._asked.put_nowait((address, source))

    async def run(self) -> None:
        """Does what was asked for, for as long as a node serves."""
        while True:
            address, source = await self._asked.get()
            try:
                await self._answer(address, source)
            except Exception as failure:  # noqa: BLE001  one that cannot be answered keeps nobody else from their link
                _LOG.error("a reset that was asked for failed: %s", type(failure).__name__)

    async def answer_all(self) -> None:
        """What has been asked for by now, for whoever does not want to wait for it."""
        while not self._asked.empty():
            await self._answer(*self._asked.get_nowait())

    async def reset(self, ticket: str, password: str, *, source: str) -> Account:
        """They sign in with it afterwards, by all that it takes."""
        hashed, account = await self._choose(ticket, "reset", password, source)
        async with self._changes.begin(person(account.id, source)) as change:
            await tickets.use(change, ticket, "reset")
            now = await account_rows.get(change.conn, account.id)
            if now.state != "active":
                raise TicketRefused
            ended = await session_rows.sign_out_everywhere(change, account.id, "the password was reset")
            await _set(change, account.id, hashed)
            await record(change, "account.password_reset", now, ended)
            return await account_rows.get(change.conn, account.id)

    async def change(self, cookie: str, password: str, new: str, *, source: str) -> Step:
        """Every other session of theirs ends; this one goes on under another value."""
        session = await self._sessions.get_signed_in(cookie, recent=True)
        async with engine.reading(self._engine) as conn:
            held = await account_rows.get_held(conn, session.account_id)
        await self._throttle.admit_confirmation(source, held.account.id)
        await self._require(held.password_hash, password)
        hashed = await self._hashes.hash(passwords.choose(new, email=held.account.email))
        async with self._changes.begin(person(held.account.id, source)) as change:
            found = await self._sessions.read(change.conn, Secret(cookie))
            now = await account_rows.get_held(change.conn, held.account.id)
            if found is None or now.password_hash != held.password_hash:
                raise SignInRefused
            await _set(change, held.account.id, hashed)
            await tickets.end_all(change, held.account.id)
            ended = await session_rows.end_all(change, held.account.id, but=found.row.digest)
            renewed, _ = await self._sessions.prove(change, found.row, now.account, (PASSWORD,))
            await record(change, "account.password_changed", now.account, {"sessions": ended})
            return await self._sessions.describe(change, renewed)

    async def _find(self, ticket: str, purpose: tickets.Purpose) -> Account:
        async with engine.reading(self._engine) as conn:
            account_id = await tickets.get_account(conn, ticket, purpose, self._sessions.now_ms())
            return await account_rows.get(conn, account_id)

    async def _choose(
        self, ticket: str, purpose: tickets.Purpose, password: str, source: str
    ) -> tuple[str, Account]:
        await self._throttle.admit_source(source)
        account = await self._find(ticket, purpose)
        return await self._hashes.hash(passwords.choose(password, email=account.email)), account

    async def _require(self, hashed: str | None, password: str) -> None:
        """Somebody without a password, who has come by passkey, proves nothing by one."""
        prepared = passwords.prepare(password)
        matches = await self._hashes.verify(hashed or self._hashes.decoy, prepared or b"")
        if hashed is None or prepared is None or not matches:
            raise SignInRefused

    async def _answer(self, address: str, source: str) -> None:
        try:
            account = await self._accounts.get_by(address or "nobody")
            if account.state == "active":
                # Not theirs: anybody can type an address.
                await self._accounts.send_link(account.id, author=Author("anybody", source=source))
        except (UnknownAccount, AccountNotActive):
            _LOG.info("a reset was asked for from %s, for nobody who could be sent one", source)
        except (MailNotSent, engine.StorageUnavailable) as failure:
            _LOG.warning("a reset that was asked for could not be sent: %s", failure)


async def _set(change: Change, account_id: str, hashed: str, **more: object) -> None:
    await account_rows.update(change, account_id, password_hash=hashed, password_changed_at=change.at, **more)
