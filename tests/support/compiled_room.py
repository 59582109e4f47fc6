"""Tests of what is compiled: left out where nothing is built, and failures where all is required.

Where it was turned off on purpose they are left out as well.
"""

import os

import pytest

import compiled
from tests.support.optional import REQUIRE_VARIABLE


def require_compiled() -> None:
    if compiled.IS_USED:
        return
    if compiled.WHY_NOT != "turned off" and os.environ.get(REQUIRE_VARIABLE) == "all":
        pytest.fail(f"the compiled room is required, and is not used: {compiled.WHY_NOT}", pytrace=False)
    pytest.skip(f"the compiled room is not used: {compiled.WHY_NOT}")
