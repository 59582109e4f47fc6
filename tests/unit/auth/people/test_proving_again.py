"""Proving oneself again, and what is left to prove: never less than signing in took."""

from __future__ import annotations

import pytest

from auth.people.failures import PasskeyRefused, SessionMissing, SignInRefused, Throttled
from tests.support.people import OPERATOR, PASSWORD, SOURCE, House, SoftPasskey, value, whole

MINUTE = 60_000
HOUR = 60 * MINUTE


async def test_a_password_alone_is_no_proof_where_the_second_factor_is_a_passkey(house: House) -> None:
    """Whoever knows the password and found the browser open is asked for the passkey, by every way there is."""
    step, device = await house.arrive(roles=("trader",)), SoftPasskey()
    begun = await house.people.passkeys.begin_registration(value(step))
    made = await house.people.passkeys.register(
        value(step), device.make(begun.options), "Laptop", source=SOURCE
    )
    house.wait(6 * MINUTE)
    house.hashes.verified.clear()
    with pytest.raises(PasskeyRefused):
        await house.people.sign_in.confirm(value(made), PASSWORD, source=SOURCE)
    assert house.hashes.verified == []
    asked = await house.people.passkeys.begin(value(made), source=SOURCE)
    proved = await house.people.passkeys.finish(value(made), device.sign(asked.options), source=SOURCE)
    assert whole(proved).authenticated_at == house.clock()


async def test_a_code_alone_is_no_proof_of_somebody_signed_in(house: House) -> None:
    """Neither the device nor a list of codes that was found makes an old session a recent one."""
    made, device = await house.enrol(await house.arrive(roles=("trader",)))
    house.wait(6 * MINUTE)
    with pytest.raises(SessionMissing):
        await house.people.sign_in.with_totp(value(made), house.code(device), source=SOURCE)
    with pytest.raises(SessionMissing):
        await house.people.sign_in.with_recovery_code(
            value(made), made.recovery_codes[0].reveal(), source=SOURCE
        )


async def test_a_factor_that_is_added_meanwhile_is_asked_for(house: House) -> None:
    """While a password was worked out its holder set a factor up elsewhere: the password is not enough any more."""
    step, other = await house.arrive(), await house.sign_in()
    verify = house.hashes.verify

    async def slowly(hashed: str, password: bytes) -> bool:
        found = await verify(hashed, password)
        await house.enrol(other)
        return found

    house.hashes.verify = slowly  # type: ignore[method-assign]  # the factor comes in between
    with pytest.raises((SignInRefused, SessionMissing)):
        await house.people.sign_in.confirm(value(step), PASSWORD, source=SOURCE)


async def test_a_session_from_before_the_role_gets_no_factor(house: House) -> None:
    """Whoever holds a browser's cookie for hours cannot wait for its owner's promotion and enrol in their place."""
    step = await house.arrive()
    house.wait(16 * MINUTE)
    account = await house.people.accounts.get_by("ada@acme.example")
    await house.people.accounts.set_roles(account, ("trader",), author=OPERATOR)
    with pytest.raises(SessionMissing):
        await house.people.factors.enrol_totp(value(step), source=SOURCE)
    with pytest.raises(SessionMissing):
        await house.people.passkeys.begin_registration(value(step))
    whole((await house.enrol(await house.sign_in()))[0])


async def test_the_last_factor_takes_the_recovery_codes_along(house: House) -> None:
    """A list that was written down for one device does not stand in for the next."""
    made, _ = await house.enrol(await house.arrive())
    await house.people.factors.remove_totp(value(made), source=SOURCE)
    assert (await house.people.accounts.get_by("ada@acme.example")).recovery_codes == 0
    house.wait(HOUR)
    again, _ = await house.enrol(await house.sign_in())
    assert len(again.recovery_codes) == 10
    step, device = again, SoftPasskey()
    begun = await house.people.passkeys.begin_registration(value(step))
    step = await house.people.passkeys.register(
        value(step), device.make(begun.options), "Laptop", source=SOURCE
    )
    await house.people.factors.remove_totp(value(step), source=SOURCE)
    account = await house.people.accounts.get_by("ada@acme.example")
    assert account.recovery_codes == 10
    (passkey,) = await house.people.passkeys.list_own(value(step))
    await house.people.passkeys.remove(value(step), passkey.id, source=SOURCE)
    assert (await house.people.accounts.get(account.id)).recovery_codes == 0


async def test_offering_secrets_is_counted(house: House) -> None:
    """Nobody fills the register and the ledger with keys for a device that never comes."""
    step, refused = await house.arrive(roles=("trader",)), 0
    for _ in range(40):
        try:
            await house.people.factors.enrol_totp(value(step), source=SOURCE)
        except Throttled:
            refused += 1
    assert refused >= 10
