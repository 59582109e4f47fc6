"""The tables, defined once for SQLite and PostgreSQL.

Invariant: every time is a BIGINT of Unix milliseconds, every key and label is text, every secret stands only
as ciphertext. A row that the request path reads carries the revision of its last change, so that a node asks
only for what is newer than what it has seen.
The database itself refuses what no code path may produce: an unknown environment or state, a secret version
with two kinds of key material, two current keys in one ring, a second revision row.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    },
)

# Python's None is SQL NULL, never the JSON text `null`: "not narrowed" and "narrowed to nothing" must stay
# apart.
_JSON = JSON(none_as_null=True)
# SQLite numbers a row by itself only where the column's type is exactly INTEGER.
_SEQUENCE = BigInteger().with_variant(Integer, "sqlite")

partners = Table(
    "partners",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("tier", Text, nullable=False),
    Column("frozen_at", BigInteger),
    Column("frozen_reason", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("partner_id", Text, ForeignKey(partners.c.id), nullable=False, index=True),
    Column("environment", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("roles", _JSON, nullable=False),
    Column("permissions", _JSON),
    Column("cidrs", _JSON, nullable=False),
    Column("label", Text, nullable=False, default=""),
    Column("expires_at", BigInteger),
    Column("frozen_at", BigInteger),
    Column("frozen_reason", Text),
    Column("revoked_at", BigInteger),
    Column("revoked_reason", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
    CheckConstraint("environment IN ('paper', 'live')", name="environment"),
    CheckConstraint("algorithm IN ('hmac-sha256', 'ed25519')", name="algorithm"),
)

# `environment` has no list here: a key ring serves both environments, and its data keys belong to neither.
data_keys = Table(
    "data_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("kms_backend", Text, nullable=False),
    Column("kms_key", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("environment", "epoch"),
)

secret_versions = Table(
    "secret_versions",
    metadata,
    Column("key_id", Text, ForeignKey(api_keys.c.id), nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("ciphertext", LargeBinary),
    Column("data_key_id", Text, ForeignKey(data_keys.c.id)),
    Column("public_key", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger),
    Column("last_used_source", Text),
    Column("use_count", BigInteger, nullable=False, default=0),
    PrimaryKeyConstraint("key_id", "version"),
    CheckConstraint("state IN ('pending', 'active', 'retiring', 'revoked', 'destroyed')", name="state"),
    CheckConstraint("(ciphertext IS NULL) = (data_key_id IS NULL)", name="sealed"),
    CheckConstraint("state = 'destroyed' OR (ciphertext IS NULL) <> (public_key IS NULL)", name="material"),
)

_ONE_OF_A_STATE = text("state IN ('next', 'current')")

ring_keys = Table(
    "ring_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("ring", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("public_jwk", _JSON, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    Column("data_key_id", Text, ForeignKey(data_keys.c.id), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("not_after", BigInteger),
    Column("revision", BigInteger, nullable=False, index=True),
    CheckConstraint("state IN ('next', 'current', 'retired')", name="state"),
)
# Two nodes that both open a ring for the first time race for this index, and one of them loses cleanly.
Index(
    "uq_ring_keys_ring_state",
    ring_keys.c.ring,
    ring_keys.c.state,
    unique=True,
    sqlite_where=_ONE_OF_A_STATE,
    postgresql_where=_ONE_OF_A_STATE,
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("seq", _SEQUENCE, Identity(always=True), primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False, index=True),
    Column("environment", Text),
    Column("details", _JSON, nullable=False),
    Column("reason", Text),
    # Without it SQLite would give the number of a deleted last event to the next one.
    sqlite_autoincrement=True,
)

revision = Table(
    "revision",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)
