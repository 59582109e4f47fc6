"""What operating takes: approvals, freezes, the nodes that serve, leases, and what partners are told."""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, Table, Text
from sqlalchemy import PrimaryKeyConstraint as PrimaryKey

from storage.schema.base import Json, metadata
from storage.schema.custody import partners, secrets

# `change` is what was asked for, without secrets; `digest` binds the approval to exactly that, and to the subject as it
# stood at `subject_revision`. `requester_partner`: the one that the requester belongs to; none reaches all of them.
# `approvers` lists lists of roles: whoever decides has one of each.
approvals = Table(
    "approvals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("environment", Text),
    Column("partner_id", Text),
    Column("change", Json, nullable=False),
    Column("digest", Text, nullable=False),
    Column("state", Text, nullable=False, index=True),
    Column("subject_revision", BigInteger),
    Column("approvers", Json, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requester_partner", Text),
    Column("requested_at", BigInteger, nullable=False),
    Column("reason", Text),
    Column("expires_at", BigInteger, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", BigInteger),
    Column("decision_reason", Text),
    Column("used_at", BigInteger),
    CheckConstraint("state IN ('pending', 'approved', 'refused', 'withdrawn', 'used')", name="state"),
)

# Who acts without a second person, and until when. Rows stay: they are what acts under them refer to.
break_glass = Table(
    "break_glass",
    metadata,
    Column("id", Text, primary_key=True),
    Column("opened_by", Text, nullable=False, index=True),
    Column("opened_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("closed_at", BigInteger),
    Column("closed_by", Text),
)

freezes = Table(
    "freezes",
    metadata,
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("frozen_at", BigInteger, nullable=False),
    Column("frozen_by", Text, nullable=False),
    Column("reason", Text),
    Column("revision", BigInteger, nullable=False),
    PrimaryKey("kind", "name"),
    CheckConstraint("kind IN ('route', 'environment')", name="kind"),
)

# What each node serves, as it says itself; times are the store's clock, so that nodes can be compared.
nodes = Table(
    "nodes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("surfaces", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("applied_at", BigInteger, nullable=False),
    Column("committed_at", BigInteger),
    Column("incomplete", Integer, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, ForeignKey(secrets.c.id), primary_key=True),
    Column("partner_id", Text, ForeignKey(partners.c.id), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("events", Json, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("disabled_reason", Text),
    Column("removed_at", BigInteger),
    Column("revision", BigInteger, nullable=False),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("webhook_id", Text, ForeignKey(webhooks.c.id), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("next_attempt_at", BigInteger),
    Column("last_status", Integer),
    Column("last_failure", Text),
    Column("ended_at", BigInteger),
    CheckConstraint("state IN ('waiting', 'delivered', 'given-up')", name="state"),
)
Index(
    "uq_webhook_deliveries_webhook_id_seq",
    webhook_deliveries.c.webhook_id,
    webhook_deliveries.c.seq,
    unique=True,
)
Index(
    "ix_webhook_deliveries_state_next_attempt_at",
    webhook_deliveries.c.state,
    webhook_deliveries.c.next_attempt_at,
)

# What a create with an Idempotency-Key was answered, for as long as it may be asked again; and what was made of each
# report of a scanner, by its digest. A new secret is in no answer that is kept.
settled_requests = Table(
    "settled_requests",
    metadata,
    Column("caller", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKey("caller", "key"),
)
