"""RFC 8705 over real handshakes: clients known by their certificates, and tokens that are worth nothing without one."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509

from tests.hazards.test_tls import CLIENTS, ORDERS, SERVER, tls_files
from tests.support import rawhttp
from tests.support.client_certificates import SUBJECT, Shown, client_context, issue
from tests.support.gateway import Deployment, deployed, wait_until
from tests.support.signing import Headers, plain_request

BY_NAME, BY_SELF = issue(CLIENTS), issue()
STRANGER = issue(CLIENTS, "CN=desk 8,O=Acme,C=GB")


class Site:
    """A node that ends TLS itself, or one behind a proxy that these tests are; with its clients."""

    def __init__(self, deployment: Deployment, *, ends_tls: bool) -> None:
        self.deployment = deployment
        self._ends_tls = ends_tls
        deployment.partner("acme")
        self.by_name = self.register("tls_client_auth", "--certificate-dn", SUBJECT)
        thumbprint = f"--certificate-thumbprint={BY_SELF.thumbprint}"
        self.by_self = self.register("self_signed_tls_client_auth", thumbprint)
        wait_until(lambda: self.ask_token(self.by_self, BY_SELF).status == 200, 30, "the clients are served")

    def register(self, authentication: str, *options: str) -> str:
        told = self.deployment.command(
            "clients",
            "create",
            "--partner=acme",
            "--environment=paper",
            f"--authentication={authentication}",
            *options,
            "--name=desk",
            "--role=trader",
            "--json",
        )
        client_id: str = json.loads(told)["id"]
        return client_id

    def send(self, wire: bytes, shown: Shown | None) -> rawhttp.Answer:
        """`wire` with a place for one more header line."""
        node = self.deployment.node
        if not self._ends_tls:
            line = b"" if shown is None else f"Client-Cert: {shown.rfc9440}\r\n".encode()
            return node.ask(wire.replace(b"\r\n", b"\r\n" + line, 1))
        if shown is None:
            return node.ask(wire)
        files = shown.write(self.deployment.directory, shown.thumbprint)
        return rawhttp.ask(node.address, wire, tls=client_context(SERVER, files))

    def ask_token(self, client_id: str, shown: Shown | None, **fields: str) -> rawhttp.Answer:
        form = {"grant_type": "client_credentials", "client_id": client_id, "scope": "orders:read", **fields}
        body = urllib.parse.urlencode(form).encode()
        extra = [("Content-Type", "application/x-www-form-urlencoded")]
        return self.send(plain_request("POST", b"/oauth/token", body=body, headers=extra), shown)

    def token_of(self, client_id: str, shown: Shown) -> str:
        answer = self.ask_token(client_id, shown)
        assert answer.status == 200, answer
        token: str = answer.json()["access_token"]
        return token

    def use(self, token: str, shown: Shown | None, *, scheme: str = "Bearer") -> rawhttp.Answer:
        extra: Headers = [("Authorization", f"{scheme} {token}")]
        return self.send(plain_request("GET", ORDERS, headers=extra), shown)


@pytest.fixture(scope="module", params=["own", "proxy"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "own":
        (folder / "self-signed.pem").write_bytes(BY_SELF.pem)
        tls = {**tls_files(folder), "self_signed_file": "self-signed.pem"}
        with deployed(folder, changes={"server": {"tls": tls}}, tls=client_context(SERVER)) as deployment:
            yield Site(deployment, ends_tls=True)
        return
    changes = {
        "server": {"trusted_proxies": ["127.0.0.0/8"]},
        "oauth": {"client_certificate_header": "Client-Cert"},
    }
    with deployed(folder, changes=changes) as deployment:
        yield Site(deployment, ends_tls=False)


def claims_of(token: str) -> dict[str, Any]:
    encoded = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    return claims


def test_clients_get_tokens_bound_to_their_certificates(site: Site) -> None:
    """By name and by thumbprint, and each token says which certificate it is worth something with."""
    for client_id, shown in ((site.by_name, BY_NAME), (site.by_self, BY_SELF)):
        claims = claims_of(site.token_of(client_id, shown))
        assert claims["cnf"] == {"x5t#S256": shown.thumbprint}
        assert claims["client_id"] == client_id


def test_another_certificate_or_none_is_no_client(site: Site) -> None:
    """And it is told the same as an unknown client."""
    refused = [
        site.ask_token(site.by_name, None),
        site.ask_token(site.by_name, STRANGER),
        site.ask_token(site.by_name, BY_SELF),
        site.ask_token(site.by_self, BY_NAME),
        site.ask_token(site.by_self, None),
        site.ask_token(site.by_name[:-1] + ("0" if site.by_name[-1] != "0" else "1"), BY_NAME),
    ]
    assert [(answer.status, answer.json()["error"]) for answer in refused] == [(401, "invalid_client")] * 6
    assert len({answer.body for answer in refused}) == 1


def test_a_renewed_certificate_of_the_same_name_goes_on(site: Site) -> None:
    """That is what a name is registered for; a token stays with the certificate it was given with."""
    renewed = issue(CLIENTS)
    assert claims_of(site.token_of(site.by_name, renewed))["cnf"] == {"x5t#S256": renewed.thumbprint}


def test_the_metadata_says_that_certificates_are_taken(site: Site) -> None:
    told = site.send(plain_request("GET", b"/.well-known/oauth-authorization-server"), None).json()
    assert told["tls_client_certificate_bound_access_tokens"] is True
    methods = {"tls_client_auth", "self_signed_tls_client_auth"}
    assert methods <= set(told["token_endpoint_auth_methods_supported"])


def test_a_bound_token_opens_with_its_certificate_alone(site: Site) -> None:
    """Whoever stole it has the token and not the key."""
    token = site.token_of(site.by_name, BY_NAME)
    assert site.use(token, BY_NAME).status == 200
    for shown in (None, STRANGER, BY_SELF, issue(CLIENTS)):
        answer = site.use(token, shown)
        assert (answer.status, answer.code) == (401, "invalid_token")


def test_a_bound_token_is_no_dpop_token(site: Site) -> None:
    """The scheme says how possession is proved, and a certificate is not proved by a header."""
    token = site.token_of(site.by_name, BY_NAME)
    assert site.use(token, BY_NAME, scheme="DPoP").status == 401


def test_a_claimed_certificate_of_a_stranger_counts_for_nothing(site: Site) -> None:
    """From whoever is no proxy of ours, the header is only a header."""
    if not site.deployment.tls:
        return
    body = urllib.parse.urlencode({"grant_type": "client_credentials", "client_id": site.by_name}).encode()
    extra = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Client-Cert", BY_NAME.rfc9440),
        ("X-SSL-Client-Cert", BY_NAME.escaped),
    ]
    wire = plain_request("POST", b"/oauth/token", body=body, headers=extra)
    assert site.send(wire, None).status == 401
    assert site.send(wire, STRANGER).status == 401


def test_a_self_made_authority_lets_nobody_in_by_name(site: Site) -> None:
    """Anybody can write a partner's name into a certificate of their own."""
    forged = issue(None, SUBJECT)
    if site.deployment.tls:
        with pytest.raises((rawhttp.Ended, OSError)):
            site.ask_token(site.by_name, forged)
    else:
        assert site.ask_token(site.by_name, forged).status == 401


def test_an_alternative_name_is_as_good_as_a_subject(site: Site) -> None:
    shown = issue(CLIENTS, "CN=any", names=[x509.UniformResourceIdentifier("spiffe://acme/desk")])
    client_id = site.register("tls_client_auth", "--certificate-uri=spiffe://acme/desk")
    wait_until(lambda: site.ask_token(client_id, shown).status == 200, 30, "the client is served")
    assert site.ask_token(client_id, BY_NAME).status == 401
