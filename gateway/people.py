"""People's accounts put together: what every command has of them, and what a node adds to let them sign in.

Invariant: a command and a node change accounts by the same services. Passwords are worked out, and attempts counted, on
nodes alone: nobody signs in by a command.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from auth.admission import AdmissionStore
from auth.people import requirements
from auth.people.accounts import Accounts, TicketTimes
from auth.people.forgetting import Forgetting
from auth.people.hashing import PasswordHashes
from auth.people.mail import Links, Mailer
from auth.people.one_time_passwords import OneTimePasswords
from auth.people.own_passwords import OwnPasswords
from auth.people.records import RelyingParty
from auth.people.requirements import NeedsSecondFactor
from auth.people.second_factors import SecondFactors
from auth.people.sessions import Sessions, SessionTimes
from auth.people.sign_in import SignIn
from auth.people.throttle import Throttle
from gateway import references
from gateway.mail.outbox import Outbox
from gateway.mail.smtp import Smtp, parse_server
from gateway.settings import Settings
from keys.changes import Changes, Clock
from keys.data_keys import DataKeys
from keys.secret import Secret
from keys.totp_secrets import TotpSecrets

if TYPE_CHECKING:
    from auth.people.passkeys import Passkeys  # noqa: TC004  nobody reads the annotations of what is never decoded

_NAME = "Portreeve"


class PeopleTerms(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the configuration says of people."""

    sessions: SessionTimes
    tickets: TicketTimes
    mailer: Mailer
    links: Links
    party: RelyingParty
    needs_second_factor: NeedsSecondFactor


class People(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a node has: by which people come in, and go on."""

    accounts: Accounts
    sessions: Sessions
    sign_in: SignIn
    passwords: OwnPasswords
    factors: SecondFactors
    passkeys: Passkeys
    hashes: PasswordHashes
    forgetting: Forgetting

    def background(self) -> list[Coroutine[Any, Any, None]]:
        return [self.passwords.run(), self.forgetting.run()]


class StoredPeople:
    """What a store has, be it a command's or a node's."""

    def __init__(  # noqa: PLR0913  where they lie, what changes and seals them, and sources of time and chance
        self,
        engine: AsyncEngine,
        changes: Changes,
        data_keys: DataKeys,
        clock: Clock,
        entropy: Callable[[int], bytes],
        *,
        terms: PeopleTerms,
    ) -> None:
        self._engine = engine
        self._changes = changes
        self._clock = clock
        self._entropy = entropy
        self._terms = terms
        self._secrets = TotpSecrets(engine, data_keys, entropy)
        self.accounts = Accounts(
            engine, changes, entropy, mailer=terms.mailer, links=terms.links, times=terms.tickets
        )
        self.sessions = Sessions(
            engine,
            changes,
            clock,
            entropy,
            times=terms.sessions,
            needs_second_factor=terms.needs_second_factor,
        )

    def serve(
        self, admission: AdmissionStore, hashes: PasswordHashes, counting_key: Callable[[], bytes]
    ) -> People:
        """`counting_key`: the same on every node that counts attempts in this admission store."""
        from auth.people.passkeys import Passkeys  # noqa: PLC0415  a quarter of a second that commands do without

        engine, changes, sessions = self._engine, self._changes, self.sessions
        throttle = Throttle(admission, counting_key)
        factors = SecondFactors(
            engine,
            changes,
            sessions=sessions,
            throttle=throttle,
            secrets=self._secrets,
            entropy=self._entropy,
            issuer=_NAME,
            needs_second_factor=self._terms.needs_second_factor,
        )
        return People(
            accounts=self.accounts,
            sessions=sessions,
            sign_in=SignIn(
                engine,
                changes,
                sessions=sessions,
                throttle=throttle,
                hashes=hashes,
                one_time=OneTimePasswords(self._secrets),
            ),
            passwords=OwnPasswords(
                engine, changes, sessions=sessions, throttle=throttle, hashes=hashes, accounts=self.accounts
            ),
            factors=factors,
            passkeys=Passkeys(
                engine,
                changes,
                sessions=sessions,
                throttle=throttle,
                factors=factors,
                entropy=self._entropy,
                party=self._terms.party,
            ),
            hashes=hashes,
            forgetting=Forgetting(engine, self._clock),
        )


def build_terms(settings: Settings, clock: Clock, entropy: Callable[[int], bytes]) -> PeopleTerms:
    people, issuer = settings.people, settings.service.issuer
    return PeopleTerms(
        sessions=SessionTimes(
            idle_ms=people.idle_ms, absolute_ms=people.absolute_ms, step_up_ms=people.step_up_ms
        ),
        tickets=TicketTimes(invitation_ms=people.invitation_ms, reset_ms=people.reset_ms),
        mailer=_build_mailer(settings, clock, entropy),
        links=Links(
            invitation=lambda ticket: _link(issuer, "invitation", ticket),
            reset=lambda ticket: _link(issuer, "reset", ticket),
        ),
        party=find_party(issuer, people.relying_party),
        needs_second_factor=requirements.from_policies(settings.policies),
    )


def find_party(issuer: str, configured: str | None) -> RelyingParty:
    """The issuer's host, where no wider domain is configured; used from the issuer's own origin alone."""
    parts = urlsplit(issuer)
    return RelyingParty(id=configured or parts.hostname or "", origin=f"{parts.scheme}://{parts.netloc}")


def _link(issuer: str, page: str, ticket: Secret) -> Secret:
    return Secret(f"{issuer}/oauth/{page}?ticket={ticket.reveal()}")


def _build_mailer(settings: Settings, clock: Clock, entropy: Callable[[int], bytes]) -> Mailer:
    people = settings.people
    if people.mail == "outbox" or people.smtp_url is None:
        return Outbox(Path(settings.service.state_dir) / "outbox", people.mail_from, clock, entropy)
    password = people.smtp_password
    return Smtp(
        parse_server(people.smtp_url),
        None if password is None else references.resolve(password, os.environ),
        people.mail_from,
        clock,
        entropy,
    )
