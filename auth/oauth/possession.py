"""What a client shows that it holds, and what its tokens are bound to.

Invariant: a client whose tokens are to be bound gets none without having shown the key or certificate in the same
request. A client without that duty that shows a key gets tokens bound to it all the same.
"""

from typing import Final

from auth import dpop
from auth.oauth import errors
from auth.oauth.certificates import ClientCertificate
from auth.oauth.requests import TokenRequest
from auth.oauth.standing import Bound
from keys.served_clients import ServedClient

_DESCRIPTIONS: Final[dict[dpop.Reason, str]] = {
    "malformed": "The DPoP proof is not a signed JWT.",
    "wrong_type": "The DPoP proof's typ is not dpop+jwt.",
    "bad_key": "The DPoP proof's jwk is no public key of a kind that is taken.",
    "bad_signature": "The DPoP proof's signature does not verify.",
    "bad_claims": "The DPoP proof lacks a claim.",
    "wrong_method": "The DPoP proof's htm is not this method.",
    "wrong_uri": "The DPoP proof's htu is not this address.",
    "stale": "The DPoP proof's iat is not of the last minute.",
}


class Proofs:
    """Checks the DPoP proof of a request to one of our own endpoints, where there is one."""

    def __init__(self, nonces: dpop.Nonces) -> None:
        self._nonces = nonces

    def current_nonce(self) -> str:
        return self._nonces.current()

    def find(self, request: TokenRequest) -> dpop.Proof | None:
        if not request.dpop:
            return None
        if len(request.dpop) > 1:
            raise _refuse("There is more than one DPoP proof.", "several_proofs")
        try:
            return dpop.check(
                request.dpop[0],
                method=request.method,
                uris=(dpop.normalise_uri(request.url),),
                now_ms=request.now_ms,
                nonces=self._nonces,
                access_token=None,
                bound_jkt=None,
            )
        except dpop.InvalidProof as refused:
            description = _DESCRIPTIONS.get(refused.reason, "The DPoP proof is not good.")
            raise _refuse(description, f"proof_{refused.reason}") from None
        except dpop.NonceNeeded:
            raise errors.OAuthError(
                "use_dpop_nonce",
                "Make the DPoP proof with the nonce of this answer.",
                headers=(("DPoP-Nonce", self._nonces.current()),),
            ) from None


def bind(client: ServedClient, proof: dpop.Proof | None, certificate: ClientCertificate | None) -> Bound:
    if client.binding == "mtls":
        if proof is not None:
            raise _refuse("This client's tokens are bound to its certificate.", "proof_of_mtls_client")
        if certificate is None:
            raise errors.invalid_request(
                "This client gets tokens only over a connection with its certificate."
            )
        return Bound(x5t=certificate.thumbprint)
    if proof is not None:
        return Bound(jkt=proof.jkt)
    if client.binding == "dpop":
        raise _refuse("This client gets tokens only with a DPoP proof.", "proof_missing")
    return Bound()


def _refuse(description: str, reason: str) -> errors.OAuthError:
    return errors.OAuthError("invalid_dpop_proof", description, reason=reason)
