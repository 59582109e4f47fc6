"""Fetching key sets: from a real server over TLS, and from every kind of server that means no good."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from ipaddress import IPv4Network

import msgspec
import pytest
import trustme

from auth.oauth.client_keys import KeysUnreachable
from gateway.jwks_fetcher import MOST_BYTES, FetchRules, JwksFetcher
from gateway.webhooks.resolving import NameNotFound
from tests.support import jws

HOST = "keys.partner.example"
GOOD = {"keys": [{**jws.public_jwk(jws.P256), "kid": "a"}]}
LOOPBACK = (IPv4Network("127.0.0.0/8"),)


def answer(body: bytes, status: str = "200 OK", lines: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/jwk-set+json\r\n{lines}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Site:
    """A server of a partner's. `says` is what it answers; None keeps it silent."""

    def __init__(self) -> None:
        self.ca = trustme.CA()
        self.says: bytes | None = answer(json.dumps(GOOD).encode())
        self.asked: list[bytes] = []
        self.port = 0
        self.resolved: list[str] = []
        self.addresses: Sequence[str] = ("127.0.0.1",)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            if self.says is None:
                await reader.read()
                return
            writer.write(self.says)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def resolve(self, host: str, _port: int) -> Sequence[str]:
        self.resolved.append(host)
        if not self.addresses:
            raise NameNotFound
        return self.addresses

    def fetcher(self, *, trusting: bool = True, **rules: object) -> JwksFetcher:
        context = ssl.create_default_context()
        if trusting:
            self.ca.configure_trust(context)
        asked = msgspec.structs.replace(FetchRules(networks=LOOPBACK), **rules)
        return JwksFetcher(asked, self.resolve, context)

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}/jwks.json"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.ca.issue_cert(HOST).configure_cert(context)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


async def test_a_key_set_is_fetched_and_read(site: Site) -> None:
    """One request, by the name that was asked for, and no more of ourselves than a name."""
    (key,) = await site.fetcher().fetch(site.url)
    assert (key.kid, key.algorithm) == ("a", "ES256")
    (request,) = site.asked
    assert request.startswith(f"GET /jwks.json HTTP/1.1\r\nhost: {HOST}:{site.port}\r\n".encode())
    assert b"authorization" not in request.lower()
    assert site.resolved == [HOST]


@pytest.mark.parametrize(
    "says",
    [
        answer(b"", "302 Found", "location: https://keys.partner.example/other\r\n"),
        answer(json.dumps(GOOD).encode(), "307 Temporary Redirect", "location: http://127.0.0.1/\r\n"),
        answer(json.dumps(GOOD).encode(), "404 Not Found"),
        answer(json.dumps(GOOD).encode(), "500 Internal Server Error"),
        answer(b"not json"),
        answer(b"[]"),
        answer(b'{"keys": {}}'),
        answer(b'{"keys": [], "keys": []}'),
        answer(json.dumps({"keys": [{}] * 65}).encode()),
        answer(b'{"keys": []}' + b" " * MOST_BYTES),
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1000\r\n" + b" " * 4096 + b"\r\n" * 40,
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 100 + b"\r\n",
        b"",
    ],
    ids=range(15),
)
async def test_whatever_else_it_says_is_no_key_set(site: Site, says: bytes) -> None:
    """Redirects are not followed; too much, too little and nonsense are refused; one request is all it gets."""
    site.says = says
    with pytest.raises(KeysUnreachable) as caught:
        await site.fetcher().fetch(site.url)
    assert len(site.asked) == 1
    assert str(caught.value) == ""


async def test_a_server_that_says_nothing_is_given_up_on(site: Site) -> None:
    """Within the whole time there is, and not one time for each part of it."""
    site.says = None
    with pytest.raises(KeysUnreachable):
        await site.fetcher(total_ms=200).fetch(site.url)


async def test_a_name_server_that_says_nothing_is_given_up_on(site: Site) -> None:
    """Looking the name up is within that time, too."""

    async def never(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    fetcher = JwksFetcher(FetchRules(total_ms=200), never, ssl.create_default_context())
    with pytest.raises(KeysUnreachable):
        await fetcher.fetch(site.url)


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("10.0.0.1",),
        ("169.254.169.254",),
        ("::1",),
        ("fe80::1",),
        ("::ffff:127.0.0.1",),
        ("192.0.2.1", "127.0.0.1"),
        ("93.184.215.14", "10.0.0.1"),
        (),
    ],
)
async def test_a_name_that_leads_inside_is_not_dialled(site: Site, addresses: Sequence[str]) -> None:
    """Loopback, link-local, private and mapped addresses, alone or among public ones; and a name that has none."""
    site.addresses = addresses
    with pytest.raises(KeysUnreachable):
        await site.fetcher(networks=()).fetch(site.url)
    assert site.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.partner.example/jwks.json",
        "https://127.0.0.1/jwks.json",
        "https://[::1]/jwks.json",
        "https://169.254.169.254/latest/meta-data",
        "https://user@keys.partner.example/",
        "https://2130706433/",
        "https://keys.partner.example\\@other.example/",
        "file:///etc/passwd",
        "",
    ],
)
async def test_an_address_that_is_none_is_not_looked_up(site: Site, url: str) -> None:
    """Only https to a name or a public address, in one spelling."""
    with pytest.raises(KeysUnreachable):
        await site.fetcher(networks=()).fetch(url)
    assert (site.resolved, site.asked) == ([], [])


async def test_the_metadata_service_is_refused_whatever_was_allowed(site: Site) -> None:
    """An operator's exception does not reach it."""
    site.addresses = ("169.254.169.254",)
    with pytest.raises(KeysUnreachable):
        await site.fetcher(networks=(IPv4Network("169.254.0.0/16"),)).fetch(site.url)


async def test_the_certificate_is_for_the_name(site: Site) -> None:
    """One of nobody that is trusted, or for another name, ends the attempt before anything is asked."""
    with pytest.raises(KeysUnreachable):
        await site.fetcher(trusting=False).fetch(site.url)
    with pytest.raises(KeysUnreachable):
        await site.fetcher().fetch(site.url.replace(HOST, "other.partner.example"))
    assert site.asked == []


async def test_the_next_address_is_tried_when_one_is_dead(site: Site) -> None:
    """A name may have several, and the first may be down."""
    site.addresses = ("127.0.0.2", "127.0.0.1")
    assert await site.fetcher().fetch(site.url)


async def test_keys_of_other_algorithms_are_left_out(site: Site) -> None:
    """Whoever asks says which are taken."""
    assert await site.fetcher().fetch(site.url, ("PS256",)) == ()
