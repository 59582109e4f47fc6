"""Signing in: a password, then a second factor where there is one or the roles ask for one.

Invariant: every attempt is counted before anything costly is done for it; what is refused is refused alike, after the
same work, whether there is such an account or not. What was verified outside the transaction is looked at again in it:
a password that was changed meanwhile signs nobody in. Every proof that counts gives the session another value. Whoever
proves themselves again shows as much as when they signed in: a code or a password alone is less where there was more.
"""

from __future__ import annotations

import logging
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth.people import account_rows, email_addresses, passwords, recovery_codes, session_rows
from auth.people.failures import CodeRefused, HashingBusy, PasskeyRefused, SessionMissing, SignInRefused
from auth.people.hashing import PasswordHashes
from auth.people.one_time_passwords import OneTimePasswords
from auth.people.records import MULTIPLE, ONE_TIME, PASSWORD, HalfSignedIn, SignedIn, Step
from auth.people.session_rows import Began
from auth.people.sessions import Found, Sessions, record
from auth.people.throttle import Throttle
from keys.changes import Changes, person
from keys.secret import Secret
from storage import engine

_LOG: Final = logging.getLogger("portreeve.people")


class SignIn:
    def __init__(  # noqa: PLR0913  where accounts lie, what is counted, and what each proof is verified by
        self,
        engine_: AsyncEngine,
        changes: Changes,
        *,
        sessions: Sessions,
        throttle: Throttle,
        hashes: PasswordHashes,
        one_time: OneTimePasswords,
    ) -> None:
        self._engine = engine_
        self._changes = changes
        self._sessions = sessions
        self._throttle = throttle
        self._hashes = hashes
        self._one_time = one_time

    async def with_password(
        self, email: str, password: str, *, source: str, agent: str = "", presented: str | None = None
    ) -> Step:
        """`presented`: the cookie that came along, whatever it was: that session ends."""
        address = email_addresses.find(email) or ""
        # First, or a flood would hold every connection to the database, and who is turned away for others would be
        # counted for it.
        self._hashes.require_room()
        await self._throttle.admit_password(source, address)
        async with engine.reading(self._engine) as conn:
            held = await account_rows.find_held(conn, address)
        verified = await self._verify(held, password)
        if held is None or verified is None:
            _LOG.info("a sign-in from %s was refused", source)
            raise SignInRefused
        renewed = await self._renew(verified, password)
        async with self._changes.begin(person(held.account.id, source)) as change:
            now = await account_rows.get_held(change.conn, held.account.id)
            if now.account.state != "active" or now.password_hash != verified:
                raise SignInRefused
            if renewed is not None:
                await account_rows.update(change, now.account.id, password_hash=renewed)
            if presented is not None:
                await session_rows.end(change.conn, session_rows.digest(Secret(presented)), change.at)
            began = Began(source=source, agent=agent)
            cookie, row = await self._sessions.begin(change, now.account, (PASSWORD,), began)
            details: dict[str, object] = {"session": row.id, "state": row.state, "methods": list(row.methods)}
            await record(change, "account.signed_in", now.account, details)
            return await self._sessions.describe(change, cookie)

    async def with_totp(self, cookie: str, code: str, *, source: str) -> Step:
        """The second factor of a session that has a password, and lacks just this."""
        found = await self._get_half(cookie)
        account_id = found.row.account_id or ""
        await self._throttle.admit_second_factor(source, account_id)
        return await self._prove_code(found, Secret(cookie), code, (ONE_TIME, MULTIPLE), source)

    async def with_recovery_code(self, cookie: str, code: str, *, source: str) -> Step:
        found = await self._get_half(cookie)
        account_id = found.row.account_id or ""
        await self._throttle.admit_second_factor(source, account_id)
        async with self._changes.begin(person(account_id, source)) as change:
            now = await self._get_again(change.conn, Secret(cookie), found)
            account = await account_rows.get(change.conn, account_id)
            is_used = await recovery_codes.use(change, account_id, code)
            if is_used:
                new, row = await self._sessions.prove(change, now.row, account, (ONE_TIME, MULTIPLE))
                left = account.recovery_codes - 1
                await record(change, "account.recovery_code_used", account, {"session": row.id, "left": left})
                return await self._sessions.describe(change, new)
            await record(change, "account.second_factor_refused", account, {"session": now.row.id})
        raise CodeRefused

    async def confirm(self, cookie: str, password: str, code: str | None = None, *, source: str) -> Step:
        """Somebody signed in proves again that it is them: by password, and by a code where they have those. Whose only
        second factor is a passkey proves it by that (see `Passkeys.finish`), and is refused here.
        """
        found = await self._sessions.look(cookie)
        if found is None or found.account is None or not isinstance(found.session, SignedIn):
            raise SessionMissing
        account = found.account
        if account.has_second_factor and not account.has_totp:
            raise PasskeyRefused
        await self._throttle.admit_confirmation(source, account.id)
        async with engine.reading(self._engine) as conn:
            held = await account_rows.get_held(conn, account.id)
        verified = await self._verify(held, password)
        if verified is None:
            raise SignInRefused
        if account.has_totp:
            await self._throttle.admit_second_factor(source, account.id)
            return await self._prove_code(found, Secret(cookie), code or "", (PASSWORD, ONE_TIME), source)
        async with self._changes.begin(person(account.id, source)) as change:
            again = await self._get_again(change.conn, Secret(cookie), found)
            now = await account_rows.get_held(change.conn, account.id)
            # A factor that was added in between is asked for.
            if now.password_hash != verified or now.account.has_second_factor:
                raise SignInRefused
            new, row = await self._sessions.prove(change, again.row, now.account, (PASSWORD,))
            await record(change, "account.confirmed", now.account, {"session": row.id})
            return await self._sessions.describe(change, new)

    async def _verify(self, held: account_rows.Held | None, password: str) -> str | None:
        """The hash that the password is of. Whoever has none, or is nobody, costs as much as everybody else."""
        prepared = passwords.prepare(password)
        hashed = None if held is None or held.account.state != "active" else held.password_hash
        matches = await self._hashes.verify(hashed or self._hashes.decoy, prepared or b"")
        return hashed if matches and prepared is not None else None

    async def _renew(self, hashed: str, password: str) -> str | None:
        """With the parameters of today, where there is room: the next time will do as well."""
        prepared = passwords.prepare(password)
        if prepared is None or not self._hashes.is_outdated(hashed):
            return None
        try:
            return await self._hashes.hash(prepared)
        except HashingBusy:
            return None

    async def _prove_code(
        self, found: Found, cookie: Secret, code: str, methods: tuple[str, ...], source: str
    ) -> Step:
        account_id = found.row.account_id or ""
        async with engine.reading(self._engine) as conn:
            held = await account_rows.get_held(conn, account_id)
        totp_id = held.totp_id if held.account.has_totp else None
        step = await self._one_time.find_step(totp_id, code, self._sessions.now_ms())
        async with self._changes.begin(person(account_id, source)) as change:
            again = await self._get_again(change.conn, cookie, found)
            account = await account_rows.get(change.conn, account_id)
            is_taken = (
                totp_id is not None
                and step is not None
                and await account_rows.take_step(change, account_id, totp_id, step)
            )
            if is_taken:
                new, row = await self._sessions.prove(change, again.row, account, methods)
                details: dict[str, object] = {"session": row.id, "methods": list(row.methods)}
                await record(change, "account.confirmed", account, details)
                return await self._sessions.describe(change, new)
            await record(change, "account.second_factor_refused", account, {"session": again.row.id})
        raise CodeRefused

    async def _get_half(self, cookie: str) -> Found:
        """A session that has a password and lacks the second factor."""
        found = await self._sessions.look(cookie)
        if found is None or not isinstance(found.session, HalfSignedIn):
            raise SessionMissing
        if found.session.needs != "second-factor":
            raise SessionMissing
        return found

    async def _get_again(self, conn: AsyncConnection, cookie: Secret, found: Found) -> Found:
        """As it stands in the transaction: nobody has ended or replaced it in between."""
        again = await self._sessions.read(conn, cookie)
        if again is None or again.row.account_id != found.row.account_id:
            raise SessionMissing
        return again
