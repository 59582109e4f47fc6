"""Which client asks, and how it proved that: one way a request, and the way that stands with the client.

Invariant: whoever is not the client it says hears one answer, be the client unknown or the proof wrong, and both take
the same work: where there is nothing to verify against, a key or a digest that nobody has stands in. What a client sent
to prove itself is good once: an assertion, and a proof of possession, are taken in the store before it counts.
How often a source and a client may ask is counted before anything costly is done.
Refuses two ways at once, a client that is frozen, revoked or past its time, and one that asks from elsewhere; that is
said only to who has proved to be the client.
"""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Final, Protocol

import msgspec

from auth import dpop
from auth.oauth import assertions, basic, certificates, errors, possession
from auth.oauth.admissions import Admissions, Throttle
from auth.oauth.assertions import Assertion, Once
from auth.oauth.basic import Basic
from auth.oauth.certificates import CertificateMismatch, ClientCertificate
from auth.oauth.client_keys import ClientKeys
from auth.oauth.decoys import Decoys
from auth.oauth.possession import Proofs
from auth.oauth.requests import TokenRequest
from auth.oauth.standing import Bound
from keys.client_records import Authentication
from keys.served_clients import ServedClient


class Clients(Protocol):
    """Those that this node serves, from memory."""

    def find(self, client_id: str) -> ServedClient | None: ...


# What is used once is good for no longer than this after it was used.
_LONGEST_GOOD_MS: Final = assertions.LONGEST_MS + 2 * assertions.AHEAD_MS
# A client that sends nothing but its name proves itself by its certificate, or is one that cannot prove itself.
_Claim = Assertion | Basic | str


class AuthenticatedClient(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """`proof`: of the DPoP key that came along, checked and taken."""

    client: ServedClient
    method: Authentication
    certificate: ClientCertificate | None
    proof: dpop.Proof | None

    def bind(self) -> Bound:
        """What is issued now is bound to; refuses where something is missing for that."""
        return possession.bind(self.client, self.proof, self.certificate)


class ClientAuthentication:
    def __init__(  # noqa: PLR0913, PLR0917  who there is, what they are verified with, and what counts and bounds it
        self,
        clients: Clients,
        keys: ClientKeys,
        decoys: Decoys,
        throttle: Throttle,
        admissions: Admissions,
        proofs: Proofs,
        *,
        issuer: str,
        remembers_since_ms: Callable[[], int],
    ) -> None:
        """`remembers_since_ms`: what was used before that time may have been forgotten; 0 where nothing was."""
        self._clients = clients
        self._keys = keys
        self._decoys = decoys
        self._throttle = throttle
        self._admissions = admissions
        self._proofs = proofs
        self._issuer = issuer
        self._remembers_since_ms = remembers_since_ms

    def charge(self, network: str, named: str) -> None:
        """For whoever proves who they are in another way, at an endpoint of their own: counted as the others are."""
        self._throttle.charge(network, named)

    async def authenticate(self, request: TokenRequest) -> AuthenticatedClient:
        claim = _read(request)
        client_id = claim if isinstance(claim, str) else claim.client_id
        self.charge(request.network, client_id)
        found = self._clients.find(client_id)
        client, once = await self._verify(request, claim, found)
        request.identified(client)
        _require_usable(client, request)
        proof = self._proofs.find(request)
        self._require_remembered(request.now_ms, once, proof)
        await self._admissions.take(client, None if once is None else once.digest, proof)
        return AuthenticatedClient(
            client=client, method=client.authentication, certificate=request.certificate, proof=proof
        )

    async def _verify(
        self, request: TokenRequest, claim: _Claim, client: ServedClient | None
    ) -> tuple[ServedClient, Once | None]:
        """And what of the proof is to be taken, so that it is used once."""
        if isinstance(claim, Assertion):
            return await self._verify_assertion(request, claim, client)
        if isinstance(claim, Basic):
            named = client if client is not None and client.authentication == "client_secret_basic" else None
            digests = () if named is None else tuple(digest for _, digest in named.secrets)
            basic.verify(claim, digests, self._decoys.digest)
            return _get(named), None
        return _verify_name(request, client), None

    def _require_remembered(self, now_ms: int, once: Once | None, proof: dpop.Proof | None) -> None:
        """What may have been used with a predecessor that ended without saying is not taken for new."""
        since_ms = self._remembers_since_ms()
        if since_ms == 0 or now_ms > since_ms + _LONGEST_GOOD_MS:
            return
        made = [] if once is None else [once.made_ms or 0]
        made += [] if proof is None else [proof.iat_ms]
        if any(made_ms - assertions.AHEAD_MS <= since_ms for made_ms in made):
            raise errors.unavailable("replay_memory_lost")

    async def _verify_assertion(
        self, request: TokenRequest, claim: Assertion, client: ServedClient | None
    ) -> tuple[ServedClient, Once]:
        # For a revoked one nothing is fetched: like the keys that lie here, those that lie elsewhere are none any more.
        is_one = client is not None and client.authentication == "private_key_jwt" and not client.revoked
        named = client if is_one else None
        keys = () if named is None else await self._keys.find(named, claim.jws.kid)
        assertions.verify(claim, keys, self._decoys)
        once = assertions.check(claim, self._issuer, request.now_ms)
        return _get(named), once


def _verify_name(request: TokenRequest, client: ServedClient | None) -> ServedClient:
    if client is None:
        raise errors.invalid_client("unknown_client")
    if client.authentication == "none" and "public-client" in client.exceptions:
        return client
    try:
        # Refuses also those that do not prove themselves by certificate.
        certificates.matches(request.certificate, client)
    except CertificateMismatch as mismatch:
        raise errors.invalid_client(f"certificate:{mismatch.reason}") from None
    return client


def _read(request: TokenRequest) -> _Claim:
    form = request.form
    if "client_secret" in form:
        raise errors.invalid_request("A client's secret is taken in the Authorization header alone.")
    asserts = "client_assertion" in form or "client_assertion_type" in form
    if request.authorization is not None and asserts:
        raise errors.invalid_request("The client proves itself in two ways at once.")
    claim = _read_claim(request, asserts=asserts)
    client_id = claim if isinstance(claim, str) else claim.client_id
    if form.get("client_id", client_id) != client_id:
        raise errors.invalid_client("two_clients", challenged=isinstance(claim, Basic))
    return claim


def _read_claim(request: TokenRequest, *, asserts: bool) -> _Claim:
    form = request.form
    if request.authorization is not None:
        return basic.parse(request.authorization)
    if asserts:
        if form.get("client_assertion_type") != assertions.ASSERTION_TYPE:
            raise errors.invalid_request("The client_assertion_type is not the one for JWTs.")
        return assertions.parse(form.get("client_assertion", ""))
    if "client_id" not in form:
        raise errors.invalid_client("no_client")
    return form["client_id"]


def _get(client: ServedClient | None) -> ServedClient:
    if client is None:
        # A decoy verified: that cannot be, and must not pass.
        raise errors.invalid_client("unknown_client")
    return client


def _require_usable(client: ServedClient, request: TokenRequest) -> None:
    if request.now_ms >= client.refused_from:
        raise errors.unusable_client("This client is frozen, revoked or past its time.", _state_of(client))
    if client.networks:
        address = ip_address(request.source)
        if not any(address in network for network in client.networks):
            raise errors.unusable_client("This client may not ask from this address.", "source_not_allowed")


def _state_of(client: ServedClient) -> str:
    if client.revoked:
        return "client_revoked"
    if client.partner_frozen:
        return "partner_frozen"
    return "client_frozen" if client.frozen else "client_expired"
