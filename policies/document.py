"""The policies file: permissions, roles that name them, tiers that bound how fast, and what needs a second person.

Invariant: a loaded `Policies` names nothing that isn't defined in it. Refuses unknown keys, dangling or
doubled names, names outside the grammar, and limits that can't be kept; each error names its place.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import msgspec

from policies import approvals, control, gcra, limits, strict
from policies.decision import Requirement
from policies.strict import PolicyError

__all__ = [
    "NotGranted",
    "PermissionRule",
    "Policies",
    "PolicyError",
    "Role",
    "Tier",
    "UnknownName",
    "load",
    "parse",
]

_PERMISSION = re.compile(r"[a-z][a-z0-9-]{0,31}:[a-z][a-z0-9-]{0,31}", re.ASCII)
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII)
# Grants differ by the roles operators hand out, so there are few; past this many the cache starts over.
_MAX_GRANTS = 4096

Value = TypeVar("Value")


class UnknownName(Exception):
    """A role, tier or permission that the policies don't define."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"unknown {kind} '{name}'")
        self.kind = kind
        self.name = name


class NotGranted(Exception):
    """A key was to be narrowed to a permission that none of its roles grants."""

    def __init__(self, permission: str, roles: tuple[str, ...]) -> None:
        super().__init__(f"permission '{permission}' is granted by none of the roles {', '.join(roles)}")
        self.permission = permission
        self.roles = roles


class PermissionRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    description: str
    trading: bool = False


class Role(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    permissions: tuple[str, ...]
    description: str = ""


class Tier(msgspec.Struct, frozen=True):
    """How fast each key of a partner may go, and all of its keys together. None: not limited."""

    key: gcra.Limit | None
    partner: gcra.Limit | None


class _TierLimitSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A limit without `outage`: signed requests are refused while the store is away, whatever their limits say."""

    rate: int
    per: str
    burst: int


class _TierSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: _TierLimitSpec | None = None
    partner: _TierLimitSpec | None = None


class _Sections(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    permissions: dict[str, object] = {}
    roles: dict[str, object] = {}
    tiers: dict[str, object] = {}
    two_persons: bool = True
    deciders: approvals.Deciders = "anybody"
    approvals: tuple[object, ...] = ()
    break_glass: dict[str, object] = {}


class Policies:
    """What is allowed, ready to be asked; its three maps are read-only."""

    def __init__(
        self,
        permissions: Mapping[str, PermissionRule],
        roles: Mapping[str, Role],
        tiers: Mapping[str, Tier],
        approvals_: approvals.Approvals = approvals.BUILT_IN,
    ) -> None:
        self.approvals = approvals_
        self.permissions = MappingProxyType(dict(permissions))
        self.roles = MappingProxyType(dict(roles))
        self.tiers = MappingProxyType(dict(tiers))
        self._granted: dict[tuple[tuple[str, ...], tuple[str, ...] | None], frozenset[str]] = {}

    def permissions_of(self, roles: tuple[str, ...], narrowed: tuple[str, ...] | None) -> frozenset[str]:
        """What the roles grant together, cut down to `narrowed` where a credential has such a list.

        A role that has left the policies grants nothing; a narrower list never adds.
        """
        granted = self._granted.get((roles, narrowed))
        if granted is None:
            granted = self._grant(roles, narrowed)
            if len(self._granted) >= _MAX_GRANTS:
                self._granted.clear()
            self._granted[(roles, narrowed)] = granted
        return granted

    def is_trading(self, permissions: frozenset[str]) -> bool:
        return any(self.permissions[name].trading for name in permissions if name in self.permissions)

    def requirement(self, permission: str | None, environment: str | None) -> Requirement:
        """State what a route asks; raises `UnknownName` for a permission that isn't defined."""
        if permission is None:
            return Requirement(permission=None, environment=environment, trading=False)
        rule = self.get_permission(permission)
        return Requirement(permission=permission, environment=environment, trading=rule.trading)

    def get_permission(self, name: str) -> PermissionRule:
        return _get(self.permissions, "permission", name)

    def get_role(self, name: str) -> Role:
        return _get(self.roles, "role", name)

    def get_tier(self, name: str) -> Tier:
        return _get(self.tiers, "tier", name)

    def check_narrowing(self, roles: tuple[str, ...], permissions: tuple[str, ...]) -> None:
        """A list that names more than the roles grant would promise what it can't give."""
        granted = self.permissions_of(roles, None)
        for name in permissions:
            self.get_permission(name)
            if name not in granted:
                raise NotGranted(name, roles)

    def _grant(self, roles: tuple[str, ...], narrowed: tuple[str, ...] | None) -> frozenset[str]:
        known = (self.roles[name] for name in roles if name in self.roles)
        granted = frozenset(permission for role in known for permission in role.permissions)
        return granted if narrowed is None else granted.intersection(narrowed)


def load(path: Path) -> Policies:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PolicyError(str(path), f"can't be read: {error.strerror}") from error
    return parse(content, str(path))


def parse(content: bytes, source: str) -> Policies:
    """Build policies from TOML; `source` begins the place of every error."""
    sections = strict.convert(_parse_toml(content, source), _Sections, source)
    permissions = {
        name: _parse_permission(name, raw, f"{source}: permissions.{_quoted(name)}")
        for name, raw in sections.permissions.items()
    }
    permissions |= {name: PermissionRule(text) for name, text in control.DESCRIPTIONS.items()}
    roles = {
        name: _parse_role(name, raw, permissions, f"{source}: roles.{_quoted(name)}")
        for name, raw in sections.roles.items()
    }
    tiers = {
        name: _parse_tier(name, raw, f"{source}: tiers.{_quoted(name)}")
        for name, raw in sections.tiers.items()
    }
    second_persons = approvals.build(
        two_persons=sections.two_persons,
        deciders=sections.deciders,
        rules=sections.approvals,
        break_glass=sections.break_glass,
        permissions=permissions,
        roles=roles,
        source=source,
    )
    return Policies(permissions, roles, tiers, second_persons)


def _parse_toml(content: bytes, source: str) -> object:
    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise PolicyError(source, f"is not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(source, f"is not TOML: {error}") from error


def _parse_permission(name: str, raw: object, place: str) -> PermissionRule:
    _require_name(name, _PERMISSION, place, "a permission reads scope:action")
    if name.startswith(control.SCOPE):
        raise PolicyError(place, "the permissions of the control surface are built in, and not defined here")
    return strict.convert(raw, PermissionRule, place)


def _parse_role(name: str, raw: object, permissions: Mapping[str, PermissionRule], place: str) -> Role:
    _require_name(name, _NAME, place, "a role is lowercase letters, digits and '-'")
    role = strict.convert(raw, Role, place)
    for index, permission in enumerate(role.permissions):
        if permission not in permissions:
            raise PolicyError(f"{place}.permissions[{index}]", f"unknown permission '{permission}'")
        if permission in role.permissions[:index]:
            raise PolicyError(f"{place}.permissions[{index}]", f"'{permission}' stands here twice")
    return role


def _parse_tier(name: str, raw: object, place: str) -> Tier:
    _require_name(name, _NAME, place, "a tier is lowercase letters, digits and '-'")
    spec = strict.convert(raw, _TierSpec, place)
    return Tier(
        key=_build_limit(f"{name}.key", spec.key, f"{place}.key"),
        partner=_build_limit(f"{name}.partner", spec.partner, f"{place}.partner"),
    )


def _build_limit(name: str, spec: _TierLimitSpec | None, place: str) -> gcra.Limit | None:
    if spec is None:
        return None
    try:
        return limits.build(name, limits.LimitSpec(rate=spec.rate, per=spec.per, burst=spec.burst))
    except gcra.InvalidLimit as error:
        raise PolicyError(place, str(error)) from error


def _require_name(name: str, grammar: re.Pattern[str], place: str, rule: str) -> None:
    if grammar.fullmatch(name) is None:
        raise PolicyError(place, rule)


def _quoted(name: str) -> str:
    # The place is written as TOML would write it, so that it can be searched for.
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'


def _get(named: Mapping[str, Value], kind: str, name: str) -> Value:
    try:
        return named[name]
    except KeyError:
        raise UnknownName(kind, name) from None
