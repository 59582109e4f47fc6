"""The keys of access tokens on real nodes: announced before they sign, published until what they signed has expired."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest

from tests.support import jose_by_hand as jose
from tests.support.gateway import wait_until
from tests.support.oauth_sites import Site, opened_site
from tests.support.oauth_wire import HandClient, ask
from tests.support.servers import RedisServer

KEY_SET = "/.well-known/jwks.json"


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, new_database: Callable[[], str]
) -> Iterator[Site]:
    """Two nodes on a store of their own: the keys of the others stay."""
    place: Path = tmp_path_factory.mktemp("access-ring")
    with opened_site(place, nodes=2, storage=new_database(), redis=redis_server.url) as opened:
        yield opened


def published(base: str) -> dict[str, jwt.PyJWK]:
    answer = ask(base, "GET", KEY_SET)
    assert answer.header("cache-control") == "public, max-age=300"
    return {key["kid"]: jwt.PyJWK(key) for key in answer.json()["keys"]}


def verify(token: str, base: str, issuer: str) -> str:
    """As a resource server would that knows nothing but the key set of that node. The id of the key."""
    kid: str = jose.parts(token)[0]["kid"]
    jwt.decode(token, published(base)[kid], algorithms=["ES256"], audience=issuer, issuer=issuer)
    return kid


def test_14_a_key_is_announced_before_it_signs_and_kept_until_its_tokens_are_over(site: Site) -> None:
    """Every token of each node is proved by the key set of each, at every step, and stays active throughout."""
    client, bases, run = site.client("rotates"), site.bases(), site.deployment
    first = client.token().access_token
    old = verify(first, bases[0], site.issuer)
    announced = json.loads(run.command("rings", "announce", "--ring", "access", "--json"))[0]["kid"]
    wait_until(lambda: all(announced in published(base) for base in bases), 5, "it is in both key sets")
    assert run.run("rings", "activate", "--ring", "access").returncode == 1
    assert {_signer(client, base) for base in bases} == {old}
    run.command("rings", "activate", "--ring", "access", "--now")
    wait_until(lambda: {_signer(client, base) for base in bases} == {announced}, 5, "both sign with it")
    for base in bases:
        assert verify(first, base, site.issuer) == old
        assert verify(client.at(base).token().access_token, base, site.issuer) == announced
        told = client.at(base).post("/oauth/introspect", {"token": first}, proof=False).json()
        assert told["active"] is True


def test_14_a_key_that_leaked_is_gone_with_all_that_it_signed(site: Site) -> None:
    """From both key sets; its tokens are active no more, and DPoP goes on with nonces of before or after."""
    client, bases = site.client("leaks"), site.bases()
    token = client.token().access_token
    leaked = verify(token, bases[0], site.issuer)
    site.deployment.command("rings", "rotate", "--ring", "access", "--now", "--reason", "a test")
    wait_until(lambda: all(leaked not in published(base) for base in bases), 5, "it is in no key set")
    for base in bases:
        told = client.at(base).post("/oauth/introspect", {"token": token}, proof=False).json()
        assert told == {"active": False}
        assert client.at(base).token().access_token


def _signer(client: HandClient, base: str) -> str:
    there = client.at(base)
    there.nonces = client.nonces
    kid: str = jose.parts(there.token().access_token)[0]["kid"]
    return kid
