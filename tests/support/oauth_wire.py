"""OAuth requests over raw HTTP, made by hand: a client that says exactly what a test has it say.

Invariant: it shares no code with the product. A `HandClient` sends what an honest client of the FAPI 2.0 profile would,
and each part can be replaced: parameters (None leaves one out), the assertion's and the proof's claims and headers.
"""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support import jose_by_hand as jose
from tests.support import rawhttp, signing

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
Pairs = Sequence[tuple[str, str]]


def ask(
    base: str,
    method: str,
    target: str,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
) -> rawhttp.Answer:
    """One request on a connection of its own."""
    parts = urllib.parse.urlsplit(base)
    assert parts.hostname is not None
    assert parts.port is not None
    sent = [*headers, ("Connection", "close")]
    wire = signing.plain_request(method, target.encode(), sent, body, host=parts.netloc)
    return rawhttp.ask((parts.hostname, parts.port), wire, method=method, timeout=30.0)


def post_form(
    base: str, path: str, form: Pairs | Mapping[str, str], headers: Sequence[tuple[str, str]] = ()
) -> rawhttp.Answer:
    return ask(base, "POST", path, [FORM, *headers], urllib.parse.urlencode(form).encode())


def given(parameters: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value is not None}


@dataclasses.dataclass
class Issued:
    """A token endpoint's answer that yielded something."""

    access_token: str
    body: dict[str, Any]

    @property
    def claims(self) -> dict[str, Any]:
        return jose.parts(self.access_token)[1]


class HandClient:
    """One registered client, its key for assertions, and its key for proofs."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        key: jose.Key,
        *,
        proof_key: jose.Key | None = None,
        redirect_uri: str = "",
        base: str | None = None,
        clock_s: int = 0,
    ) -> None:
        self.issuer = issuer
        self.base = base or issuer
        self.client_id = client_id
        self.key = key
        self.proof_key = proof_key or jose.Key.generate()
        self.redirect_uri = redirect_uri
        self.clock_s = clock_s
        self.nonces: dict[str, str] = {}

    def at(self, base: str, clock_s: int = 0, nonces: Mapping[str, str] | None = None) -> HandClient:
        """The same client, asking one certain node, by that node's clock; with the nonces that it has learnt."""
        moved = HandClient(
            self.issuer,
            self.client_id,
            self.key,
            proof_key=self.proof_key,
            redirect_uri=self.redirect_uri,
            base=base,
            clock_s=clock_s,
        )
        moved.nonces |= nonces or {}
        return moved

    def assertion(self, **changes: object) -> str:
        at = jose.now() + self.clock_s
        return self.key.sign(
            jose.assertion_claims(self.client_id, self.issuer, **({"iat": at, "exp": at + 50} | changes))
        )

    def authentication(self, assertion: str | None = None) -> dict[str, str]:
        return {
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.assertion() if assertion is None else assertion,
        }

    def proof(self, method: str, url: str, *, key: jose.Key | None = None, **changes: Any) -> str:  # noqa: ANN401  claims
        said = {"iat": jose.now() + self.clock_s, "nonce": self.nonces.get(_server(url))}
        return jose.proof(key or self.proof_key, jose.proof_claims(method, url, **(said | changes)))

    def post(
        self,
        path: str,
        form: Mapping[str, str | None],
        *,
        proof: str | bool = True,
        assertion: str | None = None,
        authenticated: bool = True,
        proof_changes: Mapping[str, Any] | None = None,
    ) -> rawhttp.Answer:
        """Asked again, once, with the nonce that it is told to use. `proof`: False for none, or one made elsewhere."""
        answer = self._post_once(path, form, proof, assertion, authenticated, proof_changes or {})
        if not self._learnt(path, answer) or isinstance(proof, str) or assertion is not None:
            return answer
        return self._post_once(path, form, proof, assertion, authenticated, proof_changes or {})

    def _post_once(
        self,
        path: str,
        form: Mapping[str, str | None],
        proof: str | bool,
        assertion: str | None,
        authenticated: bool,
        changes: Mapping[str, Any],
    ) -> rawhttp.Answer:
        own = self.authentication(assertion) if authenticated else {}
        made = proof if isinstance(proof, str) else self.proof("POST", self.issuer + path, **changes)
        headers = [("DPoP", made)] if proof else []
        return post_form(self.base, path, own | given(form), headers)

    def _learnt(self, path: str, answer: rawhttp.Answer) -> bool:
        """Whether it is told to come again with a nonce."""
        nonce = answer.header("dpop-nonce")
        if nonce is not None:
            self.nonces[_server(self.issuer + path)] = nonce
        return nonce is not None and b"use_dpop_nonce" in answer.body

    def request_token(self, form: Mapping[str, str | None], **how: Any) -> rawhttp.Answer:  # noqa: ANN401  see post
        return self.post("/oauth/token", form, **how)

    def client_credentials(self, scope: str | None = None, **how: Any) -> rawhttp.Answer:  # noqa: ANN401  see post
        return self.request_token({"grant_type": "client_credentials", "scope": scope}, **how)

    def token(self, scope: str | None = None) -> Issued:
        return issued(self.client_credentials(scope))

    def use(
        self,
        method: str,
        target: str,
        access_token: str,
        *,
        proof: str | None = None,
        scheme: str = "DPoP",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> rawhttp.Answer:
        """A route, with the access token and a proof; asked again, once, with the nonce that it is told to use."""

        def once() -> rawhttp.Answer:
            made = proof or self.proof(method, self.issuer + target, access_token=access_token)
            sent = [("Authorization", f"{scheme} {access_token}"), ("DPoP", made), *headers]
            return ask(self.base, method, target, sent, body)

        answer = once()
        return once() if self._learnt(target, answer) and proof is None else answer


def issued(answer: rawhttp.Answer) -> Issued:
    """It was issued, or the test says what came instead."""
    assert answer.status == 200, answer
    body = answer.json()
    return Issued(body["access_token"], body)


def error(answer: rawhttp.Answer) -> str:
    """The error of RFC 6749, from an answer that says it as it should."""
    assert answer.header("content-type") in {"application/json", "application/json; charset=utf-8"}, answer
    assert answer.header("cache-control") == "no-store", answer.headers
    body = answer.json()
    assert set(body) <= {"error", "error_description", "error_uri"}
    assert answer.status == (401 if body["error"] == "invalid_client" else 400), answer
    return str(body["error"])


def _server(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return "/oauth" if parts.path.startswith("/oauth/") else "routes"
