"""Redis settings: what is refused, what is passed on, and what never shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis.exceptions
from redis.asyncio import Redis, RedisCluster
from rich.pretty import pretty_repr

from storage.redis import (
    InvalidRedisSettings,
    RedisSettings,
    RedisUnavailable,
    connect,
    translated,
)


def test_the_password_shows_in_no_text_form() -> None:
    """Neither of the settings nor of the client, nor where rich prints fields by itself."""
    settings = RedisSettings("redis://portreeve@127.0.0.1:6379/2", password="swordfish")
    client = connect(settings)
    shown = f"{settings!r} {settings} {pretty_repr(settings)} {client!r} {client}"
    assert "swordfish" not in shown
    assert "swordfish" not in repr(connect(RedisSettings("redis://127.0.0.1", "swordfish", cluster=True)))


@pytest.mark.parametrize(
    "settings",
    [
        RedisSettings("http://127.0.0.1:6379"),
        RedisSettings("redis://"),
        RedisSettings("unix:///run/redis.sock"),
        RedisSettings("redis://portreeve:swordfish@127.0.0.1"),
        RedisSettings("redis://127.0.0.1:swordfish"),
        RedisSettings("redis://127.0.0.1:6379/one"),
        RedisSettings("redis://127.0.0.1:6379/-1"),
        RedisSettings("redis://127.0.0.1:6379#0"),
        RedisSettings("rediss://127.0.0.1:6379?ssl_cert_reqs=none"),
        RedisSettings("redis://127.0.0.1:6379/1", cluster=True),
        RedisSettings("redis://127.0.0.1:6379", ca_file=Path("ca.pem")),
    ],
    ids=lambda settings: settings.url,
)
def test_what_is_not_understood_is_refused(settings: RedisSettings) -> None:
    """No option has no effect, none switches a check off, and no refusal quotes the URL."""
    with pytest.raises(InvalidRedisSettings) as refused:
        connect(settings)
    assert "swordfish" not in str(refused.value)


def test_one_server_is_reached_with_account_and_database() -> None:
    """And every step is bounded, and nothing retried."""
    client = connect(RedisSettings("redis://port%40reeve@127.0.0.1:7000/3", "swordfish", timeout_ms=120))
    assert isinstance(client, Redis)
    arguments = client.connection_pool.connection_kwargs
    wanted = {"host": "127.0.0.1", "port": 7000, "db": 3, "username": "port@reeve", "password": "swordfish"}
    assert wanted.items() <= arguments.items()
    assert (arguments["socket_timeout"], arguments["socket_connect_timeout"]) == (0.12, 0.12)
    assert arguments["retry"].get_retries() == 0


def test_tls_checks_the_certificate_and_the_name() -> None:
    """With the operator's own files where they are given."""
    settings = RedisSettings(
        "rediss://redis.internal",
        ca_file=Path("ca.pem"),
        client_cert_file=Path("me.pem"),
        client_key_file=Path("me.key"),
    )
    client = connect(settings)
    assert isinstance(client, Redis)
    wanted = {
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "ssl_ca_certs": "ca.pem",
        "ssl_certfile": "me.pem",
        "ssl_keyfile": "me.key",
    }
    assert wanted.items() <= client.connection_pool.connection_kwargs.items()


def test_a_cluster_has_a_client_of_its_own() -> None:
    """It is asked for, never guessed."""
    assert isinstance(connect(RedisSettings("redis://127.0.0.1", cluster=True)), RedisCluster)


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.ConnectionError("10.0.0.5 said swordfish"),
        redis.exceptions.RedisClusterException("10.0.0.5 said swordfish"),
        ConnectionResetError("10.0.0.5 said swordfish"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_way_of_being_away_has_one_name(error: Exception) -> None:
    """And the message repeats nothing of what the server said."""
    with pytest.raises(RedisUnavailable) as unavailable, translated():
        raise error
    assert str(unavailable.value) == type(error).__name__
