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
    trace.total_ns, trace.total_us = 1_000_000, 1_000
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


@given(st.lists(st.integers(0, 2_000_000_000) | st.sampled_from([bound * 1000 for bound in BOUNDS_US])))
def test_durations_taken_together_fall_where_each_would(durations_ns: list[int]) -> None:
    """A bound belongs to the bucket below it, as `le` says."""
    each_alone = [0] * (len(BOUNDS_US) + 1)
    for duration_ns in durations_ns:
        each_alone[bisect_left(BOUNDS_US, duration_ns / 1000)] += 1
    histogram = Histogram()
    histogram.observe_all(durations_ns)
    assert histogram.counts == each_alone
    assert histogram.total_ns == sum(durations_ns)


def test_no_request_is_missing_from_the_totals() -> None:
    """Whether or not its batch was full when somebody asked."""
    metrics = Metrics({})
    for count in (1, 255, 256, 300):
        for _ in range(count):
            metrics.note(traced())
        assert sum(metrics.totals().total.counts) == sum(metrics.totals().requests.values())
    assert sum(metrics.totals().stages["admit"].counts) == 812
