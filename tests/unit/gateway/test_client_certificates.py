"""Whose word counts on which certificate a client showed: the handshake's, or a trusted proxy's, and nobody else's."""

from __future__ import annotations

import base64
import datetime as dt
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
import trustme

from gateway import client_certificates, headers
from gateway.client_certificates import client_certificate_of
from gateway.problems import Refusal
from gateway.server.protocol import StrictProtocol
from gateway.stages.admit import Admitted
from tests.support import stage_values
from tests.support.client_certificates import DAY, Shown, issue

AUTHORITY = trustme.CA()
SHOWN = issue(AUTHORITY)
NAME = b"client-cert"
NOW_MS = int((SHOWN.certificate.not_valid_before_utc + DAY).timestamp() * 1000)


class Handshake:
    """What a TLS connection knows of its peer, and how often it was asked."""

    def __init__(self, shown: Shown | None) -> None:
        self._der = None if shown is None else shown.der
        self.asked = 0

    def getpeercert(self, *, binary_form: bool) -> bytes | None:
        assert binary_form
        self.asked += 1
        return self._der


def connection(handshake: Handshake | None) -> StrictProtocol:
    transport = SimpleNamespace(get_extra_info=lambda _: handshake)
    return cast("StrictProtocol", SimpleNamespace(certificate=None, transport=transport))


def admitted(
    *values: str,
    via_proxy: bool = True,
    over: StrictProtocol | None = None,
    configured: bytes | None = NAME,
    at_ms: int = NOW_MS,
) -> Admitted:
    sent = [(b"Host", b"gateway.example"), *[(b"Client-Cert", value.encode()) for value in values]]
    found = stage_values.admitted(via_proxy=via_proxy)
    read = headers.build_reader(configured)
    return msgspec.structs.replace(
        found,
        headers=read(tuple(name for name, _ in sent), [value for _, value in sent]),
        arrival=stage_values.changed(found.arrival, protocol=over, at_ms=at_ms),
    )


def found(request: Admitted) -> str | None:
    certificate = client_certificate_of(request)
    return None if certificate is None else certificate.thumbprint


@pytest.mark.parametrize("written", [SHOWN.rfc9440, SHOWN.escaped], ids=["rfc9440", "nginx"])
def test_a_trusted_proxy_tells_in_either_form(written: str) -> None:
    """RFC 9440's byte sequence, and the escaped PEM of nginx."""
    assert found(admitted(written)) == SHOWN.thumbprint


@pytest.mark.parametrize("via_proxy", [False, True])
def test_without_a_certificate_there_is_none(via_proxy: bool) -> None:
    """Most clients prove themselves otherwise."""
    assert found(admitted(via_proxy=via_proxy)) is None
    assert found(admitted(via_proxy=via_proxy, over=connection(None))) is None
    assert found(admitted(via_proxy=via_proxy, over=connection(Handshake(None)))) is None


def test_the_header_of_anybody_else_counts_for_nothing() -> None:
    """Whoever could write it would be any client."""
    assert found(admitted(SHOWN.rfc9440, via_proxy=False)) is None


def test_the_certificate_of_a_proxy_is_not_its_clients() -> None:
    """A proxy that proves itself by one passes requests on for everyone."""
    over = connection(Handshake(SHOWN))
    assert found(admitted(over=over, via_proxy=False)) == SHOWN.thumbprint
    assert found(admitted(over=over, via_proxy=True)) is None


def test_a_header_that_is_not_configured_counts_for_nothing() -> None:
    """No proxy was told to write it, so one that does passes on what its client wrote."""
    assert found(admitted(SHOWN.rfc9440, configured=None)) is None
    assert found(admitted(SHOWN.rfc9440, configured=b"x-client-cert")) is None


def test_a_connection_is_asked_once() -> None:
    """However many requests it brings."""
    handshake = Handshake(SHOWN)
    over = connection(handshake)
    for _ in range(3):
        assert found(admitted(over=over, via_proxy=False)) == SHOWN.thumbprint
    assert handshake.asked == 1


def test_a_connection_without_a_certificate_is_asked_once_too() -> None:
    handshake = Handshake(None)
    over = connection(handshake)
    assert [found(admitted(over=over, via_proxy=False)) for _ in range(3)] == [None, None, None]
    assert handshake.asked == 1


@pytest.mark.parametrize("away", [-2 * DAY, 60 * DAY])
@pytest.mark.parametrize("via_proxy", [False, True])
def test_a_certificate_past_its_dates_is_none(via_proxy: bool, away: dt.timedelta) -> None:
    """Whoever checked it may have done so long ago, or not at all."""
    at_ms = NOW_MS + int(away.total_seconds() * 1000)
    values = [SHOWN.rfc9440] if via_proxy else []
    request = admitted(*values, via_proxy=via_proxy, over=connection(Handshake(SHOWN)), at_ms=at_ms)
    assert found(request) is None


@pytest.mark.parametrize(
    "value",
    [
        ":",
        "::",
        ":AAAA",
        "AAAA:",
        ":!!!!:",
        ":AAAA:",
        SHOWN.rfc9440[:-2] + ":",
        SHOWN.rfc9440[:-1] + " :",
        SHOWN.rfc9440 + ", " + SHOWN.rfc9440,
        SHOWN.rfc9440 + ";a=1",
        "-----BEGIN CERTIFICATE-----",
        SHOWN.escaped + SHOWN.escaped,
        SHOWN.escaped.replace("CERTIFICATE", "X509%20CRL"),
        "%2D" * 20_000,
        base64.b64encode(SHOWN.der).decode(),
    ],
    # What is drawn anew each time makes no name.
    ids=map(str, range(15)),
)
def test_what_a_proxy_tells_in_no_form_is_refused(value: str) -> None:
    """A header that cannot be read is not the same as none."""
    with pytest.raises(Refusal) as refused:
        client_certificate_of(admitted(value))
    assert refused.value.problem.kind.code == "malformed_headers"


def test_an_empty_header_is_no_certificate() -> None:
    """So says nginx of a client that showed none."""
    assert found(admitted("")) is None


def test_another_spelling_of_the_same_bytes_is_refused() -> None:
    """Bits behind the end of the base64 would make two texts of one certificate."""
    padded = next(
        shown
        for shown in (issue(AUTHORITY, f"CN={'x' * n}") for n in range(1, 64))
        if shown.rfc9440[-2] == "="
    )
    text = padded.rfc9440
    place = len(text.rstrip(":=")) - 1
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = text[:place] + alphabet[alphabet.index(text[place]) + 1] + text[place + 1 :]
    assert found(admitted(text)) == padded.thumbprint
    with pytest.raises(Refusal):
        client_certificate_of(admitted(other))


def test_a_repeated_header_is_refused_whoever_sent_it() -> None:
    """Two readers could take two certificates from it; in the other spelling too."""
    for second in (b"Client-Cert", b"client_cert"):
        with pytest.raises(Refusal):
            headers.build_reader(NAME)((b"host", b"CLIENT-CERT", second), [b"x", b"a", b"b"])


@pytest.mark.parametrize("configured", [None, NAME, b"x-tls-peer"])
def test_no_such_header_reaches_an_upstream(configured: bytes | None) -> None:
    """Behind the gateway somebody may believe it."""
    names: tuple[bytes, ...] = (
        b"host",
        b"Client-Cert",
        b"Client-Cert-Chain",
        b"X-SSL-Client-Cert",
        b"Ssl-Client-Verify",
        b"x-kept",
    )
    if configured == b"x-tls-peer":
        names += (b"X-TLS-Peer",)
    read = headers.build_reader(configured)(names, [b"x", *[b"1"] * (len(names) - 1)])
    assert (read.passed, read.passed_count) == (b"x-kept: 1\r\n", 1)


def test_pages_find_it_in_the_scope() -> None:
    """And a scope that came by no edge has none."""
    certificate = client_certificate_of(admitted(SHOWN.rfc9440))
    assert (
        client_certificates.client_certificate_of_scope({client_certificates.SCOPE: certificate})
        is certificate
    )
    assert client_certificates.client_certificate_of_scope({}) is None
