"""Who asks for an operation: verified by whoever made this value, be it a command line or the control surface.

Invariant: what an operator does not reach does not exist for them: the refusal is the one that an unknown name gets.
Paper and live stay apart here too: an operator acts only in their own environments.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from keys import partners
from keys.changes import Author, Condition
from keys.environment import ENVIRONMENTS
from policies import control
from policies.principal import Principal


class PermissionMissing(Exception):
    """The operator may not do this at all, whomever it is about."""

    def __init__(self, permission: str) -> None:
        super().__init__(f"this needs the permission {permission}")
        self.permission = permission


class EnvironmentForeign(Exception):
    """The operator's credential belongs to the other environment."""

    def __init__(self, environment: str) -> None:
        super().__init__(f"this belongs to the {environment} environment; the credential does not")
        self.environment = environment


class RoleMissing(Exception):
    """The operator may approve, but not this: a rule asks for somebody with one of these roles."""

    def __init__(self, roles: tuple[str, ...]) -> None:
        super().__init__(f"only somebody with one of the roles {', '.join(roles)} decides this")
        self.roles = roles


# No partner has this id: what is asked for it is asked for nobody.
_NOBODY: Final = ""


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """`partner`: the one that this operator belongs to. `approval`: the id of the approval that they show.

    `under_glass`: they say that they act under the break-glass they have opened; `glass`, that it is this one.
    `every_role`: a shell has no roles, and is bound by none.
    `condition`: what they make their next change rest on, such as that nobody else has changed it since they looked.
    """

    actor: str
    permissions: frozenset[str]
    environments: frozenset[str]
    partner: str | None = None
    source: str | None = None
    request_id: str | None = None
    approval: str | None = None
    under_glass: bool = False
    glass: str | None = None
    roles: frozenset[str] = frozenset()
    every_role: bool = False
    condition: Condition | None = None

    @property
    def reaches_all(self) -> bool:
        return control.ALL_PARTNERS in self.permissions

    def require(self, permission: str) -> None:
        if permission not in self.permissions:
            raise PermissionMissing(permission)

    def require_environment(self, environment: str) -> None:
        """What belongs to neither environment serves both, so it takes a credential for live."""
        needed = environment if environment in ENVIRONMENTS else "live"
        if needed not in self.environments:
            raise EnvironmentForeign(needed)

    def reaches(self, partner: str | None) -> bool:
        return self.reaches_all or (partner is not None and partner == self.partner)

    def require_reach(self, partner: str) -> None:
        if not self.reaches(partner):
            raise partners.UnknownPartner(partner)

    @property
    def within(self) -> str | None:
        """The partner that is all they reach; None for those who reach all."""
        return None if self.reaches_all else self.partner or _NOBODY

    def narrow(self, partner: str | None) -> str | None:
        """The partner whose things they see, having asked for this one's or for all; None for everybody's."""
        if partner is None:
            return self.within
        self.require_reach(partner)
        return partner

    def has_role(self, roles: Collection[str]) -> bool:
        return self.every_role or not self.roles.isdisjoint(roles)

    def author(self, reason: str | None = None) -> Author:
        """Without an approval: that stands in the ledger only where the gate has made it spent."""
        return Author(self.actor, reason, self.source, self.request_id, condition=self.condition)

    def with_permission(self, permission: str) -> Operator:
        """For what follows from something else that they were allowed, such as to see again what they made."""
        return msgspec.structs.replace(self, permissions=self.permissions | {permission})


def of_shell(account: str, host: str | None = None) -> Operator:
    """Whoever has a shell on a machine with the store's credentials may do everything; approvals bind them too.

    `host`: what the machine calls itself, since `root` is somebody else on another one. It says where, and not who.
    """
    return Operator(
        actor=f"cli:{account}",
        permissions=control.ALL,
        environments=frozenset(ENVIRONMENTS),
        partner=None,
        source=None if host is None else f"host:{host}",
        every_role=True,
    )


def of_key(
    principal: Principal,
    *,
    source: str,
    request_id: str,
    approval: str | None = None,
    glass: str | None = None,
) -> Operator:
    """Whoever signed a request with an API key that was verified, admitted once, and is within its limits."""
    return Operator(
        actor=f"key:{principal.credential}",
        permissions=principal.permissions,
        environments=frozenset({principal.environment}),
        partner=principal.partner,
        source=source,
        request_id=request_id,
        approval=approval,
        under_glass=glass is not None,
        glass=glass,
        roles=frozenset(principal.roles),
    )


def of_scanner(name: str, *, source: str, request_id: str) -> Operator:
    """An outside scanner, whose report was verified: it can report, and reaches nobody."""
    return Operator(
        actor=f"scanner:{name}",
        permissions=frozenset({control.LEAKS_REPORT}),
        environments=frozenset(),
        source=source,
        request_id=request_id,
    )
