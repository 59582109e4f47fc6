"""Second factors of one's own: one-time passwords and recovery codes, added, replaced and taken away.

Invariant: what somebody may do here is read from their cookie: a whole session that was proved a moment ago, or a half
one whose roles ask for a factor, that has none to prove yet, and that is on its way in: who was let in long ago, before
their roles asked for one, begins anew. A factor counts once it has been shown to work; the first one brings recovery
codes, shown that once, and the last one takes them along. Refuses: to take away the last one of somebody whose roles
need one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth.people import account_rows, one_time_passwords, recovery_codes
from auth.people.failures import CodeRefused, NothingEnrolled, SecondFactorNeeded, SessionMissing
from auth.people.records import MULTIPLE, ONE_TIME, Account, HalfSignedIn, Step, TotpEnrolment
from auth.people.requirements import NeedsSecondFactor
from auth.people.sessions import Found, Sessions, record
from auth.people.throttle import Throttle
from keys import rotation, totp_secrets
from keys.changes import Change, Changes, person
from keys.secret import Secret
from keys.totp_secrets import TotpSecrets
from storage import engine

_ID_BYTES: Final = 12


class SecondFactors:
    def __init__(  # noqa: PLR0913  where they lie, what changes them, what seals and counts, whose need, and chance
        self,
        engine_: AsyncEngine,
        changes: Changes,
        *,
        sessions: Sessions,
        throttle: Throttle,
        secrets: TotpSecrets,
        entropy: Callable[[int], bytes],
        issuer: str,
        needs_second_factor: NeedsSecondFactor,
    ) -> None:
        """`issuer`: what a device calls us."""
        self._engine = engine_
        self._changes = changes
        self._sessions = sessions
        self._throttle = throttle
        self._secrets = secrets
        self._entropy = entropy
        self._issuer = issuer
        self._needs_second_factor = needs_second_factor

    async def enrol_totp(self, cookie: str, *, source: str) -> TotpEnrolment:
        """A secret for a device. It counts for nothing until `confirm_totp`; one that counts by now goes on."""
        account_id = get_account(await self.get_entitled(cookie)).id
        await self._throttle.admit_source(source)
        draft = await self._secrets.draft()
        named = f"totp_{self._entropy(_ID_BYTES).hex()}"
        async with self._changes.begin(person(account_id, source)) as change:
            _, account = await self.read_entitled(change.conn, Secret(cookie))
            held = await account_rows.get_held(change.conn, account.id)
            secret_id = await totp_secrets.offer(
                change, held.totp_id, draft, named=named, label=account.id, partner=account.partner
            )
            await account_rows.update(change, account.id, totp_id=secret_id)
            await record(change, "account.totp_offered", account, {"secret": secret_id})
        return TotpEnrolment(
            secret=one_time_passwords.write_secret(draft.secret),
            uri=one_time_passwords.write_uri(draft.secret, issuer=self._issuer, email=account.shown_email),
        )

    async def confirm_totp(self, cookie: str, code: str, *, source: str) -> Step:
        found = await self.get_entitled(cookie)
        account_id = get_account(found).id
        await self._throttle.admit_second_factor(source, account_id)
        async with engine.reading(self._engine) as conn:
            totp_id = (await account_rows.get_held(conn, account_id)).totp_id
        waiting = None if totp_id is None else await self._secrets.find(totp_id, "pending")
        if totp_id is None or waiting is None:
            raise NothingEnrolled
        step = one_time_passwords.find_step(waiting.secret, code, self._sessions.now_ms())
        if step is None:
            raise CodeRefused
        codes = recovery_codes.draw(self._entropy)
        async with self._changes.begin(person(account_id, source)) as change:
            again, account = await self.read_entitled(change.conn, Secret(cookie))
            try:
                await totp_secrets.activate(change, totp_id, waiting.version)
            except rotation.StepRefused:
                # Another one was offered or confirmed in between.
                raise NothingEnrolled from None
            # The step is taken: the code that was just shown proves nothing a second time.
            await account_rows.update(
                change, account_id, totp_id=totp_id, totp_confirmed_at=change.at, totp_step=step
            )
            await record(change, "account.totp_enrolled", account, {"secret": totp_id})
            return await self.settle(change, again, account, (ONE_TIME, MULTIPLE), codes)

    async def remove_totp(self, cookie: str, *, source: str) -> None:
        session = await self._sessions.get_signed_in(cookie, recent=True)
        async with self._changes.begin(person(session.account_id, source)) as change:
            await self.read_entitled(change.conn, Secret(cookie))
            held = await account_rows.get_held(change.conn, session.account_id)
            if held.totp_id is None:
                raise NothingEnrolled
            self.require_another(held.account, totp=False)
            await account_rows.update(
                change, session.account_id, totp_id=None, totp_confirmed_at=None, totp_step=None
            )
            await totp_secrets.end(change, held.totp_id)
            await self.clear_useless_codes(change, session.account_id)
            await record(change, "account.totp_removed", held.account, {"secret": held.totp_id})

    async def make_recovery_codes(self, cookie: str, *, source: str) -> tuple[Secret, ...]:
        """Ten new ones; all old ones are worth nothing."""
        session = await self._sessions.get_signed_in(cookie, recent=True)
        codes = recovery_codes.draw(self._entropy)
        async with self._changes.begin(person(session.account_id, source)) as change:
            _, account = await self.read_entitled(change.conn, Secret(cookie))
            if not account.has_second_factor:
                raise NothingEnrolled
            await recovery_codes.replace(change, account.id, codes)
            await record(change, "account.recovery_codes_made", account)
        return codes

    async def clear_useless_codes(self, change: Change, account_id: str) -> None:
        """Of whoever has no factor any more that a code could stand in for: the next factor brings new ones."""
        if not (await account_rows.get(change.conn, account_id)).has_second_factor:
            await recovery_codes.clear(change, account_id)

    async def get_entitled(self, cookie: str) -> Found:
        """Whoever may add a factor now."""
        found = await self._sessions.look(cookie)
        if found is None:
            raise SessionMissing
        self._require_entitled(found)
        return found

    async def read_entitled(self, conn: AsyncConnection, cookie: Secret) -> tuple[Found, Account]:
        """The same inside a transaction, as it stands there."""
        found = await self._sessions.read(conn, cookie)
        if found is None:
            raise SessionMissing
        self._require_entitled(found)
        return found, get_account(found)

    def _require_entitled(self, found: Found) -> None:
        session = found.session
        if isinstance(session, HalfSignedIn):
            # Whoever has a factor proves that one first: else a password alone would be enough to replace it.
            if session.needs != "enrolment" or not self._sessions.is_on_the_way_in(found.row):
                raise SessionMissing
        else:
            self._sessions.require_recent(session)

    async def settle(
        self,
        change: Change,
        found: Found,
        before: Account,
        methods: tuple[str, ...],
        codes: tuple[Secret, ...],
    ) -> Step:
        """What a new factor makes of the session, and of whoever had no recovery codes."""
        account = await account_rows.get(change.conn, before.id)
        is_first = account.recovery_codes == 0
        if is_first:
            await recovery_codes.replace(change, account.id, codes)
            await record(change, "account.recovery_codes_made", account)
        cookie, _ = await self._sessions.prove(change, found.row, account, methods)
        step = await self._sessions.describe(change, cookie)
        shown = codes if is_first else ()
        return Step(cookie=step.cookie, session=step.session, recovery_codes=shown)

    def require_another(self, account: Account, *, totp: bool = True, passkey: bool = True) -> None:
        """`totp`, `passkey`: whether what is about to be taken away is not one of these."""
        left = (account.has_totp and totp) or account.passkeys > (0 if passkey else 1)
        if not left and self._needs_second_factor(account.roles):
            raise SecondFactorNeeded


def get_account(found: Found) -> Account:
    if found.account is None:
        raise SessionMissing
    return found.account
