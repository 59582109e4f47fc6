"""People over a real store: all services of a node, mails that are kept, and an authenticator made of software."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
from collections.abc import Awaitable, Sequence

import cbor2
import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy.ext.asyncio import AsyncEngine

from auth.admission.memory import MemoryAdmission
from auth.people import one_time_passwords, requirements
from auth.people.accounts import Invitation, TicketTimes
from auth.people.hashing import Parameters, PasswordHashes
from auth.people.mail import Links, Mail, MailNotSent
from auth.people.records import Account, HalfSignedIn, RelyingParty, SignedIn, Step
from auth.people.sessions import SessionTimes
from gateway.people import People, PeopleTerms, StoredPeople
from keys.changes import Author
from keys.secret import Secret, SecretBytes
from policies import document
from storage import audit
from storage import engine as sql
from tests.support.custody import FakeClock, Room, build_room

OPERATOR = Author("cli:operator")
PASSWORD = "a horse that nobody knows"
ORIGIN = "https://gate.example"
SOURCE = "192.0.2.1"
COUNTING_KEY = b"what every node counts by"
# What nobody would use: tests are about what is hashed, and not about how dear that is.
CHEAP = Parameters(memory_kib=8, passes=1, lanes=1)

POLICIES = """
[permissions."orders:read"]
description = "See orders"
[permissions."orders:write"]
description = "Place orders"
trading = true
[roles.viewer]
permissions = ["orders:read"]
[roles.trader]
permissions = ["orders:write"]
[roles.partner-admin]
permissions = ["control:people-read", "control:people-write"]
"""


class KeptMails:
    """Takes every mail, or none while it is `broken`."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.broken = False

    async def send(self, mail: Mail) -> None:
        if self.broken:
            raise MailNotSent("nowhere: it is broken")
        self.mails.append(mail)

    def ticket(self) -> str:
        """Of the last one."""
        found = re.search(r"ticket=([\w-]+)", self.mails[-1].text.reveal())
        assert found is not None
        return found[1]


class CountedHashes(PasswordHashes):
    """The real ones, and how often each kind of work was done."""

    def __init__(self, parameters: Parameters = CHEAP, **more: int) -> None:
        super().__init__(os.urandom, parameters, **more)
        self.verified: list[str] = []
        self.hashed = 0

    async def verify(self, hashed: str, password: bytes) -> bool:
        self.verified.append(hashed)
        return await super().verify(hashed, password)

    async def hash(self, password: bytes) -> str:
        self.hashed += 1
        return await super().hash(password)


def cheapen(hashes_: PasswordHashes) -> None:
    """A node's own, for tests of what it does with passwords: everything stays but what one costs."""
    cheap = PasswordHashes(os.urandom, CHEAP)
    hashes_._hasher = cheap._hasher
    hashes_.decoy = cheap.decoy  # type: ignore[misc]  # final for everybody else
    cheap.close()


class House(msgspec.Struct, frozen=True, eq=False):
    room: Room
    people: People
    mails: KeptMails
    hashes: CountedHashes

    @property
    def clock(self) -> FakeClock:
        return self.room.clock

    async def invite(
        self, email: str = "ada@acme.example", roles: tuple[str, ...] = ("viewer",), partner: str = "acme"
    ) -> Account:
        asked = Invitation(email=email, name="Ada", partner=partner, roles=roles)
        return await self.people.accounts.invite(asked, author=OPERATOR)

    async def arrive(self, email: str = "ada@acme.example", roles: tuple[str, ...] = ("viewer",)) -> Step:
        """Somebody who was invited has chosen a password."""
        await self.invite(email, roles)
        return await self.people.passwords.accept_invitation(self.mails.ticket(), PASSWORD, source=SOURCE)

    async def enrol(self, step: Step) -> tuple[Step, SecretBytes]:
        """One-time passwords on somebody's device."""
        shown = await self.people.factors.enrol_totp(value(step), source=SOURCE)
        device = read_secret(shown.secret)
        code = one_time_passwords.code_at(device, one_time_passwords.step_of(self.clock()))
        return await self.people.factors.confirm_totp(value(step), code, source=SOURCE), device

    async def sign_in(
        self, email: str = "ada@acme.example", password: str = PASSWORD, **more: str | None
    ) -> Step:
        fields = {"source": SOURCE, **more}
        return await self.people.sign_in.with_password(email, password, **fields)  # type: ignore[arg-type]

    def code(self, device: SecretBytes, steps: int = 0) -> str:
        return one_time_passwords.code_at(device, one_time_passwords.step_of(self.clock()) + steps)

    def wait(self, ms: int) -> None:
        self.clock.now_ms += ms

    async def ledger(self) -> list[audit.AuditEvent]:
        async with sql.reading(self.room.engine) as conn:
            return [entry.event for entry in await audit.tail(conn, 500)]

    async def actions(self) -> list[str]:
        return [event.action for event in await self.ledger()]


def build_house(
    engine: AsyncEngine, *, room: Room | None = None, hashes_: CountedHashes | None = None
) -> House:
    """`room`: another node of the same store has the same clock, and shares nothing else."""
    room = room or build_room(engine)
    mails, counted = KeptMails(), hashes_ or CountedHashes()
    stored = build_stored(room, mails, document.parse(POLICIES.encode(), "policies.toml"))
    admission = MemoryAdmission(lambda: room.clock() * 1000, 60_000)
    return House(room, stored.serve(admission, counted, lambda: COUNTING_KEY), mails, counted)


async def prepare(stored: StoredPeople, partner: str) -> str:
    """An account of the partner's whose holder has not come, and has no roles: its id."""
    email = f"p{os.urandom(6).hex()}@acme.example"
    asked = Invitation(email=email, name="Ada", partner=partner, roles=())
    account, _ = await stored.accounts.prepare(asked, author=OPERATOR)
    return account.id


def build_stored(room: Room, mails: KeptMails, policies: document.Policies) -> StoredPeople:
    """What commands have of people."""
    terms = PeopleTerms(
        sessions=SessionTimes(),
        tickets=TicketTimes(),
        mailer=mails,
        links=Links(invitation=_link, reset=_link),
        party=RelyingParty(id="gate.example", origin=ORIGIN),
        needs_second_factor=requirements.from_policies(policies),
    )
    return StoredPeople(room.engine, room.changes, room.data_keys, room.clock, os.urandom, terms=terms)


def _link(ticket: Secret) -> Secret:
    return Secret(f"{ORIGIN}/?ticket={ticket.reveal()}")


def value(step: Step) -> str:
    """What the browser presents from then on."""
    return step.cookie.reveal()


def read_secret(shown: Secret) -> SecretBytes:
    text = shown.reveal()
    return SecretBytes(base64.b32decode(text + "=" * (-len(text) % 8)))


def half(step: Step) -> HalfSignedIn:
    assert isinstance(step.session, HalfSignedIn)
    return step.session


def whole(step: Step) -> SignedIn:
    assert isinstance(step.session, SignedIn)
    return step.session


async def count_successes(
    tries: Sequence[Awaitable[object]], expected: type[Exception] | tuple[type[Exception], ...]
) -> int:
    """How many of those that run at once pass; the others have to be refused just so."""
    found = await asyncio.gather(*tries, return_exceptions=True)
    failures = [each for each in found if isinstance(each, BaseException)]
    assert all(isinstance(each, expected) for each in failures), failures
    return len(found) - len(failures)


class SoftPasskey:
    """An authenticator: one key pair, a counter, and what it says of whoever holds it."""

    def __init__(self, *, origin: str = ORIGIN, party: str = "gate.example") -> None:
        self.id = os.urandom(16)
        self.origin, self.party = origin, party
        self.count = 0
        self.verified = True
        self._key = ec.generate_private_key(ec.SECP256R1())

    def make(self, options: str) -> str:
        """What `navigator.credentials.create` answers."""
        client = self._client("webauthn.create", options)
        statement = {"fmt": "none", "attStmt": {}, "authData": self._authenticator(attested=True)}
        return self._answer({"clientDataJSON": client, "attestationObject": cbor2.dumps(statement)})

    def sign(self, options: str) -> str:
        """What `navigator.credentials.get` answers."""
        self.count += 1
        client, said = self._client("webauthn.get", options), self._authenticator(attested=False)
        signed = self._key.sign(said + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self._answer({"clientDataJSON": client, "authenticatorData": said, "signature": signed})

    def _client(self, kind: str, options: str) -> bytes:
        challenge = msgspec.json.decode(options)["challenge"]
        return msgspec.json.encode({"type": kind, "challenge": challenge, "origin": self.origin})

    def _authenticator(self, *, attested: bool) -> bytes:
        flags = 0x01 | (0x04 if self.verified else 0) | (0x40 if attested else 0)
        said = hashlib.sha256(self.party.encode()).digest() + bytes([flags]) + self.count.to_bytes(4)
        if not attested:
            return said
        numbers = self._key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
        return said + bytes(16) + len(self.id).to_bytes(2) + self.id + cbor2.dumps(cose)

    def _answer(self, response: dict[str, bytes]) -> str:
        named = _text(self.id)
        written = {name: _text(each) for name, each in response.items()}
        return msgspec.json.encode(
            {"id": named, "rawId": named, "type": "public-key", "response": written}
        ).decode()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
