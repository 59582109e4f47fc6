"""What is told of a request, worked out in compiled code: the same laps, totals and lines as the twin tells."""

from __future__ import annotations

import io
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import compiled
from gateway import request_log
from gateway.totals import BOUNDS_US, Histogram, Tally
from gateway.trace import Trace, finish_interpreted
from tests.support.compiled import needs_the_room

if compiled.IS_USED:
    from compiled import laps, lines
    from compiled.sums import Adder

pytestmark = needs_the_room

STAGES = st.sampled_from(["admit", "authenticate", "admit_once", "forward", "answer", "page"])
CLOCK_NS = st.integers(0, 1 << 62)
DURATIONS = st.integers(0, 2_000_000) | st.sampled_from(BOUNDS_US)
LONGEST_US = 1 << 40


@given(st.dictionaries(STAGES, CLOCK_NS), CLOCK_NS)
def test_laps_are_those_of_the_twin(began: dict[str, int], now_ns: int) -> None:
    """In the same order, to the microsecond."""
    took, total_us = laps.finish(began, now_ns)
    twins, twins_total_us = finish_interpreted(began, now_ns)
    assert (list(took.items()), total_us) == (list(twins.items()), twins_total_us)
    assert sum(took.values()) == total_us


def test_what_began_stays_as_it_was() -> None:
    """Another dictionary is told."""
    began = {"admit": 5_000, "answer": 7_999}
    assert laps.finish(began, 9_000) == ({"admit": 2, "answer": 2}, 4)
    assert began == {"admit": 5_000, "answer": 7_999}


@given(st.lists(DURATIONS))
def test_durations_fall_where_the_twin_has_them(durations_us: list[int]) -> None:
    """A bound belongs to the bucket below it."""
    twin = Histogram()
    twin.observe_all(durations_us)
    assert Adder(BOUNDS_US).add(durations_us) == (twin.counts, twin.total_us)


def tallied(took: list[dict[str, Any]], totals_us: list[Any], *, is_compiled: bool) -> Tally:
    tally = Tally(is_compiled=is_compiled)
    for each, total_us in zip(took, totals_us, strict=True):
        trace = Trace(0, "r1", "GET", route="orders", stages_us=each, total_us=total_us)
        tally.note(trace)
    return tally


@given(st.lists(st.tuples(st.dictionaries(STAGES, DURATIONS), DURATIONS), max_size=600))
def test_totals_are_those_of_the_twin(requests: list[tuple[dict[str, int], int]]) -> None:
    """Whatever stages they came to, and in whatever order."""
    took, totals_us = [each for each, _ in requests], [total for _, total in requests]
    ours, twins = (tallied(took, totals_us, is_compiled=way).totals() for way in (True, False))
    assert ours == twins


@pytest.mark.parametrize("odd", [-1, LONGEST_US + 1, 1 << 63, -(1 << 63) - 1, True, 0.5])
def test_a_batch_with_an_odd_duration_is_left_to_the_twin(odd: float) -> None:
    """All of it, so that nothing is counted twice."""
    adder, doubtful = Adder(BOUNDS_US), cast("int", odd)
    assert adder.add([1, doubtful]) is None
    assert adder.add_each([{"admit": 1}, {"admit": doubtful}]) is None
    for took, total in (({"admit": odd}, 1), ({"admit": 1}, odd)):
        ours, twins = (
            tallied([{"admit": 2}, took], [3, total], is_compiled=way).totals() for way in (True, False)
        )
        assert ours == twins


def test_what_is_no_dictionary_of_laps_is_left_to_the_twin() -> None:
    """None of it is added up."""
    odd: Any = [("admit", 1)]
    assert Adder(BOUNDS_US).add_each([{"admit": 1}, odd]) is None


def test_the_longest_durations_are_still_added_up() -> None:
    """The sum of as many as a batch may hold is told whole."""
    many = 1 << 20
    counts, total_us = Adder(BOUNDS_US).add([LONGEST_US] * many) or ([], 0)
    assert (counts[-1], total_us) == (many, LONGEST_US * many)
    assert Adder(BOUNDS_US).add([1] * (many + 1)) is None
    assert Adder(BOUNDS_US).add_each([{}] * (many + 1)) is None


@pytest.mark.parametrize("bounds", [tuple(range(33)), (2, 1)])
def test_bounds_are_few_and_in_order(bounds: tuple[int, ...]) -> None:
    """There is room for so many, and they are looked through from the first."""
    with pytest.raises(ValueError, match="bounds"):
        Adder(bounds)


@pytest.mark.parametrize("bounds", [(), tuple(range(32))])
def test_as_many_bounds_as_there_is_room_for_have_a_bucket_each_and_one_beyond(
    bounds: tuple[int, ...],
) -> None:
    """None at all is a bucket, too."""
    assert Adder(bounds).add([1_000]) == ([0] * len(bounds) + [1], 1_000)


@given(st.lists(st.binary(min_size=1), min_size=1), st.binary())
def test_lines_are_joined_as_the_twin_joins_them(objects: list[bytes], beginning: bytes) -> None:
    """Whatever they hold."""
    assert lines.join(objects, beginning) == request_log.join_interpreted(objects, beginning)


@pytest.mark.parametrize("odd", [b"", "{}", None])
def test_what_is_no_object_is_not_joined(odd: object) -> None:
    """It is left to the twin."""
    assert lines.join([b"{}", cast("bytes", odd)], b"{") is None


PIECES = st.sampled_from(
    [*request_log.PREFIXES, b"_", b"p", b"prs", b"s_", b"t_", b"sec_", b"whsec", b"prk_", b"PRS_"]
)


@given(st.lists(PIECES | st.binary(max_size=3)).map(b"".join))
def test_a_beginning_of_a_secret_is_found_where_the_twin_finds_one(looked_through: bytes) -> None:
    """At either end and in between."""
    found = lines.Finder(request_log.PREFIXES).is_any_in(looked_through)
    assert found == request_log.may_hold_secrets_interpreted(looked_through)


@pytest.mark.parametrize("prefix", request_log.PREFIXES)
@pytest.mark.parametrize("around", [(b"", b""), (b"_", b"_"), (b"request_id prk_", b""), (b"p", b"p")])
def test_every_beginning_of_a_secret_is_found(prefix: bytes, around: tuple[bytes, bytes]) -> None:
    """First, last, alone, and behind what only looks like one."""
    finder = lines.Finder(request_log.PREFIXES)
    assert finder.is_any_in(around[0] + prefix + around[1])
    assert not finder.is_any_in(around[0] + prefix[:-1])
    assert not finder.is_any_in(prefix[1:])


@pytest.mark.parametrize("beginnings", [(), (b"_",), (b"a_", b"_"), (b"a_", b"b"), (b"a_", b"bc")])
def test_beginnings_that_cannot_be_looked_for_at_once_are_refused(beginnings: tuple[bytes, ...]) -> None:
    """They need a byte before their last, which is the same in all."""
    with pytest.raises(ValueError, match="beginnings"):
        lines.Finder(beginnings)


def test_a_path_that_holds_a_secret_is_told_without_it() -> None:
    """In one line of many."""
    with io.BytesIO() as sink:
        log = request_log.RequestLog(sink, "node")
        for path in ("/a", "/prs_paper_0123456789", "/b"):
            log.note(Trace(0, "r1", "GET", path=path))
        log.start()
        log.stop()
        told = sink.getvalue()
    assert b"prs_paper" not in told
    assert told.count(b"\n") == 3
