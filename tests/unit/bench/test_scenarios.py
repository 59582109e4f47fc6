"""The arithmetic of the scenarios, and the requests and files that they make. Nothing is started here."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from pathlib import Path

import pytest

from bench import configuration
from bench.configuration import extra_target
from bench.contenders.requests import Signed
from bench.scenarios import SCENARIOS, SOAK, bodies, floods, large_answers, latency, measuring, soak
from bench.scenarios.scale import spread
from gateway import routes, settings


def _sign(text: bytes) -> str:
    return hmac.new(b"secret", text, "sha256").hexdigest()


_KEY = Signed("prk_paper_one", _sign)


def _head_of(request: bytes, name: bytes) -> bytes:
    head = request.partition(b"\r\n\r\n")[0]
    return next(line.partition(b": ")[2] for line in head.split(b"\r\n") if line.startswith(name + b": "))


def _loaded(folder: Path, text: str) -> settings.Settings:
    (folder / "policies.toml").write_text(configuration.POLICIES)
    (folder / "master.key").write_bytes(b"")
    file = folder / "portreeve.toml"
    file.write_text(text)
    return settings.load(file)


def test_the_configuration_of_a_deployment_holds(tmp_path: Path) -> None:
    """The product itself reads it, with two workers on Redis and with extra routes."""
    text = configuration.configuration(
        port=1, upstream_port=2, redis_url="redis://127.0.0.1:3/1", workers=2, extra_routes=4
    )
    loaded = _loaded(tmp_path, text)
    assert loaded.server.workers == 2
    assert {route.name for route in loaded.routes} >= {"orders", "stream", "file", "upload", "resource-3"}


@pytest.mark.parametrize("index", range(4))
def test_every_extra_route_has_a_target_that_reaches_it(tmp_path: Path, index: int) -> None:
    """Literal and wild patterns alike."""
    loaded = _loaded(tmp_path, configuration.configuration(port=1, upstream_port=2, extra_routes=4))
    table = routes.compile_routes(loaded)
    assert table.match(None, "GET", extra_target(index)).name == f"resource-{index}"


def test_requests_are_spread_over_all_keys_and_all_routes() -> None:
    """Every key as often as the others, and each of them meets every route."""
    keys = [Signed(f"key-{index}", _sign) for index in range(10)]
    asked = Counter(
        (_head_of(request, b"portreeve-key"), request.split(b" ", 2)[1]) for request in spread(keys, 5, 100)
    )
    assert len(asked) == 50
    assert set(asked.values()) == {2}


def test_a_wrong_signature_is_still_one_by_its_form() -> None:
    """Else it would be refused by the grammar, which costs nothing and shows nothing."""
    request = _KEY.make(1)[0]
    wrong = floods.with_wrong_signature(request)
    changed = [at for at, (was, now) in enumerate(zip(request, wrong, strict=True)) if was != now]
    assert len(changed) == 1
    assert set(_head_of(wrong, b"portreeve-signature")) <= set(b"0123456789abcdef")


def test_a_changed_body_differs_in_the_body_alone() -> None:
    """The signature stays that of the body before."""
    request = _KEY.make(1, body=b"body")[0]
    changed = bodies.with_changed_body(request)
    assert changed[:-1] == request[:-1]
    assert hashlib.sha256(changed[-4:]).digest() != hashlib.sha256(b"body").digest()


@pytest.mark.parametrize("kind", [b"stream", b"file"])
def test_a_large_answer_is_as_large_as_asked(kind: bytes) -> None:
    """In either form of framing."""
    pieces = large_answers.answer(b"/" + kind + b"?mib=3")
    assert pieces is not None
    body = b"".join(pieces)
    assert body.count(b"x" * 1024) == 3 * 1024


@pytest.mark.parametrize("target", [b"/stream", b"/orders?mib=3", b"/file?mib=0", b"/file?mib=10000"])
def test_an_answer_without_a_size_is_left_to_the_plain_upstream(target: bytes) -> None:
    """And a size that would fill a disk is none."""
    assert large_answers.answer(target) is None


def test_any_other_status_fails_a_load() -> None:
    """Nobody wins by answering wrongly: one odd answer is enough."""
    measuring.require({"200": 5}, 200, 5)
    for odd in ({"200": 4}, {"200": 4, "503": 1}, {}):
        with pytest.raises(measuring.Unexpected):
            measuring.require(odd, 200, 5)


def test_what_is_added_is_the_median_of_the_rounds_differences() -> None:
    """Not the difference of medians: the rounds drift apart, and what is compared stands in one round."""
    rounds = [
        {"direct": {"p50_ms": base, "p99_ms": 1.0}, "ours": {"p50_ms": base + added, "p99_ms": 2.0}}
        for base, added in ((1.0, 0.5), (5.0, 0.1), (2.0, 0.4))
    ]
    assert latency.summary(rounds)["added"]["ours"] == {"p50_ms": 0.4, "p99_ms": 1.0}


def test_a_flood_that_costs_more_than_serving_is_not_met() -> None:
    """One of two is enough."""
    runs = {"accepted": [{"cpu_us": 100.0}], "wrong": [{"cpu_us": 50.0}], "limited": [{"cpu_us": 101.0}]}
    assert not floods.verdict(runs)["met"]
    assert floods.verdict({**runs, "limited": [{"cpu_us": 80.0}]}) == {
        "met": True,
        "ratio": {"wrong": 0.5, "limited": 0.8},
    }


def test_a_flood_is_held_against_the_round_it_stands_in() -> None:
    """A round that is slow for one of them is slow for the other: so the median of ratios, not the ratio of medians."""
    runs = {"accepted": [{"cpu_us": each} for each in (100.0, 200.0, 50.0)]}
    runs["wrong"] = [{"cpu_us": each} for each in (50.0, 120.0, 40.0)]
    assert floods.verdict(runs)["ratio"] == {"wrong": 0.6}


def test_memory_that_came_to_rest_has_not_grown() -> None:
    """What was taken in the first half is no growth; what still climbs in the second is."""
    rising = [100.0 + each for each in range(30)]
    assert soak.growth(rising + [130.0] * 30) == 0.0
    assert soak.growth([100.0 + each for each in range(60)]) > 0.15


def test_one_refused_request_ends_a_soak_unmet() -> None:
    """Its series is kept, its verdict is not."""
    row = {"rss_mib": 100.0, "p50_ms": 1.0, "p99_ms": 2.0, "p999_ms": 3.0, "max_ms": 4.0, "not_200": 0.0}
    assert soak.is_steady(soak.summary([row] * 4))
    assert not soak.is_steady(soak.summary([*[row] * 3, {**row, "not_200": 1.0}]))


def test_the_soak_is_among_the_scenarios() -> None:
    """It is left out by its name, where it is not asked for."""
    assert SOAK in SCENARIOS
