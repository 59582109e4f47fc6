"""A directory for the command line: a configuration of its own, and a store when one is wanted."""

import shutil
from pathlib import Path

import click.testing
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway import cli
from gateway.demo import example
from keys.changes import Author
from tests.support.commands import Run
from tests.support.desk import Desk, build_desk


def _lay_out(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(directory)
    monkeypatch.delenv("PORTREEVE_CONFIG", raising=False)
    state = directory / ".portreeve"
    state.mkdir(0o700)
    example.render(state, example.Ports(8080, 1, 2))
    return state


def _invoke(*arguments: str, code: int = 0) -> click.testing.Result:
    result = click.testing.CliRunner().invoke(cli.cli, arguments, prog_name="portreeve")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    assert code == 0 or not result.stdout, "what went wrong belongs on stderr"
    return result


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a configuration in `.portreeve`, and nothing made yet."""
    _lay_out(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def run(place: Path) -> Run:
    return _invoke


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `init` and a first command leave, made once a run: tests copy it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        state = _lay_out(tmp_path_factory.mktemp("prepared"), monkeypatch)
        _invoke("init")
        _invoke("partners", "create", "acme", "--name", "Acme Trading")
    return state


@pytest.fixture
def store(run: Run, prepared: Path) -> Run:
    """The same, prepared, with the partner acme."""
    for made in prepared.iterdir():
        target = Path(".portreeve") / made.name
        # The configuration is there, and the test's fixtures may have changed it.
        if not target.exists():
            shutil.copy2(made, target)
    return run


@pytest.fixture
def alone(place: Path) -> None:
    """A shop of one: the policies say that there is no second person."""
    file = place / ".portreeve/policies.toml"
    file.write_text("two_persons = false\n" + file.read_text("utf-8").partition("[[approvals]]")[0], "utf-8")


@pytest.fixture
async def desk(engine: AsyncEngine) -> Desk:
    """The operations over either database, with the partners acme and zephyr."""
    built = build_desk(engine)
    for partner in ("acme", "zephyr"):
        await built.room.custody.create_partner(partner, partner, "standard", author=Author("setup"))
    await built.room.data_keys.get_current("live")
    return built
