"""A whole node that serves the pages, with a clock that a test moves, its people and the apps that ask them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import email
import email.policy
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from auth.people import one_time_passwords
from auth.people.accounts import Invitation
from auth.people.records import Account
from gateway import clocks
from gateway.pages.services import Services
from gateway.trace import Trace
from keys.changes import Changes
from keys.client_records import About
from keys.secret import SecretBytes
from keys.served_clients import ServedClient
from tests.support import control_roles, gateway_config, oauth_clients, people
from tests.support.control_node import AUTHOR, ControlNode, control_node
from tests.support.oauth_people import CHALLENGE, DEVICE
from tests.support.page_visits import Visitor

_TICKET = re.compile(r"ticket=([A-Za-z0-9_-]{43})")
ORIGIN = "https://gateway.test"
REDIRECT = "https://app.example/callback?app=desk"
PASSWORD = "a long walk to the harbour"
SURFACES = ("oauth",)
POLICIES: gateway_config.Table = {
    "roles": {"officer": {"permissions": sorted(control_roles.ROLES[control_roles.OFFICER])}},
}


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def advance(self, ms: int) -> None:
        self.now_ms += ms


class Device(msgspec.Struct):
    """Somebody's authenticator app."""

    secret: SecretBytes
    clock: Clock

    def code(self) -> str:
        """A new one each time: a code counts once."""
        self.clock.advance(30_000)
        return one_time_passwords.code_at(self.secret, one_time_passwords.step_of(self.clock()))


class Site:
    def __init__(self, node: ControlNode, clock: Clock) -> None:
        self.node = node
        self.clock = clock
        self._visitors: list[Visitor] = []

    @property
    def services(self) -> Services:
        return self.node.gateway.pages

    @property
    def changes(self) -> Changes:
        store = self.node.store
        return Changes(store.engine, store.wakeup, self.clock)

    def visitor(self) -> Visitor:
        """Another browser."""
        made = Visitor(self.node.address)
        self._visitors.append(made)
        return made

    async def invite(
        self, address: str = "ann@acme.example", *, roles: tuple[str, ...] = ("viewer",), name: str = "Ann"
    ) -> tuple[Account, str]:
        asked = Invitation(email=address, name=name, partner="acme", roles=roles)
        account, ticket = await self.services.people.accounts.prepare(asked, author=AUTHOR)
        return account, ticket.reveal()

    async def newcomer(self, address: str = "ann@acme.example", **asked: Any) -> tuple[Account, Visitor]:  # noqa: ANN401  see invite
        """Somebody who has come by their invitation, as far as their password leads."""
        account, ticket = await self.invite(address, **asked)
        visitor = self.visitor()
        await visitor.open(f"/oauth/invitation?ticket={ticket}")
        await visitor.send("/oauth/invitation", password=PASSWORD, again=PASSWORD)
        return account, visitor

    async def trader(self, address: str = "tom@acme.example") -> tuple[Account, Visitor, Device]:
        """Somebody whose role asks for a second factor, and who has set one up."""
        account, visitor = await self.newcomer(address, roles=("trader",), name="Tom")
        await visitor.follow()
        device = await enrol(self, visitor)
        return account, visitor, device

    async def client(self, **asked: Any) -> ServedClient:  # noqa: ANN401  the fields of a request
        fields: dict[str, Any] = {
            "name": "Order Desk",
            "grants": ("authorization_code", "refresh_token", DEVICE),
            "redirect_uris": (REDIRECT,),
            "about": About(client_uri="https://app.example/", logo_uri="https://pictures.example/x.png"),
        }
        made = await self.node.store.oauth_clients.create(
            oauth_clients.request(**fields | asked), author=AUTHOR
        )
        await self.node.gateway.directory.load()
        found = self.services.clients.find(made.client.id)
        assert found is not None
        return found

    async def push(self, client: ServedClient, **parameters: str) -> str:
        """The address that the client sends its person's browser to."""
        form = {
            "response_type": "code",
            "redirect_uri": REDIRECT,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "state": "s-1",
            **parameters,
        }
        pushed = await self.services.flows.requests.push(client, form, None)
        return f"/oauth/authorize?client_id={client.id}&request_uri={pushed.request_uri}"

    async def reset_ticket(self) -> str:
        """As the mail holds it that was asked for last."""
        outbox = Path(self.node.gateway.settings.service.state_dir) / "outbox"
        async with asyncio.timeout(30):
            while not list(outbox.glob("*.eml")):  # noqa: ASYNC110  the node writes it on its own time, and tells nobody
                await asyncio.sleep(0.01)
        mails = sorted(outbox.glob("*.eml"))
        mail = email.message_from_bytes(mails[-1].read_bytes(), policy=email.policy.default)
        found = _TICKET.search(mail.get_content())
        assert found is not None
        return found[1]

    def watch_log(self) -> list[Any]:
        """What the log is told from now on."""
        lines: list[Any] = []
        observers, note = self.node.gateway.observers, self.node.gateway.observers.note

        def noting(trace: Trace) -> None:
            note(trace)
            lines.append(msgspec.to_builtins(trace))

        observers.note = noting  # type: ignore[method-assign]  # beside what it does, and not in its place
        return lines

    async def close(self) -> None:
        for each in self._visitors:
            await each.close()


async def enrol(site: Site, visitor: Visitor) -> Device:
    """From the page that asks for it, by an authenticator app; ends on the recovery codes."""
    await visitor.send("/oauth/enrol/one-time-codes")
    key = visitor.text.partition('id="totp-key">')[2].partition("<")[0].replace(" ", "")
    device = Device(SecretBytes(_decode(key)), site.clock)
    await visitor.send("/oauth/enrol/one-time-codes/confirm", code=device.code())
    assert 'id="recovery-codes"' in visitor.text, visitor.page
    return device


def _decode(key: str) -> bytes:
    return base64.b32decode(key + "=" * (-len(key) % 8))


@contextlib.asynccontextmanager
async def page_site(place: Path, changes: gateway_config.Table | None = None) -> AsyncIterator[Site]:
    clock = Clock(clocks.wall_ms())
    policies = gateway_config.merged(gateway_config.policies(), POLICIES)
    async with control_node(place, policies, surfaces=SURFACES, changes=changes, clock=clock) as node:
        site = Site(node, clock)
        people.cheapen(site.services.people.hashes)
        try:
            yield site
        finally:
            await site.close()
