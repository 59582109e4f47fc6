"""What can be done with people's accounts, the same for the command line and the control surface.

Invariant: nobody hands out a control permission that they do not hold themselves; whoever reaches one partner alone
hands out, and takes away, none but the roles that they hold, and only among that partner's people. Accounts out of
reach are unknown. Accounts belong to neither environment, so changing one takes a credential for live.
"""

from __future__ import annotations

from auth.people.accounts import Accounts, Invitation, check_roles
from auth.people.failures import AccountNotActive, AccountNotDisabled, NothingToChange, UnknownAccount
from auth.people.records import Account
from auth.people.sessions import Sessions
from gateway.operations.gate import Facts, Gate, Standing
from gateway.operations.operator import Operator, PermissionMissing
from gateway.people import StoredPeople
from keys import refusals
from keys.changes import Author
from policies import control
from policies.document import Policies


class RoleForeign(refusals.InvalidRequest):
    field = "roles"

    def __init__(self, role: str) -> None:
        super().__init__(f"the role {role!r:.80} is not yours to give or to take")


class PeopleOperations:
    def __init__(self, people: StoredPeople, policies: Policies, gate: Gate) -> None:
        self._accounts: Accounts = people.accounts
        self._sessions: Sessions = people.sessions
        self._policies = policies
        self._gate = gate

    async def invite(self, by: Operator, asked: Invitation, *, reason: str | None = None) -> Account:
        by.require(control.PEOPLE_WRITE)
        self._require_reach(by, asked.partner)
        by.require_environment("service")
        checked = self._accounts.check_invitation(asked)
        granted = self._get_grantable(by, checked.roles, checked.roles)
        author = await self._gate.pass_(
            by,
            action="account.invite",
            subject=checked.email,
            partner=checked.partner,
            change={"name": checked.name, "roles": list(checked.roles)},
            facts=Facts(granted=granted, roles=frozenset(checked.roles)),
            reason=reason,
        )
        return await self._accounts.invite(checked, author=author)

    async def find_all(self, by: Operator, *, partner: str | None = None) -> tuple[Account, ...]:
        by.require(control.PEOPLE_READ)
        return await self._accounts.list_all(by.narrow(partner))

    async def get(self, by: Operator, named: str) -> Account:
        by.require(control.PEOPLE_READ)
        return await self._get_reached(by, named)

    async def set_roles(
        self, by: Operator, named: str, roles: tuple[str, ...], *, reason: str | None = None
    ) -> Account:
        seen = await self._get_own(by, named)
        after = check_roles(roles)
        if after == seen.roles:
            raise NothingToChange(seen.id)
        moved = tuple(sorted(set(after) ^ set(seen.roles)))
        granted = self._get_grantable(by, after, moved)
        change = {"before": {"roles": list(seen.roles)}, "after": {"roles": list(after)}}
        author = await self._gate.pass_(
            by,
            action="account.roles",
            subject=seen.id,
            partner=seen.partner,
            change=change,
            facts=Facts(granted=granted, roles=frozenset(after)),
            standing=Standing("account", seen.id, seen.revision),
            reason=reason,
        )
        return await self._accounts.set_roles(seen, after, author=author)

    async def disable(self, by: Operator, named: str, *, reason: str | None = None) -> Account:
        seen = await self._get_own(by, named)
        author = await self._pass(by, "account.disable", seen, reason)
        return await self._accounts.disable(seen.id, author=author)

    async def enable(self, by: Operator, named: str, *, reason: str | None = None) -> Account:
        seen = await self._get_own(by, named)
        if seen.state != "disabled":
            # Nobody is asked to approve what could not be done.
            raise AccountNotDisabled(seen.id)
        self._get_grantable(by, seen.roles, seen.roles)
        author = await self._pass(by, "account.enable", seen, reason)
        return await self._accounts.enable(seen.id, author=author)

    async def sign_out(self, by: Operator, named: str, *, reason: str | None = None) -> Account:
        """Everywhere, with all that was allowed to clients in their name."""
        seen = await self._get_own(by, named)
        author = await self._pass(by, "account.sign-out", seen, reason)
        return await self._sessions.end_all(seen.id, author=author)

    async def reset(self, by: Operator, named: str, *, reason: str | None = None) -> Account:
        """A mail to their own address, so whoever asks for it learns nothing; to who has not come yet, their invitation
        again.
        """
        seen = await self._get_own(by, named)
        if seen.state == "disabled":
            raise AccountNotActive(seen.id)
        author = await self._pass(by, "account.reset", seen, reason)
        return await self._accounts.send_link(seen.id, author=author)

    async def remove_factors(self, by: Operator, named: str, *, reason: str | None = None) -> Account:
        """For whoever has lost them all. What their roles allow is then a password away, until they enrol anew."""
        seen = await self._get_own(by, named)
        self._get_grantable(by, seen.roles, seen.roles)
        author = await self._pass(by, "account.remove-factors", seen, reason)
        return await self._accounts.remove_factors(seen.id, author=author)

    async def _pass(self, by: Operator, action: str, seen: Account, reason: str | None) -> Author:
        return await self._gate.pass_(
            by,
            action=action,
            subject=seen.id,
            partner=seen.partner,
            facts=Facts(granted=self._policies.permissions_of(seen.roles, None), roles=frozenset(seen.roles)),
            standing=Standing("account", seen.id, seen.revision),
            reason=reason,
        )

    async def _get_own(self, by: Operator, named: str) -> Account:
        by.require(control.PEOPLE_WRITE)
        account = await self._get_reached(by, named)
        by.require_environment("service")
        return account

    async def _get_reached(self, by: Operator, named: str) -> Account:
        account = await self._accounts.get_by(named)
        if not by.reaches(account.partner):
            raise UnknownAccount(named)
        return account

    def _require_reach(self, by: Operator, partner: str | None) -> None:
        if partner is None:
            by.require(control.ALL_PARTNERS)
        else:
            by.require_reach(partner)

    def _get_grantable(self, by: Operator, roles: tuple[str, ...], moved: tuple[str, ...]) -> frozenset[str]:
        """`moved`: those that are given or taken. What the roles grant together is answered."""
        for role in roles:
            self._policies.get_role(role)
        if not by.reaches_all and not by.every_role:
            for role in moved:
                if role not in by.roles:
                    raise RoleForeign(role)
        for permission in sorted(self._policies.permissions_of(moved, None)):
            if permission.startswith(control.SCOPE) and permission not in by.permissions:
                raise PermissionMissing(permission)
        return self._policies.permissions_of(roles, None)
