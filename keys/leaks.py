"""Credentials that were found where they should not be: whose they are, and the freeze that follows.

Invariant: what was found is looked for among all sealed secrets of its environment in work that depends on their
number alone: whether it matched, and how nearly, shows in no time. A match that may still serve freezes its key in
the transaction that records the find. What was found is stored nowhere, and named by its key and version only.
Refuses: more than a batch holds.
"""

import asyncio
import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from hmac import compare_digest, digest
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import api_keys, envelope, refusals, rotation, thawing
from keys import format as key_format
from keys.changes import Author, Change, Changes
from keys.data_keys import DataKeys
from keys.environment import Environment
from keys.records import ApiKey
from keys.secret import Secret
from storage import engine, schema

LARGEST_BATCH: Final = 100

_PAGE: Final = 500
_LONGEST_PLACE: Final = 500
_SALT_SIZE: Final = 32
_VERSIONS: Final = schema.secret_versions
_SECRETS: Final = schema.secrets
# The part by chance tells, however the rest is written. Digests in links (40 or 64 of hex) are let be.
_SECRET_SHAPED: Final = re.compile(
    r"pr[a-z]_(?:paper|live)_[0-9A-Za-z]{20,}|(?![0-9a-f]+(?![0-9A-Za-z]))[0-9A-Za-z]{40,}", re.ASCII
)
# Whoever escapes an escape more often than this has lost the place, too.
_MOST_ESCAPES: Final = 4

Outcome = Literal["frozen", "was-frozen", "was-revoked", "superseded", "unknown"]


class BatchTooLarge(refusals.InvalidRequest):
    field = "suspects"


class Suspect(msgspec.Struct, frozen=True, eq=False):
    """`place`: where it was found."""

    secret: Secret
    place: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """`unknown` says nothing of a key; everything else names the one whose secret it is."""

    outcome: Outcome
    key_id: str | None = None
    version: int | None = None
    partner: str | None = None

    @property
    def is_real(self) -> bool:
        return self.outcome != "unknown"


_UNKNOWN: Final = Verdict("unknown")


class _Row(NamedTuple):
    secret_id: str
    version: int
    ciphertext: bytes
    data_key_id: str
    environment: Environment


class _Match(NamedTuple):
    key_id: str
    version: int


class Leaks:
    def __init__(
        self, engine_: AsyncEngine, data_keys: DataKeys, changes: Changes, entropy: Callable[[int], bytes]
    ) -> None:
        self._engine = engine_
        self._data_keys = data_keys
        self._changes = changes
        self._entropy = entropy

    async def report(self, suspects: Sequence[Suspect], *, author: Author) -> list[Verdict]:
        """A verdict for each, in their order."""
        if len(suspects) > LARGEST_BATCH:
            raise BatchTooLarge(f"a report holds at most {LARGEST_BATCH} credentials")
        matches = await self._find(suspects)
        verdicts: dict[_Match, Verdict] = {}
        answers = []
        for suspect, match in zip(suspects, matches, strict=True):
            if match is not None and match not in verdicts:
                verdicts[match] = await self._act(match, suspect.place, author)
            answers.append(_UNKNOWN if match is None else verdicts[match])
        return answers

    async def _find(self, suspects: Sequence[Suspect]) -> list[_Match | None]:
        # Digests under a salt of this report: a look-up by them tells nothing about what is looked for.
        salt = self._entropy(_SALT_SIZE)
        wanted = {
            _digest(salt, suspect.secret.reveal().encode()): suspect
            for suspect in suspects
            if _environment_of(suspect) is not None
        }
        environments = {_environment_of(suspect) for suspect in wanted.values()} - {None}
        found: dict[bytes, _Match] = {}
        async for row, opened in self._opened(sorted(filter(None, environments))):
            key = _digest(salt, opened)
            suspect = wanted.get(key)
            if suspect is not None and compare_digest(suspect.secret.reveal().encode(), opened):
                found[key] = _Match(row.secret_id, row.version)
        return [found.get(_digest(salt, suspect.secret.reveal().encode())) for suspect in suspects]

    async def _opened(self, environments: Iterable[str]) -> AsyncIterator[tuple[_Row, bytes]]:
        """Every sealed secret of an API key. One that does not open is not what was found."""
        for environment in environments:
            after = ("", 0)
            while rows := await self._read_page(environment, after):
                for row in rows:
                    data_key = await self._data_keys.get(row.data_key_id)
                    try:
                        opened = api_keys.open_secret(
                            data_key,
                            row.ciphertext,
                            key_id=row.secret_id,
                            version=row.version,
                            environment=row.environment,
                        )
                    except envelope.EnvelopeRefused:
                        continue
                    yield row, opened
                after = (rows[-1].secret_id, rows[-1].version)
                # Requests go on while thousands of secrets are looked through.
                await asyncio.sleep(0)

    async def _read_page(self, environment: str, after: tuple[str, int]) -> list[_Row]:
        place = sa.tuple_(_VERSIONS.c.secret_id, _VERSIONS.c.version)
        query = (
            sa.select(
                _VERSIONS.c.secret_id,
                _VERSIONS.c.version,
                _VERSIONS.c.ciphertext,
                _VERSIONS.c.data_key_id,
                _SECRETS.c.environment,
            )
            .join(_SECRETS, _SECRETS.c.id == _VERSIONS.c.secret_id)
            .where(
                _SECRETS.c.kind == "api-key",
                _SECRETS.c.environment == environment,
                _VERSIONS.c.ciphertext.is_not(None),
                place > sa.tuple_(sa.literal(after[0]), sa.literal(after[1])),
            )
            .order_by(_VERSIONS.c.secret_id, _VERSIONS.c.version)
            .limit(_PAGE)
        )
        async with engine.reading(self._engine) as conn:
            return [_Row(*row) for row in await conn.execute(query)]

    async def _act(self, match: _Match, place: str, author: Author) -> Verdict:
        async with self._changes.begin(author) as change:
            key = await api_keys.get(change.conn, match.key_id)
            outcome = await _settle(change, key, match.version)
            await change.record(
                thawing.LEAK_FOUND,
                key.id,
                environment=key.environment,
                partner=key.partner,
                details={"version": match.version, "outcome": outcome, "place": _printable(place)},
            )
        return Verdict(outcome, key.id, match.version, key.partner)


async def _settle(change: Change, key: ApiKey, version: int) -> Outcome:
    if key.revoked_at is not None:
        return "was-revoked"
    if rotation.get(key.versions, version).state not in rotation.LIVING:
        return "superseded"
    if key.frozen_at is not None:
        return "was-frozen"
    await api_keys.freeze(change, key.id)
    await change.record(thawing.FROZEN, key.id, environment=key.environment, partner=key.partner)
    return "frozen"


def _environment_of(suspect: Suspect) -> Environment | None:
    try:
        return key_format.parse_secret(suspect.secret.reveal())
    except key_format.MalformedSecret:
        return None


def _digest(salt: bytes, secret: bytes) -> bytes:
    return digest(salt, secret, "sha256")


def _printable(place: str) -> str:
    """Where it was found, without what a link may carry: a query, a password, or the secret itself, also escaped."""
    shown = _without_query(_cleaned(place))
    for _ in range(_MOST_ESCAPES):
        shown = _cleaned(unquote(shown))
    return "" if unquote(shown) != shown else _SECRET_SHAPED.sub("…", shown)[:_LONGEST_PLACE]


def _without_query(place: str) -> str:
    try:
        parts = urlsplit(place)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if parts.scheme else parts.path


def _cleaned(place: str) -> str:
    """First of all: what is left out later would join what stood on both sides of it."""
    return "".join(each for each in unicodedata.normalize("NFKC", place) if each.isprintable())
