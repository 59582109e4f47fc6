"""Tokens of issuers that the configuration trusts, over sockets: what they open, and where their keys come from."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from tests.support import jose_by_hand as jose
from tests.support import rawhttp
from tests.support.client_certificates import Shown, issue
from tests.support.gateway import Deployment, deployed, wait_until
from tests.support.oauth_sites import base_of
from tests.support.oauth_wire import ask

ORDERS = "/paper/v1/orders"
BY_FILE, BY_URL = "https://idp.acme.example", "https://idp.zephyr.example"
GATEWAY = "https://gateway.test"
FETCHED_S = 20.0


class Idp:
    """The server of an issuer, whose keys change as a test says; a redirect leads to where there would be some."""

    def __init__(self) -> None:
        self.ca = trustme.CA()
        self.keys: list[jose.Key] = []
        self.redirects = False
        self.asked = 0
        idp = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                idp.asked += 1
                if idp.redirects and self.path == "/jwks":
                    self.send_response(302)
                    self.send_header("location", "/elsewhere")
                    self.end_headers()
                    return
                body = json.dumps({"keys": [key.registered_jwk() for key in idp.keys]}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing: it is no gateway."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("127.0.0.1").configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_port}/jwks"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Scene:
    def __init__(self, deployment: Deployment, idp: Idp, filed: jose.Key) -> None:
        self.deployment = deployment
        self.idp = idp
        self.filed = filed
        self.proof_key = jose.Key.generate()

    def token(self, key: jose.Key, issuer: str, typ: str = "at+jwt", **claims: object) -> str:
        """One that is right, and bound to the proofs of this scene, but for what is asked otherwise."""
        at = jose.now()
        said: dict[str, Any] = {"iss": issuer, "aud": "portreeve", "sub": "tara", "iat": at, "exp": at + 600}
        said |= {"groups": ["desk"], "jti": jose.fresh(), "cnf": {"jkt": self.proof_key.thumbprint()}}
        return key.sign(
            {name: value for name, value in (said | claims).items() if value is not None}, typ=typ
        )

    def use(self, token: str, scheme: str = "DPoP", certificate: Shown | None = None) -> rawhttp.Answer:
        claims = jose.proof_claims("GET", GATEWAY + ORDERS, access_token=token)
        headers = [("Authorization", f"{scheme} {token}")]
        headers += [("DPoP", jose.proof(self.proof_key, claims))] if scheme == "DPoP" else []
        headers += [] if certificate is None else [("Client-Cert", certificate.rfc9440)]
        return ask(base_of(self.deployment.node), "GET", ORDERS, headers)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("issuers")
    idp, filed = Idp(), jose.Key.generate("ES256", "filed")
    idp.keys = [jose.Key.generate("ES256", "first")]
    idp.ca.cert_pem.write_to_path(str(folder / "idp.pem"))
    (folder / "keys.json").write_text(json.dumps({"keys": [filed.registered_jwk()]}))
    terms = {
        "audience": "portreeve",
        "environment": "paper",
        "claim": "groups",
        "roles": {"desk": ["trader"]},
    }
    issuers = [
        {"issuer": BY_FILE, "partner": "acme", "jwks_file": "keys.json", "bearer": True, **terms},
        {"issuer": BY_URL, "partner": "zephyr", "jwks_url": idp.url, **terms},
    ]
    changes = {
        "server": {"trusted_proxies": ["127.0.0.0/8"]},
        "oauth": {
            "issuers": issuers,
            "key_networks": ["127.0.0.0/8"],
            "key_ca_file": "idp.pem",
            "client_certificate_header": "Client-Cert",
        },
    }
    with deployed(folder, changes=changes) as deployment:
        for partner in ("acme", "zephyr"):
            deployment.partner(partner)
        made = Scene(deployment, idp, filed)
        passes = lambda: made.use(made.token(filed, BY_FILE)).status == 200  # noqa: E731
        wait_until(passes, FETCHED_S, "the partner is served")
        yield made
    idp.close()


def test_an_issuer_speaks_for_its_partner(scene: Scene) -> None:
    """By keys from a file and by keys that were fetched; and for nobody whose key it has not."""
    assert scene.use(scene.token(scene.filed, BY_FILE)).status == 200
    fetched = scene.token(scene.idp.keys[0], BY_URL)
    wait_until(lambda: scene.use(fetched).status == 200, FETCHED_S, "the keys are fetched")
    for key, issuer in ((scene.filed, BY_URL), (scene.idp.keys[0], BY_FILE), (scene.filed, GATEWAY)):
        answer = scene.use(scene.token(key, issuer))
        assert (answer.status, answer.json()["reason"]) == (401, "unknown_key")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "somebody-else"}, "wrong_audience"),
        ({"groups": ["nobody"]}, "no_role"),
        ({"iss": "https://evil.example"}, "wrong_issuer"),
        ({"cnf": {}}, "bad_claims"),
    ],
)
def test_it_is_trusted_for_no_more_than_was_said(scene: Scene, claims: dict[str, Any], reason: str) -> None:
    """Its tokens for others, its people without a role, and other issuers by its key are refused."""
    answer = scene.use(scene.token(scene.filed, BY_FILE, **claims))
    assert (answer.status, answer.code, answer.json()["reason"]) == (401, "invalid_token", reason)


def test_an_id_token_is_no_access_token(scene: Scene) -> None:
    """Of the same issuer, for the same audience, by the same key: it is another type."""
    answer = scene.use(scene.token(scene.filed, BY_FILE, typ="JWT"))
    assert answer.json()["reason"] == "wrong_type"


def test_a_token_that_is_bound_to_a_certificate_needs_it(scene: Scene) -> None:
    """As the proxy in front tells of it; another certificate, and none, are refused."""
    mine, other = issue(), issue()
    token = scene.token(scene.filed, BY_FILE, cnf={"x5t#S256": mine.thumbprint})
    assert scene.use(token, "Bearer", mine).status == 200
    for shown in (other, None):
        assert scene.use(token, "Bearer", shown).json()["reason"] == "wrong_certificate"


def test_an_unbound_token_reads_at_most(scene: Scene) -> None:
    """Where the issuer may have such."""
    token = scene.token(scene.filed, BY_FILE, cnf=None)
    assert scene.use(token, "Bearer").status == 200
    answer = ask(base_of(scene.deployment.node), "POST", ORDERS, [("Authorization", f"Bearer {token}")])
    assert (answer.status, answer.code) == (403, "permission_denied")
    unbound = scene.token(scene.idp.keys[0], BY_URL, cnf=None)
    assert scene.use(unbound, "Bearer").json()["reason"] in {"not_bound", "unknown_key"}


def test_a_new_key_is_fetched_and_a_redirect_is_not_followed(scene: Scene) -> None:
    """Nobody waits for it: the request that names an unknown key is refused, and one after the fetch passes."""
    second = jose.Key.generate("ES256", "second")
    token = scene.token(second, BY_URL)
    scene.idp.redirects, asked = True, scene.idp.asked
    scene.idp.keys.append(second)

    def is_asked_twice_more() -> bool:
        assert scene.use(token).status == 401
        return scene.idp.asked >= asked + 2

    wait_until(is_asked_twice_more, FETCHED_S, "it asks again, and follows nowhere")
    scene.idp.redirects = False
    wait_until(lambda: scene.use(token).status == 200, FETCHED_S, "the new key is fetched")
