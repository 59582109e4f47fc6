"""OAuth clients, and what the authorization server has to remember: requests, grants, codes, what was revoked.

What a client, or whoever found it, could present stands here only as a digest. `jkt` and `x5t` are the thumbprints of
the key or certificate that something is bound to.
"""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text

from storage.schema.base import Json, metadata
from storage.schema.custody import partners, secrets

# `exceptions` names where a client is weaker than the profile that is the default. `keys_url`: where its public keys
# lie, if they are not versions of its own. `certificate`: what its TLS certificates have to say, for those that
# authenticate by one. `registration_digest`: of what a dynamically registered client changes itself with.
oauth_clients = Table(
    "oauth_clients",
    metadata,
    Column("id", Text, ForeignKey(secrets.c.id), primary_key=True),
    Column("partner_id", Text, ForeignKey(partners.c.id), nullable=False, index=True),
    Column("environment", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("authentication", Text, nullable=False),
    Column("binding", Text),
    Column("grants", Json, nullable=False),
    Column("roles", Json, nullable=False),
    Column("permissions", Json),
    Column("redirect_uris", Json, nullable=False),
    Column("cidrs", Json, nullable=False),
    Column("exceptions", Json, nullable=False),
    Column("keys_url", Text),
    Column("certificate", Json),
    Column("about", Json, nullable=False),
    Column("registration_digest", Text),
    Column("expires_at", BigInteger),
    Column("frozen_at", BigInteger),
    Column("frozen_reason", Text),
    Column("revoked_at", BigInteger),
    Column("revoked_reason", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
    CheckConstraint("environment IN ('paper', 'live')", name="environment"),
    CheckConstraint(
        "authentication IN ('private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth',"
        " 'client_secret_basic', 'none')",
        name="authentication",
    ),
    CheckConstraint("binding IN ('dpop', 'mtls')", name="binding"),
)

# A pushed authorization request, and what became of it: `used_at` is when a code was made of it or it was denied.
oauth_requests = Table(
    "oauth_requests",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("client_id", Text, ForeignKey(oauth_clients.c.id), nullable=False),
    Column("parameters", Json, nullable=False),
    Column("jkt", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("used_at", BigInteger),
)

# What somebody allowed a client once, and all that was ever issued for it: the family that dies as one.
oauth_grants = Table(
    "oauth_grants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("client_id", Text, ForeignKey(oauth_clients.c.id), nullable=False, index=True),
    Column("account_id", Text, nullable=False, index=True),
    Column("partner_id", Text, ForeignKey(partners.c.id), nullable=False),
    Column("roles", Json, nullable=False),
    Column("scope", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("authenticated_at", BigInteger, nullable=False),
    Column("methods", Json, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("revoked_reason", Text),
    Column("revision", BigInteger, nullable=False, index=True),
)

oauth_codes = Table(
    "oauth_codes",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("grant_id", Text, ForeignKey(oauth_grants.c.id), nullable=False, index=True),
    Column("client_id", Text, nullable=False),
    Column("redirect_uri", Text, nullable=False),
    Column("challenge", Text, nullable=False),
    Column("jkt", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("used_at", BigInteger),
)

# `rotates`: a client that cannot prove a key gets another one with each use, and the family dies when one comes twice.
oauth_refresh_tokens = Table(
    "oauth_refresh_tokens",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("grant_id", Text, ForeignKey(oauth_grants.c.id), nullable=False, index=True),
    Column("client_id", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("jkt", Text),
    Column("x5t", Text),
    Column("rotates", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
)

oauth_device_codes = Table(
    "oauth_device_codes",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("user_code_digest", Text, nullable=False, unique=True),
    Column("client_id", Text, ForeignKey(oauth_clients.c.id), nullable=False),
    Column("scope", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("jkt", Text),
    Column("state", Text, nullable=False),
    Column("grant_id", Text, ForeignKey(oauth_grants.c.id), index=True),
    Column("interval_ms", Integer, nullable=False),
    Column("asked_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("used_at", BigInteger),
    CheckConstraint("state IN ('waiting', 'allowed', 'denied')", name="state"),
)

# Access tokens that are refused although they have not expired. `expires_at` is the token's own: then the row may go.
oauth_revoked_tokens = Table(
    "oauth_revoked_tokens",
    metadata,
    Column("jti", Text, primary_key=True),
    Column("client_id", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("revision", BigInteger, nullable=False, index=True),
)

# Initial access tokens: who holds one may register clients of this partner.
oauth_registration_tokens = Table(
    "oauth_registration_tokens",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("partner_id", Text, ForeignKey(partners.c.id), nullable=False),
    Column("environment", Text, nullable=False),
    Column("roles", Json, nullable=False),
    Column("uses_left", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    CheckConstraint("environment IN ('paper', 'live')", name="environment"),
    CheckConstraint("uses_left >= 0", name="uses_left"),
)
Index("ix_oauth_grants_expires_at", oauth_grants.c.expires_at)
