"""Partners, their keys, and every secret that is held: its versions, and the data keys that seal them."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from storage.schema.base import Json, metadata

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

# One row for whatever has versions: the one place that lists all secrets. What else is known of a secret of
# one kind stands in that kind's own table, under the same id. `warned_at`: when its holder was last told that something
# of it is about to end.
secrets = Table(
    "secrets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("partner_id", Text, ForeignKey(partners.c.id), index=True),
    Column("label", Text, nullable=False, default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("warned_at", BigInteger),
    Column("revision", BigInteger, nullable=False, index=True),
    CheckConstraint(
        "kind IN ('api-key', 'oauth-client', 'ring', 'session', 'totp', 'upstream', 'webhook')", name="kind"
    ),
    CheckConstraint("environment IN ('paper', 'live', 'service')", name="environment"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, ForeignKey(secrets.c.id), primary_key=True),
    Column("partner_id", Text, ForeignKey(partners.c.id), nullable=False, index=True),
    Column("environment", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("roles", Json, nullable=False),
    Column("permissions", Json),
    Column("cidrs", Json, nullable=False),
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

_ACTIVE = text("state = 'active'")
_ACTIVE_OR_PENDING = text("state IN ('active', 'pending')")

# `environment` has no list here: our own signing keys belong to neither, and are sealed under `service`.
data_keys = Table(
    "data_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("retiring_at", BigInteger),
    Column("destroyed_at", BigInteger),
    UniqueConstraint("environment", "epoch"),
    CheckConstraint("state IN ('active', 'retiring', 'destroyed')", name="state"),
)
# Two nodes that both make a new epoch race for this index, and one of them loses cleanly.
Index(
    "uq_data_keys_environment_state",
    data_keys.c.environment,
    data_keys.c.state,
    unique=True,
    sqlite_where=_ACTIVE,
    postgresql_where=_ACTIVE,
)

# A data key may be wrapped more than once, by keys of different regions or backends: any one of them opens it.
data_key_wrappings = Table(
    "data_key_wrappings",
    metadata,
    Column("data_key_id", Text, ForeignKey(data_keys.c.id), nullable=False),
    Column("kms_backend", Text, nullable=False),
    Column("kms_key", Text, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("data_key_id", "kms_backend", "kms_key"),
)

# `public_id` is what others know a version by, such as the kid of a signing key.
# `activates_at` and `retires_at` are what is planned for it, the other times are what has been. So is `overlap_ms`: for
# how long the version before it goes on verifying once this one is active.
secret_versions = Table(
    "secret_versions",
    metadata,
    Column("secret_id", Text, ForeignKey(secrets.c.id), nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("ciphertext", LargeBinary),
    Column("data_key_id", Text, ForeignKey(data_keys.c.id), index=True),
    Column("public_key", LargeBinary),
    Column("public_id", Text, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("activates_at", BigInteger),
    Column("overlap_ms", BigInteger),
    Column("activated_at", BigInteger),
    Column("retiring_at", BigInteger),
    Column("retires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("destroyed_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("last_used_source", Text),
    Column("use_count", BigInteger, nullable=False, default=0),
    PrimaryKeyConstraint("secret_id", "version"),
    CheckConstraint("state IN ('pending', 'active', 'retiring', 'revoked', 'destroyed')", name="state"),
    CheckConstraint("(ciphertext IS NULL) = (data_key_id IS NULL)", name="sealed"),
    CheckConstraint("state = 'destroyed' OR (ciphertext IS NULL) <> (public_key IS NULL)", name="material"),
    CheckConstraint("state <> 'destroyed' OR ciphertext IS NULL", name="destroyed"),
)
# Whatever two writers believe, a secret has one active version and one that is to follow it.
Index(
    "uq_secret_versions_secret_id_state",
    secret_versions.c.secret_id,
    secret_versions.c.state,
    unique=True,
    sqlite_where=_ACTIVE_OR_PENDING,
    postgresql_where=_ACTIVE_OR_PENDING,
)

# What the gateway proves itself with towards an upstream. `details` says where the secret goes; never what it is.
upstream_credentials = Table(
    "upstream_credentials",
    metadata,
    Column("id", Text, ForeignKey(secrets.c.id), primary_key=True),
    Column("upstream", Text, nullable=False, unique=True),
    Column("form", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("details", Json, nullable=False),
    CheckConstraint("form IN ('header', 'basic', 'hmac', 'oauth-client')", name="form"),
    CheckConstraint("source IN ('local', 'aws-secrets-manager')", name="source"),
)
