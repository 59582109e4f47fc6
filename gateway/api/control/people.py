"""People's accounts: inviting them, their roles, shutting them out, and sending them links.

No endpoint shows a link, a password or a code: those go to their holder's own mailbox.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Final, Literal

from litestar import Controller
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct, structs

from auth.people import account_rows, records
from auth.people.accounts import Invitation
from gateway.api.control import types
from gateway.api.control.call import Call, Reply
from gateway.api.control.endpoint import endpoint
from gateway.api.control.rules import PREFIX, Rule
from gateway.operations import Operator
from gateway.operations.people_operations import PeopleOperations
from policies import control

TAG: Final = "people"

Roles = Annotated[tuple[types.Name, ...], Meta(max_length=64)]


class AccountInvitation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`partner`: null for those who keep the gateway."""

    email: Annotated[str, Meta(min_length=3, max_length=254, description="Where the link is sent")]
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    partner: types.PartnerId | None
    roles: Roles = ()
    reason: types.Reason | None = None


class AccountRoles(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """These, in place of those they have."""

    roles: Roles
    reason: types.Reason | None = None


class Account(Struct, frozen=True, kw_only=True):
    id: str
    email: str
    name: str
    partner: str | None
    roles: tuple[str, ...]
    state: Literal["invited", "active", "disabled"]
    has_password: bool
    has_totp: bool
    passkeys: int
    recovery_codes: int
    created_at: types.Moment
    signed_out_at: types.Moment | None
    disabled_at: types.Moment | None
    disabled_reason: str | None


class AccountList(Struct, frozen=True, kw_only=True):
    items: tuple[Account, ...]
    next: str | None


SAMPLE: Final = Account(
    id="acc_0102030405060708090a0b0c",
    email="ada@acme.example",
    name="Ada Lovelace",
    partner="acme",
    roles=("viewer",),
    state="active",
    has_password=True,
    has_totp=True,
    passkeys=1,
    recovery_codes=10,
    created_at=1_763_596_800_000,
    signed_out_at=None,
    disabled_at=None,
    disabled_reason=None,
)
SAMPLE_NEW: Final = structs.replace(
    SAMPLE, roles=(), state="invited", has_password=False, has_totp=False, passkeys=0, recovery_codes=0
)
SAMPLE_DISABLED: Final = structs.replace(
    SAMPLE, state="disabled", disabled_at=1_763_596_900_000, disabled_reason="left on Friday"
)

Act = Callable[..., Awaitable[records.Account]]


def _changing(verb: str, summary: str, act: Callable[[PeopleOperations], Act]) -> HTTPRouteHandler:
    """The changes that need nothing but a reason differ in the verb alone."""
    name = f"{verb.replace('-', '_')}_account"

    async def change(_self: Controller, call: Call) -> Reply:
        by, account_id = _unchanged(call), call.parameters["account_id"]
        return _one(await act(call.operations.people)(by, account_id, reason=call.body.reason))

    change.__name__ = name
    rule = Rule(
        id=name,
        method="POST",
        path=f"/people/{{account_id}}/{verb}",
        tag=TAG,
        summary=summary,
        permission=control.PEOPLE_WRITE,
        reach="own",
        environment="live",
        body=types.Why,
        answer=Account,
        conditional=True,
        sample_body=types.Why(reason="left on Friday"),
        sample=SAMPLE_DISABLED if verb == "disable" else SAMPLE,
    )
    return endpoint(rule)(change)


class PeopleController(Controller):
    path = PREFIX

    @endpoint(
        Rule(
            id="list_people",
            method="GET",
            path="/people",
            tag=TAG,
            summary="List accounts, by their ids",
            permission=control.PEOPLE_READ,
            reach="listed",
            query=types.Paging,
            answer=AccountList,
            sample=AccountList(items=(SAMPLE,), next=None),
        )
    )
    async def list_people(self, call: Call) -> Reply:
        after, limit = call.position(str), call.query.limit
        found = sorted(await call.operations.people.find_all(call.operator), key=lambda each: each.id)
        left = [account for account in found if after is None or account.id > after]
        following = call.next(left[limit - 1].id if len(left) > limit else None)
        items = tuple(_view(account) for account in left[:limit])
        return Reply(AccountList(items=items, next=following), next=following)

    @endpoint(
        Rule(
            id="invite_person",
            method="POST",
            path="/people",
            tag=TAG,
            summary="Make an account, and send its holder a link to choose a password",
            permission=control.PEOPLE_WRITE,
            reach="own",
            environment="live",
            body=AccountInvitation,
            answer=Account,
            status=201,
            settles="account.invited",
            refuses=("not_found",),
            sample_body=AccountInvitation(email="ada@acme.example", name="Ada Lovelace", partner="acme"),
            sample=SAMPLE_NEW,
        )
    )
    async def invite_person(self, call: Call) -> Reply:
        asked: AccountInvitation = call.body
        invitation = Invitation(email=asked.email, name=asked.name, partner=asked.partner, roles=asked.roles)

        async def make(by: Operator) -> Reply:
            return _made(await call.operations.people.invite(by, invitation, reason=asked.reason))

        async def again(by: Operator, account_id: str) -> Reply:
            return _made(
                await call.operations.people.get(by.with_permission(control.PEOPLE_READ), account_id)
            )

        return await call.once(make, again)

    @endpoint(
        Rule(
            id="get_account",
            method="GET",
            path="/people/{account_id}",
            tag=TAG,
            summary="Look at one account",
            permission=control.PEOPLE_READ,
            reach="own",
            answer=Account,
            sample=SAMPLE,
        )
    )
    async def get_account(self, call: Call) -> Reply:
        return _one(await call.operations.people.get(call.operator, call.parameters["account_id"]))

    @endpoint(
        Rule(
            id="set_roles_of_account",
            method="PUT",
            path="/people/{account_id}/roles",
            tag=TAG,
            summary="Give somebody these roles, in place of those they have",
            permission=control.PEOPLE_WRITE,
            reach="own",
            environment="live",
            body=AccountRoles,
            answer=Account,
            conditional=True,
            sample_body=AccountRoles(roles=("viewer",)),
            sample=SAMPLE,
        )
    )
    async def set_roles_of_account(self, call: Call) -> Reply:
        by, asked = _unchanged(call), call.body
        account_id = call.parameters["account_id"]
        return _one(await call.operations.people.set_roles(by, account_id, asked.roles, reason=asked.reason))

    disable_account = _changing(
        "disable", "Shut somebody out: every session and every grant ends", lambda people: people.disable
    )
    enable_account = _changing(
        "enable", "Let somebody in again who was shut out", lambda people: people.enable
    )
    sign_out_account = _changing(
        "sign-out", "End every session and every grant of somebody", lambda people: people.sign_out
    )
    reset_account = _changing(
        "reset",
        "Send somebody a link to a new password, or their invitation again",
        lambda people: people.reset,
    )
    remove_factors_account = _changing(
        "remove-factors",
        "Take away every second factor of somebody who has lost them",
        lambda people: people.remove_factors,
    )


def _unchanged(call: Call) -> Operator:
    return call.if_unchanged(partial(account_rows.find_revision, account_id=call.parameters["account_id"]))


def _view(account: records.Account) -> Account:
    return Account(
        id=account.id,
        email=account.shown_email,
        name=account.name,
        partner=account.partner,
        roles=account.roles,
        state=account.state,
        has_password=account.has_password,
        has_totp=account.has_totp,
        passkeys=account.passkeys,
        recovery_codes=account.recovery_codes,
        created_at=account.created_at,
        signed_out_at=account.signed_out_at,
        disabled_at=account.disabled_at,
        disabled_reason=account.disabled_reason,
    )


def _one(account: records.Account) -> Reply:
    return Reply(_view(account), revision=account.revision)


def _made(account: records.Account) -> Reply:
    return Reply(_view(account), revision=account.revision, location=f"{PREFIX}/people/{account.id}")
