"""Which tests are measured: tracing the lines of three rooms slows down every line of all the others.

Invariant: coverage is measured unless a directory is named here. Named is what drives whole gateways or no gateway at
all: what it covers of those rooms, their own tests cover.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

UNMEASURED = (
    "architecture",
    "e2e",
    "hazards",
    "unit/bench",
    "unit/gateway/control",
    "unit/gateway/upstream",
    "unit/storage",
    "unit/support",
)
_TESTS = Path(__file__).resolve().parents[1]


def is_measured(path: Path) -> bool:
    return not any(path.is_relative_to(_TESTS / name) for name in UNMEASURED)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """From before the fixtures until after them; the tracer changes only between one kind of test and the other."""
    plugin = item.config.pluginmanager.get_plugin("_cov")
    controller = plugin and plugin.cov_controller
    if controller and controller.started != is_measured(item.path):
        (controller.pause if controller.started else controller.resume)()
    return (yield)
