"""The request line and the metrics: what is told of a request, and that telling never holds it up."""

from __future__ import annotations

import asyncio
import io
import json
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import request_log
from gateway.metrics import Metrics
from gateway.observers import Observers
from gateway.request_log import RequestLog
from gateway.shared_totals import SharedTotals
from gateway.totals import BOUNDS_US, Histogram
from gateway.trace import Trace


@pytest.fixture
def sink() -> Iterator[io.BytesIO]:
    with io.BytesIO() as buffer:
        yield buffer


def traced(reason: str = "") -> Trace:
    trace = Trace(1_763_596_800_123, "r1", "GET")
    trace.path, trace.route, trace.partner, trace.upstream = "/a", "orders", "acme", "paper"
    trace.status = 200
    trace.enter("answer")
    if reason:
        trace.refuse(reason)
    trace.finish()
    # As if it had taken this long.
    trace.stages_us, trace.total_us = {"admit": 400, "answer": 600}, 1_000
    return trace


def test_one_request_is_one_line_of_json(sink: io.BytesIO) -> None:
    """With decision, reason and the time of every stage."""
    log = RequestLog(sink, "node")
    log.start()
    log.note(traced("bad_signature"))
    log.stop()
    (line,) = sink.getvalue().splitlines()
    told = json.loads(line)
    assert (told["request_id"], told["route"], told["partner"]) == ("r1", "orders", "acme")
    assert (told["decision"], told["reason"], told["total_us"]) == ("refused", "bad_signature", 1000)
    assert set(told["stages_us"]) == {"admit", "answer"}


def test_a_line_begins_with_the_node_and_tells_each_field_once(sink: io.BytesIO) -> None:
    """Lines are put together where they are written; whoever parses them sees one object a line, in this order."""
    log = RequestLog(sink, 'a "node"\n')
    for _ in range(2):
        log.note(traced())
    log.note_event("defect", where="here")
    log.start()
    log.stop()
    first, second, event = [json.loads(line, object_pairs_hook=list) for line in sink.getvalue().splitlines()]
    assert first[0] == ("node", 'a "node"\n')
    assert [name for name, _ in first] == ["node", *Trace.__struct_fields__]
    assert [name for name, _ in second] == [name for name, _ in first]
    assert [name for name, _ in event] == ["node", "at", "event", "where"]


def test_the_laps_of_a_request_are_its_stages_in_order_and_add_up() -> None:
    """Each begins where the one before ends."""
    trace = Trace(0, "r1", "GET")
    for stage in ("authenticate", "admit_once", "answer"):
        trace.enter(stage)
    began = trace.stages_us
    trace.finish()
    assert list(trace.stages_us) == ["admit", "authenticate", "admit_once", "answer"]
    assert trace.total_us == sum(trace.stages_us.values())
    assert list(began.values()) == sorted(began.values())


def test_lines_beyond_the_bound_are_counted_and_dropped(
    sink: io.BytesIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink that stalls costs lines, never memory."""
    monkeypatch.setattr(request_log, "_MAX_WAITING", 2)
    log = RequestLog(sink, "node")
    for _ in range(5):
        log.note(traced())
    assert log.dropped == 3
    log.note_event("defect")
    assert log.dropped == 4


def test_a_sink_that_fails_is_survived() -> None:
    """A closed pipe behind the log is no reason to stop serving."""

    class Broken(io.BytesIO):
        def write(self, _line: object) -> int:
            raise BrokenPipeError

    log = RequestLog(Broken(), "node")
    log.start()
    log.note(traced())
    log.stop()
    assert log.dropped == 1


def test_a_request_is_finished_and_told_to_the_log_and_the_metrics(sink: io.BytesIO) -> None:
    """Once each."""
    log, metrics = RequestLog(sink, "node"), Metrics({})
    Observers(log, metrics).note(Trace(0, "r1", "GET"))
    log.start()
    log.stop()
    (line,) = sink.getvalue().splitlines()
    assert list(json.loads(line)["stages_us"]) == ["admit"]
    assert metrics.totals().requests == {" allowed ": 1}


def test_a_defect_is_noted_by_place_and_type_only(sink: io.BytesIO) -> None:
    """What an unknown failure says may hold a secret."""
    log = RequestLog(sink, "node")
    with pytest.raises(ValueError, match="prs") as failed:
        int("prs_paper_secret")
    Observers(log, Metrics({})).note_defect(failed.value, "r1")
    log.start()
    log.stop()
    assert b"prs_paper_secret" not in sink.getvalue()
    assert b"ValueError" in sink.getvalue()


def test_metrics_count_by_route_decision_and_reason() -> None:
    """In the text format, with names that say their unit."""
    metrics = Metrics({"key_cache_age_seconds": ("Age.", lambda: 1.5)})
    metrics.note(traced())
    metrics.note(traced("upstream_timeout"))
    metrics.note(traced("replay_store_unavailable"))
    text = metrics.render().decode()
    assert 'portreeve_requests_total{decision="allowed",reason="",route="orders"} 1.0' in text
    assert 'portreeve_upstream_errors_total{reason="upstream_timeout",upstream="paper"} 1.0' in text
    assert 'portreeve_store_errors_total{store="admission"} 1.0' in text
    assert 'portreeve_stage_seconds_count{stage="admit"} 3.0' in text
    assert 'portreeve_request_seconds_bucket{le="0.001"} 3.0' in text
    assert "portreeve_request_seconds_sum 0.003" in text
    assert 'portreeve_stage_seconds_sum{stage="admit"} 0.0012' in text
    assert "portreeve_key_cache_age_seconds 1.5" in text


async def test_a_worker_answers_for_all_of_its_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape reaches one of them, and must not depend on which; a dead worker's counts stay."""
    monkeypatch.setattr("gateway.shared_totals._EVERY_S", 0.001)
    first, second = Metrics({}), Metrics({})
    first.note(traced())
    second.note(traced())
    telling = asyncio.create_task(SharedTotals(tmp_path, "1", first.totals).run())
    while not (tmp_path / "1.json").exists():  # noqa: ASYNC110  the file is all there is to wait for
        await asyncio.sleep(0.001)
    telling.cancel()
    second.include(SharedTotals(tmp_path, "2", second.totals).others)
    text = second.render().decode()
    assert 'portreeve_requests_total{decision="allowed",reason="",route="orders"} 2.0' in text
    assert 'portreeve_stage_seconds_count{stage="admit"} 2.0' in text


def test_a_half_written_file_of_another_worker_is_passed_over(tmp_path: Path) -> None:
    """It is whole at the next scrape."""
    (tmp_path / "1.json").write_text('{"requests": {"a')
    assert SharedTotals(tmp_path, "2", Metrics({}).totals).others() == []


@given(st.lists(st.integers(0, 2_000_000) | st.sampled_from(BOUNDS_US)))
def test_durations_taken_together_fall_where_each_would(durations_us: list[int]) -> None:
    """A bound belongs to the bucket below it, as `le` says."""
    each_alone = [0] * (len(BOUNDS_US) + 1)
    for duration_us in durations_us:
        each_alone[bisect_left(BOUNDS_US, duration_us)] += 1
    histogram = Histogram()
    histogram.observe_all(durations_us)
    assert histogram.counts == each_alone
    assert histogram.total_us == sum(durations_us)


def test_requests_are_counted_apart_by_the_stages_they_came_to() -> None:
    """One that was refused early has no part in the later stages, and lends its time to none."""
    metrics, early = Metrics({}), Trace(0, "r2", "GET")
    early.enter("answer")
    early.enter("forward")
    early.refuse("upstream_timeout")
    early.finish()
    early.stages_us, early.total_us = {"admit": 1, "answer": 2, "forward": 3}, 6
    for trace in (traced(), early, traced("upstream_timeout"), early):
        metrics.note(trace)
    totals = metrics.totals()
    sums = {stage: histogram.total_us for stage, histogram in totals.stages.items()}
    assert sums == {"admit": 802, "answer": 1_204, "forward": 6}
    assert (sum(totals.total.counts), totals.total.total_us) == (4, 2_012)
    assert totals.upstream_errors == {"paper upstream_timeout": 1, " upstream_timeout": 2}
    assert totals.requests == {
        "orders allowed ": 1,
        "orders refused upstream_timeout": 1,
        " refused upstream_timeout": 2,
    }


def test_no_request_is_missing_from_the_totals() -> None:
    """Whether or not its batch was full when somebody asked."""
    metrics = Metrics({})
    for count in (1, 255, 256, 300):
        for _ in range(count):
            metrics.note(traced())
        assert sum(metrics.totals().total.counts) == sum(metrics.totals().requests.values())
    assert sum(metrics.totals().stages["admit"].counts) == 812
