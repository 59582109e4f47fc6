"""The audit ledger, how far each consumer has read it, and the revision."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, Table, Text

from storage.schema.base import Json, metadata

# `seq` is given by the writer, under the revision's lock: numbers have no gaps.
audit_events = Table(
    "audit_events",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False, index=True),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False, index=True),
    Column("subject", Text, nullable=False, index=True),
    Column("environment", Text),
    Column("partner", Text, index=True),
    Column("details", Json, nullable=False),
    Column("reason", Text),
    Column("source", Text),
    Column("request_id", Text),
    Column("approval", Text),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True),
)

# Where the chain ends, kept apart from it: an end that was cut off is missed, and no number is given twice.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("root", Text, nullable=False),
    Column("statement", Text, nullable=False),
    # The public half of what signed it: auditors need it long after the ring has forgotten the key.
    Column("signer", Json, nullable=False),
)

# The ledger is the outbox: a consumer keeps the number of the last entry that it has delivered.
consumers = Table(
    "consumers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

# `changed_at` is by the store's clock, as the times of nodes are: what lies between them is a delay.
revision = Table(
    "revision",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
    Column("changed_at", BigInteger),
    CheckConstraint("id = 1", name="one_row"),
)
