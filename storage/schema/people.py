"""People: their accounts, what they prove themselves with, their sessions, and what they were sent by mail.

Whatever they present stands here only as a hash: a password's by argon2id, that of what we drew ourselves by SHA-256.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Integer, LargeBinary, Table, Text
from sqlalchemy import PrimaryKeyConstraint as PrimaryKey

from storage.schema.base import Json, metadata
from storage.schema.custody import partners, secrets

# `email` as it is compared; `shown_email` as it was written. `partner_id`: none for those who keep the gateway.
# `signed_out_at`: sessions that began before it have ended. `totp_id`: the secret that its one-time passwords come
# from, once it has been confirmed; `totp_step`: the last step that was taken, so that none is taken twice.
accounts = Table(
    "accounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("email", Text, nullable=False, unique=True),
    Column("shown_email", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("partner_id", Text, ForeignKey(partners.c.id), index=True),
    Column("roles", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("password_hash", Text),
    Column("password_changed_at", BigInteger),
    Column("totp_id", Text, ForeignKey(secrets.c.id)),
    Column("totp_confirmed_at", BigInteger),
    Column("totp_step", BigInteger),
    Column("signed_out_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("disabled_reason", Text),
    Column("revision", BigInteger, nullable=False, index=True),
    CheckConstraint("state IN ('invited', 'active', 'disabled')", name="state"),
)

passkeys = Table(
    "passkeys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey(accounts.c.id), nullable=False, index=True),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("label", Text, nullable=False),
    Column("transports", Json, nullable=False),
    Column("backed_up", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger),
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("account_id", Text, ForeignKey(accounts.c.id), nullable=False),
    Column("digest", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    PrimaryKey("account_id", "digest"),
)

# `methods`: what its holder has proved themselves with. `ceremony`: the challenge that a passkey has to answer next.
sessions = Table(
    "sessions",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("account_id", Text, ForeignKey(accounts.c.id), index=True),
    Column("state", Text, nullable=False),
    Column("methods", Json, nullable=False),
    Column("authenticated_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("ended_at", BigInteger),
    Column("source", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("ceremony", Text),
    CheckConstraint("state IN ('signing-in', 'signed-in')", name="state"),
)

# What was sent to somebody's address: an invitation, or a way to a new password.
account_tickets = Table(
    "account_tickets",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("account_id", Text, ForeignKey(accounts.c.id), nullable=False, index=True),
    Column("purpose", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    CheckConstraint("purpose IN ('invitation', 'reset')", name="purpose"),
)
