"""Policies for the tests of the control surface: a role for every permission, and the three that people hold."""

from __future__ import annotations

from policies import control
from tests.support import gateway_config

OFFICER = "security-officer"
ADMIN = "partner-admin"
AUDITOR = "auditor"
NOBODY = "nobody"

_ADMIN = {
    control.PARTNERS_READ,
    control.KEYS_READ,
    control.KEYS_WRITE,
    control.KEYS_REVOKE,
    control.CLIENTS_READ,
    control.CLIENTS_WRITE,
    control.SECRETS_READ,
    control.SECRETS_ROTATE,
    control.FREEZE,
    control.UNFREEZE,
    control.APPROVALS_READ,
    control.APPROVE,
    control.AUDIT_READ,
    control.PEOPLE_READ,
    control.PEOPLE_WRITE,
    control.WEBHOOKS_READ,
    control.WEBHOOKS_WRITE,
}
_AUDITOR = {name for name in control.ALL if name.endswith("-read")} | {control.ALL_PARTNERS}

ROLES: dict[str, frozenset[str]] = {
    OFFICER: control.ALL,
    ADMIN: frozenset(_ADMIN),
    AUDITOR: frozenset(_AUDITOR),
    NOBODY: frozenset(),
    **{name.replace(":", "-"): frozenset({name}) for name in sorted(control.ALL)},
}


def policies(**changes: object) -> gateway_config.Table:
    """`changes` are laid over the file's own tables: `two_persons=True` brings the second person back."""
    found = gateway_config.policies() | changes
    found["roles"] |= {name: {"permissions": sorted(held)} for name, held in ROLES.items()}
    return found
