"""Hazards, "Paths, headers, framing": a client's headers never speak as the gateway does."""

from __future__ import annotations

import base64
import json
import time
from email.utils import parsedate_to_datetime

import pytest

from tests.support.gateway import Deployment
from tests.support.recording_upstream import Recorded, answering
from tests.support.signing import Headers, plain_request

MARK = "forged-by-the-client"
SIGNED, PUBLIC = b"/paper/v1/echo", b"/pub/x"
SPELLINGS = [
    "Portreeve-Identity",
    "PORTREEVE-IDENTITY",
    "portreeve-identity",
    "Portreeve_Identity",
    "PORTREEVE_IDENTITY",
    "Portreeve-Request_Id",
    "portreeve_request-id",
    "Portreeve-Request-Id",
    "Portreeve-Tier",
    "Portreeve-",
]


def pass_through(edge: Deployment, target: bytes, extra: Headers) -> Recorded | None:
    """The request as the upstream received it, or None when the gateway answered 400."""
    signed = edge.key().headers("GET", target) if target == SIGNED else []
    answer = edge.node.ask(plain_request("GET", target, [*extra, *signed]))
    if answer.status == 400:
        assert answer.code in {"malformed_headers", "malformed_request"}, str(answer)
        assert not edge.paper.requests
        return None
    assert answer.status == 200, str(answer)
    return edge.paper.requests[-1]


def plainly(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")


@pytest.mark.parametrize("target", [SIGNED, PUBLIC], ids=["signed", "public"])
@pytest.mark.parametrize("name", SPELLINGS)
def test_a_header_in_the_gateways_namespace_never_reaches_an_upstream(
    edge: Deployment, target: bytes, name: str
) -> None:
    """In no case of letters, with `_` for `-` or not, alone, joined by commas or repeated."""
    for extra in (
        [(name, MARK)],
        [(name, f"a, {MARK}")],
        [(name, "a"), (name, MARK)],
        [(name, ""), (name.upper(), MARK)],
    ):
        received = pass_through(edge, target, extra)
        assert not edge.upstream_saw(MARK.encode())
        if received is not None:
            assert len(received.all(b"portreeve-identity")) == (1 if target == SIGNED else 0)
            assert len(received.all(b"portreeve-request-id")) == 1
            assert not [name for name, _ in received.headers if b"_" in name]
        edge.paper.clear()


def test_credentials_go_no_further_than_the_gateway(edge: Deployment) -> None:
    """Neither the signature headers nor an Authorization reach an upstream."""
    extra = [("Authorization", f"Basic {MARK}"), ("DPoP", MARK), ("Proxy-Authorization", MARK)]
    received = pass_through(edge, SIGNED, extra)
    assert not edge.upstream_saw(MARK.encode())
    if received is not None:
        ours = {name for name in received.names() if name.startswith(b"portreeve")}
        assert ours == {b"portreeve-identity", b"portreeve-request-id"}


NAMED = [
    "Portreeve-Identity",
    "portreeve-identity, Portreeve-Request-Id",
    "close, Portreeve-Identity",
    "Host",
    "traceparent",
    "Forwarded",
    "X-Forwarded-For",
    "Portreeve_Identity",
]


@pytest.mark.parametrize("value", NAMED)
def test_connection_cannot_strip_what_the_gateway_adds(edge: Deployment, value: str) -> None:
    """Naming one of the gateway's own headers in Connection takes nothing away."""
    received = pass_through(edge, SIGNED, [("Connection", value)])
    if received is not None:
        for name in (b"portreeve-identity", b"portreeve-request-id", b"host", b"traceparent"):
            assert len(received.all(name)) == 1, name
        assert received.all(b"forwarded") or received.all(b"x-forwarded-for")
        assert not received.all(b"connection") or received.all(b"connection") == [b"keep-alive"]


@pytest.mark.parametrize(
    "value", ["Content-Length", "Transfer-Encoding", "close, content-length", "TRANSFER-ENCODING"]
)
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_connection_cannot_strip_the_framing(edge: Deployment, value: str, framing: str) -> None:
    """Naming the framing in Connection is refused, or the body arrives whole."""
    body = b"GET /admin/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    headers: Headers = [("Connection", value)]
    if framing == "chunks":
        headers.append(("Transfer-Encoding", "chunked"))
        wire = plain_request("POST", PUBLIC, headers) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        wire = plain_request("POST", PUBLIC, headers, body)
    answer = edge.node.ask(wire)
    assert answer.status in {200, 400}, str(answer)
    assert not edge.paper.garbage
    assert [request.body for request in edge.paper.requests] == ([body] if answer.status == 200 else [])


def test_hop_by_hop_headers_end_at_the_gateway(edge: Deployment) -> None:
    """What belongs to one connection, or is named by Connection, goes no further."""
    extra = [
        ("Connection", "keep-alive, X-Per-Hop"),
        ("X-Per-Hop", MARK),
        ("Keep-Alive", f"timeout={MARK}"),
        ("TE", "trailers"),
        ("Trailer", MARK),
        ("Proxy-Connection", MARK),
        ("Upgrade", MARK),
    ]
    received = pass_through(edge, PUBLIC, extra)
    assert not edge.upstream_saw(MARK.encode())
    if received is not None:
        assert not {b"te", b"upgrade", b"keep-alive", b"trailer", b"proxy-connection"} & set(received.names())


FORWARDED = [
    ("X-Forwarded-For", "203.0.113.66"),
    ("X-Forwarded-Proto", "spoofed"),
    ("X-Forwarded-Host", "spoofed.test"),
    ("X-Forwarded-Uri", "/admin/spoofed"),
    ("X-Forwarded-Port", "65432"),
    ("X-Forwarded-Prefix", "/spoofed"),
    ("X_Forwarded_For", "203.0.113.66"),
    ("X-Real-IP", "203.0.113.66"),
    ("X-Original-URL", "/admin/spoofed"),
    ("X-Rewrite-URL", "/admin/spoofed"),
    ("Forwarded", "for=203.0.113.66;host=spoofed.test;proto=spoofed"),
    ("X-HTTP-Method-Override", "DELETE"),
]


@pytest.mark.parametrize(("name", "value"), FORWARDED, ids=[name for name, _ in FORWARDED])
def test_forwarding_headers_of_a_stranger_count_for_nothing(edge: Deployment, name: str, value: str) -> None:
    """Without trusted proxies, where a request came from is what the connection says, and nothing else."""
    received = pass_through(edge, SIGNED, [(name, value)])
    if received is not None and name != "X-HTTP-Method-Override":
        assert not edge.upstream_saw(value.encode())
    if received is not None:
        assert received.method == "GET"
        assert received.target == b"/echo"
        written = b" ".join(received.all(b"forwarded") + received.all(b"x-forwarded-for"))
        assert b"127.0.0.1" in written


def test_a_spoofed_source_does_not_satisfy_a_keys_networks(edge: Deployment) -> None:
    """A key bound to a network stays bound to it, whatever the headers claim."""
    signer = edge.key(cidrs=("203.0.113.0/24",))
    for name, value in FORWARDED:
        answer = edge.node.ask(signer.request("GET", SIGNED, extra=[(name, value)]))
        assert answer.code in {"source_not_allowed", "malformed_headers"}, f"{name}: {answer}"
    assert not edge.paper.requests


@pytest.mark.parametrize("agent", ["kube-probe/1.29", "ELB-HealthChecker/2.0", "GoogleHC/1.0", "Envoy/HC"])
def test_a_health_checkers_user_agent_exempts_from_nothing(edge: Deployment, agent: str) -> None:
    """A name in User-Agent is no credential."""
    answer = edge.node.ask(plain_request("GET", SIGNED, [("User-Agent", agent)]))
    assert answer.code == "missing_credentials", str(answer)


def test_the_identity_an_upstream_gets_is_the_gateways_own(edge: Deployment) -> None:
    """One assertion, of the right type and audience, for the caller that signed; none on a public route."""
    received = pass_through(edge, SIGNED, [])
    assert received is not None
    (assertion,) = received.all(b"portreeve-identity")
    header, claims = (json.loads(_decoded(part)) for part in assertion.split(b".")[:2])
    assert header["typ"] == "portreeve-identity+jwt"
    assert header["alg"] == "EdDSA"
    expected = {
        "aud": "paper",
        "sub": "acme",
        "cred": edge.key().key_id,
        "env": "paper",
        "perm": "orders:read",
    }
    assert {name: claims[name] for name in expected} == expected
    assert claims["exp"] - claims["iat"] <= 30
    edge.paper.clear()
    public = pass_through(edge, PUBLIC, [])
    assert public is not None
    assert not public.all(b"portreeve-identity")


def _decoded(part: bytes) -> bytes:
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def test_an_upstream_cannot_speak_as_the_gateway(edge: Deployment) -> None:
    """Headers in the gateway's namespace and of its limits do not come back from an upstream."""
    raw = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nPortreeve-Request-Id: from-upstream\r\n"
        b"Portreeve-Identity: from-upstream\r\nRateLimit-Policy: from-upstream\r\nConnection: X-Hop\r\n"
        b"X-Hop: from-upstream\r\nKeep-Alive: from-upstream\r\n\r\nok"
    )
    with edge.paper.scripted(answering(raw)):
        answer = edge.node.ask(edge.key().request("GET", SIGNED))
    assert answer.status == 200
    assert "from-upstream" not in str(answer.headers)
    assert len(answer.all("portreeve-request-id")) == 1


def test_every_answer_tells_the_time_once(edge: Deployment) -> None:
    """The gateway's own where nobody behind it says it, and that moves on; an upstream's otherwise."""
    ours = edge.node.ask(plain_request("GET", b"/nothing")).all("date")
    assert len(ours) == 1
    assert abs(parsedate_to_datetime(ours[0]).timestamp() - time.time()) < 5
    deadline = time.monotonic() + 10
    while edge.node.ask(plain_request("GET", b"/nothing")).all("date") == ours:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    theirs = "Sun, 06 Nov 1994 08:49:37 GMT"
    raw = b"HTTP/1.1 200 OK\r\nDate: %b\r\nContent-Length: 0\r\n\r\n" % theirs.encode()
    with edge.paper.scripted(answering(raw)):
        assert edge.node.ask(plain_request("GET", PUBLIC)).all("date") == [theirs]
