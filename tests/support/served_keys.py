"""Served keys with the material tests sign with."""

from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keys import format as key_format
from keys import served
from keys.secret import HmacKey

HMAC_KEY_ID: Final = key_format.mint_key_id("paper", b"\x01" * 16)
ED25519_KEY_ID: Final = key_format.mint_key_id("paper", b"\x02" * 16)
UNKNOWN_KEY_ID: Final = key_format.mint_key_id("paper", b"\x03" * 16)
SECRET: Final = key_format.mint_secret("paper", b"\x04" * 32).reveal().encode()
OTHER_SECRET: Final = key_format.mint_secret("paper", b"\x06" * 32).reveal().encode()
PRIVATE_KEY: Final = Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)
OTHER_PRIVATE_KEY: Final = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)


def make_hmac_version(**change: Any) -> served.ServedVersion:  # noqa: ANN401  any field
    version = served.ServedVersion(
        version=1, state="active", algorithm="hmac-sha256", secret=HmacKey(SECRET), public_key=None
    )
    return msgspec.structs.replace(version, **change)


def make_ed25519_version(**change: Any) -> served.ServedVersion:  # noqa: ANN401  any field
    version = served.ServedVersion(
        version=1,
        state="active",
        algorithm="ed25519",
        secret=None,
        public_key=PRIVATE_KEY.public_key(),
    )
    return msgspec.structs.replace(version, **change)


def make_entitlement(**change: Any) -> served.Entitlement:  # noqa: ANN401  any field
    entitlement = served.Entitlement(
        id=HMAC_KEY_ID,
        partner="acme",
        tier="standard",
        environment="paper",
        roles=("trader",),
        permissions=None,
        networks=(),
    )
    return msgspec.structs.replace(entitlement, **change)


def make_hmac_key(**change: Any) -> served.ServedKey:  # noqa: ANN401  any field
    key = served.ServedKey(
        entitlement=make_entitlement(),
        algorithm="hmac-sha256",
        expires_at=None,
        frozen=False,
        revoked=False,
        partner_frozen=False,
        versions=(make_hmac_version(),),
        revision=1,
    )
    return msgspec.structs.replace(key, **change)


def make_ed25519_key(**change: Any) -> served.ServedKey:  # noqa: ANN401  any field
    key = make_hmac_key(
        entitlement=make_entitlement(id=ED25519_KEY_ID),
        algorithm="ed25519",
        versions=(make_ed25519_version(),),
    )
    return msgspec.structs.replace(key, **change)
