"""The ledger becomes a chain, and is numbered by its writer: each entry names the hash of the one before it.

What was recorded earlier is chained as it is found; only from here on does the chain show what was altered.
"""

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


Rows = list[dict[str, Any]]

_LABEL = b"portreeve/audit-entry/1\n"
_BEFORE_THE_FIRST = "0" * 64
_NEW = ("revision", "partner", "source", "request_id", "approval")


def upgrade() -> None:
    table = sa.Table("audit_events", sa.MetaData(), autoload_with=op.get_bind())
    recorded = [dict(row) for row in op.get_bind().execute(sa.select(table).order_by(table.c.seq)).mappings()]
    op.drop_table("audit_events")
    _create_audit_events()
    _create_audit_head()
    _create_audit_checkpoints()
    _create_consumers()
    chained = _chained(recorded)
    if chained:
        _write("audit_events", chained)
    last = chained[-1] if chained else {"seq": 0, "hash": _BEFORE_THE_FIRST}
    _write("audit_head", [{"id": 1, "seq": last["seq"], "hash": last["hash"]}])


def _write(name: str, rows: Rows) -> None:
    table = sa.Table(name, sa.MetaData(), autoload_with=op.get_bind())
    op.get_bind().execute(sa.insert(table), rows)


def _chained(recorded: Rows) -> Rows:
    previous = _BEFORE_THE_FIRST
    chained: Rows = []
    for event in recorded:
        entry = event | dict.fromkeys(_NEW) | {"revision": 0, "previous": previous}
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256(_LABEL + text.encode()).hexdigest()
        chained.append(entry | {"hash": previous})
    return chained


def _create_audit_events() -> None:
    op.create_table(
        "audit_events",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=True),
        sa.Column("partner", sa.Text(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("approval", sa.Text(), nullable=True),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_events")),
        sa.UniqueConstraint("hash", name=op.f("uq_audit_events_hash")),
    )
    op.create_index(op.f("ix_audit_events_action"), "audit_events", ["action"], unique=False)
    op.create_index(op.f("ix_audit_events_at"), "audit_events", ["at"], unique=False)
    op.create_index(op.f("ix_audit_events_partner"), "audit_events", ["partner"], unique=False)
    op.create_index(op.f("ix_audit_events_revision"), "audit_events", ["revision"], unique=False)
    op.create_index(op.f("ix_audit_events_subject"), "audit_events", ["subject"], unique=False)


def _create_audit_head() -> None:
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )


def _create_audit_checkpoints() -> None:
    op.create_table(
        "audit_checkpoints",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("signer", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_checkpoints")),
    )


def _create_consumers() -> None:
    op.create_table(
        "consumers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_consumers")),
    )
