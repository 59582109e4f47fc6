"""A secret that is typed where an id belongs comes back in no complaint, whatever the command and the place."""

from __future__ import annotations

import os

import click.testing
import pytest

from gateway import cli
from keys import format as written
from tests.support import every_command
from tests.support.commands import Run

SECRET = written.mint_secret("live", os.urandom(32)).reveal()
SEED = os.urandom(32).hex()


@pytest.mark.parametrize("typed", [SECRET, SEED], ids=["secret", "seed"])
def test_no_command_repeats_it(store: Run, typed: str) -> None:
    """In every argument and option that takes any text at once, and then in each that does not."""
    del store
    # That nothing is said of what is not refused would prove nothing.
    refused = 0
    for path in every_command.names():
        for place in [None, *(every_command.choosy(path) if typed == SECRET else [])]:
            arguments = every_command.fill(path, typed, everywhere=place)
            told = click.testing.CliRunner().invoke(cli.cli, arguments, prog_name="portreeve", input="")
            assert told.exception is None or isinstance(told.exception, SystemExit), arguments
            assert typed not in told.output, arguments
            assert typed[10:40] not in told.output, arguments
            refused += told.exit_code != 0
    assert refused > len(every_command.names()) / 2


def test_a_command_that_does_not_exist_is_not_repeated_either(run: Run) -> None:
    """Pasted into the wrong window."""
    assert "No such command" in (told := run(SECRET, code=2).stderr)
    assert SECRET[10:40] not in told
