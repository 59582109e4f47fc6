"""A store that is gone while commands run: each ends soon, with the one line that says so, and changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

from gateway import cli
from tests.support import every_command, gateway_config
from tests.support.gateway import PASSWORD_VARIABLE
from tests.support.servers import PostgresServer
from tests.support.signing import new_ed25519

# Far more than a refused connection takes, on the slowest machine.
BOUND_SECONDS = 20.0
# What asks no store, and what tells of several things at once, a store among them.
NEEDS_NONE = {("config", "check"), ("sign",), ("request",), ("kms", "create")}
TELLS_MORE = {("doctor",)}
# Whose parameters do not all go together.
ALONE = {
    ("clients", "create"): (
        *("--partner", "x", "--environment", "paper", "--name", "x", "--role", "x"),
        *("--authentication", "client_secret_basic", "--exception", "client-secret"),
    ),
    ("audit", "verify"): (),
    ("audit", "export"): (),
    ("secrets", "rotate"): ("x",),
    ("upstreams", "credential", "set"): ("paper", "--form", "header", "--header", "x-api-key"),
}
_, PUBLIC_KEY = new_ed25519()


@pytest.fixture
def stopped(
    tmp_path: Path, new_postgres_server: Callable[[], PostgresServer], monkeypatch: pytest.MonkeyPatch
) -> click.testing.CliRunner:
    """Everything was made, and then the server was stopped."""
    server = new_postgres_server()
    monkeypatch.setenv(PASSWORD_VARIABLE, server.password)
    nowhere = "http://127.0.0.1:9"
    url = server.url().replace(f":{server.password}@", "@", 1)
    document = gateway_config.settings(paper=nowhere, live=nowhere, dead=nowhere, storage=url, redis=None)
    document["storage"]["password"] = f"env:{PASSWORD_VARIABLE}"
    (tmp_path / "portreeve.toml").write_text(gateway_config.to_toml(document))
    (tmp_path / "portreeve.toml").chmod(0o600)
    (tmp_path / "policies.toml").write_text(gateway_config.to_toml(gateway_config.policies()))
    monkeypatch.chdir(tmp_path)
    runner = click.testing.CliRunner()
    made = runner.invoke(cli.cli, ["init"])
    assert made.exit_code == 0, made.output
    server.stop()
    return runner


def test_every_command_says_so_in_one_line(stopped: click.testing.CliRunner) -> None:
    """Exit code 1 and no traceback; a command that comes later is asked the same, out of the parser."""
    silent = []
    for path in every_command.names():
        if path in NEEDS_NONE | TELLS_MORE:
            continue
        began = time.monotonic()
        done = stopped.invoke(cli.cli, plausible(path), prog_name="portreeve", input="x" * 64 + "\n")
        took = time.monotonic() - began
        assert done.exception is None or isinstance(done.exception, SystemExit), (path, done.exception)
        assert took < BOUND_SECONDS, path
        told = done.stderr.splitlines()
        if (done.exit_code, told[-1:]) != (1, ["Error: the database does not answer"]):
            silent.append((" ".join(path), done.exit_code, told[-1:]))
    assert not silent, "\n".join(map(str, silent))


def plausible(path: tuple[str, ...]) -> list[str]:
    """What a command takes for well-formed, so that it comes as far as the store."""
    if path in ALONE:
        return [*path, *ALONE[path]]
    moments = dict.fromkeys(
        ("activates_at", "expires", "expires_at", "until", "since", "length", "for_"), "90d"
    )
    known = {"overlap": "1h", "overlap_ms": "1h", "algorithm": "ed25519", "public_key": PUBLIC_KEY}
    return every_command.fill(path, "x", known=moments | known)


def test_the_doctor_goes_on_to_what_else_there_is(stopped: click.testing.CliRunner) -> None:
    """It tells of each thing by itself."""
    done = stopped.invoke(cli.cli, ["doctor"], prog_name="portreeve")
    assert done.exit_code == 1
    assert "database" in done.output
    assert "Traceback" not in done.output
