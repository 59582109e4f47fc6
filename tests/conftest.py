"""What every room's tests share: real stores, the tools that only some systems have, and what is measured."""

pytest_plugins = [
    "tests.support.backends",
    "tests.support.optional",
    "tests.support.kms_sites",
    "tests.support.measured",
]
