"""Where a request comes from, and whom to believe about it."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.problems import Refusal
from gateway.sources import Header, Source, Sources, parse_source
from gateway.stages.admit import Admit
from tests.support import stage_values

TRUSTED = Sources((ip_network("10.0.0.0/8"),))


def find(sources: Sources, peer: str, proxied: list[Header]) -> tuple[Source, bool]:
    """As `admit` finds it: the source, and whether the peer is a proxy of ours."""
    admitted = Admit(sources)(stage_values.admitted(*proxied, source=peer).arrival)
    return admitted.source, admitted.via_proxy


def test_without_trusted_proxies_the_peer_is_the_source() -> None:
    """A forwarding header of a stranger's counts for nothing."""
    found = find(Sources(()), "203.0.113.9", [(b"x-forwarded-for", b"192.0.2.1")])
    assert found == (parse_source("203.0.113.9"), False)


def test_a_peer_is_judged_as_itself_with_every_request() -> None:
    """What one peer is says nothing of another, whatever order they come in."""
    for _ in range(2):
        assert find(TRUSTED, "10.0.0.1", [])[1] is True
        assert find(TRUSTED, "203.0.113.9", [])[1] is False
        assert find(Sources(()), "10.0.0.1", [])[1] is False


def test_a_peer_without_an_address_is_nobody() -> None:
    """A local socket has none."""
    assert TRUSTED.of_peer("") == (parse_source("0.0.0.0"), False)


def test_a_stranger_is_not_believed_even_where_proxies_are() -> None:
    """Only the proxies that are named are believed."""
    assert find(TRUSTED, "203.0.113.9", [(b"x-forwarded-for", b"10.0.0.1")])[0] == parse_source("203.0.113.9")


def test_the_last_address_that_is_not_ours_is_the_source() -> None:
    """Addresses further left were written by the client, who may write what it likes."""
    chain = [(b"x-forwarded-for", b"1.1.1.1, 203.0.113.9"), (b"x-forwarded-for", b"10.0.0.2")]
    assert find(TRUSTED, "10.0.0.1", chain) == (parse_source("203.0.113.9"), True)


def test_no_other_header_of_a_proxy_says_where_a_request_comes_from() -> None:
    """Whatever stands in it, and however near to the end of the head."""
    sent = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-real-ip", b"192.0.2.1"), (b"via", b"1.1 proxy")]
    assert find(TRUSTED, "10.0.0.1", sent) == (parse_source("203.0.113.9"), True)
    charged = TRUSTED.find_charged("10.0.0.1", tuple(name for name, _ in sent), [value for _, value in sent])
    assert charged == parse_source("203.0.113.9")


def test_a_trusted_proxy_without_the_header_is_the_source() -> None:
    """A health check of the proxy itself, for instance."""
    assert find(TRUSTED, "10.0.0.1", []) == (parse_source("10.0.0.1"), True)


def test_a_trusted_proxy_that_sends_nonsense_is_refused() -> None:
    """Better no answer than a limit or a CIDR rule applied to the wrong address."""
    with pytest.raises(Refusal):
        find(TRUSTED, "10.0.0.1", [(b"x-forwarded-for", b"unknown")])


@pytest.mark.parametrize("hop", [b"203.0.113.9%" + b"a" * 9000, b"fe80::1%eth0", b"1" * 46])
def test_a_hop_that_is_more_than_an_address_is_refused(hop: bytes) -> None:
    """An address is kept by its text, and so nobody chooses how long that is."""
    with pytest.raises(Refusal):
        find(TRUSTED, "10.0.0.1", [(b"x-forwarded-for", hop)])


def test_a_mapped_address_is_its_ipv4_self() -> None:
    """A dual-stack socket must not hide a client from a CIDR rule."""
    assert parse_source("::ffff:203.0.113.9") == parse_source("203.0.113.9")


def test_a_scope_id_is_no_part_of_an_address() -> None:
    """Link-local peers carry one."""
    assert parse_source("fe80::1%eth0") == parse_source("fe80::1")


@pytest.mark.parametrize(
    ("peer", "forwarded", "charged"),
    [
        ("203.0.113.9", b"192.0.2.1", "203.0.113.9"),
        ("10.0.0.1", b"192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", b"nonsense", None),
        ("10.0.0.1", None, None),
        ("", None, None),
    ],
)
def test_what_cannot_be_admitted_is_charged_to_who_sent_it_and_never_to_a_proxy(
    peer: str, forwarded: bytes | None, charged: str | None
) -> None:
    """One stranger behind the load balancer must not use up the load balancer."""
    sent = [(b"Host", b"x"), *([] if forwarded is None else [(b"X-Forwarded-For", forwarded)])]
    found = TRUSTED.find_charged(peer, tuple(name for name, _ in sent), [value for _, value in sent])
    assert found == (None if charged is None else parse_source(charged))
