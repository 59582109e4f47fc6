"""Every secret has versions: API keys, rings and what comes later stand in one list, data keys have wrappings.

The old rows are read, the old tables dropped, and the rows written into the new ones: a table that others refer to
cannot be changed in place by SQLite, and whoever upgrades has thousands of rows, not millions.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


Rows = list[dict[str, Any]]


def upgrade() -> None:
    old = {name: _read(name) for name in ("api_keys", "data_keys", "secret_versions", "ring_keys")}
    for name in ("secret_versions", "ring_keys", "data_keys", "api_keys"):
        op.drop_table(name)
    _create_secrets()
    _create_api_keys()
    _create_data_keys()
    _create_data_key_wrappings()
    _create_secret_versions()
    _create_upstream_credentials()
    _write("secrets", [*_secrets_of_keys(old["api_keys"]), *_secrets_of_rings(old["ring_keys"])])
    _write("api_keys", old["api_keys"])
    _write("data_keys", _data_keys(old["data_keys"]))
    _write("data_key_wrappings", _wrappings(old["data_keys"]))
    _write("secret_versions", _versions_of_keys(old["secret_versions"], old["api_keys"]))
    _write("secret_versions", _versions_of_rings(old["ring_keys"]))


def _read(name: str) -> Rows:
    table = sa.Table(name, sa.MetaData(), autoload_with=op.get_bind())
    return [dict(row) for row in op.get_bind().execute(sa.select(table)).mappings()]


def _write(name: str, rows: Rows) -> None:
    if rows:
        table = sa.Table(name, sa.MetaData(), autoload_with=op.get_bind())
        op.get_bind().execute(sa.insert(table), rows)


def _secrets_of_keys(keys: Rows) -> Rows:
    names = ("id", "environment", "partner_id", "label", "created_at", "revision")
    return [{"kind": "api-key", **{name: key[name] for name in names}} for key in keys]


def _secrets_of_rings(ring_keys: Rows) -> Rows:
    """A ring had no row of its own: it begins with its first key, and has changed with its latest."""
    rings: dict[str, dict[str, Any]] = {}
    for key in sorted(ring_keys, key=_by_age):
        first = {"id": f"ring_{key['ring']}", "kind": "ring", "environment": "service", "partner_id": None}
        ring = rings.setdefault(key["ring"], {**first, "label": key["ring"], "created_at": key["created_at"]})
        ring["revision"] = max(key["revision"], ring.get("revision", 0))
    return list(rings.values())


def _data_keys(data_keys: Rows) -> Rows:
    newest = {key["environment"]: key["id"] for key in sorted(data_keys, key=lambda key: key["epoch"])}
    names = ("id", "environment", "epoch", "created_at")
    return [
        {
            **{name: key[name] for name in names},
            "state": "active" if newest[key["environment"]] == key["id"] else "retiring",
        }
        for key in data_keys
    ]


def _wrappings(data_keys: Rows) -> Rows:
    names = ("kms_backend", "kms_key", "wrapped", "created_at")
    return [{"data_key_id": key["id"], **{name: key[name] for name in names}} for key in data_keys]


def _versions_of_keys(versions: Rows, keys: Rows) -> Rows:
    revoked_at = {key["id"]: key["revoked_at"] for key in keys}
    for version in versions:
        version["secret_id"] = version.pop("key_id")
        version["activated_at"] = version["created_at"]
        if version["state"] == "revoked":
            version["revoked_at"] = revoked_at[version["secret_id"]]
        else:
            version["revoked_at"] = None
    return versions


_STATES = {"next": "pending", "current": "active", "retired": "retiring"}


def _versions_of_rings(ring_keys: Rows) -> Rows:
    """Numbered within their ring; what a ciphertext is bound to is the key's own id, which stays."""
    counted: dict[str, int] = {}
    versions: Rows = []
    for key in sorted(ring_keys, key=_by_age):
        counted[key["ring"]] = counted.get(key["ring"], 0) + 1
        versions.append(
            {
                "secret_id": f"ring_{key['ring']}",
                "version": counted[key["ring"]],
                "state": _STATES[key["state"]],
                "ciphertext": key["ciphertext"],
                "data_key_id": key["data_key_id"],
                "public_id": key["id"],
                "created_at": key["created_at"],
                "activated_at": None if key["state"] == "next" else key["created_at"],
                "retires_at": key["not_after"],
                "use_count": 0,
            }
        )
    return versions


def _by_age(key: dict[str, Any]) -> tuple[int, str]:
    return key["created_at"], key["id"]


def _create_secrets() -> None:
    op.create_table(
        "secrets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=True),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("warned_at", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "environment IN ('paper', 'live', 'service')", name=op.f("ck_secrets_environment")
        ),
        sa.CheckConstraint(
            "kind IN ('api-key', 'oauth-client', 'ring', 'session', 'totp', 'upstream', 'webhook')",
            name=op.f("ck_secrets_kind"),
        ),
        sa.ForeignKeyConstraint(["partner_id"], ["partners.id"], name=op.f("fk_secrets_partner_id_partners")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_secrets")),
    )
    op.create_index(op.f("ix_secrets_partner_id"), "secrets", ["partner_id"], unique=False)
    op.create_index(op.f("ix_secrets_revision"), "secrets", ["revision"], unique=False)


def _create_api_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("partner_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=True),
        sa.Column("cidrs", sa.JSON(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("frozen_at", sa.BigInteger(), nullable=True),
        sa.Column("frozen_reason", sa.Text(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("algorithm IN ('hmac-sha256', 'ed25519')", name=op.f("ck_api_keys_algorithm")),
        sa.CheckConstraint("environment IN ('paper', 'live')", name=op.f("ck_api_keys_environment")),
        sa.ForeignKeyConstraint(["id"], ["secrets.id"], name=op.f("fk_api_keys_id_secrets")),
        sa.ForeignKeyConstraint(
            ["partner_id"], ["partners.id"], name=op.f("fk_api_keys_partner_id_partners")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_index(op.f("ix_api_keys_partner_id"), "api_keys", ["partner_id"], unique=False)
    op.create_index(op.f("ix_api_keys_revision"), "api_keys", ["revision"], unique=False)


def _create_data_keys() -> None:
    op.create_table(
        "data_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("retiring_at", sa.BigInteger(), nullable=True),
        sa.Column("destroyed_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN ('active', 'retiring', 'destroyed')", name=op.f("ck_data_keys_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_keys")),
        sa.UniqueConstraint("environment", "epoch", name=op.f("uq_data_keys_environment_epoch")),
    )
    op.create_index(
        "uq_data_keys_environment_state",
        "data_keys",
        ["environment", "state"],
        unique=True,
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    )


def _create_data_key_wrappings() -> None:
    op.create_table(
        "data_key_wrappings",
        sa.Column("data_key_id", sa.Text(), nullable=False),
        sa.Column("kms_backend", sa.Text(), nullable=False),
        sa.Column("kms_key", sa.Text(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["data_key_id"], ["data_keys.id"], name=op.f("fk_data_key_wrappings_data_key_id_data_keys")
        ),
        sa.PrimaryKeyConstraint("data_key_id", "kms_backend", "kms_key", name=op.f("pk_data_key_wrappings")),
    )


def _create_secret_versions() -> None:
    op.create_table(
        "secret_versions",
        sa.Column("secret_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=True),
        sa.Column("data_key_id", sa.Text(), nullable=True),
        sa.Column("public_key", sa.LargeBinary(), nullable=True),
        sa.Column("public_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("activates_at", sa.BigInteger(), nullable=True),
        sa.Column("overlap_ms", sa.BigInteger(), nullable=True),
        sa.Column("activated_at", sa.BigInteger(), nullable=True),
        sa.Column("retiring_at", sa.BigInteger(), nullable=True),
        sa.Column("retires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("destroyed_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_source", sa.Text(), nullable=True),
        sa.Column("use_count", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state <> 'destroyed' OR ciphertext IS NULL", name=op.f("ck_secret_versions_destroyed")
        ),
        sa.CheckConstraint(
            "state = 'destroyed' OR (ciphertext IS NULL) <> (public_key IS NULL)",
            name=op.f("ck_secret_versions_material"),
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'active', 'retiring', 'revoked', 'destroyed')",
            name=op.f("ck_secret_versions_state"),
        ),
        sa.CheckConstraint(
            "(ciphertext IS NULL) = (data_key_id IS NULL)", name=op.f("ck_secret_versions_sealed")
        ),
        sa.ForeignKeyConstraint(
            ["data_key_id"], ["data_keys.id"], name=op.f("fk_secret_versions_data_key_id_data_keys")
        ),
        sa.ForeignKeyConstraint(
            ["secret_id"], ["secrets.id"], name=op.f("fk_secret_versions_secret_id_secrets")
        ),
        sa.PrimaryKeyConstraint("secret_id", "version", name=op.f("pk_secret_versions")),
        sa.UniqueConstraint("public_id", name=op.f("uq_secret_versions_public_id")),
    )
    op.create_index(op.f("ix_secret_versions_data_key_id"), "secret_versions", ["data_key_id"], unique=False)
    op.create_index(
        "uq_secret_versions_secret_id_state",
        "secret_versions",
        ["secret_id", "state"],
        unique=True,
        sqlite_where=sa.text("state IN ('active', 'pending')"),
        postgresql_where=sa.text("state IN ('active', 'pending')"),
    )


def _create_upstream_credentials() -> None:
    op.create_table(
        "upstream_credentials",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("upstream", sa.Text(), nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "form IN ('header', 'basic', 'hmac', 'oauth-client')", name=op.f("ck_upstream_credentials_form")
        ),
        sa.CheckConstraint(
            "source IN ('local', 'aws-secrets-manager')", name=op.f("ck_upstream_credentials_source")
        ),
        sa.ForeignKeyConstraint(["id"], ["secrets.id"], name=op.f("fk_upstream_credentials_id_secrets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upstream_credentials")),
        sa.UniqueConstraint("upstream", name=op.f("uq_upstream_credentials_upstream")),
    )
