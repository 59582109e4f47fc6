"""The device grant: a program waits, a person decides elsewhere, and one of them gets a token."""

import collections
import os
from collections.abc import Callable

import pytest

from auth.oauth import user_codes
from auth.oauth.devices import INTERVAL_MS, NoSuchUserCode, TooManyGuesses
from auth.oauth.refusals import Refused
from auth.oauth.standing import Bound
from storage import engine, schema
from tests.support import oauth_people as people
from tests.support.custody import START_MS
from tests.support.oauth_people import ANN, API, BOUND, CLIENT, ISSUER, JKT, PUBLIC, Side

FORM = {"scope": "orders:read"}


async def begin(side: Side, **form: str) -> tuple[str, str]:
    begun = await side.flows.devices.begin(CLIENT, FORM | form, JKT)
    return begun.device_code.reveal(), begun.user_code


async def allow(side: Side, user_code: str) -> None:
    pending = await side.flows.devices.find(user_code, asker="ann")
    await side.flows.devices.approve(pending, ANN, frozenset(pending.scope))


async def poll(side: Side, device_code: str) -> str:
    """The error that it gets."""
    with pytest.raises(Refused) as refused:
        await side.flows.devices.redeem(CLIENT, device_code, BOUND)
    return refused.value.error


async def test_a_device_waits_until_its_person_allows_it(side: Side) -> None:
    """Whatever the letters were typed like."""
    begun = await side.flows.devices.begin(CLIENT, FORM | {"resource": API}, JKT)
    assert (begun.expires_in_s, begun.interval_s) == (600, 5)
    device_code = begun.device_code.reveal()
    assert await poll(side, device_code) == "authorization_pending"
    typed = begun.user_code.lower().replace("-", " ")
    pending = await side.flows.devices.find(typed, asker="ann")
    assert (pending.client, pending.scope, pending.resource) == (CLIENT, ("orders:read",), API)
    await side.flows.devices.approve(pending, ANN, {"orders:read", "orders:write"})
    redeemed = await side.flows.devices.redeem(CLIENT, device_code, BOUND)
    assert redeemed.scope == {"orders:read"}
    assert redeemed.grant.resource == API
    assert redeemed.refresh is not None
    again = await side.flows.refresh_tokens.redeem(CLIENT, redeemed.refresh.reveal(), scope=None, bound=BOUND)
    assert again.grant.id == redeemed.grant.id


async def test_a_device_that_hurries_is_slowed_down(side: Side) -> None:
    """By five seconds each time, for good; who waits long enough is only told to wait."""
    device_code, user_code = await begin(side)
    assert await poll(side, device_code) == "authorization_pending"
    side.clock.now_ms += INTERVAL_MS
    assert await poll(side, device_code) == "authorization_pending"
    side.clock.now_ms += 1_000
    assert await poll(side, device_code) == "slow_down"
    side.clock.now_ms += INTERVAL_MS
    assert await poll(side, device_code) == "slow_down"
    side.clock.now_ms += INTERVAL_MS + 10_000
    assert await poll(side, device_code) == "authorization_pending"
    await allow(side, user_code)
    await side.flows.devices.redeem(CLIENT, device_code, BOUND)


async def test_a_device_code_expires(side: Side) -> None:
    """Allowed or not; and nobody can decide any more."""
    device_code, user_code = await begin(side)
    allowed, allowed_code = await begin(side)
    await allow(side, allowed_code)
    side.clock.now_ms += people.TERMS.device_ms
    assert await poll(side, device_code) == "expired_token"
    assert await poll(side, allowed) == "expired_token"
    with pytest.raises(NoSuchUserCode):
        await side.flows.devices.find(user_code, asker="ann")


async def test_a_device_that_was_denied_is_told(side: Side) -> None:
    """And stays denied."""
    device_code, user_code = await begin(side)
    pending = await side.flows.devices.find(user_code, asker="ann")
    await side.flows.devices.deny(pending)
    assert await poll(side, device_code) == "access_denied"
    for decide in (
        side.flows.devices.deny(pending),
        side.flows.devices.approve(pending, ANN, {"orders:read"}),
    ):
        with pytest.raises(NoSuchUserCode):
            await decide
    assert await poll(side, device_code) == "access_denied"
    async with engine.reading(side.engine) as conn:
        assert (await conn.execute(schema.oauth_grants.select())).first() is None


async def test_a_device_code_that_comes_twice_ends_the_family(side: Side) -> None:
    """What came of it the first time is over, be it long after the code has expired."""
    device_code, user_code = await begin(side)
    await allow(side, user_code)
    redeemed = await side.flows.devices.redeem(CLIENT, device_code, BOUND)
    side.clock.now_ms += people.TERMS.device_ms
    assert await poll(side, device_code) == "invalid_grant"
    ended = await side.flows.grants.find(redeemed.grant.id)
    assert ended is not None
    assert ended.revoked_reason == "a device code came twice"


async def test_a_device_code_is_its_clients_and_its_keys(side: Side) -> None:
    """Others neither redeem it nor use it up, nor make it wait longer."""
    device_code, user_code = await begin(side)
    await allow(side, user_code)
    for client, bound in ((PUBLIC, BOUND), (CLIENT, Bound()), (CLIENT, Bound(jkt="o" * 43))):
        with pytest.raises(Refused, match="invalid_grant"):
            await side.flows.devices.redeem(client, device_code, bound)
    assert await poll(side, device_code + "x") == "invalid_grant"
    await side.flows.devices.redeem(CLIENT, device_code, BOUND)


async def test_guesses_at_user_codes_are_bounded(side: Side) -> None:
    """Malformed ones count; another person still may, and a right one is not found any more either."""
    _, user_code = await begin(side)
    for guess in ("BCDF-GHJK", "", "AAAA-AAAA", "x" * 1_000, "\uff22CDF-GHJK", *["ZZZZ-ZZZZ"] * 5):
        with pytest.raises(NoSuchUserCode):
            await side.flows.devices.find(guess, asker="ann")
    with pytest.raises(TooManyGuesses) as refused:
        await side.flows.devices.find(user_code, asker="ann")
    assert 0 < refused.value.retry_after_ms <= 30_000
    await side.flows.devices.find(user_code, asker="bob")
    side.clock.now_ms += 30_000
    await side.flows.devices.find(user_code, asker="ann")


@pytest.mark.parametrize("change", [{"state": "disabled"}, {"signed_out_at": START_MS + 1}])
async def test_an_account_that_ended_meanwhile_allows_no_device(
    side: Side, change: dict[str, object]
) -> None:
    """Whatever the page still believes; the device goes on waiting."""
    device_code, user_code = await begin(side)
    pending = await side.flows.devices.find(user_code, asker="ann")
    await people.change_account(side.room, "ann", **change)
    with pytest.raises(NoSuchUserCode):
        await side.flows.devices.approve(pending, ANN, {"orders:read"})
    assert await poll(side, device_code) == "authorization_pending"


async def test_what_beginning_refuses(side: Side) -> None:
    """What the client may not, is not given, and what tokens are not for."""
    begin_ = side.flows.devices.begin
    with pytest.raises(Refused, match="unauthorized_client"):
        await begin_(people.make_client(grants=frozenset({"authorization_code"})), FORM, None)
    with pytest.raises(Refused, match="invalid_scope"):
        await begin_(CLIENT, {"scope": "control:freeze"}, None)
    with pytest.raises(Refused, match="invalid_target"):
        await begin_(CLIENT, {"resource": "https://elsewhere.example"}, None)
    begun = await begin_(CLIENT, {}, None)
    pending = await side.flows.devices.find(begun.user_code, asker="ann")
    assert (pending.resource, len(pending.scope)) == (ISSUER, 3)


async def test_nobody_gives_a_device_what_they_have_not(side: Side) -> None:
    """It goes on waiting: somebody else may be meant."""
    device_code, user_code = await begin(side)
    pending = await side.flows.devices.find(user_code, asker="ann")
    with pytest.raises(Refused, match="access_denied"):
        await side.flows.devices.approve(pending, ANN, {"prices:read"})
    assert await poll(side, device_code) == "authorization_pending"


async def test_a_client_that_was_frozen_asks_nobody(side: Side) -> None:
    """Its code is not found."""
    _, user_code = await begin(side)
    side.clients.clients[CLIENT.id] = people.make_client(frozen=True)
    with pytest.raises(NoSuchUserCode):
        await side.flows.devices.find(user_code, asker="ann")


async def test_codes_that_are_over_are_cleaned_away(side: Side) -> None:
    """By whoever begins later."""
    for _ in range(3):
        await begin(side)
    side.clock.now_ms += people.TERMS.device_ms + 3_600_001
    await begin(side)
    async with engine.reading(side.engine) as conn:
        assert len((await conn.execute(schema.oauth_device_codes.select())).all()) == 1


async def test_two_devices_never_wait_for_one_code(side: Side) -> None:
    """Where chance repeats itself, another one is drawn."""
    drawn = iter([*b"\x00" * 8, *b"\x00" * 8, *b"\x01" * 8])
    repeating = people.build_side(
        side.room, side.clients, lambda size: bytes([next(drawn)]) if size == 1 else os.urandom(size)
    )
    first, second = await begin(repeating), await begin(repeating)
    assert (first[1], second[1]) == ("BBBB-BBBB", "CCCC-CCCC")


def test_user_codes_are_eight_letters_without_vowels_each_as_likely() -> None:
    """Bytes that would favour the first letters are not taken."""
    counted = collections.Counter(user_codes.draw(_beginning_with(byte))[0] for byte in range(240))
    assert set(counted) == set(user_codes.ALPHABET)
    assert set(counted.values()) == {12}
    assert user_codes.draw(_beginning_with(255))[0] == "B"
    assert not set(user_codes.ALPHABET) & set("AEIOUY0123456789")


def _beginning_with(byte: int) -> Callable[[int], bytes]:
    drawn = iter([byte, *[0] * 8])
    return lambda _: bytes([next(drawn)])
