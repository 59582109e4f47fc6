"""Which clients may ask at all, how often, and by which keys: what stands beside the proof itself."""

import asyncio
from ipaddress import ip_network
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth import jose
from auth.oauth.client_keys import KeysUnreachable
from auth.oauth.errors import OAuthError
from policies.gcra import Limit
from tests.support import jws, oauth_clients, oauth_desk
from tests.support.oauth_clients import AUTHOR, MadeClient
from tests.support.oauth_desk import Desk

_ONE_SAID = "The client is unknown, or did not prove that it is the one it says."


async def test_a_frozen_or_revoked_client_gets_nothing(desk: Desk) -> None:
    """Told so only once it has proved to be it."""
    client = await desk.made()
    await desk.room.oauth_clients.freeze(client.id, author=AUTHOR)
    await desk.clients.refresh()
    assert (await desk.refused(desk.good(client))).reason == "client_frozen"
    forged = desk.form(client, desk.assertion(client, key=jws.OTHER_P256))
    assert (await desk.refused(desk.request(forged))).description == _ONE_SAID
    await desk.room.oauth_clients.unfreeze(client.id, author=AUTHOR)
    await desk.room.custody.freeze_partner("acme", author=AUTHOR)
    await desk.clients.refresh()
    assert (await desk.refused(desk.good(client))).reason == "partner_frozen"
    await desk.room.custody.unfreeze_partner("acme", author=AUTHOR)
    await desk.room.oauth_clients.revoke(client.id, author=AUTHOR)
    await desk.clients.refresh()
    assert (await desk.refused(desk.good(client))).error == "invalid_client"


async def test_a_client_past_its_time_gets_nothing(desk: Desk) -> None:
    """From the very millisecond on."""
    expires_at = desk.room.clock.now_ms + 60_000
    client = await desk.made(expires_at=expires_at)
    desk.room.clock.now_ms = expires_at - 1
    await desk.ask(desk.good(client))
    desk.room.clock.now_ms = expires_at
    assert (await desk.refused(desk.good(client))).reason == "client_expired"


async def test_a_client_asks_only_from_its_own_networks(desk: Desk) -> None:
    """Where it was tied to some."""
    client = await desk.made(cidrs=("198.51.100.0/24",))
    served = desk.clients.find(client.id)
    assert served is not None
    assert served.networks == (ip_network("198.51.100.0/24"),)
    assert (await desk.refused(desk.good(client))).reason == "source_not_allowed"
    inside = desk.request(desk.form(client), source="198.51.100.9", dpop=(desk.proof(),))
    await desk.ask(inside)


async def test_a_client_with_keys_elsewhere_has_them_fetched(file_engine: AsyncEngine) -> None:
    """By URL; another key id makes them be fetched anew, and not for every request."""
    client_key, asked = oauth_clients.private_key("ES256", 4), []

    class Fetcher:
        kids: tuple[str, ...] = ("one",)

        async def fetch(self, url: str) -> tuple[jose.VerificationKey, ...]:
            asked.append(url)
            if not self.kids:
                raise KeysUnreachable
            jwks = [oauth_clients.public_jwk(client_key, kid=kid) for kid in self.kids]
            return tuple(jose.parse_public_jwk(jwk) for jwk in jwks)

    fetcher = Fetcher()
    desk = await oauth_desk.opened(file_engine, fetcher=fetcher)
    made = await desk.made(keys_url="https://acme.test/jwks.json")
    client = MadeClient(client=made.client, private_key=client_key, kid="one")
    for _ in range(3):
        await desk.ask(desk.good(client))
    for _ in range(3):
        await desk.ask(desk.good(MadeClient(client=made.client, private_key=client_key, kid="unheard of")))
    assert asked == ["https://acme.test/jwks.json"]
    desk.room.clock.now_ms += 20_000
    fetcher.kids = ("two",)
    rotated = MadeClient(client=made.client, private_key=client_key, kid="two")
    await desk.ask(desk.good(rotated))
    assert len(asked) == 2
    fetcher.kids = ()
    desk.room.clock.now_ms += 400_000
    await desk.ask(desk.good(rotated))
    desk.room.clock.now_ms += 3_600_000
    assert (await desk.refused(desk.good(rotated))).reason == "keys_unreachable"


async def test_a_source_that_asks_too_often_is_stopped_before_any_signature(
    file_engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """429 with a Retry-After, and nothing was verified for it; another source goes on."""
    desk = await oauth_desk.opened(file_engine, source_limit=Limit("oauth-source", 1, 60_000_000, 2))
    client = await desk.made()
    forged = [desk.request(desk.form(client, desk.assertion(client, key=jws.OTHER_P256))) for _ in range(3)]
    assert [(await desk.refused(each)).status for each in forged[:2]] == [401, 401]
    monkeypatch.setattr(jose, "verify", lambda *_: pytest.fail("verified"))
    refused = await desk.refused(forged[2])
    assert (refused.status, refused.error, dict(refused.headers)) == (
        429,
        "temporarily_unavailable",
        {"Retry-After": "60"},
    )
    monkeypatch.undo()
    elsewhere = desk.request(desk.form(client), network="198.51.100.1", dpop=(desk.proof(),))
    await desk.ask(elsewhere)


async def test_a_client_that_asks_too_often_is_stopped(file_engine: AsyncEngine) -> None:
    """Wherever it asks from, once it has proved who it is; strangers who name it use up nothing of that."""
    desk = await oauth_desk.opened(file_engine, limit=Limit("oauth-client", 1, 60_000_000, 2))
    client = await desk.made()

    def ask(network: str, key: Any = None) -> Any:  # noqa: ANN401  a request
        form = desk.form(client, desk.assertion(client, key=key))
        return desk.request(form, network=network, dpop=(desk.proof(),))

    for number in range(5):
        assert (await desk.refused(ask(f"198.51.100.{number}", jws.OTHER_P256))).status == 401
    for number in range(2):
        await desk.ask(ask(f"203.0.113.{number}"))
    refused = await desk.refused(ask("203.0.113.9"))
    assert (refused.status, refused.reason) == (429, "rate_limited:oauth-client")


async def test_a_stranger_leaves_the_users_of_a_public_client_their_share(file_engine: AsyncEngine) -> None:
    """It proves nothing, so whoever knows its name counts as it; one address alone does not use it all up."""
    desk = await oauth_desk.opened(file_engine, limit=Limit("oauth-client", 1, 60_000_000, 2))
    phone = await desk.made(
        authentication="none",
        binding=None,
        exceptions=("public-client", "bearer-tokens"),
        grants=("authorization_code",),
        redirect_uris=("https://app.example/done",),
        roles=("viewer",),
    )

    async def ask(network: str) -> int:
        try:
            await desk.authentication.authenticate(desk.request({"client_id": phone.id}, network=network))
        except OAuthError as refused:
            return refused.status
        return 200

    assert [await ask("198.51.100.1") for _ in range(9)] == [200] * 2 + [429] * 7
    assert [await ask(f"203.0.113.{number}") for number in range(7)] == [200] * 6 + [429]


async def test_after_a_crash_nothing_passes_that_may_have_been_used_before(file_engine: AsyncEngine) -> None:
    """What says that it was made since is taken; what does not waits until all older ones have expired."""
    since: list[int] = [0]
    desk = await oauth_desk.opened(file_engine, remembers_since_ms=lambda: since[0])
    client = await desk.made()
    before = desk.form(client), desk.proof()
    since[0] = desk.room.clock.now_ms
    desk.room.clock.now_ms += 15_000
    refused = await desk.refused(desk.request(before[0], dpop=(desk.proof(),)))
    assert (refused.status, refused.reason) == (503, "replay_memory_lost")
    assert (await desk.refused(desk.request(desk.form(client), dpop=(before[1],)))).status == 503
    undated = desk.form(client, desk.assertion(client, iat=None))
    assert (await desk.refused(desk.request(undated, dpop=(desk.proof(),)))).status == 503
    await desk.ask(desk.good(client))
    desk.room.clock.now_ms += 66_000
    await desk.ask(desk.request(desk.form(client, desk.assertion(client, iat=None)), dpop=(desk.proof(),)))


async def test_nobody_makes_us_ask_for_the_keys_of_a_revoked_client(file_engine: AsyncEngine) -> None:
    """Whoever still names it hears what is said of one that never was."""

    class Nobody:
        async def fetch(self, url: str) -> tuple[jose.VerificationKey, ...]:  # noqa: ARG002  none is expected
            raise AssertionError("it was fetched")

    desk = await oauth_desk.opened(file_engine, fetcher=Nobody())
    made = await desk.made(keys_url="https://acme.test/jwks.json")
    await desk.room.oauth_clients.revoke(made.id, author=AUTHOR)
    await desk.clients.refresh()
    client = MadeClient(client=made.client, private_key=jws.P256, kid="one")
    assert (await desk.refused(desk.good(client))).description == _ONE_SAID


async def test_a_slow_key_server_holds_up_nobody_who_needs_nothing_of_it(file_engine: AsyncEngine) -> None:
    """A stranger names key ids that do not exist; who shows the one that is known goes on meanwhile."""
    reached, answered = asyncio.Event(), asyncio.Event()

    class SlowSecondTime:
        async def fetch(self, url: str) -> tuple[jose.VerificationKey, ...]:  # noqa: ARG002  always the same
            if self.asked:
                reached.set()
                await answered.wait()
            self.asked = True
            return (jose.parse_public_jwk({**jws.public_jwk(jws.P256), "kid": "one"}),)

        asked = False

    desk = await oauth_desk.opened(file_engine, fetcher=SlowSecondTime())
    made = await desk.made(keys_url="https://acme.test/jwks.json")
    client = MadeClient(client=made.client, private_key=jws.P256, kid="one")
    await desk.ask(desk.good(client))
    desk.room.clock.now_ms += 10_000
    forged = desk.form(client, desk.assertion(client, key=jws.OTHER_P256, header={"kid": "made-up"}))
    stranger = asyncio.create_task(desk.refused(desk.request(forged)))
    async with asyncio.timeout(10):
        await reached.wait()
        await desk.ask(desk.good(client))
        answered.set()
        assert (await stranger).description == _ONE_SAID
