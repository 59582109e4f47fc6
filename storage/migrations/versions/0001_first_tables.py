"""The first tables. Written out in full: a step keeps its meaning when `storage.schema` moves on."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_partners()
    _create_api_keys()
    _create_data_keys()
    _create_secret_versions()
    _create_ring_keys()
    _create_audit_events()
    _create_revision()


def _create_partners() -> None:
    op.create_table(
        "partners",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("frozen_at", sa.BigInteger()),
        sa.Column("frozen_reason", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_partners"),
    )
    op.create_index("ix_partners_revision", "partners", ["revision"])


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("permissions", sa.JSON()),
        sa.Column("cidrs", sa.JSON(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("frozen_at", sa.BigInteger()),
        sa.Column("frozen_reason", sa.Text()),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.Column("revoked_reason", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name="fk_api_keys_partner_id_partners"),
        sa.CheckConstraint("environment IN ('paper', 'live')", name=op.f("ck_api_keys_environment")),
        sa.CheckConstraint("algorithm IN ('hmac-sha256', 'ed25519')", name=op.f("ck_api_keys_algorithm")),
    )
    op.create_index("ix_api_keys_partner_id", "api_keys", ["partner_id"])
    op.create_index("ix_api_keys_revision", "api_keys", ["revision"])


def _create_data_keys() -> None:
    op.create_table(
        "data_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("kms_backend", sa.Text(), nullable=False),
        sa.Column("kms_key", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_data_keys"),
        sa.UniqueConstraint("environment", "epoch", name="uq_data_keys_environment_epoch"),
    )


def _create_secret_versions() -> None:
    op.create_table(
        "secret_versions",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary()),
        sa.Column("data_key_id", sa.Text()),
        sa.Column("public_key", sa.LargeBinary()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger()),
        sa.Column("last_used_source", sa.Text()),
        sa.Column("use_count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "version", name="pk_secret_versions"),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_secret_versions_key_id_api_keys"),
        sa.ForeignKeyConstraint(
            ["data_key_id"], ["data_keys.id"], name="fk_secret_versions_data_key_id_data_keys"
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'active', 'retiring', 'revoked', 'destroyed')",
            name=op.f("ck_secret_versions_state"),
        ),
        sa.CheckConstraint(
            "(ciphertext IS NULL) = (data_key_id IS NULL)", name=op.f("ck_secret_versions_sealed")
        ),
        sa.CheckConstraint(
            "state = 'destroyed' OR (ciphertext IS NULL) <> (public_key IS NULL)",
            name=op.f("ck_secret_versions_material"),
        ),
    )


def _create_ring_keys() -> None:
    op.create_table(
        "ring_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("ring", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("public_jwk", sa.JSON(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("data_key_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("not_after", sa.BigInteger()),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ring_keys"),
        sa.ForeignKeyConstraint(["data_key_id"], ["data_keys.id"], name="fk_ring_keys_data_key_id_data_keys"),
        sa.CheckConstraint("state IN ('next', 'current', 'retired')", name=op.f("ck_ring_keys_state")),
    )
    op.create_index("ix_ring_keys_revision", "ring_keys", ["revision"])
    one_of_a_state = sa.text("state IN ('next', 'current')")
    op.create_index(
        "uq_ring_keys_ring_state",
        "ring_keys",
        ["ring", "state"],
        unique=True,
        sqlite_where=one_of_a_state,
        postgresql_where=one_of_a_state,
    )


def _create_audit_events() -> None:
    op.create_table(
        "audit_events",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.Identity(always=True),
            nullable=False,
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text()),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("seq", name="pk_audit_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_events_subject", "audit_events", ["subject"])


def _create_revision() -> None:
    op.create_table(
        "revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revision"),
        sa.CheckConstraint("id = 1", name=op.f("ck_revision_one_row")),
    )
    op.execute("INSERT INTO revision (id, value) VALUES (1, 0)")
