"""When, from where and how often each secret version was used: gathered in memory, written in batches.

Invariant: one entry per secret version, however many requests there are and however long the store is away. The first
use of a version in a while is `news`, to be written at once: whoever asks whether a version is still in use gets an
answer that the next interval would not change.
What could not be written is kept and written later; if a commit's answer is lost its counts may be written
twice. Usage is no change of a key: it bumps no revision and wakes nobody.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import engine, schema

# Small enough that writers of changes never wait long for a flush: some hundredths of a second. Each is a transaction
# of its own, which costs more than its first hundred rows. Ids are drawn, so that a thousand of ten thousand lie on
# nearly as many pages as all do, and each transaction writes its pages whole: fewer and larger ones write less.
_BATCH: Final = 4_000
# A version whose last written use lies further back is not known to be in use.
_A_WHILE_MS: Final = 60_000

Version = tuple[str, int]

_TABLE: Final = schema.secret_versions
_IS_NEWER: Final = sa.or_(
    _TABLE.c.last_used_at.is_(None), _TABLE.c.last_used_at < sa.bindparam("at", type_=sa.BigInteger)
)
# Nodes write in any order: a later flush of an older use changes nothing but the count.
_UPDATE: Final = (
    sa.update(_TABLE)
    .where(_TABLE.c.secret_id == sa.bindparam("of_key"), _TABLE.c.version == sa.bindparam("of_version"))
    .values(
        last_used_source=sa.case(
            (_IS_NEWER, sa.bindparam("source", type_=sa.Text)), else_=_TABLE.c.last_used_source
        ),
        last_used_at=sa.case(
            (_IS_NEWER, sa.bindparam("at", type_=sa.BigInteger)), else_=_TABLE.c.last_used_at
        ),
        use_count=_TABLE.c.use_count + sa.bindparam("uses", type_=sa.BigInteger),
    )
)
# Every parameter of it, in the order of `_row`.
_PARAMETERS: Final = ("of_key", "of_version", "at", "source", "uses")

Row = tuple[object, ...]


class _Prepared(NamedTuple):
    """The statement as a driver takes it, and how it wants a row. Of thousands of rows, to name each parameter and let
    SQLAlchemy put it in its place would cost the loop, which has requests to answer, more than all the rest of it.
    """

    text: str
    arrange: Callable[[Row], Row]


@lru_cache
def _prepare(dialect: Dialect) -> _Prepared:
    compiled = _UPDATE.compile(dialect=dialect)
    return _Prepared(str(compiled), itemgetter(*map(_PARAMETERS.index, compiled.positiontup or ())))


# Of a caller that proved itself with a token: which secret its client had shown for that is not known here.
NO_VERSION: Final = 0


class _Use:
    """Changed in place: it is touched on every request."""

    __slots__ = ("at", "count", "source")

    def __init__(self, at: int, source: str, count: int) -> None:
        self.at = at
        self.source = source
        self.count = count


class Usage:
    def __init__(self) -> None:
        # By version and then by key: what is asked for with each request is found by the key's own text, and no pair
        # is made to be looked up.
        self._uses: dict[int, dict[str, _Use]] = {}
        self._written: dict[Version, int] = {}
        self.news = asyncio.Event()

    def __len__(self) -> int:
        return sum(map(len, self._uses.values()))

    def note(self, key_id: str, version: int, source: str, now_ms: int, count: int = 1) -> None:
        uses = self._uses.get(version)
        use = None if uses is None else uses.get(key_id)
        if use is None:
            self._begin(key_id, version, _Use(now_ms, source, count))
            return
        use.count += count
        if now_ms >= use.at:
            use.at, use.source = now_ms, source

    async def flush(self, engine_: AsyncEngine) -> int:
        """How many versions were written. Whatever ends it early, what was not committed stays noted."""
        # Always in this order, so that two nodes flushing the same versions never wait for each other.
        self.news.clear()
        waiting = sorted([(key_id, version) for version, uses in self._uses.items() for key_id in uses])
        for start in range(0, len(waiting), _BATCH):
            await self._write(engine_, waiting[start : start + _BATCH])
        return len(waiting)

    def _begin(self, key_id: str, version: int, use: _Use) -> None:
        if version == NO_VERSION:
            return
        self._uses.setdefault(version, {})[key_id] = use
        # Asked once between two flushes, not once a request.
        if use.at - self._written.get((key_id, version), 0) > _A_WHILE_MS:
            self.news.set()

    async def _write(self, engine_: AsyncEngine, batch: Sequence[Version]) -> None:
        # Taken out first: requests go on noting while the store is written.
        taken = {each: use for each in batch if (use := self._uses[each[1]].pop(each[0], None)) is not None}
        committed = False
        try:
            text, arrange = _prepare(engine_.dialect)
            rows = [arrange(_row(version, use)) for version, use in taken.items()]
            async with engine.transaction(engine_) as conn:
                await conn.exec_driver_sql(text, rows)
            committed = True
        finally:
            if committed:
                self._written.update((version, use.at) for version, use in taken.items())
            else:
                self._take_back(taken.items())

    def _take_back(self, uses: Iterable[tuple[Version, _Use]]) -> None:
        for (key_id, version), use in uses:
            self.note(key_id, version, use.source, use.at, use.count)


def _row(version: Version, use: _Use) -> Row:
    return (*version, use.at, use.source, use.count)
