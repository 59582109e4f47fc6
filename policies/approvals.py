"""Which acts need a second person: the rules of the policies file, and what holds without any.

Invariant: emergency acts need one person; taking a freeze back, and handing out the power to approve or to break the
glass, need two; a role by which somebody decides is handed out by somebody who has it. No rule can loosen that; only
`two_persons = false` can, for all of it at once. Pure.
By whom a yes counts, anybody's who may decide or a signed key's alone, is said here for all acts at once.
Refuses, with their place: acts, permissions and roles that do not exist, a rule about an emergency act, and rules
where there is no second person to ask.
"""

import re
from collections.abc import Collection, Iterable
from typing import Final, Literal

import msgspec

from policies import actions, strict
from policies.strict import PolicyError

_SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])", re.ASCII)
_UNIT_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
# Who decides at all: whoever may, also an account of a machine with a shell; or only an API key, which signs.
Deciders = Literal["anybody", "keys"]
_LONGEST_WAIT_MS: Final = 30 * _UNIT_MS["d"]
_LONGEST_GLASS_MS: Final = _UNIT_MS["h"]
_DEFAULT_WAIT_MS: Final = 24 * _UNIT_MS["h"]


class ApprovalRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `[[approvals]]` says. Every condition that is given has to be met for the rule to count."""

    action: str
    environment: Literal["paper", "live"] | None = None
    trading: bool = False
    permissions: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    expires: str = "24h"


class BreakGlassRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    longest: str = "1h"


class Facts(msgspec.Struct, frozen=True):
    """What an act is about, as far as rules ask. `granted`: what the key will hold, or holds. `roles`: the same.

    `environment`: None is an act about both, so that a rule about either counts.
    """

    environment: str | None = None
    granted: frozenset[str] = frozenset()
    trading: bool = False
    roles: frozenset[str] = frozenset()


class Need(msgspec.Struct, frozen=True):
    """A second person. `approvers`: of each list of roles that is here, whoever decides has one."""

    wait_ms: int
    approvers: tuple[tuple[str, ...], ...] = ()


class _Rule(msgspec.Struct, frozen=True):
    rule: ApprovalRule
    acts: frozenset[str]
    wait_ms: int

    def counts(self, action: str, facts: Facts) -> bool:
        rule = self.rule
        return (
            (action in self.acts or actions.INCLUDED_IN.get(action) in self.acts)
            and (rule.environment is None or facts.environment in {None, "service", rule.environment})
            and (facts.trading or not rule.trading)
            and (not rule.permissions or bool(facts.granted.intersection(rule.permissions)))
        )


class Approvals(msgspec.Struct, frozen=True):
    two_persons: bool = True
    deciders: Deciders = "anybody"
    rules: tuple[_Rule, ...] = ()
    longest_break_glass_ms: int = _LONGEST_GLASS_MS

    def find_need(self, action: str, facts: Facts) -> Need | None:
        """None: one person may do it. Of several rules that count, all have to be satisfied."""
        if not actions.is_known(action):
            raise actions.UnknownAction(action)
        if not self.two_persons:
            return None
        counting = [rule for rule in self.rules if rule.counts(action, facts)]
        deciding = self._find_deciding(action, facts)
        if not counting and not deciding and not _is_built_in(action, facts):
            return None
        named = (*(rule.rule.approvers for rule in counting if rule.rule.approvers), *deciding)
        return Need(
            wait_ms=min((rule.wait_ms for rule in counting), default=_DEFAULT_WAIT_MS),
            approvers=tuple(dict.fromkeys(named)),
        )

    def _find_deciding(self, action: str, facts: Facts) -> tuple[tuple[str, ...], ...]:
        """Whom handing out a role takes by which one decides: else two others could make themselves one who does."""
        if action not in actions.HANDING_OUT:
            return ()
        lists = [rule.rule.approvers for rule in self.rules]
        return tuple(approvers for approvers in lists if not facts.roles.isdisjoint(approvers))


BUILT_IN: Final = Approvals()


def build(  # noqa: PLR0913  the four pieces of the file, what they may name, and where they stand
    *,
    two_persons: bool,
    deciders: Deciders,
    rules: Iterable[object],
    break_glass: object,
    permissions: Collection[str],
    roles: Collection[str],
    source: str,
) -> Approvals:
    parsed = tuple(
        _parse_rule(raw, permissions, roles, f"{source}: approvals[{index}]")
        for index, raw in enumerate(rules)
    )
    if parsed and not two_persons:
        raise PolicyError(
            f"{source}: two_persons", "is false, so nobody could approve what [[approvals]] asks for"
        )
    if deciders != "anybody" and not two_persons:
        raise PolicyError(
            f"{source}: two_persons", f'is false, so there is nothing for deciders = "{deciders}"'
        )
    glass = strict.convert(break_glass, BreakGlassRule, f"{source}: break_glass")
    longest_ms = _parse_span(glass.longest, _LONGEST_GLASS_MS, f"{source}: break_glass.longest")
    return Approvals(
        two_persons=two_persons, deciders=deciders, rules=parsed, longest_break_glass_ms=longest_ms
    )


def _is_built_in(action: str, facts: Facts) -> bool:
    hands_out = action in actions.HANDING_OUT and not actions.GUARDED_PERMISSIONS.isdisjoint(facts.granted)
    return action in actions.TAKING_BACK or hands_out


def _parse_rule(raw: object, permissions: Collection[str], roles: Collection[str], place: str) -> _Rule:
    rule = strict.convert(raw, ApprovalRule, place)
    _require_known(rule.permissions, permissions, "permission", f"{place}.permissions")
    _require_known(rule.approvers, roles, "role", f"{place}.approvers")
    acts = _find_acts(rule.action, f"{place}.action")
    return _Rule(rule, acts, _parse_span(rule.expires, _LONGEST_WAIT_MS, f"{place}.expires"))


def _find_acts(pattern: str, place: str) -> frozenset[str]:
    """`kms.*` is every act of that kind but the emergency ones: here it is that no rule ever catches one."""
    kind, _, rest = pattern.partition(".")
    found = {act for act in actions.ALL if act == pattern or (rest == "*" and act.startswith(f"{kind}."))}
    if not found:
        raise PolicyError(place, f"unknown action '{pattern}'")
    if found <= actions.EMERGENCY:
        raise PolicyError(place, f"'{pattern}' is for emergencies, for which one person has to be enough")
    return frozenset(found - actions.EMERGENCY)


def _require_known(named: tuple[str, ...], known: Collection[str], kind: str, place: str) -> None:
    for index, name in enumerate(named):
        if name not in known:
            raise PolicyError(f"{place}[{index}]", f"unknown {kind} '{name}'")


def _parse_span(text: str, longest_ms: int, place: str) -> int:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise PolicyError(place, f'\'{text}\' is no time such as "30m", "24h" or "7d"')
    span_ms = int(match[1]) * _UNIT_MS[match[2]]
    if span_ms > longest_ms:
        raise PolicyError(place, f"'{text}' is longer than {longest_ms // _UNIT_MS['h']}h")
    return span_ms
