"""What we draw by chance and give out once: codes, refresh tokens, the URIs of pushed requests.

Invariant: the store keeps the digest alone, and 256 bits of chance need no slow hash. Refuses nothing: what is
presented is digested as it stands, and found or not.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import Final

from keys.secret import Secret

Entropy = Callable[[int], bytes]

_BYTES: Final = 32


def draw(entropy: Entropy) -> Secret:
    return Secret(base64.urlsafe_b64encode(entropy(_BYTES)).rstrip(b"=").decode())


def digest(presented: str) -> str:
    # `surrogatepass`: whatever a form was decoded to is merely unknown, and no error of ours.
    return hashlib.sha256(presented.encode("utf-8", "surrogatepass")).hexdigest()


def digest_of(drawn: Secret) -> str:
    return digest(drawn.reveal())
