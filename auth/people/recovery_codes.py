"""Recovery codes: ten one-time ways in for whoever has lost their second factor.

Invariant: a code has 80 random bits, so its SHA-256 is all that is stored; it is used once, whatever races; new codes
end all old ones. However it is typed, in capitals or not, with dashes or spaces, it is the same code.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa

from keys.changes import Change
from keys.secret import Secret
from storage import schema

COUNT: Final = 10
_BYTES: Final = 10
_GROUP: Final = 4
_TABLE: Final = schema.recovery_codes


def draw(entropy: Callable[[int], bytes]) -> tuple[Secret, ...]:
    return tuple(_write(entropy(_BYTES)) for _ in range(COUNT))


async def replace(change: Change, account_id: str, codes: tuple[Secret, ...]) -> None:
    await clear(change, account_id)
    rows = [
        {"account_id": account_id, "digest": _digest(code.reveal()), "created_at": change.at}
        for code in codes
    ]
    await change.conn.execute(sa.insert(_TABLE), rows)


async def clear(change: Change, account_id: str) -> None:
    await change.conn.execute(sa.delete(_TABLE).where(_TABLE.c.account_id == account_id))


async def use(change: Change, account_id: str, code: str) -> bool:
    """One statement: of any number of uses, one finds it unused."""
    unused = sa.and_(
        _TABLE.c.account_id == account_id, _TABLE.c.digest == _digest(code), _TABLE.c.used_at.is_(None)
    )
    used = await change.conn.execute(sa.update(_TABLE).where(unused).values(used_at=change.at))
    return used.rowcount == 1


def _write(raw: bytes) -> Secret:
    digits = base64.b32encode(raw).decode("ascii").lower()
    return Secret("-".join(digits[at : at + _GROUP] for at in range(0, len(digits), _GROUP)))


def _digest(code: str) -> str:
    plain = "".join(code.replace("-", "").split()).lower()
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
