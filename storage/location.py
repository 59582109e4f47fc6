"""Where the database is: the configured URL, parsed.

Invariant: what is not understood is refused, so no option is silently without effect; a password is never
part of a message or a repr. Over a network the connection is encrypted and the server's certificate checked,
unless the URL itself says `sslmode=disable`.
"""

from __future__ import annotations

import ipaddress
import ssl
import urllib.parse
from pathlib import Path

import msgspec
from sqlalchemy import URL

_TLS_OPTIONS = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey"})
_POSTGRESQL_PORT = 5432


class InvalidStorageUrl(ValueError):
    """The URL names no database that this program can use."""


class SqliteLocation(msgspec.Struct, frozen=True):
    path: Path

    @property
    def driver_url(self) -> URL:
        return URL.create("sqlite+aiosqlite", database=str(self.path))


class PostgresqlLocation(msgspec.Struct, frozen=True):
    """`driver_url` hides its password in every text form but the one made for drivers."""

    driver_url: URL
    tls: ssl.SSLContext | bool


Location = SqliteLocation | PostgresqlLocation


def parse(url: str, *, password: str | None = None) -> Location:
    scheme, _, rest = url.partition(":")
    if scheme == "sqlite":
        return _parse_sqlite(rest, password)
    if scheme == "postgresql":
        return _parse_postgresql(url, password)
    raise InvalidStorageUrl("a storage URL is sqlite:PATH or postgresql://ROLE@HOST:PORT/DATABASE")


def _parse_sqlite(path: str, password: str | None) -> SqliteLocation:
    if password is not None:
        raise InvalidStorageUrl("an SQLite file has no password")
    # In other tools' URLs sqlite:///x means x here and /x there; and what lives in memory outlives nothing.
    if not path or path.startswith("//") or path == ":memory:":
        raise InvalidStorageUrl("an SQLite file is written sqlite:PATH, relative or absolute")
    return SqliteLocation(Path(path).absolute())


def _parse_postgresql(url: str, password: str | None) -> PostgresqlLocation:
    parts = urllib.parse.urlsplit(url)
    database = urllib.parse.unquote(parts.path.removeprefix("/"))
    if not parts.hostname or not parts.username or not database or "/" in database or parts.fragment:
        raise InvalidStorageUrl("a PostgreSQL URL is postgresql://ROLE@HOST:PORT/DATABASE")
    if password is not None and parts.password is not None:
        raise InvalidStorageUrl("the password stands in the URL and beside it")
    inline = None if parts.password is None else urllib.parse.unquote(parts.password)
    driver_url = URL.create(
        "postgresql+asyncpg",
        username=urllib.parse.unquote(parts.username),
        password=inline if password is None else password,
        host=parts.hostname,
        port=_parse_port(parts),
        database=database,
    )
    return PostgresqlLocation(driver_url, _parse_tls(parts.query, parts.hostname))


def _parse_port(parts: urllib.parse.SplitResult) -> int:
    try:
        return parts.port or _POSTGRESQL_PORT
    except ValueError:
        # The cause would carry what stands around the port, and that can be a password with a stray colon.
        raise InvalidStorageUrl("the port is a number from 1 to 65535") from None


def _parse_tls(query: str, host: str) -> ssl.SSLContext | bool:
    options = _parse_options(query)
    mode = options.get("sslmode", "disable" if _is_loopback(host) else "verify-full")
    if mode == "disable":
        return False
    if mode != "verify-full":
        raise InvalidStorageUrl(
            "sslmode is verify-full or disable: encryption without a check proves nothing"
        )
    return _open_tls(options)


def _parse_options(query: str) -> dict[str, str]:
    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    unknown = sorted(options.keys() - _TLS_OPTIONS)
    if unknown or len(options) != len(pairs):
        raise InvalidStorageUrl(f"unknown or repeated options; there are {', '.join(sorted(_TLS_OPTIONS))}")
    return options


def _open_tls(options: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.get("sslrootcert"))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if "sslcert" in options:
            context.load_cert_chain(options["sslcert"], options.get("sslkey"))
    except OSError as cause:
        raise InvalidStorageUrl(f"sslrootcert, sslcert or sslkey cannot be used: {cause.strerror}") from cause
    return context


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
