"""What is compiled of an admission against its twins: whatever it takes, they make the very same of it."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import compiled
from auth.admission import (
    Admission,
    Admitted,
    Bucket,
    Charges,
    RateLimited,
    Replayed,
    compile_charges,
    counting,
    lane,
    wire,
)
from auth.admission.nonces import UNDIGESTED
from auth.admission.wire import MalformedReply, Script
from policies.gcra import Limit
from tests.support.compiled import needs_the_room

if compiled.IS_USED:
    from compiled import lane as compiled_lane
    from compiled.script import CommandWriter, divide

pytestmark = needs_the_room

INTERPRETED = Script(122_000, is_compiled=False)
LIMIT = Limit(name="orders", rate=2, per_us=1_000_000, burst=3)
CHARGES = [
    compile_charges(
        slot, tuple(Bucket(f"k:{number}", LIMIT, number % 3 + 1) for number in range(size)), holder
    )
    for slot, holder in (("acme", "prk_paper_x"), ("β", ""))
    for size in (0, 1, 2, 5)
]
NOTHING, ONE_BUCKET, TWO_BUCKETS = CHARGES[:3]

nonces = st.none() | st.binary(max_size=70)
admissions = st.builds(Admission, st.sampled_from(CHARGES), nonces)
batches = st.lists(admissions, max_size=20)
booked = st.integers(min_value=0, max_value=2**53)
# What no script answers, and what it answers of something else.
odd = st.sampled_from([False, True, 0.0, None, b"0", "0", [0], 3, -1, 2**70]) | st.sampled_from([0, 1, 2])


@st.composite
def answered(draw: st.DrawFn, statuses: st.SearchStrategy[int]) -> tuple[list[Any], list[Admission]]:
    """A batch, and a reply to it."""
    batch, reply = draw(batches), list[Any]()
    for each in batch:
        # What charges nothing can't be limited.
        status = draw(statuses) if each.charges.tariff.size else min(draw(statuses), 1)
        reply.append(status)
        if status != wire.REPLAYED:
            reply += [draw(booked) for _ in range(each.charges.tariff.size)]
    return reply, batch


@st.composite
def garbled(draw: st.DrawFn) -> tuple[list[Any], list[Admission]]:
    """A reply that had something changed in it, put into it or cut out of it."""
    reply, batch = draw(answered(st.just(0)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(reply)))
        reply[at : at + draw(st.integers(0, 2))] = draw(st.lists(odd, max_size=2))
    return reply, batch


def writer() -> CommandWriter:
    return CommandWriter(
        b"$1\r\ns\r\n", lambda *counts: (b"<%d %d %d>" % counts, b"keys", b"common"), UNDIGESTED
    )


def told(outcome: wire.Outcome) -> object:
    """Everything of it, for exceptions do not compare."""
    if isinstance(outcome, RateLimited):
        return type(outcome), outcome.limit, outcome.retry_after_ms, outcome.states
    return type(outcome) if isinstance(outcome, Exception) else outcome


def parsed_by(script: Script, reply: object, batch: list[Admission]) -> list[object] | type[MalformedReply]:
    try:
        return list(map(told, script.parse_reply(reply, batch)))
    except MalformedReply:
        return MalformedReply


def divided(reply: object, batch: object) -> list[wire.Outcome] | None:
    return divide(reply, batch, Admitted, Replayed, counting.limited)


@given(batches)
def test_a_command_is_the_same_byte_by_byte(batch: list[Admission]) -> None:
    """With nonces and without, of holders with many buckets and with none."""
    assert writer().write(batch) is not None
    assert Script(122_000, is_compiled=True).command(batch) == INTERPRETED.command(batch)


def test_a_command_is_laid_out_as_the_script_reads_it() -> None:
    """All keys of nonces, all keys of buckets, what is common, and what each asks: in the order of the batch."""
    asked = [Admission(ONE_BUCKET, b"n1"), Admission(TWO_BUCKETS, None), Admission(NOTHING, b"n2")]
    command = writer().write(asked) or b""
    parts = [
        b"<3 2 3>$1\r\ns\r\nkeys",
        ONE_BUCKET.pieces[1],
        NOTHING.pieces[1],
        ONE_BUCKET.pieces[2]
        + TWO_BUCKETS.pieces[2]
        + b"common"
        + ONE_BUCKET.pieces[3]
        + TWO_BUCKETS.pieces[4],
        NOTHING.pieces[3],
    ]
    places = [command.index(part) for part in parts[:2]]
    assert places[0] == 0
    assert command.index(parts[2], places[1] + 1) < command.index(parts[3])
    assert command.endswith(parts[3] + parts[4])


@pytest.mark.parametrize("nonce", ["n", bytearray(b"n"), memoryview(b"n"), 1])
def test_a_nonce_that_is_no_bytes_is_declined(nonce: object) -> None:
    """The twin knows what to make of it."""
    assert writer().write([Admission(ONE_BUCKET, cast("bytes", nonce))]) is None


@pytest.mark.parametrize("pieces", [None, (), (b"", b"", b"", b"", b""), [b"", b"", b"", b"", b"", 0]])
def test_charges_in_another_form_are_declined(pieces: object) -> None:
    """By both: to write them, and to divide what is answered."""
    asked = Admission(cast("Charges", _Of(pieces)), None)
    assert writer().write([asked]) is None
    assert divided([0], [asked]) is None


def test_what_is_no_list_is_declined() -> None:
    """A batch and a reply are lists, and of no other type."""
    assert writer().write((Admission(NOTHING, None),)) is None
    assert divided([0], (Admission(NOTHING, None),)) is None
    for reply in (None, 0, b"0", (0,), _Pushed([0]), ValueError("an error reply")):
        assert divided(reply, [Admission(NOTHING, None)]) is None


@given(answered(st.sampled_from([0, 1, 2])))
def test_any_reply_of_the_script_is_divided_alike(asked: tuple[list[Any], list[Admission]]) -> None:
    """Replays and limits among them, and is not left to the twin: one refusal makes no batch dearer."""
    outcomes = divided(*asked)
    assert outcomes is not None
    assert list(map(told, outcomes)) == parsed_by(INTERPRETED, *asked)


@given(answered(st.sampled_from([0, 1, 2])))
def test_any_reply_of_the_script_comes_to_the_same(asked: tuple[list[Any], list[Admission]]) -> None:
    """Whichever of both tells it."""
    compiled_too = Script(122_000, is_compiled=True)
    assert parsed_by(compiled_too, *asked) == parsed_by(INTERPRETED, *asked)


@given(garbled())
def test_a_garbled_reply_is_refused_where_the_twin_refuses_it(
    asked: tuple[list[Any], list[Admission]],
) -> None:
    """Nothing is taken for an admission that is not one."""
    compiled_too = Script(122_000, is_compiled=True)
    assert parsed_by(compiled_too, *asked) == parsed_by(INTERPRETED, *asked)


@pytest.mark.parametrize(
    ("reply", "charges"),
    [
        ([], [NOTHING]),
        ([2], [NOTHING]),
        ([2], [ONE_BUCKET]),
        ([2, 0], [TWO_BUCKETS]),
        ([1, 0], [ONE_BUCKET]),
        ([2, 0, 0], [ONE_BUCKET]),
        ([3], [NOTHING]),
        ([-1], [NOTHING]),
        ([False], [NOTHING]),
        ([0, True], [ONE_BUCKET]),
        ([0, 0.0], [ONE_BUCKET]),
        ([0], [ONE_BUCKET]),
        ([0, 1], [TWO_BUCKETS]),
        ([0, 1, 2], [ONE_BUCKET]),
        ([0], [NOTHING, NOTHING]),
        ([0, 0], [NOTHING]),
        ([0, 5, 0], [ONE_BUCKET, ONE_BUCKET]),
    ],
)
def test_what_the_script_could_not_have_said_is_declined(reply: list[Any], charges: list[Charges]) -> None:
    """Whatever else it says, and however it was cut."""
    assert divided(reply, [Admission(each, None) for each in charges]) is None


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


Waiting = list[tuple[int, Future[object], float]]
STATES = ("waiting", "answered", "refused", "cancelled")


def who_waits(loop: asyncio.AbstractEventLoop, states: list[str]) -> Waiting:
    """One of each, in the state that it has come to."""
    made: Waiting = []
    for number, state in enumerate(states):
        future: Future[object] = loop.create_future()
        if state == "answered":
            future.set_result("before")
        elif state == "refused":
            future.set_exception(KeyError("before"))
        elif state == "cancelled":
            future.cancel()
        made.append((number, future, 1.5))
    return made


def come_to(waiting: Waiting) -> list[object]:
    """What each future has come to."""
    return [_state_of(future) for _, future, _ in waiting]


def _state_of(future: Future[object]) -> object:
    if not future.done():
        return "waiting"
    if future.cancelled():
        return "cancelled"
    raised = future.exception()
    return ("answers", future.result()) if raised is None else ("raises", repr(raised))


@given(states=st.lists(st.sampled_from(STATES), max_size=12))
def test_the_same_callers_still_wait(loop: asyncio.AbstractEventLoop, states: list[str]) -> None:
    """In their order, each as it was."""
    waiting = who_waits(loop, states)
    assert compiled_lane.still_waiting(waiting) == lane.still_waiting(waiting)
    come_to(waiting)


@given(callers=st.lists(st.tuples(st.sampled_from(STATES), st.booleans()), max_size=12))
def test_each_caller_is_told_the_same(
    loop: asyncio.AbstractEventLoop, callers: list[tuple[str, bool]]
) -> None:
    """An answer or an exception, unless its future was done before: then that stays."""
    states = [state for state, _ in callers]
    outcomes = [ValueError(number) if fails else number for number, (_, fails) in enumerate(callers)]
    ours, twins = who_waits(loop, states), who_waits(loop, states)
    assert compiled_lane.settle(ours, outcomes)
    lane.settle(twins, outcomes)
    assert come_to(ours) == come_to(twins)


@pytest.mark.parametrize("outcomes", [[], [1], [1, 2, 3], (1, 2)])
def test_outcomes_that_do_not_fit_are_declined(
    loop: asyncio.AbstractEventLoop, outcomes: Sequence[int]
) -> None:
    """Before anybody is told anything: the twin says what is wrong."""
    waiting = who_waits(loop, ["waiting", "waiting"])
    assert not compiled_lane.settle(waiting, outcomes)
    assert come_to(waiting) == ["waiting", "waiting"]


@pytest.mark.parametrize("odd_one", [(), (1,), [1, 2, 3], None])
def test_callers_in_another_form_are_declined(loop: asyncio.AbstractEventLoop, odd_one: object) -> None:
    """And nobody before them has been told anything."""
    waiting = [*who_waits(loop, ["waiting"]), cast("tuple[int, Future[object], float]", odd_one)]
    assert compiled_lane.still_waiting(waiting) is None
    assert not compiled_lane.settle(waiting, [1, 2])
    assert come_to(waiting[:1]) == ["waiting"]
    assert compiled_lane.still_waiting(cast("Waiting", tuple(waiting[:1]))) is None
    assert not compiled_lane.settle(cast("Waiting", tuple(waiting[:1])), [1])


class _Pushed(list[int]):
    """What the parser makes of a push: a list, but no answer."""


class _Of:
    """Charges that were compiled in another way."""

    size = 0

    def __init__(self, pieces: object) -> None:
        self.pieces = pieces
