"""Sessions: how long they last, who ends them, and what is told of them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from auth.people import session_rows
from auth.people.accounts import ROLE_TAKEN
from auth.people.failures import SessionMissing, SignInRefused, StepUpNeeded, UnknownSession
from auth.people.records import SignedIn
from storage import engine, schema
from tests.support.oauth_people import CLIENT, enter_client
from tests.support.people import OPERATOR, SOURCE, House, build_house, half, value, whole

MINUTE = 60_000
HOUR = 60 * MINUTE


async def test_a_session_that_rests_ends(house: House) -> None:
    """Half an hour without a request, and they sign in anew."""
    step = await house.arrive()
    house.wait(30 * MINUTE)
    assert await house.people.sessions.find(value(step)) is None


async def test_a_session_in_use_goes_on_until_its_absolute_end(house: House) -> None:
    """Requests keep it alive, and no request keeps it alive for more than twelve hours."""
    step = await house.arrive()
    for _ in range(35):
        house.wait(20 * MINUTE)
        assert isinstance(await house.people.sessions.find(value(step)), SignedIn)
    house.wait(20 * MINUTE)
    assert await house.people.sessions.find(value(step)) is None


async def test_looking_writes_now_and_then(house: House) -> None:
    """A page that asks often does not write each time."""
    step = await house.arrive()
    updates: list[str] = []
    sa.event.listen(
        house.room.engine.sync_engine,
        "before_execute",
        lambda *given: updates.append("x") if isinstance(given[1], sa.Update) else None,
    )
    for _ in range(12):
        house.wait(10_000)
        await house.people.sessions.find(value(step))
    assert len(updates) == 2


async def test_half_a_session_lasts_a_quarter_of_an_hour(house: House) -> None:
    """Whoever does not come up with the second factor begins again."""
    step = await house.arrive(roles=("trader",))
    house.wait(15 * MINUTE)
    assert await house.people.sessions.find(value(step)) is None


async def test_values_that_are_nobodys(house: House) -> None:
    """Too long, too short, or simply wrong: nothing is found, whatever bytes they are."""
    for cookie in ("", "x" * 43, "x" * 5000, "\u20ac" * 43, "\ud800" * 43):
        assert await house.people.sessions.find(cookie) is None


async def test_signing_out_ends_it_for_good(house: House) -> None:
    """The value that was signed out is worth nothing, and signing out again is no error."""
    step = await house.arrive()
    for _ in range(2):
        await house.people.sessions.end(value(step), source=SOURCE)
        assert await house.people.sessions.find(value(step)) is None
    assert (await house.actions()).count("account.signed_out") == 1


async def test_people_see_and_end_their_own_sessions(house: House) -> None:
    """Each with where it came from; somebody else's cannot be ended, or told from one that never was."""
    await house.arrive()
    one = await house.sign_in(source="192.0.2.7", agent="A browser" * 100)
    await house.arrive("eve@acme.example")
    eve = await house.sign_in("eve@acme.example")
    seen = await house.people.sessions.list_own(value(one))
    assert [each.is_this for each in seen].count(True) == 1
    this = next(each for each in seen if each.is_this)
    assert (this.source, len(this.agent), this.methods) == ("192.0.2.7", 200, ("pwd",))
    for wrong in ("ses_none", whole(eve).session_id):
        with pytest.raises(UnknownSession):
            await house.people.sessions.end_own(value(one), wrong)
    other = next(each for each in seen if not each.is_this)
    await house.people.sessions.end_own(value(one), other.id)
    assert [each.id for each in await house.people.sessions.list_own(value(one))] == [this.id]
    assert isinstance(await house.people.sessions.find(value(eve)), SignedIn)


async def test_signing_out_everywhere_ends_sessions_and_grants(house: House) -> None:
    """On every node, and what was allowed to clients in their name as well."""
    step = await house.arrive()
    other = await house.sign_in()
    account = await house.people.accounts.get_by("ada@acme.example")
    await _grant(house, account.id)
    await house.people.sessions.end_all_own(value(step), source=SOURCE)
    node = build_house(house.room.engine, room=house.room.another_node())
    assert [await node.people.sessions.find(value(each)) for each in (step, other)] == [None, None]
    async with engine.reading(house.room.engine) as conn:
        grant = (await conn.execute(sa.select(schema.oauth_grants))).mappings().one()
    assert grant["revoked_at"] == house.clock()
    revoked, event = (await house.ledger())[-2:]
    assert (event.action, event.details) == ("account.signed_out_everywhere", {"sessions": 2, "grants": 1})
    assert (revoked.action, revoked.subject) == ("grant.revoked", "g")
    told = {"client": CLIENT.id, "account": account.id, "why": "signed out everywhere"}
    assert revoked.details == told
    assert (revoked.environment, revoked.partner, revoked.actor) == ("paper", "acme", event.actor)
    assert grant["revision"] == revoked.revision == event.revision
    whole(await house.sign_in())


async def test_a_role_that_is_taken_away_ends_what_was_allowed_with_it(house: House) -> None:
    """Tokens say the roles that their person had; their sessions go on, and a role that is given ends nothing."""
    step = await house.arrive(roles=("viewer",))
    account = await house.people.accounts.get_by("ada@acme.example")
    await _grant(house, account.id)
    account = await house.people.accounts.set_roles(account, ("viewer", "trader"), author=OPERATOR)
    assert (await _read_grant(house))["revoked_at"] is None
    await house.people.accounts.set_roles(account, ("viewer",), author=OPERATOR)
    grant = await _read_grant(house)
    assert grant["revoked_at"] == house.clock()
    revoked, event = (await house.ledger())[-2:]
    assert (event.action, event.details["grants"]) == ("account.roles_changed", 1)
    told = ("grant.revoked", "g", ROLE_TAKEN)
    assert (revoked.action, revoked.subject, revoked.details["why"]) == told
    assert grant["revision"] == event.revision
    assert await house.people.sessions.find(value(step)) is not None


async def _read_grant(house: House) -> sa.RowMapping:
    async with engine.reading(house.room.engine) as conn:
        return (await conn.execute(sa.select(schema.oauth_grants))).mappings().one()


async def _grant(house: House, account_id: str) -> None:
    await enter_client(house.room, CLIENT)
    async with engine.transaction(house.room.engine) as conn:
        await conn.execute(
            sa.insert(schema.oauth_grants).values(
                id="g",
                client_id=CLIENT.id,
                account_id=account_id,
                partner_id="acme",
                roles=[],
                scope="",
                resource="",
                authenticated_at=1,
                methods=[],
                created_at=1,
                expires_at=2**40,
                revision=1,
            )
        )


async def test_whoever_is_disabled_is_out_at_once(house: House) -> None:
    """No session of theirs is good from that moment on, nor any proof; enabled, they sign in anew."""
    step = await house.arrive()
    account = await house.people.accounts.get_by("ada@acme.example")
    await house.people.accounts.disable(account.id, author=OPERATOR)
    assert await house.people.sessions.find(value(step)) is None
    with pytest.raises(SignInRefused):
        await house.sign_in()
    await house.people.accounts.enable(account.id, author=OPERATOR)
    assert await house.people.sessions.find(value(step)) is None
    whole(await house.sign_in())


async def test_a_session_is_no_better_than_its_account(house: House) -> None:
    """Whatever became of the session's own row: of an account that is not active it is none."""
    step = await house.arrive()
    async with engine.transaction(house.room.engine) as conn:
        await conn.execute(sa.update(schema.accounts).values(state="disabled"))
    assert await house.people.sessions.find(value(step)) is None
    async with engine.transaction(house.room.engine) as conn:
        later = {"state": "active", "signed_out_at": house.clock() + 1}
        await conn.execute(sa.update(schema.accounts).values(**later))
    assert await house.people.sessions.find(value(step)) is None


async def test_a_challenge_is_taken_once(house: House) -> None:
    """Of two who read the same one, the second has none."""
    step = await house.arrive()
    await house.people.passkeys.begin(value(step), source=SOURCE)
    found = await house.people.sessions.look(value(step))
    assert found is not None
    async with engine.transaction(house.room.engine) as conn:
        taken = [await session_rows.take_ceremony(conn, found.row) for _ in range(2)]
    assert taken == [True, False]


async def test_a_proof_in_a_session_that_has_ended_is_worth_nothing(house: House) -> None:
    """Signed out in one tab, a code in another brings nobody back."""
    _, device = await house.enrol(await house.arrive(roles=("trader",)))
    house.wait(MINUTE)
    step = await house.sign_in()
    await house.people.sessions.end(value(step))
    with pytest.raises(SessionMissing):
        await house.people.sign_in.with_totp(value(step), house.code(device), source=SOURCE)


async def test_sensitive_acts_take_a_proof_of_late(house: House) -> None:
    """Five minutes after the last proof they are asked again; a new proof is enough."""
    step = await house.arrive()
    await house.people.sessions.get_signed_in(value(step), recent=True)
    house.wait(5 * MINUTE)
    with pytest.raises(StepUpNeeded):
        await house.people.sessions.get_signed_in(value(step), recent=True)
    proved = await house.people.sign_in.confirm(value(step), "a horse that nobody knows", source=SOURCE)
    await house.people.sessions.get_signed_in(value(proved), recent=True)
    assert whole(proved).session_id == whole(step).session_id
    with pytest.raises(SignInRefused):
        await house.people.sign_in.confirm(value(proved), "a wrong password indeed", source=SOURCE)


async def test_half_a_session_is_nobody_who_may_act(house: House) -> None:
    """Whatever asks for somebody signed in refuses it."""
    step = await house.arrive(roles=("trader",))
    assert half(step).needs == "enrolment"
    for act in (
        house.people.sessions.get_signed_in(value(step)),
        house.people.sessions.list_own(value(step)),
        house.people.sessions.end_all_own(value(step)),
        house.people.passwords.change(value(step), "x", "y", source=SOURCE),
        house.people.factors.make_recovery_codes(value(step), source=SOURCE),
        house.people.sign_in.confirm(value(step), "x", source=SOURCE),
    ):
        with pytest.raises(SessionMissing):
            await act


async def test_the_store_knows_no_value(house: House) -> None:
    """Whoever reads the table finds nothing to present."""
    step = await house.arrive()
    async with engine.reading(house.room.engine) as conn:
        stored = [tuple(row) for row in await conn.execute(sa.select(schema.sessions))]
    assert value(step) not in repr(stored)


async def test_what_is_long_over_is_forgotten(house: House) -> None:
    """Sessions and links go a day after their end, and nothing goes before."""
    step = await house.arrive()
    await house.people.forgetting.forget()
    assert isinstance(await house.people.sessions.find(value(step)), SignedIn)
    house.wait(10 * 24 * HOUR)
    assert await house.people.forgetting.forget() == 2
    async with engine.reading(house.room.engine) as conn:
        assert (await conn.execute(sa.select(schema.sessions))).all() == []


async def test_who_lost_all_factors_enrols_anew(house: House) -> None:
    """An operator takes them away: every session ends, and the password alone leads to enrolling."""
    step, _ = await house.enrol(await house.arrive(roles=("trader",)))
    account = await house.people.accounts.get_by("ada@acme.example")
    await house.people.accounts.remove_factors(account.id, author=OPERATOR)
    assert await house.people.sessions.find(value(step)) is None
    again = await house.sign_in()
    assert half(again).needs == "enrolment"
    code = step.recovery_codes[0].reveal()
    with pytest.raises(SessionMissing):
        await house.people.sign_in.with_recovery_code(value(again), code, source=SOURCE)
    assert (await house.people.accounts.get(account.id)).recovery_codes == 0
    whole((await house.enrol(again))[0])
