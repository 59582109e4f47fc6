"""What is verified against where there is no client, or none with such a key: so that it takes the same time.

Invariant: nobody has the private half of a decoy, and no secret has its digest: it never verifies anything.
"""

from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth import jose

# Of clients' RSA keys, in bytes.
_RSA_SIZES: Final = (256, 384, 512)
_EXPONENT: Final = 65_537
_DIGEST_BYTES: Final = 32


class Decoys:
    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._es256 = _key("ES256", ec.generate_private_key(ec.SECP256R1()).public_key())
        self._eddsa = _key("EdDSA", Ed25519PrivateKey.from_private_bytes(entropy(32)).public_key())
        self._ps256 = {size: _key("PS256", _modulus(entropy(size))) for size in _RSA_SIZES}
        self.digest = entropy(_DIGEST_BYTES)

    def find(self, algorithm: jose.Alg, signature_bytes: int) -> jose.VerificationKey | None:
        """None where no key of the algorithm could have made such a signature."""
        if algorithm == "PS256":
            return self._ps256.get(signature_bytes)
        return self._es256 if algorithm == "ES256" else self._eddsa


def _modulus(raw: bytes) -> rsa.RSAPublicKey:
    """A number of full length without known factors costs what a real modulus costs, and no search for primes."""
    number = int.from_bytes(raw) | 1 | 1 << len(raw) * 8 - 1
    return rsa.RSAPublicNumbers(_EXPONENT, number).public_key()


def _key(algorithm: jose.Alg, public_key: jose.PublicKey) -> jose.VerificationKey:
    return jose.VerificationKey(algorithm, public_key, None, "")
