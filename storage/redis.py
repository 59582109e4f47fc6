"""The Redis handle: how to reach the shared store, and one name for not reaching it.

Invariant: nothing here waits longer than `timeout_ms` for one step, unless the caller bounds its own waiting; nothing
is retried behind the caller's back, and no password is part of a repr, a URL or a message.
Refuses: URLs with a password or with options, which could switch off the check of the server's certificate.
"""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError
from redis.maint_notifications import MaintNotificationsConfig

Client = Redis | RedisCluster

_PORT = 6379
_MAX_CONNECTIONS = 16


class InvalidRedisSettings(ValueError):
    """The settings name no Redis that this program can use."""


class RedisUnavailable(Exception):
    """Redis cannot be asked now, or does not answer as Redis does."""


class RedisSettings(Struct, frozen=True):
    """`rediss://` for TLS, with the system's authorities unless `ca_file` names others."""

    url: str
    password: str | None = None
    cluster: bool = False
    timeout_ms: int = 250
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None

    def __repr__(self) -> str:
        kind = "cluster" if self.cluster else "single"
        return f"RedisSettings({self.url!r}, {kind}, password={'***' if self.password else None})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """The inherited one shows every field to consoles and tracebacks that print with rich."""
        return [("url", self.url), ("cluster", self.cluster), ("password", "***" if self.password else None)]


class _Address(Struct, frozen=True):
    host: str
    port: int
    database: int
    account: str | None
    tls: bool


def connect(settings: RedisSettings, *, patient: bool = False) -> Client:
    """Connects at the first use; the caller closes it. `patient`: an answer is waited for until the caller gives up."""
    address = _parse(settings)
    timeout = settings.timeout_ms / 1000
    arguments: dict[str, Any] = {
        "host": address.host,
        "port": address.port,
        "username": address.account,
        "password": settings.password,
        # With a timeout, sending goes through `asyncio.wait_for`, which can swallow the cancellation of its caller.
        "socket_timeout": None if patient else timeout,
        "socket_connect_timeout": timeout,
        "max_connections": _MAX_CONNECTIONS,
        # By default the library tries ten times with growing pauses: whoever asks here would rather know.
        "retry": Retry(NoBackoff(), 0),
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        **_tls(settings, address),
    }
    if settings.cluster:
        return RedisCluster(**arguments)
    return Redis(db=address.database, **arguments)


async def find_nodes(client: Client) -> None:
    """A cluster is asked where things lie now; elsewhere there is nothing to find."""
    if isinstance(client, RedisCluster):
        await client.initialize()
        await client.nodes_manager.initialize()


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """What the library raises when Redis is away becomes RedisUnavailable."""
    try:
        yield
    except (RedisError, RedisClusterException, OSError) as cause:
        # The kind is enough: the library's messages quote addresses and what the server said.
        raise RedisUnavailable(type(cause).__name__) from cause


def _parse(settings: RedisSettings) -> _Address:
    parts = urllib.parse.urlsplit(settings.url)
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname or parts.query or parts.fragment:
        raise InvalidRedisSettings("a Redis URL is redis://HOST:PORT/DATABASE, or rediss:// for TLS")
    if parts.password is not None:
        raise InvalidRedisSettings("a password does not belong in the Redis URL")
    database = _parse_database(parts.path)
    if settings.cluster and database:
        raise InvalidRedisSettings("a Redis Cluster has only database 0")
    account = urllib.parse.unquote(parts.username) if parts.username else None
    return _Address(parts.hostname, _parse_port(parts), database, account, parts.scheme == "rediss")


def _parse_database(path: str) -> int:
    written = path.removeprefix("/") or "0"
    if not (written.isascii() and written.isdecimal()):
        raise InvalidRedisSettings("the database of a Redis URL is a number")
    return int(written)


def _parse_port(parts: urllib.parse.SplitResult) -> int:
    try:
        return parts.port or _PORT
    except ValueError:
        # The cause would quote what stands around the port.
        raise InvalidRedisSettings("the port is a number from 1 to 65535") from None


def _tls(settings: RedisSettings, address: _Address) -> dict[str, Any]:
    files = {
        "ssl_ca_certs": settings.ca_file,
        "ssl_certfile": settings.client_cert_file,
        "ssl_keyfile": settings.client_key_file,
    }
    given = {name: str(path) for name, path in files.items() if path is not None}
    if not address.tls:
        if given:
            raise InvalidRedisSettings("certificates are for rediss:// only")
        return {}
    return {"ssl": True, "ssl_cert_reqs": "required", "ssl_check_hostname": True, **given}
