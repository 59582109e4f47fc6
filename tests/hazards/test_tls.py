"""Hazards, "Paths, headers, framing", where the node speaks TLS itself, and headers that claim a certificate."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support import rawhttp, signing
from tests.support.client_certificates import client_context, issue
from tests.support.gateway import Deployment, deployed
from tests.support.gateway_config import Table

SERVER, CLIENTS = trustme.CA(), trustme.CA()
CLAIM = "MIIC", "-----BEGIN%20CERTIFICATE-----"
ORDERS = b"/paper/v1/orders"


def tls_files(folder: Path) -> Table:
    leaf = SERVER.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(folder / "tls.key")
    (folder / "tls.key").chmod(0o600)
    leaf.cert_chain_pems[0].write_to_path(folder / "tls.pem")
    CLIENTS.cert_pem.write_to_path(folder / "clients.pem")
    return {
        "cert_file": "tls.pem",
        "private_key": "file:tls.key",
        "client_certificates": "optional",
        "client_ca_file": "clients.pem",
    }


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A node with TLS of its own, and a control port."""
    folder = tmp_path_factory.mktemp("own")
    changes = {"server": {"tls": tls_files(folder), "header_timeout_ms": 2_000}}
    with deployed(folder, changes=changes, tls=client_context(SERVER)) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A node whose peers, these tests, are a trusted proxy that tells of certificates."""
    changes = {
        "server": {"trusted_proxies": ["127.0.0.0/8"]},
        "oauth": {"client_certificate_header": "X-Tls-Peer"},
    }
    with deployed(tmp_path_factory.mktemp("behind"), changes=changes) as deployment:
        yield deployment


def show(own: Deployment, name: str) -> ssl.SSLContext:
    return client_context(SERVER, issue(CLIENTS).write(own.directory, name))


def test_signed_requests_are_served_with_and_without_a_certificate(own: Deployment) -> None:
    """TLS changes nothing of what a request has to prove."""
    wire = own.key().request
    assert own.node.ask(wire("GET", ORDERS)).status == 200
    answer = rawhttp.ask(own.node.address, wire("GET", ORDERS), tls=show(own, "desk"))
    assert answer.status == 200
    assert own.node.ask(signing.plain_request("GET", ORDERS)).code == "missing_credentials"


def test_upstreams_learn_that_it_was_tls(own: Deployment) -> None:
    """They write addresses with it."""
    answer = own.node.ask(own.key().request("GET", ORDERS))
    assert answer.status == 200
    assert own.upstream_saw(b"x-forwarded-proto: https")


def test_plain_http_on_the_tls_port_is_not_answered(own: Deployment) -> None:
    """A credential that was sent in the clear must not seem to have worked."""
    with rawhttp.Connection(own.node.address) as connection:
        connection.send(own.key().request("GET", ORDERS))
        with pytest.raises((rawhttp.Ended, rawhttp.NotHttp)):
            connection.read()


@pytest.mark.parametrize(
    "begun", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], ids=["silence", "half"]
)
def test_a_handshake_that_does_not_end_is_cut_off(own: Deployment, begun: bytes) -> None:
    """As half a head would be: by the same limit."""
    with rawhttp.Connection(own.node.address) as connection:
        connection.send(begun)
        assert connection.closes(within=10)


def test_a_refusal_of_a_body_that_is_still_coming_can_be_read(own: Deployment) -> None:
    """TLS cannot end one way alone, and an answer that is cut off by a reset is none."""
    head = b"POST /paper/v1/orders HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999\r\n\r\n"
    with own.node.connect() as connection:
        connection.send(head + b"a" * 300_000)
        assert connection.read().status in {401, 413}


def test_malformed_requests_are_answered_over_tls_too(own: Deployment) -> None:
    """The front line is the same one."""
    with own.node.connect() as connection:
        assert connection.ask(b"GET /a HTTP/1.1\r\nhost: x\r\nx: \x00\r\n\r\n").status == 400


@pytest.mark.parametrize(
    ("which", "name"),
    [
        *[("behind", name) for name in ("X-Tls-Peer", "x-tls-peer", "X_Tls_Peer", "Client-Cert")],
        *[("own", name) for name in ("Client-Cert", "client_cert", "X-SSL-Client-Cert")],
    ],
)
def test_a_claimed_certificate_reaches_no_upstream(
    request: pytest.FixtureRequest, which: str, name: str
) -> None:
    """Whoever reads it there would take the client's word for it. One that is configured is dropped like the usual."""
    found: Deployment = request.getfixturevalue(which)
    marker = f"claimed-{name}-{which}"
    extra = [(name, marker), ("x-kept", f"kept-{name}-{which}")]
    assert found.node.ask(found.key().request("GET", ORDERS, extra=extra)).status == 200
    assert found.upstream_saw(f"kept-{name}-{which}".encode())
    assert not found.upstream_saw(marker.encode())


@pytest.mark.parametrize("second", ["X-Tls-Peer", "x_tls_peer"])
def test_a_repeated_certificate_header_is_refused(behind: Deployment, second: str) -> None:
    """One of the two is the client's."""
    extra = [("X-Tls-Peer", CLAIM[0]), (second, CLAIM[1])]
    assert behind.node.ask(behind.key().request("GET", ORDERS, extra=extra)).code == "malformed_headers"
