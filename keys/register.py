"""The register: a row for every secret that is held, whatever its kind.

Every function works inside the transaction it is given.

Invariant: a secret's row is stamped with the revision of its last change, or of any of its versions'.
"""

from typing import Literal

import sqlalchemy as sa

from keys.changes import Change
from keys.environment import Environment
from storage import schema

Kind = Literal["api-key", "oauth-client", "ring", "session", "totp", "upstream", "webhook"]
# Our own signing keys belong to neither environment, and are sealed under a data key of their own.
Domain = Environment | Literal["service"]

_TABLE = schema.secrets


async def enter(  # noqa: PLR0913  what a secret is, each by its name
    change: Change,
    secret_id: str,
    *,
    kind: Kind,
    environment: Domain,
    partner: str | None = None,
    label: str = "",
) -> None:
    await change.conn.execute(
        sa.insert(_TABLE).values(
            id=secret_id,
            kind=kind,
            environment=environment,
            partner_id=partner,
            label=label,
            created_at=change.at,
            revision=change.revision,
        )
    )


async def rename(change: Change, secret_id: str, label: str) -> None:
    await change.conn.execute(
        sa.update(_TABLE).where(_TABLE.c.id == secret_id).values(label=label, revision=change.revision)
    )


async def stamp(change: Change, secret_id: str) -> None:
    await change.conn.execute(
        sa.update(_TABLE).where(_TABLE.c.id == secret_id).values(revision=change.revision)
    )
