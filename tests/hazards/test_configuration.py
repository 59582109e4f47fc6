"""Hazards, "Signatures and replay": no setting turns a check off, and no secret has a default."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Deployment
from tests.support.processes import free_port


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Deployment]:
    """A configuration that nothing has been run with."""
    deployment = Deployment(tmp_path)
    yield deployment
    deployment.close()


def test_the_configuration_of_these_tests_is_accepted(bare: Deployment) -> None:
    """Without this, the refusals below would prove nothing."""
    bare.command("config", "check")


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("signing", "window_ms", 0),
        ("signing", "window_ms", -1),
        ("signing", "max_window_ms", 0),
        ("signing", "max_window_ms", 60_001),
        ("signing", "future_skew_ms", -1),
        ("signing", "future_skew_ms", 60_000),
        ("identity", "lifetime_ms", 30_001),
        ("identity", "reuse_ms", 10_001),
        ("server", "max_connections", 0),
        ("server", "workers", 2),
        ("server", "unheard_of", 1),
    ],
)
def test_a_setting_that_would_loosen_a_rule_is_an_error_with_its_place(
    bare: Deployment, table: str, key: str, value: int
) -> None:
    """A window of zero is no window; so are more workers than an in-process store can be shared by."""
    config = bare.write("loose.toml", {table: {key: value}})
    done = bare.run("config", "check", config=config)
    assert done.returncode == 1, done.stdout
    assert key in done.stderr
    assert "Traceback" not in done.stderr


def test_a_window_wider_than_the_widest_is_an_error(bare: Deployment) -> None:
    """The default window stays within the longest one that nonces are kept for."""
    config = bare.write("loose.toml", {"signing": {"window_ms": 50_000, "max_window_ms": 40_000}})
    assert bare.run("config", "check", config=config).returncode == 1


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [("kms", "passphrase", "hunter2"), ("storage", "password", "hunter2"), ("kms", "master_key", "00" * 32)],
)
def test_a_secret_written_into_the_configuration_is_an_error(
    bare: Deployment, table: str, key: str, value: str
) -> None:
    """Secrets come by reference only, and the refusal does not repeat them."""
    config = bare.write("leaky.toml", {table: {key: value}})
    done = bare.run("config", "check", config=config)
    assert done.returncode == 1, done.stdout
    assert value not in done.stdout + done.stderr


def test_a_password_in_a_url_is_an_error(bare: Deployment) -> None:
    """Neither the store's nor Redis' URL holds a password, and the refusal does not repeat it."""
    changes = [
        {"storage": {"url": "postgresql://portreeve:hunter2@127.0.0.1:1/portreeve"}},
        {"redis": {"url": "redis://:hunter2@127.0.0.1:1/0"}},
    ]
    for change in changes:
        done = bare.run("config", "check", config=bare.write("leaky.toml", change))
        assert done.returncode == 1, done.stdout
        assert "hunter2" not in done.stdout + done.stderr


def test_serving_without_init_is_refused(bare: Deployment) -> None:
    """No master key and no schema is a refusal, never a default key or an empty store."""
    config = bare.write("bare.toml", {"server": {"port": free_port()}})
    done = bare.run("serve", config=config)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not (bare.directory / "master.key").exists()


def test_serving_without_the_master_key_is_refused(bare: Deployment) -> None:
    """A store whose master key is gone stays shut, and nothing new is made in its place."""
    bare.init()
    (bare.directory / "master.key").unlink()
    done = bare.run("serve", config=bare.write("keyless.toml", {"server": {"port": free_port()}}))
    assert done.returncode == 1
    assert not (bare.directory / "master.key").exists()


def test_a_master_key_that_others_can_read_is_refused(bare: Deployment) -> None:
    """A file open to its group or the world is no secret."""
    bare.init()
    (bare.directory / "master.key").chmod(0o644)
    done = bare.run("serve", config=bare.write("open.toml", {"server": {"port": free_port()}}))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_what_init_makes_is_for_its_owner_alone(bare: Deployment) -> None:
    """Master key and database are files of mode 0600."""
    bare.init()
    for name in ("master.key", "portreeve.db"):
        assert (bare.directory / name).stat().st_mode & 0o077 == 0, name
