"""The Redis handle over a real server: passwords, TLS, and waits that end."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from storage.redis import RedisSettings, RedisUnavailable, connect, translated
from tests.support.processes import free_port
from tests.support.servers import RedisServer
from tests.support.tls_front import tls_in_front_of

# A good deal above the 250 ms that are promised: the machine may be busy.
BOUND_SECONDS = 5


async def ping(settings: RedisSettings) -> bool:
    client = connect(settings)
    try:
        with translated():
            return bool(await client.ping())
    finally:
        await client.aclose()


async def test_a_server_answers(redis_url: str) -> None:
    """The settings lead there."""
    assert await ping(RedisSettings(redis_url))


async def test_the_password_opens(new_redis_server: Callable[..., RedisServer]) -> None:
    """A wrong or missing one is a Redis that cannot be asked; the error does not repeat it."""
    server = new_redis_server("--requirepass", "swordfish")
    assert await ping(RedisSettings(server.url, "swordfish"))
    for wrong in (None, "shibboleth"):
        with pytest.raises(RedisUnavailable) as unavailable:
            await ping(RedisSettings(server.url, wrong))
        assert "shibboleth" not in str(unavailable.value)


@pytest.mark.parametrize("cluster", [False, True])
async def test_nobody_there_is_known_at_once(*, cluster: bool) -> None:
    """No retries behind the caller's back."""
    began = time.monotonic()
    with pytest.raises(RedisUnavailable):
        await ping(RedisSettings(f"redis://127.0.0.1:{free_port()}", cluster=cluster))
    assert time.monotonic() - began < BOUND_SECONDS


async def test_a_server_that_stands_still_is_given_up(new_redis_server: Callable[..., RedisServer]) -> None:
    """Both for a new connection and for one that is open."""
    server = new_redis_server()
    client = connect(RedisSettings(server.url))
    await client.ping()
    server.pause()
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(RedisUnavailable), translated():
            await client.ping()
    assert time.monotonic() - began < BOUND_SECONDS
    server.resume()
    assert await client.ping()
    await client.aclose()


class Certificates:
    """An authority, and what it issued: to the server, to a client."""

    def __init__(self, place: Path) -> None:
        self.authority = trustme.CA()
        self.ca_file = place / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca_file))
        client = self.authority.issue_cert("portreeve")
        self.client_cert_file, self.client_key_file = place / "me.pem", place / "me.key"
        client.cert_chain_pems[0].write_to_path(str(self.client_cert_file))
        client.private_key_pem.write_to_path(str(self.client_key_file))

    def server_context(self, name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(name).configure_cert(context)
        self.authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def settings(self, port: int) -> RedisSettings:
        return RedisSettings(
            f"rediss://127.0.0.1:{port}",
            timeout_ms=2000,
            ca_file=self.ca_file,
            client_cert_file=self.client_cert_file,
            client_key_file=self.client_key_file,
        )


async def test_tls_with_a_client_certificate(redis_server: RedisServer, tmp_path: Path) -> None:
    """Both sides prove who they are."""
    certificates = Certificates(tmp_path)
    async with tls_in_front_of(redis_server.port, certificates.server_context("127.0.0.1")) as port:
        assert await ping(certificates.settings(port))


async def test_a_certificate_for_another_name_is_refused(redis_server: RedisServer, tmp_path: Path) -> None:
    """Even from the right authority."""
    certificates = Certificates(tmp_path)
    async with tls_in_front_of(redis_server.port, certificates.server_context("redis.example")) as port:
        with pytest.raises(RedisUnavailable):
            await ping(certificates.settings(port))


async def test_a_certificate_of_another_authority_is_refused(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    """Even for the right name."""
    (tmp_path / "other").mkdir()
    certificates, others = Certificates(tmp_path), Certificates(tmp_path / "other")
    async with tls_in_front_of(redis_server.port, others.server_context("127.0.0.1")) as port:
        with pytest.raises(RedisUnavailable):
            await ping(certificates.settings(port))
