"""The rows of accounts. Every function works inside the transaction it is given.

Invariant: a change stamps the account with the revision of the change that it belongs to. Nothing here tells what
somebody proves themselves with but `get_held`, which is for whoever verifies it.
"""

from __future__ import annotations

from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from auth.people.failures import UnknownAccount
from auth.people.records import Account
from keys.changes import Change
from storage import schema

TABLE: Final = schema.accounts
_KEYS: Final = schema.passkeys
_CODES: Final = schema.recovery_codes

_PASSKEYS: Final = (
    sa.select(sa.func.count())
    .select_from(_KEYS)
    .where(_KEYS.c.account_id == TABLE.c.id)
    .scalar_subquery()
    .label("passkeys")
)
_UNUSED_CODES: Final = (
    sa.select(sa.func.count())
    .select_from(_CODES)
    .where(_CODES.c.account_id == TABLE.c.id, _CODES.c.used_at.is_(None))
    .scalar_subquery()
    .label("recovery_codes")
)
_PLAIN: Final = (
    "id",
    "email",
    "shown_email",
    "name",
    "roles",
    "state",
    "created_at",
    "signed_out_at",
    "disabled_at",
    "disabled_reason",
    "revision",
)
_SELECT: Final = sa.select(
    *(TABLE.c[name] for name in _PLAIN),
    TABLE.c.partner_id.label("partner"),
    TABLE.c.password_hash,
    TABLE.c.totp_id,
    TABLE.c.totp_confirmed_at,
    _PASSKEYS,
    _UNUSED_CODES,
)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """An account with what it is verified by."""

    account: Account
    password_hash: str | None
    totp_id: str | None

    def __repr__(self) -> str:
        return f"Held({self.account.id!r})"


async def find_held(conn: AsyncConnection, email: str) -> Held | None:
    return await _find(conn, TABLE.c.email == email)


async def get_held(conn: AsyncConnection, account_id: str) -> Held:
    found = await _find(conn, TABLE.c.id == account_id)
    if found is None:
        raise UnknownAccount(account_id)
    return found


async def find_revision(conn: AsyncConnection, account_id: str) -> int | None:
    query = sa.select(TABLE.c.revision).where(TABLE.c.id == account_id)
    found: int | None = (await conn.execute(query)).scalar_one_or_none()
    return found


async def get(conn: AsyncConnection, account_id: str) -> Account:
    return (await get_held(conn, account_id)).account


async def list_all(conn: AsyncConnection, partner: str | None) -> list[Account]:
    """Oldest first. `partner`: only theirs."""
    query = _SELECT.order_by(TABLE.c.created_at, TABLE.c.id)
    if partner is not None:
        query = query.where(TABLE.c.partner_id == partner)
    return [_read(row).account for row in (await conn.execute(query)).mappings()]


async def insert(  # noqa: PLR0913  what an account begins with, each by its name
    change: Change,
    account_id: str,
    *,
    email: str,
    shown_email: str,
    name: str,
    partner: str | None,
    roles: tuple[str, ...],
) -> None:
    await change.conn.execute(
        sa.insert(TABLE).values(
            id=account_id,
            email=email,
            shown_email=shown_email,
            name=name,
            partner_id=partner,
            roles=list(roles),
            state="invited",
            created_at=change.at,
            revision=change.revision,
        )
    )


async def update(change: Change, account_id: str, **values: object) -> None:
    await change.conn.execute(
        sa.update(TABLE).where(TABLE.c.id == account_id).values(revision=change.revision, **values)
    )


async def take_step(change: Change, account_id: str, totp_id: str, step: int) -> bool:
    """One statement: of any number of uses of a step, one finds it untaken."""
    untaken = sa.and_(
        TABLE.c.id == account_id,
        TABLE.c.totp_id == totp_id,
        sa.or_(TABLE.c.totp_step.is_(None), TABLE.c.totp_step < step),
    )
    taken = await change.conn.execute(sa.update(TABLE).where(untaken).values(totp_step=step))
    return taken.rowcount == 1


async def _find(conn: AsyncConnection, which: sa.ColumnElement[bool]) -> Held | None:
    row = (await conn.execute(_SELECT.where(which))).mappings().first()
    return None if row is None else _read(row)


def _read(row: sa.RowMapping) -> Held:
    fields = {name: row[name] for name in _PLAIN}
    fields["roles"] = tuple(fields["roles"])
    account = Account(
        **fields,
        partner=row["partner"],
        has_password=row["password_hash"] is not None,
        has_totp=row["totp_confirmed_at"] is not None,
        passkeys=row["passkeys"],
        recovery_codes=row["recovery_codes"],
    )
    return Held(
        account=account,
        password_hash=row["password_hash"],
        totp_id=row["totp_id"],
    )
