"""Ledgers in tests: a store with entries, its checkpoints, and what an export of it says."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger import export, lines, verify
from keys import checkpoint_memory, ring, statements
from keys.changes import Author
from keys.checkpoints import LEDGER, Checkpoints
from storage import audit, chain, revision, schema
from storage.engine import open_engine, reading, transaction
from tests.support import custody

ISSUER = "https://gate.example"


class Ledger(msgspec.Struct, frozen=True):
    """One node's view of it. `another_node` shares the store and the KMS."""

    room: custody.Room
    ring: ring.Ring
    checkpoints: Checkpoints
    exporter: export.Exporter

    @property
    def engine(self) -> AsyncEngine:
        return self.room.engine

    async def append(self, count: int) -> None:
        for _ in range(count):
            async with transaction(self.engine) as conn:
                number = await revision.bump(conn)
                await audit.append(conn, event(number, self.room.clock()))

    async def export(self, first: int = 1, last: int | None = None) -> list[bytes]:
        return [line async for line in self.exporter.export(first, last)]

    async def verify_store(self) -> verify.Report:
        return await self.exporter.verify_store(verify.Verifier())

    async def head(self) -> chain.Place:
        async with reading(self.engine) as conn:
            return chain.Place(*await audit.head(conn))

    async def another_node(self, memory: checkpoint_memory.Memory | None = None) -> Ledger:
        return await build(self.room.another_node(), memory)

    async def forge(self, seq: int) -> None:
        """With the database's password: somebody else did that entry, every link is right, no checkpoint is left."""
        async with transaction(self.engine) as conn:
            entries = [entry.members() for entry in await audit.read_after(conn, 0, 1_000)]
            await conn.execute(sa.delete(schema.audit_events))
            await conn.execute(sa.delete(schema.audit_checkpoints))
            forged = [each | ({"actor": "cli:eve"} if each["seq"] == seq else {}) for each in entries]
            linked = relink(forged, chain.START)
            await conn.execute(sa.insert(schema.audit_events), linked)
            last = linked[-1]
            await conn.execute(sa.update(schema.audit_head).values(seq=last["seq"], hash=last["hash"]))


async def build(room: custody.Room, memory: checkpoint_memory.Memory | None = None) -> Ledger:
    ledger_ring = ring.Ring(room.engine, room.data_keys, room.changes, room.clock, os.urandom, name=LEDGER)
    await ledger_ring.ensure(author=Author("init"))
    made = Checkpoints(room.engine, ledger_ring, room.clock, ISSUER, memory)
    return Ledger(room, ledger_ring, made, export.Exporter(room.engine, made, room.clock))


def event(number: int, at: int = custody.START_MS) -> audit.AuditEvent:
    return audit.AuditEvent(
        at=at,
        revision=number,
        actor="cli:ada",
        action="api_key.created",
        subject=f"prk_paper_{number}",
        environment="paper",
        partner="acme",
        details={
            "roles": ["trader"],
            "expires_at": None,
            "limits": {"rate": 15, "hard": True},
            "note": "é\n",
        },
        reason=f"ticket {number}",
        source="192.0.2.7",
        request_id=None,
    )


def verify_lines(
    lines: list[bytes], pins: verify.Pins | None = None, kept: Sequence[statements.Mark] = ()
) -> verify.Report:
    verifier = verify.Verifier(pins or verify.Pins(), kept)
    for line in lines:
        verifier.read(line)
    return verifier.finish()


def parse(line: bytes) -> tuple[str, Any]:
    [(kind, content)] = json.loads(line).items()
    return kind, content


def write(kind: str, content: object) -> bytes:
    return chain.canonical({kind: content}) + b"\n"


def relink(entries: list[dict[str, Any]], place: chain.Place) -> list[dict[str, Any]]:
    """As a forger would do it: every number, link and hash is right."""
    linked = []
    for entry in entries:
        said = {name: value for name, value in entry.items() if name != "hash"}
        said |= {"seq": place.seq + 1, "previous": place.hash}
        place = chain.Place(place.seq + 1, chain.link(said))
        linked.append(said | {"hash": place.hash})
    return linked


def append_for_ever(url: str, told: Any) -> None:  # noqa: ANN401  a pipe's end, whose type is private
    """The life of a process that is going to be killed: it tells each commit with one byte."""

    async def run() -> None:
        engine = open_engine(url)
        while True:
            async with transaction(engine) as conn:
                number = await revision.bump(conn)
                for _ in range(1 + number % 3):
                    await audit.append(conn, event(number))
            os.write(told.fileno(), b".")

    asyncio.run(run())


def entries(
    count: int, place: chain.Place = chain.START, *, reason: str = "as asked"
) -> list[audit.AuditEntry]:
    """A chain of them that no store has ever held."""
    made: list[audit.AuditEntry] = []
    for number in range(1, count + 1):
        told = msgspec.structs.replace(event(number), reason=reason)
        entry = audit.AuditEntry(place.seq + 1, told, place.hash, "")
        said = {name: value for name, value in entry.members().items() if name != "hash"}
        made.append(audit.AuditEntry(entry.seq, told, entry.previous, chain.link(said)))
        place = made[-1].place
    return made


def written(some: Sequence[audit.AuditEntry]) -> bytes:
    return b"".join(lines.entry(entry.members()) for entry in some)
