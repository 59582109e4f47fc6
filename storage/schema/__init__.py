"""The tables, defined once for SQLite and PostgreSQL.

Invariant: every time is a BIGINT of Unix milliseconds, every key and label is text, every secret stands only
as ciphertext. A row that the request path reads carries the revision of its last change, so that a node asks
only for what is newer than what it has seen.
The database itself refuses what no code path may produce: an unknown environment or state, a secret version
with two kinds of key material, two active versions of one secret, a second revision row.
"""

from storage.schema.base import metadata
from storage.schema.custody import (
    api_keys,
    data_key_wrappings,
    data_keys,
    partners,
    secret_versions,
    secrets,
    upstream_credentials,
)
from storage.schema.ledger import audit_checkpoints, audit_events, audit_head, consumers, revision
from storage.schema.oauth import (
    oauth_clients,
    oauth_codes,
    oauth_device_codes,
    oauth_grants,
    oauth_refresh_tokens,
    oauth_registration_tokens,
    oauth_requests,
    oauth_revoked_tokens,
)
from storage.schema.operations import (
    approvals,
    break_glass,
    freezes,
    leases,
    nodes,
    settled_requests,
    webhook_deliveries,
    webhooks,
)
from storage.schema.people import account_tickets, accounts, passkeys, recovery_codes, sessions

__all__ = [
    "account_tickets",
    "accounts",
    "api_keys",
    "approvals",
    "audit_checkpoints",
    "audit_events",
    "audit_head",
    "break_glass",
    "consumers",
    "data_key_wrappings",
    "data_keys",
    "freezes",
    "leases",
    "metadata",
    "nodes",
    "oauth_clients",
    "oauth_codes",
    "oauth_device_codes",
    "oauth_grants",
    "oauth_refresh_tokens",
    "oauth_registration_tokens",
    "oauth_requests",
    "oauth_revoked_tokens",
    "partners",
    "passkeys",
    "recovery_codes",
    "revision",
    "secret_versions",
    "secrets",
    "sessions",
    "settled_requests",
    "upstream_credentials",
    "webhook_deliveries",
    "webhooks",
]
