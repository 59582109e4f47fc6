"""What can be done with the versions of secrets, the same for the command line and the control surface.

Invariant: what belongs to a partner out of reach is unknown, and what belongs to none is for those who reach all.
Nobody lets a new secret serve a key that holds a control permission which they do not hold themselves: they could be
shown it, and be that key; nor changes the secret of a webhook whose webhooks they may not change. Revoking is an
emergency act and needs one person.
Refuses: kinds whose versions follow one another by other steps, naming the command that takes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from gateway.operations.client_operations import find_granted
from gateway.operations.gate import NOTHING as NO_FACTS
from gateway.operations.gate import Facts, Gate, Standing
from gateway.operations.operator import Operator, PermissionMissing
from keys import refusals, rotation, scheduler, version_conditions
from keys import versions as stored
from keys.changes import Author
from keys.custody import Custody
from keys.due import Action
from keys.held import HeldSecret
from keys.kinds import NOTHING, Offer
from keys.oauth_clients import OAuthClients
from keys.register import Kind
from keys.rotations import PLAIN, Rotated, Rotations, Wish
from keys.scheduler import Upkeep
from keys.secret_pages import LONGEST_PAGE, PlannedPage, SecretPage, SecretPages, Wanted
from policies import control
from policies.document import Policies

EVERYTHING: Final = Wanted()
_ELSEWHERE: Final = MappingProxyType[Kind, str](
    {
        "ring": "portreeve rings",
        "upstream": "portreeve upstreams credential",
    }
)


class RotatedElsewhere(refusals.Conflict):
    def __init__(self, secret: HeldSecret, command: str) -> None:
        super().__init__(
            f"the versions of {secret.id} are changed by `{command}`: it is of kind {secret.kind}"
        )


class Holders:
    """Whose secrets and keys they are, and what these may do: whoever is shown a new one can do that."""

    def __init__(self, custody: Custody, clients: OAuthClients, policies: Policies) -> None:
        self._custody = custody
        self._clients = clients
        self._policies = policies

    async def find_facts(self, secret: HeldSecret) -> Facts:
        """Rules ask about them."""
        if secret.kind == "api-key":
            key = await self._custody.get_key(secret.id)
            granted = self._policies.permissions_of(key.roles, key.permissions)
            return Facts(granted=granted, roles=frozenset(key.roles))
        if secret.kind == "oauth-client":
            client = await self._clients.get(secret.id)
            return Facts(granted=find_granted(self._policies, client.roles, client.permissions))
        return NO_FACTS


class SecretOperations:
    def __init__(
        self,
        rotations: Rotations,
        pages: SecretPages,
        holders: Holders,
        gate: Gate,
        upkeep: Sequence[Upkeep],
    ) -> None:
        self._rotations = rotations
        self._pages = pages
        self._holders = holders
        self._gate = gate
        self._upkeep = tuple(upkeep)

    # Looking ----------------------------------------------------------------------------------------------

    async def find_page(
        self,
        by: Operator,
        wanted: Wanted = EVERYTHING,
        *,
        after: str | None = None,
        limit: int = LONGEST_PAGE,
    ) -> SecretPage:
        reached = await self._narrow(by, wanted, after)
        return await self._pages.find_page(reached, after=after, limit=limit)

    async def get(self, by: Operator, secret_id: str) -> HeldSecret:
        by.require(control.SECRETS_READ)
        return await self._get_reached(by, secret_id)

    async def plan_page(
        self,
        by: Operator,
        until_ms: int,
        wanted: Wanted = EVERYTHING,
        *,
        after: str | None = None,
        limit: int = LONGEST_PAGE,
    ) -> PlannedPage:
        """What would happen by itself, and to whom. What is no row of ours (see `_plan_others`) comes with the last."""
        reached = await self._narrow(by, wanted, after)
        page = await self._pages.plan_page(reached, until_ms, after=after, limit=limit)
        if page.after is not None:
            return page
        others = await self._plan_others(until_ms, reached)
        return PlannedPage(actions=(*page.actions, *others), after=None)

    # Changing ---------------------------------------------------------------------------------------------

    async def rotate(
        self,
        by: Operator,
        secret_id: str,
        wish: Wish = PLAIN,
        offer: Offer = NOTHING,
        *,
        reason: str | None = None,
    ) -> Rotated:
        secret = await self._get_own(by, secret_id)
        public_key = None if offer.public_key is None else offer.public_key.hex()
        change = msgspec.structs.asdict(wish) | {"public_key": public_key}
        author = await self._pass_taking_over(by, secret, change, reason)
        return await self._rotations.rotate(secret_id, wish, offer, author=author)

    async def activate(  # noqa: PLR0913  what it is told, each by its name
        self,
        by: Operator,
        secret_id: str,
        version: int | None = None,
        *,
        overlap_ms: int | None = None,
        even_if_used: bool = False,
        reason: str | None = None,
    ) -> HeldSecret:
        """`version`: refused unless it is the one that is pending."""
        secret = await self._get_own(by, secret_id)
        if version is not None and rotation.get(secret.versions, version).state != "pending":
            raise rotation.StepRefused(f"version {version} is not pending")
        change = {"activate": True, "overlap_ms": overlap_ms, "even_if_used": even_if_used}
        author = await self._pass_taking_over(by, secret, change, reason)
        return await self._rotations.activate(
            secret_id, overlap_ms=overlap_ms, even_if_used=even_if_used, author=author
        )

    async def retire(
        self,
        by: Operator,
        secret_id: str,
        version: int | None = None,
        *,
        even_if_used: bool = False,
        reason: str | None = None,
    ) -> HeldSecret:
        secret = await self._get_own(by, secret_id)
        change = {"version": version, "even_if_used": even_if_used}
        facts = await self._holders.find_facts(secret)
        author = await self._pass(by, "secret.retire", secret, change, facts, reason)
        return await self._rotations.retire(secret_id, version, even_if_used=even_if_used, author=author)

    async def revoke(
        self, by: Operator, secret_id: str, version: int | None = None, *, reason: str | None = None
    ) -> HeldSecret:
        """One version at once, or without a number the secret whole and for good."""
        secret = await self._get_own(by, secret_id)
        if version is None and secret.kind == "api-key":
            by.require(control.KEYS_REVOKE)
        author = await self._pass(by, "secret.revoke", secret, {"version": version}, NO_FACTS, reason)
        return await self._rotations.revoke(secret_id, version, author=author)

    async def destroy(
        self, by: Operator, secret_id: str, version: int, *, reason: str | None = None
    ) -> HeldSecret:
        secret = await self._get_own(by, secret_id)
        facts = await self._holders.find_facts(secret)
        author = await self._pass(by, "secret.destroy", secret, {"version": version}, facts, reason)
        return await self._rotations.destroy(secret_id, version, author=author)

    async def run_due(self, by: Operator) -> tuple[scheduler.Outcome, ...]:
        """What the scheduler would do now; it is due whoever asks, so nobody else has to agree."""
        by.require(control.SECRETS_ROTATE)
        by.require(control.ALL_PARTNERS)
        for environment in ("paper", "live"):
            by.require_environment(environment)
        return await scheduler.run_due(self._upkeep, author=by.author())

    # What they have in common -----------------------------------------------------------------------------

    async def _narrow(self, by: Operator, wanted: Wanted, after: str | None) -> Wanted:
        """What of it they reach."""
        by.require(control.SECRETS_READ)
        if after is not None:
            # Where a page begins tells whether that secret is there, so it has to be one that they may see.
            await self._get_reached(by, after)
        return msgspec.structs.replace(wanted, partner=by.narrow(wanted.partner))

    async def _plan_others(self, until_ms: int, wanted: Wanted) -> list[Action]:
        """Of what is not kept by `Rotations`: few, and all of it is read."""
        others = [each for each in self._upkeep if each is not self._rotations]
        found = [action for each in others for action in await each.plan(until_ms)]
        return [one for one in found if _is_wanted(one, wanted)]

    async def _get_reached(self, by: Operator, secret_id: str) -> HeldSecret:
        secret = await self._rotations.get(secret_id)
        if not by.reaches(secret.partner):
            raise stored.UnknownSecret(secret_id)
        return secret

    async def _get_own(self, by: Operator, secret_id: str) -> HeldSecret:
        by.require(control.SECRETS_ROTATE)
        secret = await self._get_reached(by, secret_id)
        by.require_environment(secret.environment)
        if secret.kind == "webhook":
            # Whoever is shown it can speak to the partner in our name.
            by.require(control.WEBHOOKS_WRITE)
        if secret.kind == "oauth-client":
            # Whose key it is, is what the client is.
            by.require(control.CLIENTS_WRITE)
        command = _ELSEWHERE.get(secret.kind)
        if command is not None:
            # Nobody is asked to approve what could not be done.
            raise RotatedElsewhere(secret, command)
        return secret

    async def _pass_taking_over(
        self, by: Operator, secret: HeldSecret, change: dict[str, Any], reason: str | None
    ) -> Author:
        facts = await self._holders.find_facts(secret)
        for permission in sorted(facts.granted):
            if permission.startswith(control.SCOPE) and permission not in by.permissions:
                raise PermissionMissing(permission)
        # Else the key could be given more between our looking and the change.
        condition = version_conditions.AsSeen(secret.id, secret.revision, by.condition)
        by = msgspec.structs.replace(by, condition=condition)
        return await self._pass(by, "secret.rotate", secret, change, facts, reason)

    async def _pass(  # noqa: PLR0913, PLR0917  what an act is
        self,
        by: Operator,
        action: str,
        secret: HeldSecret,
        change: dict[str, Any],
        facts: Facts,
        reason: str | None,
    ) -> Author:
        return await self._gate.pass_(
            by,
            action=action,
            subject=secret.id,
            environment=secret.environment,
            partner=secret.partner,
            change=change,
            facts=facts,
            standing=Standing("secret", secret.id, secret.revision),
            reason=reason,
        )


def _is_wanted(action: Action, wanted: Wanted) -> bool:
    return (
        wanted.kind in {None, action.kind}
        and wanted.environment in {None, action.environment}
        and wanted.partner in {None, action.partner}
        and wanted.state is None
    )
