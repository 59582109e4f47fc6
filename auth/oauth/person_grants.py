"""The grants that rest on a person's yes, as the token endpoint knows them: a code, a refresh token, a device code.

Invariant: a client has proved itself, and shown the key or certificate that its tokens are to be bound to, before
anything of a person's is looked at: a proof that lacks its nonce uses up nothing. What is issued says whose grant it
rests on, and dies with it.
"""

from collections.abc import Mapping
from typing import Any

from auth.oauth import bridge, codes, devices, errors, pushed_requests, refresh
from auth.oauth.access_tokens import AccessTokens, PersonSubject
from auth.oauth.flows import Flows
from auth.oauth.standing import Bound, Redeemed


class _PersonGrant(bridge.Grant):
    flows: Flows
    access_tokens: AccessTokens

    async def issue(self, request: bridge.Request) -> Mapping[str, Any]:
        bound = request.authenticated.bind()
        # Without a key to sign with, nothing is to be used up.
        self.access_tokens.require_signer()
        redeemed = await self.redeem(request, bound)
        issued = self.access_tokens.issue(
            client=request.authenticated.client,
            scope=redeemed.scope,
            resource=redeemed.grant.resource,
            jkt=bound.jkt,
            x5t=bound.x5t,
            now_ms=request.arrived.now_ms,
            subject=_describe(redeemed),
        )
        renewed = {} if redeemed.refresh is None else {"refresh_token": redeemed.refresh.reveal()}
        return issued.answer() | renewed

    async def redeem(self, request: bridge.Request, bound: Bound) -> Redeemed:
        raise NotImplementedError


class AuthorizationCode(_PersonGrant):
    GRANT_TYPE = pushed_requests.GRANT

    async def redeem(self, request: bridge.Request, bound: Bound) -> Redeemed:
        form = request.form
        presented = codes.Presented(
            code=_require(form, "code"),
            redirect_uri=_require(form, "redirect_uri"),
            verifier=form.get("code_verifier"),
            bound=bound,
            resource=form.get("resource"),
        )
        return await self.flows.codes.redeem(request.authenticated.client, presented)


class RefreshToken(_PersonGrant):
    GRANT_TYPE = refresh.GRANT

    async def redeem(self, request: bridge.Request, bound: Bound) -> Redeemed:
        form = request.form
        return await self.flows.refresh_tokens.redeem(
            request.authenticated.client,
            _require(form, "refresh_token"),
            scope=form.get("scope"),
            bound=bound,
            resource=form.get("resource"),
        )


class DeviceCode(_PersonGrant):
    GRANT_TYPE = devices.GRANT

    async def redeem(self, request: bridge.Request, bound: Bound) -> Redeemed:
        form = request.form
        return await self.flows.devices.redeem(
            request.authenticated.client,
            _require(form, "device_code"),
            bound,
            resource=form.get("resource"),
        )


ALL: tuple[type[_PersonGrant], ...] = (AuthorizationCode, RefreshToken, DeviceCode)


def _describe(redeemed: Redeemed) -> PersonSubject:
    grant = redeemed.grant
    return PersonSubject(
        account_id=grant.account_id,
        partner=grant.partner,
        roles=redeemed.roles,
        grant=grant.id,
        authenticated_at=grant.authenticated_at,
        methods=grant.methods,
    )


def _require(form: Mapping[str, str], name: str) -> str:
    if name not in form:
        raise errors.invalid_request(f"The {name} is missing.")
    return form[name]
