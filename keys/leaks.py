"""Credentials that were found where they should not be: whose they are, and the freeze that follows.

Invariant: what was found is looked for among all sealed secrets of its environment in work that depends on their
number alone: whether it matched, and how nearly, shows in no time. A match that may still serve freezes its key in
the transaction that records the find; the secret of an OAuth client does the same to its client, which is meant here
wherever a key is. What was found is stored nowhere, and named by its key and version only.
One find, of one version at one place, is recorded once for as long as its key stands the same. A signed report that
comes again is answered as it was, and nothing is looked for. Refuses: more than a batch holds.
"""

import asyncio
import re
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from hmac import compare_digest, digest
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import (
    api_keys,
    envelope,
    leak_reports,
    oauth_client_rows,
    oauth_client_secrets,
    refusals,
    rotation,
    thawing,
)
from keys import format as key_format
from keys.changes import Author, Change, Changes
from keys.client_records import OAuthClient
from keys.data_keys import DataKeys
from keys.environment import Environment
from keys.leak_reports import Outcome, SignedReport, Verdict
from keys.records import ApiKey
from keys.secret import Secret, SecretBytes
from storage import engine, revision, schema

LARGEST_BATCH: Final = 100

_PAGE: Final = 500
_LONGEST_PLACE: Final = 500
_SALT_SIZE: Final = 32
_VERSIONS: Final = schema.secret_versions
_SECRETS: Final = schema.secrets
# The part by chance tells, however the rest is written. Digests in links (40 or 64 of hex) are let be.
_SECRET_SHAPED: Final = re.compile(
    r"(?:pr[a-z]|pcs|pit)_(?:paper|live)_[0-9A-Za-z]{20,}|(?![0-9a-f]+(?![0-9A-Za-z]))[0-9A-Za-z]{40,}",
    re.ASCII,
)
# Whoever escapes an escape more often than this has lost the place, too.
_MOST_ESCAPES: Final = 4

__all__ = ["LARGEST_BATCH", "BatchTooLarge", "Leaks", "Outcome", "SignedReport", "Suspect", "Verdict"]


class BatchTooLarge(refusals.InvalidRequest):
    field = "suspects"


class Suspect(msgspec.Struct, frozen=True, eq=False):
    """`place`: where it was found."""

    secret: Secret
    place: str = ""


class _Row(NamedTuple):
    kind: str
    secret_id: str
    version: int
    ciphertext: bytes
    data_key_id: str
    environment: Environment


class _Match(NamedTuple):
    kind: str
    key_id: str
    version: int


class _Holder(NamedTuple):
    """How a kind of secret is looked through, and whom a find stops."""

    open_: Callable[[SecretBytes, _Row], bytes]
    get: Callable[[AsyncConnection, str], Awaitable[ApiKey | OAuthClient]]
    freeze: Callable[[Change, str], Awaitable[None]]
    frozen: str
    unfrozen: str


class Leaks:
    def __init__(
        self, engine_: AsyncEngine, data_keys: DataKeys, changes: Changes, entropy: Callable[[int], bytes]
    ) -> None:
        self._engine = engine_
        self._data_keys = data_keys
        self._changes = changes
        self._entropy = entropy

    async def report(
        self, suspects: Sequence[Suspect], *, author: Author, signed: SignedReport | None = None
    ) -> list[Verdict]:
        """A verdict for each, in their order. `signed`: what tells a report that comes again, where nothing else keeps
        it from coming.
        """
        if len(suspects) > LARGEST_BATCH:
            raise BatchTooLarge(f"a report holds at most {LARGEST_BATCH} credentials")
        answered = None if signed is None else await self._find_answer(signed, len(suspects))
        if answered is not None:
            return answered
        finds = _Finds(suspects, await self._find(suspects))
        if not finds.places:
            return await self._settle(signed, finds.answer({}))
        return await self._act(finds, signed, author)

    async def _find_answer(self, signed: SignedReport, count: int) -> list[Verdict] | None:
        async with engine.reading(self._engine) as conn:
            return await signed.find_answer(conn, self._changes.now_ms(), count)

    async def _act(self, finds: "_Finds", signed: SignedReport | None, author: Author) -> list[Verdict]:
        """All of a report in one transaction, with the memory of it: it is answered, or nothing was done."""
        async with self._changes.begin(author) as change:
            # Whoever sent it at the same time was first.
            answer = None if signed is None else await signed.find_answer(change.conn, change.at, finds.count)
            if answer is not None:
                change.abandon()
                return answer
            verdicts = {
                match: await _judge(change, match, place, is_signed=signed is not None)
                for match, place in finds.places.items()
            }
            answer = finds.answer(verdicts)
            if not change.recorded:
                change.abandon()
            elif signed is not None:
                await signed.settle(change.conn, change.at, answer)
        return answer if change.recorded else await self._settle(signed, answer)

    async def _settle(self, signed: SignedReport | None, answer: list[Verdict]) -> list[Verdict]:
        """What changed nothing that nodes serve is no revision, and is remembered all the same."""
        if signed is None:
            return answer
        async with engine.transaction(self._engine) as conn:
            await revision.lock(conn)
            at = self._changes.now_ms()
            earlier = await signed.find_answer(conn, at, len(answer))
            if earlier is None:
                await signed.settle(conn, at, answer)
        return earlier or answer

    async def _find(self, suspects: Sequence[Suspect]) -> list[_Match | None]:
        # Digests under a salt of this report: a look-up by them tells nothing about what is looked for.
        salt = self._entropy(_SALT_SIZE)
        wanted = {
            _digest(salt, _kept(suspect)): suspect
            for suspect in suspects
            if _environment_of(suspect) is not None
        }
        environments = {_environment_of(suspect) for suspect in wanted.values()} - {None}
        found: dict[bytes, _Match] = {}
        async for row, opened in self._opened(sorted(filter(None, environments))):
            key = _digest(salt, opened)
            suspect = wanted.get(key)
            if suspect is not None and compare_digest(_kept(suspect), opened):
                found[key] = _Match(row.kind, row.secret_id, row.version)
        return [found.get(_digest(salt, _kept(suspect))) for suspect in suspects]

    async def _opened(self, environments: Iterable[str]) -> AsyncIterator[tuple[_Row, bytes]]:
        """Every sealed secret of an API key or a client. One that does not open is not what was found."""
        for environment in environments:
            after = ("", 0)
            while rows := await self._read_page(environment, after):
                for row in rows:
                    data_key = await self._data_keys.get(row.data_key_id)
                    try:
                        opened = _HOLDERS[row.kind].open_(data_key, row)
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
                _SECRETS.c.kind,
                _VERSIONS.c.secret_id,
                _VERSIONS.c.version,
                _VERSIONS.c.ciphertext,
                _VERSIONS.c.data_key_id,
                _SECRETS.c.environment,
            )
            .join(_SECRETS, _SECRETS.c.id == _VERSIONS.c.secret_id)
            .where(
                _SECRETS.c.kind.in_(list(_HOLDERS)),
                _SECRETS.c.environment == environment,
                _VERSIONS.c.ciphertext.is_not(None),
                place > sa.tuple_(sa.literal(after[0]), sa.literal(after[1])),
            )
            .order_by(_VERSIONS.c.secret_id, _VERSIONS.c.version)
            .limit(_PAGE)
        )
        async with engine.reading(self._engine) as conn:
            return [_Row(*row) for row in await conn.execute(query)]


class _Finds:
    """What a report found. A secret that stands in many places of one report is one find, at the first of them."""

    def __init__(self, suspects: Sequence[Suspect], matches: Sequence[_Match | None]) -> None:
        self._matches = matches
        self.count = len(matches)
        self.places: dict[_Match, str] = {}
        for suspect, match in zip(suspects, matches, strict=True):
            if match is not None:
                self.places.setdefault(match, _printable(suspect.place))

    def answer(self, verdicts: Mapping[_Match, Verdict]) -> list[Verdict]:
        return [leak_reports.UNKNOWN if match is None else verdicts[match] for match in self._matches]


async def _judge(change: Change, match: _Match, place: str, *, is_signed: bool) -> Verdict:
    holder = _HOLDERS[match.kind]
    key = await holder.get(change.conn, match.key_id)
    known = await leak_reports.read_known(change.conn, key.id, match.version, place, unfrozen=holder.unfrozen)
    outcome = _weigh(key, match.version)
    if outcome == "frozen" and is_signed and known.may_be_replayed(change.at):
        outcome = "handled"
    if outcome == "frozen":
        await holder.freeze(change, key.id)
        await change.record(holder.frozen, key.id, environment=key.environment, partner=key.partner)
    if outcome == "frozen" or not (outcome == "handled" or known.says(outcome)):
        details = {"version": match.version, "outcome": outcome, "place": place}
        await change.record(
            thawing.LEAK_FOUND, key.id, environment=key.environment, partner=key.partner, details=details
        )
    return Verdict(outcome, key.id, match.version, key.partner)


def _weigh(key: ApiKey | OAuthClient, version: int) -> Outcome:
    if key.revoked_at is not None:
        return "was-revoked"
    if rotation.get(key.versions, version).state not in rotation.LIVING:
        return "superseded"
    return "frozen" if key.frozen_at is None else "was-frozen"


def _environment_of(suspect: Suspect) -> Environment | None:
    for parse in (key_format.parse_secret, key_format.parse_client_secret):
        try:
            return parse(suspect.secret.reveal())
        except key_format.MalformedSecret:
            continue
    return None


def _kept(suspect: Suspect) -> bytes:
    """What would be sealed of it, if it is one of ours: of a client's secret its digest alone."""
    if suspect.secret.reveal().startswith(key_format.CLIENT_SECRET_PREFIX):
        return oauth_client_secrets.digest(suspect.secret)
    return suspect.secret.reveal().encode()


def _open_api_key(data_key: SecretBytes, row: _Row) -> bytes:
    return api_keys.open_secret(
        data_key, row.ciphertext, key_id=row.secret_id, version=row.version, environment=row.environment
    )


def _open_client(data_key: SecretBytes, row: _Row) -> bytes:
    digest_ = oauth_client_secrets.open_digest(
        data_key, row.ciphertext, client_id=row.secret_id, version=row.version, environment=row.environment
    )
    return digest_.reveal()


_HOLDERS: Final = MappingProxyType(
    {
        "api-key": _Holder(_open_api_key, api_keys.get, api_keys.freeze, thawing.FROZEN, thawing.UNFROZEN),
        "oauth-client": _Holder(
            _open_client,
            oauth_client_rows.get,
            oauth_client_rows.freeze,
            thawing.CLIENT_FROZEN,
            thawing.CLIENT_UNFROZEN,
        ),
    }
)


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
