"""Connections that redis-py makes and admissions take over: by TLS, with a password and a database, on both loops."""

import asyncio
import ssl
from collections.abc import Callable

import pytest
import trustme
import uvloop
from redis.asyncio import Redis

from auth.admission import Admitted, Bucket, Replayed, ReplayStoreUnavailable
from auth.admission.redis import RedisAdmission
from policies.gcra import Limit
from tests.support.admissions import admission
from tests.support.servers import RedisServer
from tests.support.tls_front import tls_in_front_of

THREE = Limit(name="three", rate=1, per_us=3_600_000_000, burst=3)
LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
NewLoop = Callable[[], asyncio.AbstractEventLoop]


async def require_admissions(redis: Redis) -> None:
    """Many at once, so that commands and replies come in more than one piece; then a replay."""
    store = RedisAdmission(redis, nonce_ttl_ms=122_000, timeout_ms=10_000)
    asked = [admission("acme", f"key:{n}", (Bucket(f"k:{n}", THREE, 1),)) for n in range(500)]
    answers = await asyncio.gather(*map(store.admit, asked))
    assert [answer.buckets[0].remaining for answer in answers] == [2] * 500
    with pytest.raises(Replayed):
        await store.admit(asked[0])
    assert isinstance(await store.admit(admission("acme", "key:new", ())), Admitted)
    await store.aclose()


@LOOPS
def test_over_tls_with_a_password_in_a_database(
    new_loop: NewLoop, new_redis_server: Callable[..., RedisServer]
) -> None:
    """All that the library does before the first command is done, and nothing of it is mixed with a reply."""
    server, authority = new_redis_server("--requirepass", "swordfish"), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    async def run() -> None:
        async with tls_in_front_of(server.port, context) as port:
            ca_pem = authority.cert_pem.bytes().decode()
            url = f"rediss://:swordfish@localhost:{port}/3"
            async with Redis.from_url(url, ssl_ca_data=ca_pem) as redis:
                await require_admissions(redis)
                assert await redis.dbsize() == 500 + 501

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())


@LOOPS
def test_a_wrong_password_or_a_stranger_with_a_certificate_admits_nothing(
    new_loop: NewLoop, new_redis_server: Callable[..., RedisServer]
) -> None:
    """Who the store is and who we are is settled before any nonce is sent."""
    server = new_redis_server("--requirepass", "swordfish")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost").configure_cert(context)

    other = trustme.CA().cert_pem.bytes().decode()

    async def require_refused(redis: Redis) -> None:
        async with redis:
            store = RedisAdmission(redis, nonce_ttl_ms=122_000, timeout_ms=5_000)
            with pytest.raises(ReplayStoreUnavailable):
                await store.admit(admission("acme", "key:n", ()))
            await store.aclose()

    async def run() -> None:
        await require_refused(Redis.from_url(f"redis://:shibboleth@127.0.0.1:{server.port}"))
        async with tls_in_front_of(server.port, context) as port:
            await require_refused(Redis.from_url(f"rediss://:swordfish@localhost:{port}", ssl_ca_data=other))

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())
