"""What can be done with the gateway's credentials for its upstreams, the same for all who ask.

Invariant: what is approved is where a credential goes, its form, its details and whatever of it is no secret, on the
credential as it was seen. The secret itself is in no approval, not even as a digest: whoever approves trusts that it is
the right one. To revoke one takes one person.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.credentials import forms
from gateway.operations.gate import Gate, Standing
from gateway.operations.operator import Operator
from keys.changes import Author
from keys.secret import Secret
from keys.upstream_credentials import (
    CredentialExists,
    CredentialRequest,
    Form,
    NoPendingVersion,
    NotHeldHere,
    UnknownCredential,
    UpstreamCredential,
    UpstreamCredentials,
)
from policies import control


class UpstreamOperations:
    def __init__(self, credentials: UpstreamCredentials, gate: Gate) -> None:
        self._credentials = credentials
        self._gate = gate

    async def find_all(self, by: Operator) -> list[UpstreamCredential]:
        _require(by, control.SECRETS_READ)
        return await self._credentials.list_all()

    async def get(self, by: Operator, upstream: str) -> UpstreamCredential:
        _require(by, control.SECRETS_READ)
        return await self._credentials.get(upstream)

    async def create(
        self, by: Operator, request: CredentialRequest, material: Secret | None, *, reason: str | None = None
    ) -> UpstreamCredential:
        _require(by, control.SECRETS_ROTATE)
        by.require_environment(request.environment)
        await self._require_none(request.upstream)
        author = await self._gate.pass_(
            by,
            action="upstream.create",
            subject=request.upstream,
            environment=request.environment,
            change={
                "form": request.form,
                "source": request.source,
                "details": request.details,
                "public": _public(request.form, material),
            },
            reason=reason,
        )
        return await self._credentials.create(request, material, author=author)

    async def announce(
        self,
        by: Operator,
        upstream: str,
        material: Secret,
        *,
        activates_at: int | None = None,
        reason: str | None = None,
    ) -> UpstreamCredential:
        """The next version, not sent before it is activated. `activates_at`: when that happens by itself."""
        author = await self._enter(
            by, upstream, material, {"step": "announce", "activates_at": activates_at}, reason
        )
        return await self._credentials.announce(upstream, material, activates_at=activates_at, author=author)

    async def rotate(
        self, by: Operator, upstream: str, material: Secret, *, reason: str | None = None
    ) -> UpstreamCredential:
        """The next version, sent at once."""
        author = await self._enter(by, upstream, material, {"step": "rotate"}, reason)
        return await self._credentials.rotate(upstream, material, author=author)

    async def activate(self, by: Operator, upstream: str, *, reason: str | None = None) -> UpstreamCredential:
        seen = await self._get_own(by, upstream)
        pending = next((each.version for each in seen.versions if each.state == "pending"), None)
        if pending is None:
            # Nobody is asked to approve what could not be done.
            raise NoPendingVersion(upstream)
        change = {"step": "activate", "version": pending}
        author = await self._pass(by, "upstream.rotate", seen, change, reason)
        return await self._credentials.activate(upstream, author=author)

    async def revoke(
        self, by: Operator, upstream: str, version: int | None = None, *, reason: str | None = None
    ) -> UpstreamCredential:
        seen = await self._get_own(by, upstream)
        author = await self._pass(by, "upstream.revoke", seen, {"version": version}, reason)
        return await self._credentials.revoke(upstream, version, author=author)

    async def remove(self, by: Operator, upstream: str, *, reason: str | None = None) -> None:
        seen = await self._get_own(by, upstream)
        author = await self._pass(by, "upstream.remove", seen, {}, reason)
        await self._credentials.remove(upstream, author=author)

    async def _require_none(self, upstream: str) -> None:
        try:
            await self._credentials.get(upstream)
        except UnknownCredential:
            return
        raise CredentialExists(upstream)

    async def _get_own(self, by: Operator, upstream: str) -> UpstreamCredential:
        _require(by, control.SECRETS_ROTATE)
        found = await self._credentials.get(upstream)
        by.require_environment(found.environment)
        return found

    async def _enter(
        self, by: Operator, upstream: str, material: Secret, step: dict[str, Any], reason: str | None
    ) -> Author:
        seen = await self._get_own(by, upstream)
        if seen.source != "local":
            raise NotHeldHere(upstream, seen.source)
        change = step | {"public": _public(seen.form, material)}
        return await self._pass(by, "upstream.rotate", seen, change, reason)

    async def _pass(
        self,
        by: Operator,
        action: str,
        seen: UpstreamCredential,
        change: Mapping[str, Any],
        reason: str | None,
    ) -> Author:
        return await self._gate.pass_(
            by,
            action=action,
            subject=seen.upstream,
            environment=seen.environment,
            change=change,
            standing=Standing("secret", seen.id, seen.revision),
            reason=reason,
        )


def _require(by: Operator, permission: str) -> None:
    by.require(permission)
    by.require(control.ALL_PARTNERS)


def _public(form: Form, material: Secret | None) -> dict[str, str]:
    """Such as a user name, a key's id: they say whose the secret is, and are none."""
    if material is None or form not in forms.PUBLIC_MEMBER:
        return {}
    name = forms.PUBLIC_MEMBER[form]
    members = msgspec.json.decode(material.reveal(), type=dict[str, str])
    return {name: members[name]}
