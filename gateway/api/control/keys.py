"""API keys: making them, looking at them, changing them, and ending or suspending them.

Invariant: a new secret stands in one answer, that to the request which made it. The same request repeated under its
idempotency key is told which key it made, and no more.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from litestar import Controller

from gateway.api.control import key_types, types
from gateway.api.control.call import Call, Reply
from gateway.api.control.endpoint import endpoint
from gateway.api.control.rules import PREFIX, Rule
from gateway.operations import Operator
from keys import api_keys, records
from policies import control

TAG: Final = "keys"


class KeyController(Controller):
    path = PREFIX

    @endpoint(
        Rule(
            id="list_keys",
            method="GET",
            path="/keys",
            tag=TAG,
            summary="List keys, oldest first",
            permission=control.KEYS_READ,
            reach="listed",
            query=key_types.KeyQuery,
            answer=key_types.KeyList,
            refuses=("not_found",),
            sample=key_types.SAMPLE_LIST,
        )
    )
    async def list_keys(self, call: Call) -> Reply:
        query: key_types.KeyQuery = call.query
        return await list_keys(
            call, partner=types.given(query.partner), environment=types.given(query.environment)
        )

    @endpoint(
        Rule(
            id="create_key",
            method="POST",
            path="/keys",
            tag=TAG,
            summary="Make a key",
            description="The answer shows the secret of an hmac-sha256 key, this once. With the same Idempotency-Key"
            " the same request answers with the same key for a day, with `secret: null` and `secret_shown: true`.",
            permission=control.KEYS_WRITE,
            reach="own",
            environment="subject",
            body=key_types.KeyCreation,
            answer=key_types.MadeKey,
            status=201,
            settles="api_key.created",
            refuses=("not_found", "kms_unavailable"),
            sample_body=key_types.SAMPLE_CREATION,
            sample=key_types.SAMPLE_MADE,
        )
    )
    async def create_key(self, call: Call) -> Reply:
        asked: key_types.KeyCreation = call.body

        async def make(by: Operator) -> Reply:
            made = await call.operations.keys.create(by, key_types.request_of(asked), reason=asked.reason)
            secret = None if made.secret is None else made.secret.reveal()
            return _made(made.key, made.version, secret, shown=False)

        async def again(by: Operator, key_id: str) -> Reply:
            key = await call.operations.keys.get(by.with_permission(control.KEYS_READ), key_id)
            return _made(key, key.versions[0].version, None, shown=key.algorithm == "hmac-sha256")

        return await call.once(make, again)

    @endpoint(
        Rule(
            id="get_key",
            method="GET",
            path="/keys/{key_id}",
            tag=TAG,
            summary="Look at one key",
            permission=control.KEYS_READ,
            reach="own",
            answer=key_types.Key,
            sample=key_types.SAMPLE,
        )
    )
    async def get_key(self, call: Call) -> Reply:
        return _one(await call.operations.keys.get(call.operator, call.parameters["key_id"]))

    @endpoint(
        Rule(
            id="change_key",
            method="PATCH",
            path="/keys/{key_id}",
            tag=TAG,
            summary="Widen, narrow or relabel a key",
            description="What is absent stays as it is; a list replaces the whole list; null clears. The policies may"
            " ask for a second person, for a key that gets more than it had as well as for any change.",
            permission=control.KEYS_WRITE,
            reach="own",
            environment="subject",
            body=key_types.KeyPatch,
            answer=key_types.Key,
            conditional=True,
            sample_body=key_types.SAMPLE_PATCH,
            sample=key_types.SAMPLE_CHANGED,
        )
    )
    async def change_key(self, call: Call) -> Reply:
        key_id, asked = call.parameters["key_id"], call.body
        by = call.if_unchanged(partial(api_keys.find_revision, key_id=key_id))
        return _one(
            await call.operations.keys.change(by, key_id, key_types.change_of(asked), reason=asked.reason)
        )

    @endpoint(
        Rule(
            id="revoke_key",
            method="POST",
            path="/keys/{key_id}/revoke",
            tag=TAG,
            summary="Refuse a key for good",
            permission=control.KEYS_REVOKE,
            reach="own",
            environment="subject",
            body=types.Why,
            answer=key_types.Key,
            conditional=True,
            sample_body=types.Why(reason="found in a public repository"),
            sample=key_types.SAMPLE_REVOKED,
        )
    )
    async def revoke_key(self, call: Call) -> Reply:
        key_id = call.parameters["key_id"]
        by = call.if_unchanged(partial(api_keys.find_revision, key_id=key_id))
        return _one(await call.operations.keys.revoke(by, key_id, reason=call.body.reason))

    @endpoint(
        Rule(
            id="freeze_key",
            method="POST",
            path="/keys/{key_id}/freeze",
            tag=TAG,
            summary="Refuse a key until it is unfrozen",
            permission=control.FREEZE,
            reach="own",
            environment="subject",
            body=types.Why,
            answer=key_types.Key,
            conditional=True,
            sample_body=types.Why(reason="a test of ours"),
            sample=key_types.SAMPLE_FROZEN,
        )
    )
    async def freeze_key(self, call: Call) -> Reply:
        key_id = call.parameters["key_id"]
        by = call.if_unchanged(partial(api_keys.find_revision, key_id=key_id))
        return _one(await call.operations.keys.freeze(by, key_id, reason=call.body.reason))

    @endpoint(
        Rule(
            id="unfreeze_key",
            method="POST",
            path="/keys/{key_id}/unfreeze",
            tag=TAG,
            summary="Let a frozen key work again",
            permission=control.UNFREEZE,
            reach="own",
            environment="subject",
            body=types.Why,
            answer=key_types.Key,
            conditional=True,
            sample_body=types.Why(reason="the test is over"),
            sample=key_types.SAMPLE,
        )
    )
    async def unfreeze_key(self, call: Call) -> Reply:
        key_id = call.parameters["key_id"]
        by = call.if_unchanged(partial(api_keys.find_revision, key_id=key_id))
        return _one(await call.operations.keys.unfreeze(by, key_id, reason=call.body.reason))


async def list_keys(call: Call, *, partner: str | None, environment: str | None) -> Reply:
    after = call.position(str)
    try:
        page = await call.operations.keys.find_page(
            call.operator, partner=partner, environment=environment, after=after, limit=call.query.limit
        )
    except api_keys.UnknownKey:
        raise call.refuse_cursor() from None
    following = call.next(page.after)
    return Reply(
        key_types.KeyList(items=tuple(key_types.view(key) for key in page.keys), next=following),
        next=following,
    )


def _one(key: records.ApiKey) -> Reply:
    return Reply(key_types.view(key), revision=key.revision)


def _made(key: records.ApiKey, version: int, secret: str | None, *, shown: bool) -> Reply:
    told = key_types.MadeKey(key=key_types.view(key), version=version, secret=secret, secret_shown=shown)
    return Reply(told, revision=key.revision, location=f"{PREFIX}/keys/{key.id}")
