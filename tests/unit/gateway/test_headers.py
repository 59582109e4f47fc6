"""Header hygiene: what is refused, what passes, and what can never be forged."""

from __future__ import annotations

import pytest

from gateway import headers
from gateway.problems import Refusal

HOST = (b"host", b"gateway.example")


def read(sent: list[tuple[bytes, bytes]]) -> headers.RequestHeaders:
    return headers.read(tuple(name for name, _ in sent), [value for _, value in sent])


def passed(sent: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    found = read(sent)
    lines = found.passed.split(b"\r\n")
    assert (lines.pop(), len(lines)) == (b"", found.passed_count)
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


def test_a_plain_header_passes_on_in_its_place() -> None:
    """Headers that are nobody's business go through as they came, repeated ones included."""
    sent = [HOST, (b"accept", b"a"), (b"x-custom", b"1"), (b"accept", b"b")]
    assert passed(sent) == [(b"accept", b"a"), (b"x-custom", b"1"), (b"accept", b"b")]


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
    assert passed([HOST, (name, b"forged")]) == []


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
    assert passed([HOST, (name, value)]) == []


@pytest.mark.parametrize(
    "name", [b"host", b"content-length", b"authorization", b"dpop", b"portreeve-key", b"portreeve-anything"]
)
def test_a_header_that_two_readers_could_read_differently_may_not_repeat(name: bytes) -> None:
    """The first or the last: nobody gets to choose."""
    with pytest.raises(Refusal) as refused:
        read([HOST, (name, b"1"), (name, b"1")])
    assert refused.value.problem.kind.code == "malformed_headers"


def test_an_underscore_spelling_counts_as_a_repetition() -> None:
    """`Portreeve_Key` beside `Portreeve-Key` is two claims in one request."""
    with pytest.raises(Refusal):
        read([HOST, (b"portreeve-key", b"a"), (b"portreeve_key", b"b")])


def test_an_underscore_spelling_is_no_credential() -> None:
    """A name that some proxies fold into ours is not ours."""
    assert read([HOST, (b"portreeve_key", b"a")]).claimed == (None, None, None, None)


@pytest.mark.parametrize("value", [b"", b"a b", b"a/b", b"user@host", b"a:b:c", b"a:999999", b"a#b", b"[::1"])
def test_a_host_that_is_no_authority_is_refused(value: bytes) -> None:
    """What the gateway writes into Forwarded must not be an injection."""
    with pytest.raises(Refusal):
        read([(b"host", value)])


@pytest.mark.parametrize("value", [b"a", b"a.example:8080", b"[::1]:80", b"127.0.0.1"])
def test_a_host_that_is_an_authority_passes(value: bytes) -> None:
    """Names, addresses and ports."""
    assert read([(b"host", value)]).host == value


def test_no_host_is_refused() -> None:
    """HTTP/1.1 requires one, and routes may depend on it: a value of another name that could be a host is none."""
    for sent in ([], [(b"accept", b"a")], [(b"portreeve-key", b"k"), (b"x", b"gateway.example")]):
        with pytest.raises(Refusal, match="malformed_headers"):
            read(sent)


def test_a_body_is_framed_in_one_way_only() -> None:
    """A length beside chunks is how requests are smuggled."""
    with pytest.raises(Refusal):
        read([HOST, (b"content-length", b"3"), (b"transfer-encoding", b"chunked")])


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"identity", b"xchunked", b"chunked, chunked"])
def test_no_coding_but_chunked_is_known(coding: bytes) -> None:
    """A coding that the upstream might undo and the gateway does not is another body."""
    with pytest.raises(Refusal):
        read([HOST, (b"transfer-encoding", coding)])


@pytest.mark.parametrize("value", [b"+3", b"-1", b"3, 3", b"0x3", b"", b"9" * 16])
def test_a_length_is_plain_digits(value: bytes) -> None:
    """One number, one spelling."""
    with pytest.raises(Refusal):
        read([HOST, (b"content-length", value)])


@pytest.mark.parametrize("named", [b"content-length", b"Transfer-Encoding", b"close, Host"])
def test_connection_cannot_name_what_frames_or_addresses(named: bytes) -> None:
    """Taking the framing away from one side would make two requests of one."""
    with pytest.raises(Refusal):
        read([HOST, (b"connection", named)])


def test_connection_takes_the_clients_headers_it_names_and_no_others() -> None:
    """What `Connection` names is for this hop only."""
    sent = [HOST, (b"x-hop", b"1"), (b"x-end", b"2"), (b"connection", b"X-Hop, Portreeve-Identity")]
    assert passed(sent) == [(b"x-end", b"2")]


def test_the_same_names_with_other_values_are_read_anew() -> None:
    """What a head of these names decided before says nothing of the values."""
    for value in (b"1", b"2"):
        sent = [HOST, (b"X-Custom", value), (b"Portreeve-Key", value)]
        assert (passed(sent), read(sent).claimed[0]) == ([(b"x-custom", value)], value)


def test_the_same_names_in_another_order_are_another_head() -> None:
    """Every value is found under its own name."""
    sent = [HOST, (b"Portreeve-Nonce", b"n"), (b"Portreeve-Key", b"k"), (b"X-Custom", b"1")]
    for order in (sent, sent[::-1]):
        found = read(order)
        assert (found.host, found.claimed) == (HOST[1], (b"k", None, b"n", None))


def test_a_refusal_is_refused_again() -> None:
    """A head that was refused once is no less wrong when it comes back."""
    for _ in range(2):
        with pytest.raises(Refusal):
            read([HOST, (b"portreeve-key", b"a"), (b"PORTREEVE-KEY", b"b")])


def test_long_heads_are_not_kept() -> None:
    """Strangers choose names; what is remembered of them is bounded."""
    kept = len(headers._plans)
    read([HOST, (b"x-" + b"a" * 5000, b"1")])
    assert len(headers._plans) == kept


def test_few_heads_are_kept() -> None:
    """However many names strangers make up."""
    for number in range(2 * headers._MOST_KEPT):
        read([HOST, (b"x-%d" % number, b"1")])
    assert len(headers._plans) == headers._MOST_KEPT


@pytest.mark.parametrize("value", [b"", b"a b", b"gateway.example/"])
def test_a_malformed_host_is_refused_however_often_a_head_of_its_names_has_passed(value: bytes) -> None:
    """A plan decides by names; a value is checked with every request, and one that failed is not remembered."""
    for _ in range(2):
        assert read([HOST, (b"accept", b"a")]).host == HOST[1]
        with pytest.raises(Refusal):
            read([(b"host", value), (b"accept", b"a")])


@pytest.mark.parametrize("sent", [[], [(b"accept", b"a")], [(b"portreeve-key", b"k"), (b"x", b"1")]])
def test_what_was_not_sent_is_none(sent: list[tuple[bytes, bytes]]) -> None:
    """Whichever of our own names are in the head, and wherever."""
    for order in ([HOST, *sent], [*sent, HOST]):
        found = read(order)
        key = b"k" if sent and sent[0][0] == b"portreeve-key" else None
        assert (found.host, found.claimed) == (HOST[1], (key, None, None, None))
        assert (found.content_length, found.chunked, found.proxied) == (None, False, ())


def test_a_body_and_its_framing_are_read_beside_everything_else() -> None:
    """What is for this hop is kept apart from what passes on, and neither hides the length."""
    sent = [HOST, (b"Content-Length", b"12"), (b"Connection", b"keep-alive"), (b"x", b"1")]
    found = read(sent)
    assert (found.content_length, found.chunked, found.passed) == (12, False, b"x: 1\r\n")
    assert found.proxied == ((b"content-length", b"12"), (b"connection", b"keep-alive"))
    assert read([HOST, (b"transfer-encoding", b"Chunked")]).chunked


def test_a_length_spelt_with_an_underscore_is_no_length() -> None:
    """It frames nothing, and it does not pass."""
    found = read([HOST, (b"content_length", b"12"), (b"x", b"1")])
    assert (found.content_length, found.passed_count) == (None, 1)


def test_a_value_is_written_as_it_is() -> None:
    """Neither a name nor a value is a pattern, whatever it looks like."""
    for sent in ([(b"x-%d", b"%s")], [(b"x-%%b", b"%b"), (b"x", b"")], [(b"a", b"%(a)b")]):
        assert passed([HOST, *sent]) == sent


def test_a_name_that_is_no_token_is_refused() -> None:
    """It could end a line, or begin another."""
    for name in (b"x y", b"x:y", b"x\r\ny", b"", b"x\x00"):
        with pytest.raises(Refusal):
            read([HOST, (name, b"1")])


@pytest.mark.parametrize(
    "name",
    [
        b"connection",
        b"content-length",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ],
)
def test_no_header_of_the_connection_goes_on(name: bytes) -> None:
    """The upstream leg frames and addresses for itself, and does not look at these names again."""
    sent = [] if name == b"host" else [(name, b"chunked" if name == b"transfer-encoding" else b"1")]
    for written in (name, name.title()):
        assert passed([HOST, *[(written, value) for _, value in sent]]) == []


def test_a_token_is_presented_once_and_goes_no_further() -> None:
    """With its proof; what signs beside it is told of, and no longer claimed."""
    sent = [(b"Authorization", b"DPoP a.b.c"), (b"DPoP", b"d.e.f")]
    found = read([HOST, *sent])
    assert found.presented is not None
    assert (found.presented.access_token, found.presented.proof) == (b"a.b.c", b"d.e.f")
    assert (found.presented.signed, found.passed_count) == (False, 0)
    both = read([HOST, *sent, (b"portreeve-key", b"k")])
    assert both.presented is not None
    assert (both.presented.signed, both.claimed) == (True, (None, None, None, None))


@pytest.mark.parametrize("name", [b"Dp_oP", b"d_pop", b"authorizatio_n"])
def test_no_other_spelling_presents_a_token(name: bytes) -> None:
    """Only the names themselves, in any case of letters."""
    assert read([HOST, (name, b"Bearer a")]).presented is None


def test_another_scheme_presents_nothing_and_leaves_the_signature() -> None:
    """The request is as if the header were not there."""
    found = read([HOST, (b"authorization", b"Basic a"), (b"portreeve-key", b"k")])
    assert (found.presented, found.claimed[0]) == (None, b"k")
