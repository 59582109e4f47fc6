"""Sessions: who a browser's cookie says it is, for as long as it may.

Invariant: a session is good only while neither of its two times has run out, nobody has ended it, and its account is
active; whether its holder has proved enough is asked of their roles as they are now, at every look. A session begins
with a value that nobody has seen, and gets a new one with every proof: a value that somebody was given by somebody else
never becomes a signed-in one (fixation). `find` writes nothing but when a session was last seen, and that now and then.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth.people import account_rows, session_rows
from auth.people.failures import SessionMissing, StepUpNeeded, UnknownSession
from auth.people.records import MULTIPLE, Account, HalfSignedIn, Need, Offer, OwnSession, SignedIn, Step
from auth.people.requirements import NeedsSecondFactor
from auth.people.session_rows import Began, Session
from keys.changes import Author, Change, Changes, Clock, person
from keys.secret import Secret
from storage import engine

_VALUE_BYTES: Final = 32
_ID_BYTES: Final = 12
# As long as base64url writes the value: whatever is longer is nobody's, and is not worked on.
_VALUE_LENGTH: Final = 43
# To find the second factor, or to get one.
_SIGNING_IN_MS: Final = 900_000
_SEEN_EVERY_MS: Final = 60_000
_CSRF_LABEL: Final = b"portreeve/session-csrf/1"


class SessionTimes(msgspec.Struct, frozen=True, kw_only=True):
    idle_ms: int = 1_800_000
    absolute_ms: int = 43_200_000
    step_up_ms: int = 300_000


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A session that is good, with its row and its account, for those who go on with it."""

    row: Session
    account: Account | None
    session: SignedIn | HalfSignedIn


class Sessions:
    def __init__(  # noqa: PLR0913  where they lie, what changes them, whose need what, and sources of time and chance
        self,
        engine_: AsyncEngine,
        changes: Changes,
        clock: Clock,
        entropy: Callable[[int], bytes],
        *,
        times: SessionTimes,
        needs_second_factor: NeedsSecondFactor,
    ) -> None:
        self._engine = engine_
        self._changes = changes
        self._clock = clock
        self._entropy = entropy
        self._times = times
        self._needs_second_factor = needs_second_factor

    async def find(self, cookie: str) -> SignedIn | HalfSignedIn | None:
        """Who the cookie says it is; None for a value that is worth nothing (any more)."""
        found = await self.look(cookie)
        return None if found is None else found.session

    async def look(self, cookie: str) -> Found | None:
        if len(cookie) != _VALUE_LENGTH:
            return None
        value, now_ms = Secret(cookie), self._clock()
        async with engine.reading(self._engine) as conn:
            found = await self.read(conn, value)
        every_ms = min(_SEEN_EVERY_MS, self._times.idle_ms // 4)
        if found is not None and now_ms - found.row.seen_at >= every_ms:
            async with engine.transaction(self._engine) as conn:
                await session_rows.note_seen(conn, found.row.digest, now_ms)
        return found

    async def read(self, conn: AsyncConnection, cookie: Secret) -> Found | None:
        """The same within a transaction, as it stands there."""
        row = await session_rows.find(conn, session_rows.digest(cookie))
        if row is None or not self._is_good(row):
            return None
        if row.account_id is None:
            return Found(row=row, account=None, session=_nobody(row, cookie))
        account = await account_rows.get(conn, row.account_id)
        signed_out = account.signed_out_at is not None and row.created_at < account.signed_out_at
        if account.state != "active" or signed_out:
            return None
        return Found(row=row, account=account, session=self._describe(row, account, cookie))

    async def begin(
        self, change: Change, account: Account, methods: Iterable[str], began: Began
    ) -> tuple[Secret, Session]:
        """A session of somebody who has just proved something, and its value."""
        return await self._insert(change.conn, account, tuple(sorted(set(methods))), began, change.at)

    async def begin_anonymous(self, conn: AsyncConnection, began: Began) -> tuple[Secret, Session]:
        """For a challenge that whoever comes is to answer: it says who nobody is."""
        return await self._insert(conn, None, (), began, self._clock())

    async def prove(
        self, change: Change, row: Session, account: Account, methods: Iterable[str]
    ) -> tuple[Secret, Session]:
        """More is proved in a session: it goes on under another value."""
        proved = tuple(sorted({*row.methods, *methods}))
        state = self._state(account, proved)
        is_new = row.state != state
        cookie = self._draw()
        after = msgspec.structs.replace(
            row,
            digest=session_rows.digest(cookie),
            account_id=account.id,
            state=state,
            methods=proved,
            authenticated_at=change.at,
            seen_at=change.at,
            expires_at=self._expiry(state, change.at) if is_new else row.expires_at,
            ceremony=None,
        )
        if not await session_rows.replace(change.conn, row, after):
            raise SessionMissing
        return cookie, after

    async def describe(self, change: Change, cookie: Secret) -> Step:
        """What a proof came to, once all of it is written."""
        found = await self.read(change.conn, cookie)
        if found is None:
            raise SessionMissing
        return Step(cookie=cookie, session=found.session)

    def require_recent(self, session: SignedIn) -> None:
        """For sensitive acts: they have proved themselves a moment ago."""
        if self._clock() - session.authenticated_at >= self._times.step_up_ms:
            raise StepUpNeeded

    def is_on_the_way_in(self, row: Session) -> bool:
        """Proved no longer ago than it may take to find the second factor, or to get one."""
        return row.authenticated_at is not None and self._clock() - row.authenticated_at < _SIGNING_IN_MS

    async def get_signed_in(self, cookie: str, *, recent: bool = False) -> SignedIn:
        found = await self.find(cookie)
        if not isinstance(found, SignedIn):
            raise SessionMissing
        if recent:
            self.require_recent(found)
        return found

    async def list_own(self, cookie: str) -> tuple[OwnSession, ...]:
        session = await self.get_signed_in(cookie)
        async with engine.reading(self._engine) as conn:
            rows = await session_rows.list_living(conn, session.account_id, self._clock())
        return tuple(_show(row, session.session_id) for row in rows if self._is_good(row))

    async def end(self, cookie: str, *, source: str | None = None) -> None:
        """Signs out, whoever that is; a value that is worth nothing already stays so."""
        found = await self.look(cookie)
        if found is None:
            return
        if found.account is None:
            async with engine.transaction(self._engine) as conn:
                await session_rows.end(conn, found.row.digest, self._clock())
            return
        async with self._changes.begin(person(found.account.id, source)) as change:
            if not await session_rows.end(change.conn, found.row.digest, change.at):
                change.abandon()
                return
            await record(change, "account.signed_out", found.account, {"session": found.row.id})

    async def end_own(self, cookie: str, session_id: str, *, source: str | None = None) -> None:
        """One of their own, from whichever they sit at."""
        session = await self.get_signed_in(cookie)
        async with self._changes.begin(person(session.account_id, source)) as change:
            if not await session_rows.end_own(change.conn, session.account_id, session_id, change.at):
                raise UnknownSession
            account = await account_rows.get(change.conn, session.account_id)
            await record(change, "account.signed_out", account, {"session": session_id})

    async def end_all_own(self, cookie: str, *, source: str | None = None) -> None:
        """Everywhere, this one too, with all that was allowed to clients."""
        session = await self.get_signed_in(cookie)
        await self.end_all(session.account_id, author=person(session.account_id, source))

    async def end_all(self, account_id: str, *, author: Author) -> Account:
        async with self._changes.begin(author) as change:
            account = await account_rows.get(change.conn, account_id)
            ended = await session_rows.sign_out_everywhere(change, account_id, "signed out everywhere")
            await record(change, "account.signed_out_everywhere", account, ended)
            return await account_rows.get(change.conn, account_id)

    def now_ms(self) -> int:
        return self._clock()

    async def _insert(
        self,
        conn: AsyncConnection,
        account: Account | None,
        methods: tuple[str, ...],
        began: Began,
        now_ms: int,
    ) -> tuple[Secret, Session]:
        cookie = self._draw()
        state = "signing-in" if account is None else self._state(account, methods)
        row = Session(
            digest=session_rows.digest(cookie),
            id=f"ses_{self._entropy(_ID_BYTES).hex()}",
            account_id=None if account is None else account.id,
            state=state,
            methods=methods,
            authenticated_at=None if account is None else now_ms,
            created_at=now_ms,
            seen_at=now_ms,
            expires_at=self._expiry(state, now_ms),
            ended_at=None,
            source=began.source,
            agent=began.agent,
            ceremony=None,
        )
        await session_rows.insert(conn, row)
        return cookie, row

    def _draw(self) -> Secret:
        return Secret(base64.urlsafe_b64encode(self._entropy(_VALUE_BYTES)).rstrip(b"=").decode("ascii"))

    def _expiry(self, state: str, now_ms: int) -> int:
        return now_ms + (self._times.absolute_ms if state == "signed-in" else _SIGNING_IN_MS)

    def _is_good(self, row: Session) -> bool:
        now_ms = self._clock()
        return row.ended_at is None and now_ms < row.expires_at and now_ms - row.seen_at < self._times.idle_ms

    def _state(self, account: Account, methods: tuple[str, ...]) -> str:
        return "signed-in" if self._need(account, methods) is None else "signing-in"

    def _need(self, account: Account, methods: tuple[str, ...]) -> Need | None:
        if MULTIPLE in methods:
            return None
        if account.has_second_factor:
            return "second-factor"
        return "enrolment" if self._needs_second_factor(account.roles) else None

    def _describe(self, row: Session, account: Account, cookie: Secret) -> SignedIn | HalfSignedIn:
        need = self._need(account, row.methods)
        # A session that began as a whole one is not made whole again by what was taken off the account since.
        if need is None and row.state == "signed-in" and row.authenticated_at is not None:
            return SignedIn(
                session_id=row.id,
                account_id=account.id,
                email=account.shown_email,
                name=account.name,
                partner=account.partner,
                roles=account.roles,
                methods=frozenset(row.methods),
                authenticated_at=row.authenticated_at,
                csrf=_csrf(cookie),
            )
        return HalfSignedIn(
            session_id=row.id,
            account_id=account.id,
            email=account.shown_email,
            name=account.name,
            methods=frozenset(row.methods),
            needs=need or "sign-in",
            offers=_offers(account) if need == "second-factor" else (),
            csrf=_csrf(cookie),
        )


async def record(
    change: Change, action: str, account: Account, details: Mapping[str, object] | None = None
) -> None:
    """Of an account the ledger names the id: addresses are people's own, and it forgets nothing."""
    await change.record(action, account.id, partner=account.partner, details=details)


def _nobody(row: Session, cookie: Secret) -> HalfSignedIn:
    return HalfSignedIn(
        session_id=row.id,
        account_id=None,
        email=None,
        name=None,
        methods=frozenset(),
        needs="sign-in",
        offers=(),
        csrf=_csrf(cookie),
    )


def _offers(account: Account) -> tuple[Offer, ...]:
    offered: dict[Offer, bool] = {
        "passkey": account.passkeys > 0,
        "totp": account.has_totp,
        "recovery-code": account.recovery_codes > 0,
    }
    return tuple(name for name, is_there in offered.items() if is_there)


def _csrf(cookie: Secret) -> str:
    """Of the session's value, so that it is worth nothing in any other, nor once the value has changed."""
    return hmac.new(cookie.reveal().encode("ascii", "replace"), _CSRF_LABEL, hashlib.sha256).hexdigest()


def _show(row: Session, this: str) -> OwnSession:
    return OwnSession(
        id=row.id,
        methods=row.methods,
        created_at=row.created_at,
        seen_at=row.seen_at,
        expires_at=row.expires_at,
        source=row.source,
        agent=row.agent,
        is_this=row.id == this,
    )
