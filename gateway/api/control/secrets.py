"""The versions of secrets: rotating, preparing, activating, retiring and revoking them, and what is planned of them.

Invariant: a new secret stands in one answer, that to the request which made it. The same request repeated under its
idempotency key is told which version it made, and no more. A step on a version that is there rests on the state that
the caller has seen.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec
from litestar import Controller

from gateway.api.control import jwk_types, types
from gateway.api.control import secret_views as views
from gateway.api.control.call import Call, Reply
from gateway.api.control.endpoint import endpoint
from gateway.api.control.rules import PREFIX, Rule
from gateway.operations import Operator
from gateway.problems import Refusal
from keys import conditions, secret_pages, version_conditions
from keys.held import HeldSecret
from keys.kinds import Offer
from keys.rotations import Wish
from keys.versions import UnknownSecret
from policies import control

TAG: Final = "secrets"
_DAY_MS: Final = 86_400_000
_MOST_DIGITS: Final = 9
_ONCE: Final = (
    " The answer shows a new HMAC secret, this once. With the same Idempotency-Key the same request answers with the"
    " same version for a day, with `secret: null` and `secret_shown: true`."
)


class SecretController(Controller):
    path = PREFIX

    @endpoint(
        Rule(
            id="list_secrets",
            method="GET",
            path="/secrets",
            tag=TAG,
            summary="List secrets with their versions and who uses them, oldest first",
            permission=control.SECRETS_READ,
            reach="listed",
            query=views.SecretQuery,
            answer=views.SecretList,
            refuses=("not_found",),
            sample=views.SAMPLE_LIST,
        )
    )
    async def list_secrets(self, call: Call) -> Reply:
        after = call.position(str)
        try:
            page = await call.operations.secrets.find_page(
                call.operator, _wanted(call.query), after=after, limit=call.query.limit
            )
        except UnknownSecret:
            raise call.refuse_cursor() from None
        following = call.next(page.after)
        items = tuple(views.list_(secret) for secret in page.secrets)
        return Reply(views.SecretList(items=items, next=following), next=following)

    @endpoint(
        Rule(
            id="plan_rotations",
            method="GET",
            path="/rotations/planned",
            tag=TAG,
            summary="What would happen by itself in the coming days, and to whom",
            description="A page holds all steps of up to `limit` secrets, each secret's in the order of time.",
            permission=control.SECRETS_READ,
            reach="listed",
            query=views.PlanQuery,
            answer=views.StepList,
            refuses=("not_found",),
            sample=views.SAMPLE_STEPS,
        )
    )
    async def plan_rotations(self, call: Call) -> Reply:
        query: views.PlanQuery = call.query
        after, until_ms = call.position(str), call.now_ms + query.days * _DAY_MS
        try:
            page = await call.operations.secrets.plan_page(
                call.operator, until_ms, _wanted(query), after=after, limit=query.limit
            )
        except UnknownSecret:
            raise call.refuse_cursor() from None
        following = call.next(page.after)
        items = tuple(views.show_step(action) for action in page.actions)
        return Reply(views.StepList(items=items, next=following), next=following)

    @endpoint(
        Rule(
            id="get_secret",
            method="GET",
            path="/secrets/{secret_id}",
            tag=TAG,
            summary="Look at one secret",
            permission=control.SECRETS_READ,
            reach="own",
            answer=views.ShownSecret,
            sample=views.SAMPLE,
        )
    )
    async def get_secret(self, call: Call) -> Reply:
        return _one(await call.operations.secrets.get(call.operator, call.parameters["secret_id"]))

    @endpoint(
        Rule(
            id="list_secret_versions",
            method="GET",
            path="/secrets/{secret_id}/versions",
            tag=TAG,
            summary="Every version of one secret, oldest first, and who uses it",
            permission=control.SECRETS_READ,
            reach="own",
            answer=views.VersionList,
            sample=views.SAMPLE_VERSIONS,
        )
    )
    async def list_secret_versions(self, call: Call) -> Reply:
        secret = await call.operations.secrets.get(call.operator, call.parameters["secret_id"])
        return Reply(views.VersionList(items=views.list_versions(secret), next=None))

    @endpoint(
        Rule(
            id="rotate_secret",
            method="POST",
            path="/secrets/{secret_id}/rotations",
            tag=TAG,
            summary="Make a new version that serves at once",
            description="The version before goes on verifying for the overlap." + _ONCE,
            permission=control.SECRETS_ROTATE,
            reach="own",
            environment="subject",
            body=views.Rotation,
            answer=views.MadeVersion,
            status=201,
            settles="secret.rotated",
            refuses=("kms_unavailable",),
            sample_body=views.SAMPLE_ROTATION,
            sample=views.SAMPLE_MADE,
        )
    )
    async def rotate_secret(self, call: Call) -> Reply:
        asked: views.Rotation = call.body
        wish = Wish(
            overlap_ms=asked.overlap,
            expected=asked.expected,
            replaces_lost=asked.replaces_lost,
            even_if_used=asked.even_if_used,
        )
        return await _make(call, wish)

    @endpoint(
        Rule(
            id="prepare_secret_version",
            method="POST",
            path="/secrets/{secret_id}/versions",
            tag=TAG,
            summary="Make a new version that serves later",
            description="It verifies nothing until it is activated, by hand or at its moment." + _ONCE,
            permission=control.SECRETS_ROTATE,
            reach="own",
            environment="subject",
            body=views.Preparation,
            answer=views.MadeVersion,
            status=201,
            settles="secret.announced",
            refuses=("kms_unavailable",),
            sample_body=views.SAMPLE_PREPARATION,
            sample=msgspec.structs.replace(views.SAMPLE_MADE, state="pending", overlap_ends=None),
        )
    )
    async def prepare_secret_version(self, call: Call) -> Reply:
        asked: views.Preparation = call.body
        wish = Wish(
            prepare=True,
            activates_at=asked.activates_at,
            overlap_ms=asked.overlap,
            even_if_used=asked.even_if_used,
        )
        return await _make(call, wish)

    @endpoint(
        Rule(
            id="activate_secret_version",
            method="POST",
            path="/secrets/{secret_id}/versions/{version}/activate",
            tag=TAG,
            summary="Let a prepared version serve",
            permission=control.SECRETS_ROTATE,
            reach="own",
            environment="subject",
            body=views.Activation,
            answer=views.ShownSecret,
            conditional=True,
            sample_body=views.SAMPLE_ACTIVATION,
            sample=views.SAMPLE,
        )
    )
    async def activate_secret_version(self, call: Call) -> Reply:
        asked: views.Activation = call.body
        by, secret_id, version = _step(call)
        secret = await call.operations.secrets.activate(
            by,
            secret_id,
            version,
            overlap_ms=asked.overlap,
            even_if_used=asked.even_if_used,
            reason=asked.reason,
        )
        return _one(secret)

    @endpoint(
        Rule(
            id="retire_secret_version",
            method="POST",
            path="/secrets/{secret_id}/versions/{version}/retire",
            tag=TAG,
            summary="End an overlap before its time",
            description="A version that was used lately is not ended without `even_if_used`; the `conflict` tells who"
            " would break: `last_used_at`, `last_used_source`, `use_count`.",
            permission=control.SECRETS_ROTATE,
            reach="own",
            environment="subject",
            body=views.Retirement,
            answer=views.ShownSecret,
            conditional=True,
            sample_body=views.SAMPLE_RETIREMENT,
            sample=views.SAMPLE,
        )
    )
    async def retire_secret_version(self, call: Call) -> Reply:
        asked: views.Retirement = call.body
        by, secret_id, version = _step(call)
        retire = call.operations.secrets.retire
        return _one(
            await retire(by, secret_id, version, even_if_used=asked.even_if_used, reason=asked.reason)
        )

    @endpoint(
        Rule(
            id="revoke_secret_version",
            method="POST",
            path="/secrets/{secret_id}/versions/{version}/revoke",
            tag=TAG,
            summary="Refuse one version at once, whoever uses it",
            description="For what has leaked. The active version needs a successor first.",
            permission=control.SECRETS_ROTATE,
            reach="own",
            environment="subject",
            body=types.Why,
            answer=views.ShownSecret,
            conditional=True,
            sample_body=types.Why(reason="found in a public repository"),
            sample=views.SAMPLE,
        )
    )
    async def revoke_secret_version(self, call: Call) -> Reply:
        by, secret_id, version = _step(call)
        return _one(await call.operations.secrets.revoke(by, secret_id, version, reason=call.body.reason))


async def _make(call: Call, wish: Wish) -> Reply:
    asked: views.Rotation | views.Preparation = call.body
    offer = _offer(asked)

    async def make(by: Operator) -> Reply:
        if isinstance(by.condition, conditions.OnlyOnce):
            by = msgspec.structs.replace(by, condition=version_conditions.VersionOnce(by.condition))
        made = await call.operations.secrets.rotate(
            by, call.parameters["secret_id"], wish, offer, reason=asked.reason
        )
        shown = None if made.shown is None else made.shown.reveal()
        return _made(made.secret, made.version, shown, earlier=False)

    async def again(by: Operator, settled: str) -> Reply:
        secret_id, version = version_conditions.parse(settled)
        secret = await call.operations.secrets.get(by.with_permission(control.SECRETS_READ), secret_id)
        return _made(secret, version, None, earlier=True)

    return await call.once(make, again)


def _step(call: Call) -> tuple[Operator, str, int]:
    secret_id, number = call.parameters["secret_id"], call.parameters["version"]
    by = call.if_unchanged(partial(secret_pages.find_revision, secret_id=secret_id))
    if (
        not (number.isascii() and number.isdigit())
        or len(number) > _MOST_DIGITS
        or number != str(int(number))
    ):
        raise Refusal("not_found", "There is no such version.")
    return by, secret_id, int(number)


def _wanted(query: views.SecretQuery) -> secret_pages.Wanted:
    return secret_pages.Wanted(
        kind=types.given(query.kind),
        environment=types.given(query.environment),
        partner=types.given(query.partner),
        state=types.given(query.state),
    )


def _offer(asked: views.Rotation | views.Preparation) -> Offer:
    if asked.jwk is None:
        return Offer(public_key=_from_hex(asked.public_key), proof=_from_hex(asked.proof))
    if asked.public_key is not None:
        raise Refusal("invalid_request", "A new version has one key.", members={"pointer": "#/jwk"})
    return Offer(public_key=jwk_types.encode(asked.jwk), proof=_from_hex(asked.proof))


def _from_hex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def _one(secret: HeldSecret) -> Reply:
    return Reply(views.show(secret), revision=secret.revision)


def _made(secret: HeldSecret, version: int, shown: str | None, *, earlier: bool) -> Reply:
    view = views.show_made(secret, version, shown, earlier=earlier)
    return Reply(view, revision=secret.revision, location=f"{PREFIX}/secrets/{secret.id}")
