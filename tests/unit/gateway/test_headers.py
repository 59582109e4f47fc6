"""Header hygiene: what is refused, what passes, and what can never be forged."""

from __future__ import annotations

import pytest

from gateway import headers
from gateway.problems import Refusal

HOST = (b"host", b"gateway.example")


def test_a_plain_header_passes_on_in_its_place() -> None:
    """Headers that are nobody's business go through as they came, repeated ones included."""
    read = headers.read([HOST, (b"accept", b"a"), (b"x-custom", b"1"), (b"accept", b"b")])
    assert read.passed == [(b"accept", b"a"), (b"x-custom", b"1"), (b"accept", b"b")]


@pytest.mark.parametrize(
    "name",
    [
        b"portreeve-identity",
        b"portreeve_identity",
        b"portreeve-anything",
        b"portreeve",
        b"portreeve.identity",
    ],
)
def test_nothing_of_the_clients_passes_in_the_gateways_namespace(name: bytes) -> None:
    """A client cannot speak in the gateway's name, whichever way it spells the hyphen."""
    assert headers.read([HOST, (name, b"forged")]).passed == []


@pytest.mark.parametrize(
    "name",
    [
        b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"proxy-authorization",
        b"authorization", b"dpop", b"forwarded", b"x-forwarded-for", b"x-forwarded-anything", b"x_forwarded_for",
        b"x-real-ip", b"traceparent", b"tracestate", b"x-original-url", b"x-http-method-override",
        b"proxy", b"x-remote-user", b"x-envoy-original-path", b"content_type",
    ],
)  # fmt: skip
def test_what_the_gateway_writes_or_consumes_does_not_pass(name: bytes) -> None:
    """Hop-by-hop headers, credentials and forwarding claims stop here."""
    value = b"chunked" if name == b"transfer-encoding" else b"x"
    assert headers.read([HOST, (name, value)]).passed == []


@pytest.mark.parametrize(
    "name", [b"host", b"content-length", b"authorization", b"dpop", b"portreeve-key", b"portreeve-anything"]
)
def test_a_header_that_two_readers_could_read_differently_may_not_repeat(name: bytes) -> None:
    """The first or the last: nobody gets to choose."""
    with pytest.raises(Refusal) as refused:
        headers.read([HOST, (name, b"1"), (name, b"1")])
    assert refused.value.problem.kind.code == "malformed_headers"


def test_an_underscore_spelling_counts_as_a_repetition() -> None:
    """`Portreeve_Key` beside `Portreeve-Key` is two claims in one request."""
    with pytest.raises(Refusal):
        headers.read([HOST, (b"portreeve-key", b"a"), (b"portreeve_key", b"b")])


def test_an_underscore_spelling_is_no_credential() -> None:
    """A name that some proxies fold into ours is not ours."""
    assert headers.read([HOST, (b"portreeve_key", b"a")]).key is None


@pytest.mark.parametrize("value", [b"", b"a b", b"a/b", b"user@host", b"a:b:c", b"a:999999", b"a#b", b"[::1"])
def test_a_host_that_is_no_authority_is_refused(value: bytes) -> None:
    """What the gateway writes into Forwarded must not be an injection."""
    with pytest.raises(Refusal):
        headers.read([(b"host", value)])


@pytest.mark.parametrize("value", [b"a", b"a.example:8080", b"[::1]:80", b"127.0.0.1"])
def test_a_host_that_is_an_authority_passes(value: bytes) -> None:
    """Names, addresses and ports."""
    assert headers.read([(b"host", value)]).host == value


def test_no_host_is_refused() -> None:
    """HTTP/1.1 requires one, and routes may depend on it."""
    with pytest.raises(Refusal):
        headers.read([(b"accept", b"*/*")])


def test_a_body_is_framed_in_one_way_only() -> None:
    """A length beside chunks is how requests are smuggled."""
    with pytest.raises(Refusal):
        headers.read([HOST, (b"content-length", b"3"), (b"transfer-encoding", b"chunked")])


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"identity", b"xchunked", b"chunked, chunked"])
def test_no_coding_but_chunked_is_known(coding: bytes) -> None:
    """A coding that the upstream might undo and the gateway does not is another body."""
    with pytest.raises(Refusal):
        headers.read([HOST, (b"transfer-encoding", coding)])


@pytest.mark.parametrize("value", [b"+3", b"-1", b"3, 3", b"0x3", b"", b"9" * 16])
def test_a_length_is_plain_digits(value: bytes) -> None:
    """One number, one spelling."""
    with pytest.raises(Refusal):
        headers.read([HOST, (b"content-length", value)])


@pytest.mark.parametrize("named", [b"content-length", b"Transfer-Encoding", b"close, Host"])
def test_connection_cannot_name_what_frames_or_addresses(named: bytes) -> None:
    """Taking the framing away from one side would make two requests of one."""
    with pytest.raises(Refusal):
        headers.read([HOST, (b"connection", named)])


def test_connection_takes_the_clients_headers_it_names_and_no_others() -> None:
    """What `Connection` names is for this hop only."""
    read = headers.read(
        [HOST, (b"x-hop", b"1"), (b"x-end", b"2"), (b"connection", b"X-Hop, Portreeve-Identity")]
    )
    assert read.passed == [(b"x-end", b"2")]


def test_an_upstream_cannot_speak_as_the_gateway() -> None:
    """Answers lose the gateway's names, framing and rate limit fields before the gateway adds its own."""
    answered = [
        (b"content-type", b"a/b"),
        (b"portreeve-request-id", b"forged"),
        (b"portreeve_request_id", b"forged"),
        (b"x-accel-redirect", b"/etc/passwd"),
        (b"ratelimit", b"forged"),
        (b"content-length", b"4"),
    ]
    assert headers.returnable(answered, b"upstream:80", b"/paper/v1") == [(b"content-type", b"a/b")]


@pytest.mark.parametrize(
    ("location", "told"),
    [
        (b"/orders/1", b"/paper/v1/orders/1"),
        (b"http://upstream:80/orders/1", b"/paper/v1/orders/1"),
        (b"https://upstream:80", b"/paper/v1/"),
        (b"orders/1", b"orders/1"),
        (b"//elsewhere/a", b"//elsewhere/a"),
        (b"https://docs.example/a", b"https://docs.example/a"),
        (b"http://upstream:8000/a", b"http://upstream:8000/a"),
    ],
)
def test_a_location_on_the_upstream_is_told_as_one_on_the_gateway(location: bytes, told: bytes) -> None:
    """A client that follows it must come by the gateway again, and learns no inner name."""
    assert headers.returnable([(b"location", location)], b"upstream:80", b"/paper/v1") == [
        (b"location", told)
    ]
