"""Where somebody goes on once they have signed in or confirmed that it is them: a named step, never an address.

Invariant: an address made here begins with one of our own paths and holds nothing but parameters of a known form, so
that no link can lead anybody through our sign-in to somewhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec

STEPS: Final = {
    "account": "/oauth/account",
    "password": "/oauth/account/password",
    "one-time-codes": "/oauth/account/one-time-codes",
    "passkeys": "/oauth/account/passkeys",
    "recovery-codes": "/oauth/account/recovery-codes",
    "authorize": "/oauth/authorize",
    "device": "/oauth/device",
}
_FORMS: Final = {
    "client_id": re.compile(r"prc_(paper|live)_[0-9A-Za-z]{1,64}", re.ASCII),
    "request_uri": re.compile(r"urn:ietf:params:oauth:request_uri:[A-Za-z0-9_-]{1,128}", re.ASCII),
    "user_code": re.compile(r"[A-Za-z0-9-]{1,32}", re.ASCII),
}
_OF_STEP: Final = {"authorize": ("client_id", "request_uri"), "device": ("user_code",)}
_OPTIONAL: Final = frozenset({"user_code"})


class MalformedWay(ValueError):
    """No step of ours, or not with what it takes."""


class Way(msgspec.Struct, frozen=True):
    step: str = "account"
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def address(self) -> str:
        return _with_query(STEPS[self.step], self.parameters)

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """As a form carries it on, and as `parse` reads it back."""
        return (("to", self.step), *self.parameters)

    def through(self, path: str) -> str:
        """The address of a page of ours that leads on here afterwards."""
        return _with_query(path, self.fields)


ACCOUNT: Final = Way()


def parse(fields: Mapping[str, str]) -> Way:
    step = fields.get("to", "account")
    if step not in STEPS:
        raise MalformedWay("there is no such step")
    return make(step, fields)


def make(step: str, fields: Mapping[str, str]) -> Way:
    found = []
    for name in _OF_STEP.get(step, ()):
        value = fields.get(name, "")
        if not value and name in _OPTIONAL:
            continue
        if not _FORMS[name].fullmatch(value):
            raise MalformedWay(f"{name} is not of its form")
        found.append((name, value))
    return Way(step, tuple(found))


def _with_query(path: str, parameters: tuple[tuple[str, str], ...]) -> str:
    return f"{path}?{urlencode(parameters)}" if parameters else path
