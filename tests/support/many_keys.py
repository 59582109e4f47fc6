"""More keys than anybody makes one by one."""

from __future__ import annotations

import os

import sqlalchemy as sa

from keys import api_keys, envelope
from keys import format as key_format
from keys.environment import ENVIRONMENTS
from storage import engine, schema
from tests.support.custody import START_MS, Room

Row = dict[str, object]


async def insert(room: Room, count: int) -> None:
    """As custody would have made them, in bulk: one HMAC secret a key, half of them in each environment."""
    data_keys = {domain: await room.data_keys.get_current(domain) for domain in ENVIRONMENTS}
    secrets, keys, versions = list[Row](), list[Row](), list[Row]()
    for number in range(count):
        environment = ENVIRONMENTS[number % 2]
        key_id = key_format.mint_key_id(environment, os.urandom(key_format.KEY_ID_ENTROPY))
        secret = key_format.mint_secret(environment, os.urandom(key_format.SECRET_ENTROPY))
        same: Row = {"id": key_id, "partner_id": "acme", "environment": environment}
        same |= {"created_at": START_MS, "revision": 1}
        ciphertext = api_keys.seal_secret(
            data_keys[environment].key,
            secret.reveal().encode(),
            key_id=key_id,
            version=1,
            environment=environment,
            nonce=os.urandom(envelope.NONCE_SIZE),
        )
        secrets.append(same | {"kind": "api-key"})
        keys.append(
            same | {"algorithm": "hmac-sha256", "roles": ["trader"], "permissions": None, "cidrs": []}
        )
        versions.append(
            {"secret_id": key_id, "version": 1, "state": "active", "created_at": START_MS, "use_count": 0}
            | {"ciphertext": ciphertext, "data_key_id": data_keys[environment].id}
        )
    async with engine.transaction(room.engine) as conn:
        await conn.execute(sa.insert(schema.secrets), secrets)
        await conn.execute(sa.insert(schema.api_keys), keys)
        await conn.execute(sa.insert(schema.secret_versions), versions)
