"""The operators' commands in tests: how one is run, and what it printed."""

import json
from collections.abc import Callable
from typing import Any

import click.testing

Run = Callable[..., click.testing.Result]
HMAC = ("--partner", "acme", "--environment", "paper", "--algorithm", "hmac-sha256", "--role", "trader")


def read(result: click.testing.Result) -> Any:  # noqa: ANN401  whatever the command printed
    return json.loads(result.stdout)
