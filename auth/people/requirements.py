"""Whose roles ask for a second factor: those that reach trading, or the gateway itself. Pure."""

from __future__ import annotations

from collections.abc import Callable

from policies import control
from policies.document import Policies

NeedsSecondFactor = Callable[[tuple[str, ...]], bool]


def from_policies(policies: Policies) -> NeedsSecondFactor:
    def needs(roles: tuple[str, ...]) -> bool:
        granted = policies.permissions_of(roles, None)
        return policies.is_trading(granted) or any(name.startswith(control.SCOPE) for name in granted)

    return needs
