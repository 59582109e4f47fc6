"""Every code of the contract's error table on the signed request path, provoked over a socket."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import problems, rawhttp, signing
from tests.support.gateway import Deployment, wait_until
from tests.support.recording_upstream import Exchange, answering
from tests.support.signing import now_ms, plain_request, replace

ORDERS = b"/paper/v1/orders"
Provoke = Callable[[Deployment], rawhttp.Answer]


def signed(deployment: Deployment, target: bytes = ORDERS, method: str = "GET", **key: Any) -> rawhttp.Answer:  # noqa: ANN401  see Deployment.key
    return deployment.node.ask(deployment.key(**key).request(method, target), method=method)


def unsigned(deployment: Deployment, wire: bytes) -> rawhttp.Answer:
    return deployment.node.ask(wire)


def changed(deployment: Deployment, name: str, value: str | None) -> rawhttp.Answer:
    headers = replace(deployment.key().headers("GET", ORDERS), name, value)
    return deployment.node.ask(plain_request("GET", ORDERS, headers))


def replayed(deployment: Deployment) -> rawhttp.Answer:
    wire = deployment.key().request("GET", ORDERS)
    deployment.node.ask(wire)
    return deployment.node.ask(wire)


def after(deployment: Deployment, *command: str, code: str, **key: Any) -> rawhttp.Answer:  # noqa: ANN401  see Deployment.key
    """What a key of its own answers once this command about it has been noticed."""
    signer = deployment.key(**key)
    deployment.command(*(part.format(id=signer.key_id) for part in command), "--reason", "a test of refusals")

    def asked() -> rawhttp.Answer:
        return deployment.node.ask(signer.request("GET", ORDERS))

    wait_until(lambda: asked().code == code, 3, code)
    return asked()


def limited(deployment: Deployment) -> rawhttp.Answer:
    signer = deployment.key(partner="limited")
    deployment.node.ask(signer.request("GET", b"/paper/v1/one-slot"))
    return deployment.node.ask(signer.request("GET", b"/paper/v1/one-slot"))


def broken(deployment: Deployment) -> rawhttp.Answer:
    with deployment.paper.scripted(answering(b"SSH-2.0-OpenSSH_9.6\r\n", close=True)):
        return signed(deployment)


@contextlib.contextmanager
def busy(deployment: Deployment, target: bytes) -> Iterator[threading.Event]:
    """One request held by the upstream until the event is set, or the block ends."""
    arrived, release = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        exchange.read_body()
        arrived.set()
        release.wait(60)
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld")

    with deployment.paper.scripted(hold), deployment.node.connect() as connection:
        connection.send(deployment.key().request("GET", target))
        assert arrived.wait(30)
        try:
            yield release
        finally:
            release.set()


def overloaded(deployment: Deployment) -> rawhttp.Answer:
    with busy(deployment, b"/paper/v1/narrow"):
        return signed(deployment, b"/paper/v1/narrow")


def timed_out(deployment: Deployment) -> rawhttp.Answer:
    with busy(deployment, b"/paper/v1/impatient"):
        return signed(deployment, b"/paper/v1/impatient")


EVERYWHERE: dict[str, Provoke] = {
    "malformed_request": lambda d: unsigned(d, b"GET /pub/x HTTP/1.1\nHost: x\n\n"),
    "malformed_path": lambda d: signed(d, b"/paper/v1/echo/%2e%2e"),
    "malformed_headers": lambda d: unsigned(d, plain_request("GET", ORDERS, [("Portreeve-Key", "a")] * 2)),
    "missing_credentials": lambda d: unsigned(d, plain_request("GET", ORDERS)),
    "malformed_credentials": lambda d: changed(d, "Portreeve-Nonce", None),
    "stale_timestamp": lambda d: unsigned(
        d, d.key().request("GET", ORDERS, timestamp=str(now_ms() - 40_000))
    ),
    "bad_signature": lambda d: changed(d, "Portreeve-Signature", "0" * 64),
    "replayed_request": replayed,
    "key_revoked": lambda d: after(d, "keys", "revoke", "{id}", code="key_revoked", partner="revokee"),
    "key_frozen": lambda d: after(d, "keys", "freeze", "{id}", code="key_frozen", partner="freezee"),
    "partner_frozen": lambda d: after(
        d, "partners", "freeze", "frozen", code="partner_frozen", partner="frozen"
    ),
    "permission_denied": lambda d: signed(d, ORDERS + b"/1", "DELETE", role="viewer"),
    "environment_mismatch": lambda d: signed(d, b"/live/v1/orders"),
    "source_not_allowed": lambda d: signed(d, cidrs=("203.0.113.0/24",)),
    "no_route": lambda d: signed(d, b"/nowhere"),
    "method_not_allowed": lambda d: signed(d, ORDERS, "PATCH"),
    "body_too_large": lambda d: unsigned(d, d.key().request("POST", b"/paper/v1/small", b"b" * 1025)),
    "headers_too_large": lambda d: unsigned(d, plain_request("GET", ORDERS, [("X-A", "a" * 40_000)])),
    "rate_limited": limited,
    "upstream_unreachable": lambda d: signed(d, b"/paper/v1/dead"),
    "upstream_broken": broken,
    "overloaded": overloaded,
    "upstream_timeout": timed_out,
}


@pytest.mark.parametrize("code", EVERYWHERE)
def test_a_refusal_has_its_code_its_fields_and_its_headers(deployment: Deployment, code: str) -> None:
    """Whatever provoked it, a refusal reads the same and is a problem of the contract's table."""
    problems.check(EVERYWHERE[code](deployment), code)


@pytest.mark.parametrize("code", problems.STATUS)
def test_every_code_has_a_page(code: str) -> None:
    """`type` leads somewhere: a page under docs/problems."""
    assert problems.has_page(code)


def test_an_expired_key_is_key_expired(embedded: Deployment) -> None:
    """A key past its lifetime is told so, and only to whoever holds its secret."""
    partner = embedded.partner("expiree")
    # The command that makes it has to come before its end, on a slow machine too.
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 6))
    signer = embedded.new_key(partner=partner, expires=moment)
    wait_until(lambda: embedded.node.ask(signer.request("GET", ORDERS)).code == "key_expired", 30, "expiry")
    problems.check(embedded.node.ask(signer.request("GET", ORDERS)), "key_expired")
    wrong = replace(signer.headers("GET", ORDERS), "Portreeve-Signature", "0" * 64)
    problems.check(embedded.node.ask(plain_request("GET", ORDERS, wrong)), "bad_signature")


def test_a_stale_timestamp_tells_the_time_and_the_skew(embedded: Deployment) -> None:
    """Integers, in milliseconds, of this very moment."""
    problem = problems.check(EVERYWHERE["stale_timestamp"](embedded), "stale_timestamp")
    assert isinstance(problem["server_time"], int)
    assert isinstance(problem["skew_ms"], int)
    assert abs(problem["server_time"] - now_ms()) < 5_000
    assert 39_000 < abs(problem["skew_ms"]) < 45_000


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "ed25519"])
def test_unknown_key_and_wrong_signature_are_one_answer(deployment: Deployment, algorithm: str) -> None:
    """Apart from the request id, not one byte tells a stranger whether a key exists or is revoked."""
    known = deployment.key(algorithm=algorithm)
    revoked = deployment.key(partner="revokee")
    length = 64 if algorithm == "hmac-sha256" else 128
    other = Deployment.unknown_key(known)
    wires = [
        plain_request(
            "GET", ORDERS, replace(signer.headers("GET", ORDERS), "Portreeve-Signature", "a" * length)
        )
        for signer in (known, other, revoked)
    ]
    seen = {_without_request_id(deployment.node.ask(wire)) for wire in wires}
    assert len(seen) == 1, seen


def _without_request_id(answer: rawhttp.Answer) -> tuple[object, ...]:
    problem = problems.check(answer, "bad_signature")
    request_id = str(problem["request_id"])
    body = answer.body.replace(request_id.encode(), b"")
    varying = {"portreeve-request-id", "date"}
    return answer.status, tuple(pair for pair in answer.headers if pair[0].lower() not in varying), body


def test_a_missing_permission_is_named(deployment: Deployment) -> None:
    """Whoever lacks a permission learns which."""
    problem = problems.check(EVERYWHERE["permission_denied"](deployment), "permission_denied")
    assert "orders:write" in json.dumps(problem)


def test_a_method_not_allowed_names_those_that_are(embedded: Deployment) -> None:
    """405 carries Allow."""
    allowed = EVERYWHERE["method_not_allowed"](embedded).header("allow")
    assert allowed is not None
    assert {method.strip() for method in allowed.split(",")} == {"GET", "POST"}


POLICY = re.compile(r'"[a-z0-9.-]+";q=\d+;w=\d+(?:\s*,\s*"[a-z0-9.-]+";q=\d+;w=\d+)*')
STATE = re.compile(r'"[a-z0-9.-]+";r=\d+(?:;t=\d+)?(?:\s*,\s*"[a-z0-9.-]+";r=\d+(?:;t=\d+)?)*')


def test_a_rate_limit_says_when_to_come_back(deployment: Deployment) -> None:
    """429 with Retry-After in whole seconds, and the draft's two structured fields."""
    answer = limited(deployment)
    problems.check(answer, "rate_limited")
    wait, policy, state = (answer.header(name) for name in ("retry-after", "ratelimit-policy", "ratelimit"))
    assert wait is not None
    assert 0 < int(wait) <= 3_600
    assert policy is not None
    assert POLICY.fullmatch(policy), policy
    assert state is not None
    assert STATE.fullmatch(state), state
    assert '"one-slot"' in policy
    assert '"one-slot";r=0' in state


def test_answers_that_pass_say_how_much_is_left(deployment: Deployment) -> None:
    """The same two fields on a 200, and they count down."""
    signer = deployment.key(partner="counter")
    answers = [deployment.node.ask(signer.request("GET", b"/paper/v1/three-slots")) for _ in range(3)]
    states = [answer.header("ratelimit") or "" for answer in answers]
    assert all(STATE.fullmatch(state) for state in states), states
    assert all(POLICY.fullmatch(answer.header("ratelimit-policy") or "") for answer in answers)
    left = [re.search(r'"three-slots";r=(\d+)', state) for state in states]
    shown = [int(match[1]) for match in left if match]
    assert shown == sorted(shown, reverse=True), states
    assert states[-1] != states[0]


def test_every_answer_carries_its_own_request_id(deployment: Deployment) -> None:
    """Passed, refused and of the gateway's own pages alike; no two the same, none of the client's making."""
    asked = [
        signing.plain_request("GET", b"/health/live", [("Portreeve-Request-Id", "mine")]),
        signing.plain_request("GET", b"/edge/v1/time"),
        signing.plain_request("GET", b"/.well-known/identity-jwks.json"),
        signing.plain_request("GET", b"/edge/v1/nowhere"),
        signing.plain_request("GET", b"/nowhere"),
        deployment.key().request("GET", ORDERS),
        deployment.key().request("GET", b"/edge/v1/whoami"),
        b"rubbish\r\n\r\n",
    ]
    seen = [deployment.node.ask(wire).header("portreeve-request-id") for wire in asked]
    assert all(seen), seen
    assert "mine" not in seen
    assert len(set(seen)) == len(seen)


def test_each_refusal_reaches_the_log_with_its_reason(embedded: Deployment) -> None:
    """One line a request, with the request id and the code."""
    answer = EVERYWHERE["permission_denied"](embedded)
    request_id = str(answer.header("portreeve-request-id"))

    def lines() -> list[dict[str, Any]]:
        return [line for line in embedded.node.log_lines() if request_id in json.dumps(line)]

    wait_until(lines, 30, "a line of the log")
    (line,) = lines()
    assert "permission_denied" in json.dumps(line)
