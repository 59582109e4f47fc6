"""OAuth clients: making them, looking at them, changing them, and ending or suspending them.

Their keys and secrets are rotated as all are: `/secrets/{secret_id}`, with the client's id.

Invariant: a new secret stands in one answer, that to the request which made it. The same request repeated under its
idempotency key is told which client it made, and no more.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from litestar import Controller

from gateway.api.control import client_types, types
from gateway.api.control.call import Call, Reply
from gateway.api.control.endpoint import endpoint
from gateway.api.control.rules import PREFIX, Rule
from gateway.operations import Operator
from keys import oauth_client_rows
from keys.client_records import OAuthClient
from policies import control

TAG: Final = "clients"


class ClientController(Controller):
    path = PREFIX

    @endpoint(
        Rule(
            id="list_clients",
            method="GET",
            path="/clients",
            tag=TAG,
            summary="List OAuth clients, oldest first",
            permission=control.CLIENTS_READ,
            reach="listed",
            query=client_types.ClientQuery,
            answer=client_types.ClientList,
            refuses=("not_found",),
            sample=client_types.SAMPLE_LIST,
        )
    )
    async def list_clients(self, call: Call) -> Reply:
        query: client_types.ClientQuery = call.query
        return await list_clients(
            call, partner=types.given(query.partner), environment=types.given(query.environment)
        )

    @endpoint(
        Rule(
            id="create_client",
            method="POST",
            path="/clients",
            tag=TAG,
            summary="Register an OAuth client",
            description="The answer shows the secret of a client with `client_secret_basic`, this once. With the same"
            " Idempotency-Key the same request answers with the same client for a day, with `secret: null`. What is"
            " weaker than FAPI 2.0 has to be named in `exceptions`, and never gets a permission to trade.",
            permission=control.CLIENTS_WRITE,
            reach="own",
            environment="subject",
            body=client_types.ClientCreation,
            answer=client_types.MadeClient,
            status=201,
            settles="oauth_client.created",
            refuses=("not_found", "kms_unavailable"),
            sample_body=client_types.SAMPLE_CREATION,
            sample=client_types.SAMPLE_MADE,
        )
    )
    async def create_client(self, call: Call) -> Reply:
        asked: client_types.ClientCreation = call.body

        async def make(by: Operator) -> Reply:
            made = await call.operations.clients.create(
                by, client_types.request_of(asked), reason=asked.reason
            )
            secret = None if made.secret is None else made.secret.reveal()
            return _made(made.client, made.version, secret, shown=False)

        async def again(by: Operator, client_id: str) -> Reply:
            client = await call.operations.clients.get(by.with_permission(control.CLIENTS_READ), client_id)
            version = client.versions[0].version if client.versions else None
            return _made(client, version, None, shown=client.authentication == "client_secret_basic")

        return await call.once(make, again)

    @endpoint(
        Rule(
            id="get_client",
            method="GET",
            path="/clients/{client_id}",
            tag=TAG,
            summary="Look at one OAuth client",
            permission=control.CLIENTS_READ,
            reach="own",
            answer=client_types.Client,
            sample=client_types.SAMPLE,
        )
    )
    async def get_client(self, call: Call) -> Reply:
        return _one(await call.operations.clients.get(call.operator, call.parameters["client_id"]))

    @endpoint(
        Rule(
            id="change_client",
            method="PATCH",
            path="/clients/{client_id}",
            tag=TAG,
            summary="Widen, narrow or rename an OAuth client",
            description="What is absent stays as it is; a list replaces the whole list; null clears. The policies may"
            " ask for a second person, for a client that gets more than it had as well as for any change.",
            permission=control.CLIENTS_WRITE,
            reach="own",
            environment="subject",
            body=client_types.ClientPatch,
            answer=client_types.Client,
            conditional=True,
            sample_body=client_types.SAMPLE_PATCH,
            sample=client_types.SAMPLE_CHANGED,
        )
    )
    async def change_client(self, call: Call) -> Reply:
        client_id, asked = call.parameters["client_id"], call.body
        by = call.if_unchanged(partial(oauth_client_rows.find_revision, client_id=client_id))
        return _one(
            await call.operations.clients.change(
                by, client_id, client_types.change_of(asked), reason=asked.reason
            )
        )

    @endpoint(
        Rule(
            id="revoke_client",
            method="POST",
            path="/clients/{client_id}/revoke",
            tag=TAG,
            summary="Refuse an OAuth client for good",
            permission=control.CLIENTS_WRITE,
            reach="own",
            environment="subject",
            body=types.Why,
            answer=client_types.Client,
            conditional=True,
            sample_body=types.Why(reason="the contract has ended"),
            sample=client_types.SAMPLE_REVOKED,
        )
    )
    async def revoke_client(self, call: Call) -> Reply:
        client_id = call.parameters["client_id"]
        by = call.if_unchanged(partial(oauth_client_rows.find_revision, client_id=client_id))
        return _one(await call.operations.clients.revoke(by, client_id, reason=call.body.reason))

    @endpoint(
        Rule(
            id="freeze_client",
            method="POST",
            path="/clients/{client_id}/freeze",
            tag=TAG,
            summary="Refuse an OAuth client until it is unfrozen",
            permission=control.FREEZE,
            reach="own",
            environment="subject",
            body=types.Why,
            answer=client_types.Client,
            conditional=True,
            sample_body=types.Why(reason="a test of ours"),
            sample=client_types.SAMPLE_FROZEN,
        )
    )
    async def freeze_client(self, call: Call) -> Reply:
        client_id = call.parameters["client_id"]
        by = call.if_unchanged(partial(oauth_client_rows.find_revision, client_id=client_id))
        return _one(await call.operations.clients.freeze(by, client_id, reason=call.body.reason))

    @endpoint(
        Rule(
            id="unfreeze_client",
            method="POST",
            path="/clients/{client_id}/unfreeze",
            tag=TAG,
            summary="Let a frozen OAuth client work again",
            permission=control.UNFREEZE,
            reach="own",
            environment="subject",
            body=types.Why,
            answer=client_types.Client,
            conditional=True,
            sample_body=types.Why(reason="the test is over"),
            sample=client_types.SAMPLE,
        )
    )
    async def unfreeze_client(self, call: Call) -> Reply:
        client_id = call.parameters["client_id"]
        by = call.if_unchanged(partial(oauth_client_rows.find_revision, client_id=client_id))
        return _one(await call.operations.clients.unfreeze(by, client_id, reason=call.body.reason))


async def list_clients(call: Call, *, partner: str | None, environment: str | None) -> Reply:
    after = call.position(str)
    try:
        page = await call.operations.clients.find_page(
            call.operator, partner=partner, environment=environment, after=after, limit=call.query.limit
        )
    except oauth_client_rows.UnknownClient:
        raise call.refuse_cursor() from None
    following = call.next(page.after)
    return Reply(
        client_types.ClientList(
            items=tuple(client_types.view(client) for client in page.clients), next=following
        ),
        next=following,
    )


def _one(client: OAuthClient) -> Reply:
    return Reply(client_types.view(client), revision=client.revision)


def _made(client: OAuthClient, version: int | None, secret: str | None, *, shown: bool) -> Reply:
    told = client_types.MadeClient(
        client=client_types.view(client), version=version, secret=secret, secret_shown=shown
    )
    return Reply(told, revision=client.revision, location=f"{PREFIX}/clients/{client.id}")
