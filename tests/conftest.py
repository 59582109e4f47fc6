"""What every room's tests share: real stores, and the tools that only some systems have."""

pytest_plugins = ["tests.support.backends", "tests.support.optional", "tests.support.kms_sites"]
