"""Many partners and keys at once, through the same custody as the command line, which would take an hour for them.

Every key is sealed, stored, and recorded in the audit ledger as any other.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from bench.contenders.requests import Signed
from bench.deployment import hmac_signer
from gateway import clocks, composition, settings
from keys.changes import Author
from keys.custody import Custody
from keys.records import KeyRequest

_KEYS_OF_PARTNER = 10
_AUTHOR = Author("bench")


def create(configuration: Path, count: int) -> list[Signed]:
    return asyncio.run(_create(configuration, count))


async def _create(configuration: Path, count: int) -> list[Signed]:
    async with composition.opened_store(settings.load(configuration), clocks.wall_ms) as store:
        return [await _create_key(store.custody, index) for index in range(count)]


async def _create_key(custody: Custody, index: int) -> Signed:
    partner = f"partner-{index // _KEYS_OF_PARTNER}"
    if index % _KEYS_OF_PARTNER == 0:
        await custody.create_partner(partner, partner, "standard", author=_AUTHOR)
    request = KeyRequest(partner=partner, environment="paper", algorithm="hmac-sha256", roles=("reader",))
    created = await custody.create_key(request, author=_AUTHOR)
    if created.secret is None:
        raise RuntimeError("an hmac-sha256 key without a secret")
    return Signed(created.key.id, hmac_signer({"secret": created.secret.reveal()}))
