"""Deployments with an authorization server, for clients that know nothing but its issuer.

Invariant: the issuer is the one address in front of all nodes, as the clients of a real deployment see it; what a test
needs of partners, clients and people is made by the command line and in the browser, as operators and people do it.
"""

from __future__ import annotations

import base64
import contextlib
import email
import email.policy
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support import jose_by_hand as jose
from tests.support.balancer import Balancer
from tests.support.browser import Browser
from tests.support.gateway import Deployment, Node, deployed, wait_until
from tests.support.oauth_wire import HandClient, post_form
from tests.support.servers import RedisServer

CALLBACK: Final = "https://client.example/callback"
EMAIL: Final = "tara@acme.example"
PASSWORD: Final = "correct horse battery staple of this test"
INVITATION: Final = (EMAIL, "--name", "Tara Trader", "--partner", "acme", "--role", "trader")
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
LATE_S: Final = 120
_BEARER: Final = ("--exception", "bearer-tokens", "--binding", "none")
_KNOWN_S: Final = 5.0
_PLENTY: Final = {"rate": 100_000, "per": "1s", "burst": 100_000}


def totp(secret: str, at: float) -> str:
    """RFC 6238 by hand: six digits, thirty seconds, SHA-1."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    counter = (int(at) // 30).to_bytes(8, "big")
    digest = hmac.new(key, counter, hashlib.sha1).digest()
    start = digest[-1] & 15
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


class Site:
    """One issuer, its nodes and its people; clients by the name that a test gives them."""

    def __init__(self, deployment: Deployment, balancer: Balancer) -> None:
        self.deployment = deployment
        self.issuer = balancer.url
        self._clients: dict[str, HandClient] = {}
        self._secrets: dict[str, dict[str, str]] = {}
        self._cookies: dict[str, str] | None = None

    def make_client(
        self, name: str, *arguments: str, partner: str = "acme", environment: str = "paper"
    ) -> dict[str, Any]:
        """By the command line: its id, and its secret if it has one."""
        self.deployment.partner(partner)
        said = ("--partner", partner, "--environment", environment, "--name", name, *arguments, "--json")
        made: dict[str, Any] = json.loads(self.deployment.command("clients", "create", *said))
        return made

    def client(
        self,
        name: str,
        *,
        key: jose.Key | None = None,
        role: str = "trader",
        partner: str = "acme",
        environment: str = "paper",
    ) -> HandClient:
        """A FAPI client of this name, made when it is first asked for; every node knows it then."""
        if name not in self._clients:
            own = key or jose.Key.generate("ES256", name)
            made = self.make_client(
                name,
                "--jwks",
                str(self._written(name, own)),
                *_terms(role),
                partner=partner,
                environment=environment,
            )
            self._clients[name] = HandClient(self.issuer, made["id"], own, redirect_uri=CALLBACK)
            self.wait_known(self._clients[name])
        return self._clients[name]

    def client_by_secret(self, name: str) -> dict[str, str]:
        """What a client of the older tier brings: its id and its secret; its tokens only read."""
        if name not in self._secrets:
            weaker = ("--authentication", "client_secret_basic", "--exception", "client-secret", *_BEARER)
            made = self.make_client(name, *weaker, "--role", "viewer")
            self._secrets[name] = {"client_id": made["id"], "client_secret": made["secret"]}
            self._wait_secret_known(**self._secrets[name])
        return self._secrets[name]

    def client_by_key_alone(self, name: str) -> tuple[str, jose.Key]:
        """A client that proves itself by key and whose tokens are bound to nothing: they only read."""
        key = jose.Key.generate("ES256", name)
        made = self.make_client(name, "--jwks", str(self._written(name, key)), *_BEARER, "--role", "viewer")
        self.wait_known(HandClient(self.issuer, made["id"], key))
        return made["id"], key

    def public_client(self, name: str) -> HandClient:
        """One that proves nothing of itself, as an app on somebody's own machine is; with a key for DPoP."""
        weaker = ("--authentication", "none", "--exception", "public-client", "--role", "viewer")
        grants = ("--grant", "authorization_code", "--grant", "refresh_token", "--redirect-uri", CALLBACK)
        made = self.make_client(name, *weaker, *grants)
        client = HandClient(self.issuer, made["id"], jose.Key.generate(), redirect_uri=CALLBACK)
        form = {"grant_type": "refresh_token", "refresh_token": "none", "client_id": made["id"]}
        for base in self.bases():
            there = client.at(base)
            known = lambda there=there: there.request_token(form, authenticated=False).status == 400  # noqa: E731
            wait_until(known, _KNOWN_S, "a new client is served")
        return client

    def _wait_secret_known(self, client_id: str, client_secret: str) -> None:
        both = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        form, basic = {"grant_type": "client_credentials"}, [("Authorization", f"Basic {both}")]
        for base in self.bases():
            known = lambda base=base: post_form(base, "/oauth/token", form, basic).status == 200  # noqa: E731
            wait_until(known, _KNOWN_S, "a new client is served")

    def bases(self) -> list[str]:
        """The address of each node."""
        return [base_of(node) for node in self.deployment.nodes if node.is_alive()]

    def wait_known(self, client: HandClient) -> None:
        for base in self.bases():
            there = client.at(base)
            known = lambda there=there: there.client_credentials().status == 200  # noqa: E731
            wait_until(known, _KNOWN_S, "a new client is served")

    def with_another_proof_key(self, client: HandClient) -> HandClient:
        return HandClient(client.issuer, client.client_id, client.key, redirect_uri=client.redirect_uri)

    def stranger(self) -> Browser:
        return Browser(self.issuer)

    def signed_in(self, base: str | None = None) -> Browser:
        """A browser of the one person here; signed in once, and remembered."""
        if self._cookies is None:
            self._cookies = self._invited().cookies
        person = Browser(base or self.issuer)
        person.cookies = dict(self._cookies)
        return person

    def _invited(self) -> Browser:
        self.deployment.partner("acme")
        self.deployment.command("people", "invite", *INVITATION)
        return sign_up(self.issuer, link_in(self.deployment.directory))

    def require_silent_logs(self) -> None:
        """No log ever held what a client or a person proves themselves with."""
        secrets = [known["client_secret"] for known in self._secrets.values()]
        for text in [*secrets, *(self._cookies or {}).values(), PASSWORD]:
            for node in self.deployment.nodes:
                assert text not in node.log_text(), f"a secret stands in {node.log.name}"

    def _written(self, name: str, key: jose.Key) -> Path:
        path = self.deployment.directory / f"{name}.jwk"
        path.write_text(json.dumps(key.registered_jwk()))
        return path


def link_in(directory: Path) -> str:
    """The link of the last mail that was written there."""
    last = max(directory.rglob("outbox/*.eml"), key=lambda path: path.stat().st_mtime_ns)
    text = email.message_from_bytes(last.read_bytes(), policy=email.policy.default).get_content()
    found = re.search(r"http\S+/oauth/\S+", text)
    assert found is not None, text
    return found[0]


def sign_up(site: str, link: str) -> Browser:
    """Whoever was invited chooses a password, signs in, and sets up one-time codes."""
    person = Browser(site)
    page = person.open(link)
    page = person.submit(page, page.form_with("password", "again"), password=PASSWORD, again=PASSWORD)
    page = person.open("/oauth/sign-in")
    page = person.submit(page, page.form_with("email", "password"), email=EMAIL, password=PASSWORD)
    page = person.submit(page, page.form_to("/oauth/enrol/one-time-codes"))
    key = re.search(r'id="totp-key">([A-Z2-7 ]+)<', page.text)
    assert key is not None, page.text
    page = person.submit(page, page.form_with("code"), code=totp(key[1].replace(" ", ""), jose.now()))
    assert page.status == 200, page.text
    return person


def base_of(node: Node) -> str:
    return f"http://127.0.0.1:{node.port}"


def _terms(role: str) -> list[str]:
    grants = [
        part
        for grant in ("client_credentials", "authorization_code", "refresh_token", "device_code")
        for part in ("--grant", grant)
    ]
    return ["--role", role, "--redirect-uri", CALLBACK, *grants]


@contextlib.contextmanager
def opened_site(directory: Path, *, nodes: int = 1, **backends: Any) -> Iterator[Site]:  # noqa: ANN401  see deployed
    balancer = Balancer()
    changes = {
        "service": {"issuer": balancer.url},
        # Nobody waits for a second look at a screen: what a test allows, it allows.
        "people": {"step_up_ms": 3_600_000},
        "oauth": {"source_limit": dict(_PLENTY), "client_limit": dict(_PLENTY)},
    }
    try:
        with deployed(directory, nodes=nodes, changes=changes, **backends) as deployment:
            balancer.serve([node.port for node in deployment.nodes])
            site = Site(deployment, balancer)
            yield site
            site.require_silent_logs()
    finally:
        balancer.close()


@pytest.fixture(scope="session")
def oauth_embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One node on the embedded defaults."""
    with opened_site(tmp_path_factory.mktemp("oauth-embedded")) as site:
        yield site


@pytest.fixture(scope="session")
def oauth_shared(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, new_database: Callable[[], str]
) -> Iterator[Site]:
    """Two nodes on one PostgreSQL and one Redis."""
    place = tmp_path_factory.mktemp("oauth-shared")
    with opened_site(place, nodes=2, storage=new_database(), redis=redis_server.url) as site:
        yield site


@pytest.fixture(params=["oauth_embedded", "oauth_shared"], scope="session")
def oauth_site(request: pytest.FixtureRequest) -> Site:
    """The same over both kinds of backend."""
    found: Site = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def late(oauth_shared: Site) -> Iterator[Node]:
    """One more node of the same site, by whose clock all is over that was begun two minutes ago. It goes when the test
    does: it would tidy away what the others still need.
    """
    node = oauth_shared.deployment.serve(clock_seconds=LATE_S)
    yield node
    node.stop()
    oauth_shared.deployment.nodes.remove(node)
