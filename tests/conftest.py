"""What every room's tests share: real stores, the tools that only some systems have, and what is measured.

Invariant: no generated example fails for the time that it took, which is the machine's. A run that requires everything
draws the same examples every time, so that it fails for what was changed; other runs draw new ones.
What is imported is compiled once, and not again by each of the processes that tests start. Files lie in memory where
there is enough of it.
"""

import os
import sys

import hypothesis

from tests.support import places

pytest_plugins = [
    "tests.support.backends",
    "tests.support.optional",
    "tests.support.compiled",
    "tests.support.kms_sites",
    "tests.support.measured",
    "tests.support.oauth_sites",
    "tests.support.statements",
]

# Images for containers like to switch it off; then a command of ours takes half as long again to start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

places.choose(os.environ)

hypothesis.settings.register_profile(
    "portreeve",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=os.environ.get("PORTREEVE_TEST_REQUIRE") == "all",
    print_blob=True,
)
hypothesis.settings.load_profile("portreeve")
