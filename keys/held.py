"""A secret as the control side sees it, whatever its kind: whose it is, and its versions. It holds no material."""

import msgspec

from keys.records import SecretVersion
from keys.register import Domain, Kind


class HeldSecret(msgspec.Struct, frozen=True, kw_only=True):
    """`expires_at`: when it ends whole, where its kind knows such a thing. `warned_at`: when its holder was last told
    that something of it is about to end. `revision`: of the last change of any of its versions.
    """

    id: str
    kind: Kind
    environment: Domain
    created_at: int
    revision: int = 0
    partner: str | None = None
    label: str = ""
    expires_at: int | None = None
    warned_at: int | None = None
    versions: tuple[SecretVersion, ...] = ()
