"""One-time passwords and recovery codes: enrolled, used once, replaced and taken away."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from auth.people import account_rows, recovery_codes
from auth.people import one_time_passwords as otp
from auth.people.failures import (
    CodeRefused,
    NothingEnrolled,
    SecondFactorNeeded,
    SessionMissing,
    StepUpNeeded,
)
from keys.changes import Author
from keys.resealing import GRACE_MS, Resealing
from keys.secret import SecretBytes
from storage import engine, schema
from tests.support.people import (
    OPERATOR,
    PASSWORD,
    SOURCE,
    House,
    build_house,
    count_successes,
    half,
    read_secret,
    value,
    whole,
)

MINUTE = 60_000
HOUR = 60 * MINUTE


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_standard(second: int, code: str) -> None:
    """The vectors of RFC 6238, appendix B, cut to six digits."""
    assert otp.code_at(SecretBytes(b"12345678901234567890"), second // otp.STEP_S) == code


def test_clocks_may_be_one_step_apart_and_no_more() -> None:
    """A code of the step before or after is taken for that step; others are none."""
    secret, now_ms = SecretBytes(b"12345678901234567890"), 1_763_596_800_000
    step = otp.step_of(now_ms)
    found = [otp.find_step(secret, otp.code_at(secret, step + by), now_ms) for by in range(-2, 3)]
    assert found == [None, step - 1, step, step + 1, None]


async def test_a_factor_counts_once_it_has_been_shown_to_work(house: House) -> None:
    """What was offered and never confirmed asks nobody for a code."""
    step = await house.arrive()
    await house.people.factors.enrol_totp(value(step), source=SOURCE)
    with pytest.raises(CodeRefused):
        await house.people.factors.confirm_totp(value(step), "000000", source=SOURCE)
    assert not (await house.people.accounts.get_by("ada@acme.example")).has_totp
    whole(await house.sign_in())


async def test_the_first_factor_brings_recovery_codes(house: House) -> None:
    """Ten of them, shown that once; a second factor brings none."""
    step, _ = await house.enrol(await house.arrive(roles=("trader",)))
    assert len({code.reveal() for code in step.recovery_codes}) == 10
    assert whole(step).methods == {"pwd", "otp", "mfa"}
    again, _ = await house.enrol(step)
    assert again.recovery_codes == ()


async def test_the_device_is_told_who_and_where(house: House) -> None:
    """The QR code's address is what devices expect."""
    shown = await house.people.factors.enrol_totp(value(await house.arrive()), source=SOURCE)
    assert shown.uri.reveal() == (
        f"otpauth://totp/Portreeve:ada@acme.example?secret={shown.secret.reveal()}"
        "&issuer=Portreeve&algorithm=SHA1&digits=6&period=30"
    )


async def test_the_code_that_confirmed_signs_nobody_in(house: House) -> None:
    """A step is taken once: also the one by which the device was tried out."""
    _, device = await house.enrol(await house.arrive(roles=("trader",)))
    step = await house.sign_in()
    with pytest.raises(CodeRefused):
        await house.people.sign_in.with_totp(value(step), house.code(device), source=SOURCE)


async def test_an_earlier_step_is_gone_with_a_later_one(house: House) -> None:
    """Whoever looked over a shoulder cannot use the code before the one that was used."""
    _, device = await house.enrol(await house.arrive(roles=("trader",)))
    house.wait(HOUR)
    before = house.code(device)
    house.wait(30_000)
    first, second = await house.sign_in(), await house.sign_in()
    whole(await house.people.sign_in.with_totp(value(first), house.code(device), source=SOURCE))
    with pytest.raises(CodeRefused):
        await house.people.sign_in.with_totp(value(second), before, source=SOURCE)


async def test_of_many_uses_of_one_step_one_passes(house: House) -> None:
    """Fifty at once, on two nodes: one takes the step."""
    await house.enrol(await house.arrive(roles=("trader",)))
    account = await house.people.accounts.get_by("ada@acme.example")
    totp_id, step = await _totp_id(house), otp.step_of(house.clock()) + 1
    rooms = (house.room, house.room.another_node())

    async def take(number: int) -> None:
        async with rooms[number % 2].changes.begin(OPERATOR) as change:
            if not await account_rows.take_step(change, account.id, totp_id, step):
                raise CodeRefused
            await change.record("account.confirmed", account.id)

    assert await count_successes([take(number) for number in range(50)], CodeRefused) == 1


async def test_of_sessions_that_show_one_code_at_once_one_is_let_in(house: House) -> None:
    """The same by the way that people come, from several browsers."""
    _, device = await house.enrol(await house.arrive(roles=("trader",)))
    house.wait(HOUR)
    nodes = (house, build_house(house.room.engine, room=house.room.another_node()))
    steps = [await house.sign_in() for _ in range(8)]
    tries = [
        nodes[number % 2].people.sign_in.with_totp(value(step), house.code(device), source=SOURCE)
        for number, step in enumerate(steps)
    ]
    assert await count_successes(tries, CodeRefused) == 1


async def _totp_id(house: House) -> str:
    async with engine.reading(house.room.engine) as conn:
        found: str = (await conn.execute(sa.select(schema.accounts.c.totp_id))).scalar_one()
    return found


async def test_another_device_takes_the_place_of_the_first(house: House) -> None:
    """Until the new one is confirmed the old one counts; then only the new one does, and the old secret is gone."""
    step, old = await house.enrol(await house.arrive(roles=("trader",)))
    shown = await house.people.factors.enrol_totp(value(step), source=SOURCE)
    new = read_secret(shown.secret)
    house.wait(MINUTE)
    first = await house.sign_in()
    session = await house.people.sign_in.with_totp(value(first), house.code(old), source=SOURCE)
    await house.people.factors.confirm_totp(value(session), house.code(new), source=SOURCE)
    house.wait(HOUR)
    second = await house.sign_in()
    with pytest.raises(CodeRefused):
        await house.people.sign_in.with_totp(value(second), house.code(old), source=SOURCE)
    whole(await house.people.sign_in.with_totp(value(second), house.code(new), source=SOURCE))
    secret = await house.room.rotations.get(await _totp_id(house))
    assert [each.state for each in secret.versions] == ["destroyed", "active"]


async def test_the_secret_is_in_custody(house: House) -> None:
    """It is registered, sealed, and moves to another data key like every other secret."""
    _, device = await house.enrol(await house.arrive(roles=("trader",)))
    secret = await house.room.rotations.get(await _totp_id(house))
    assert (secret.kind, secret.environment, secret.partner) == ("totp", "service", "acme")
    await house.room.data_keys.rotate("service", author=OPERATOR)
    house.wait(GRACE_MS + 1)
    resealing = Resealing(house.room.engine, house.room.data_keys, house.room.changes, bytes)
    assert (await resealing.run(author=Author("operator"))).broken == ()
    step = await house.sign_in()
    whole(await house.people.sign_in.with_totp(value(step), house.code(device), source=SOURCE))


async def test_a_recovery_code_is_a_second_factor_once(house: House) -> None:
    """However it is typed; and never again."""
    made, _ = await house.enrol(await house.arrive(roles=("trader",)))
    code = made.recovery_codes[3].reveal()
    step = await house.sign_in()
    assert "recovery-code" in half(step).offers
    whole(
        await house.people.sign_in.with_recovery_code(
            value(step), code.upper().replace("-", " "), source=SOURCE
        )
    )
    again = await house.sign_in()
    with pytest.raises(CodeRefused):
        await house.people.sign_in.with_recovery_code(value(again), code, source=SOURCE)
    assert (await house.people.accounts.get_by("ada@acme.example")).recovery_codes == 9


async def test_of_many_uses_of_one_recovery_code_one_passes(house: House) -> None:
    """Fifty at once: one is let in. The session goes on under another value, so the others find none."""
    made, _ = await house.enrol(await house.arrive(roles=("trader",)))
    code = made.recovery_codes[0].reveal()
    account = await house.people.accounts.get_by("ada@acme.example")
    nodes = (house.room, house.room.another_node())

    async def use(number: int) -> None:
        async with nodes[number % 2].changes.begin(OPERATOR) as change:
            if not await recovery_codes.use(change, account.id, code):
                raise CodeRefused
            await change.record("account.recovery_code_used", account.id)

    assert await count_successes([use(number) for number in range(50)], CodeRefused) == 1


async def test_new_recovery_codes_end_the_old_ones(house: House) -> None:
    """Whoever found the old list has nothing."""
    made, _ = await house.enrol(await house.arrive(roles=("trader",)))
    new = await house.people.factors.make_recovery_codes(value(made), source=SOURCE)
    assert len(new) == 10
    step = await house.sign_in()
    with pytest.raises(CodeRefused):
        await house.people.sign_in.with_recovery_code(
            value(step), made.recovery_codes[0].reveal(), source=SOURCE
        )


async def test_the_last_factor_stays_where_roles_need_one(house: House) -> None:
    """A trader cannot go back to a password alone; somebody who only looks can."""
    step, _ = await house.enrol(await house.arrive(roles=("trader",)))
    with pytest.raises(SecondFactorNeeded):
        await house.people.factors.remove_totp(value(step), source=SOURCE)
    account = await house.people.accounts.get_by("ada@acme.example")
    await house.people.accounts.set_roles(account, ("viewer",), author=OPERATOR)
    await house.people.factors.remove_totp(value(step), source=SOURCE)
    whole(await house.sign_in())
    with pytest.raises(NothingEnrolled):
        await house.people.factors.remove_totp(value(step), source=SOURCE)


async def test_sensitive_acts_ask_who_it_is_again(house: House) -> None:
    """A session that was left open adds and takes away nothing, until its holder has proved themselves again."""
    step, device = await house.enrol(await house.arrive(roles=("trader",)))
    house.wait(5 * MINUTE)
    factors, passkeys = house.people.factors, house.people.passkeys
    for act in (
        factors.enrol_totp(value(step), source=SOURCE),
        factors.remove_totp(value(step), source=SOURCE),
        factors.make_recovery_codes(value(step), source=SOURCE),
        passkeys.begin_registration(value(step)),
        passkeys.remove(value(step), "any", source=SOURCE),
        house.people.passwords.change(value(step), PASSWORD, "another one entirely", source=SOURCE),
    ):
        with pytest.raises(StepUpNeeded):
            await act
    with pytest.raises(CodeRefused):
        await house.people.sign_in.confirm(value(step), PASSWORD, source=SOURCE)
    proved = await house.people.sign_in.confirm(value(step), PASSWORD, house.code(device), source=SOURCE)
    await factors.make_recovery_codes(value(proved), source=SOURCE)


async def test_nobody_adds_a_factor_without_a_session(house: House) -> None:
    """A value that is nobody's, or a session of nobody, enrols nothing."""
    begun = await house.people.passkeys.begin(None, source=SOURCE)
    assert begun.cookie is not None
    for cookie in ("x" * 43, begun.cookie.reveal()):
        with pytest.raises(SessionMissing):
            await house.people.factors.enrol_totp(cookie, source=SOURCE)
