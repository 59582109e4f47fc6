"""Partners: taking them on, looking at them, changing them, and freezing all that is theirs."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from litestar import Controller
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from gateway.api.control import types
from gateway.api.control.call import Call, Reply
from gateway.api.control.endpoint import endpoint
from gateway.api.control.key_types import SAMPLE_LIST, KeyList
from gateway.api.control.keys import list_keys
from gateway.api.control.rules import PREFIX, Rule
from gateway.operations import Operator
from keys import partners, records
from policies import control

TAG: Final = "partners"

PartnerName = Annotated[str, Meta(min_length=1, max_length=200)]


class PartnerCreation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: types.PartnerId
    name: PartnerName
    tier: types.Name
    reason: types.Reason | None = None


class PartnerPatch(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is absent stays as it is."""

    name: PartnerName | UnsetType = UNSET
    tier: types.Name | UnsetType = UNSET
    reason: types.Reason | None = None


class Partner(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    tier: str
    created_at: types.Moment
    frozen_at: types.Moment | None
    frozen_reason: str | None


class PartnerList(Struct, frozen=True, kw_only=True):
    items: tuple[Partner, ...]
    next: str | None


SAMPLE: Final = Partner(
    id="acme",
    name="Acme Trading",
    tier="standard",
    created_at=1_763_596_800_000,
    frozen_at=None,
    frozen_reason=None,
)
SAMPLE_FROZEN: Final = structs.replace(
    SAMPLE, frozen_at=1_763_596_900_000, frozen_reason="found in a public repository"
)


class PartnerController(Controller):
    path = PREFIX

    @endpoint(
        Rule(
            id="list_partners",
            method="GET",
            path="/partners",
            tag=TAG,
            summary="List partners, by their ids",
            permission=control.PARTNERS_READ,
            reach="listed",
            query=types.Paging,
            answer=PartnerList,
            sample=PartnerList(items=(SAMPLE,), next=None),
        )
    )
    async def list_partners(self, call: Call) -> Reply:
        after, limit = call.position(str), call.query.limit
        found = await call.operations.partners.find_all(call.operator)
        left = [partner for partner in found if after is None or partner.id > after]
        following = call.next(left[limit - 1].id if len(left) > limit else None)
        items = tuple(_view(partner) for partner in left[:limit])
        return Reply(PartnerList(items=items, next=following), next=following)

    @endpoint(
        Rule(
            id="create_partner",
            method="POST",
            path="/partners",
            tag=TAG,
            summary="Take on a partner",
            permission=control.PARTNERS_WRITE,
            reach="all",
            environment="live",
            body=PartnerCreation,
            answer=Partner,
            status=201,
            settles="partner.created",
            sample_body=PartnerCreation(id="acme", name="Acme Trading", tier="standard"),
            sample=SAMPLE,
        )
    )
    async def create_partner(self, call: Call) -> Reply:
        asked: PartnerCreation = call.body

        async def make(by: Operator) -> Reply:
            return _made(
                await call.operations.partners.create(
                    by, asked.id, asked.name, asked.tier, reason=asked.reason
                )
            )

        async def again(by: Operator, partner_id: str) -> Reply:
            return _made(
                await call.operations.partners.get(by.with_permission(control.PARTNERS_READ), partner_id)
            )

        return await call.once(make, again)

    @endpoint(
        Rule(
            id="get_partner",
            method="GET",
            path="/partners/{partner_id}",
            tag=TAG,
            summary="Look at one partner",
            permission=control.PARTNERS_READ,
            reach="own",
            answer=Partner,
            sample=SAMPLE,
        )
    )
    async def get_partner(self, call: Call) -> Reply:
        return _one(await call.operations.partners.get(call.operator, call.parameters["partner_id"]))

    @endpoint(
        Rule(
            id="list_keys_of_partner",
            method="GET",
            path="/partners/{partner_id}/keys",
            tag=TAG,
            summary="List the keys of one partner, oldest first",
            permission=control.KEYS_READ,
            reach="own",
            query=types.Paging,
            answer=KeyList,
            sample=SAMPLE_LIST,
        )
    )
    async def list_keys_of_partner(self, call: Call) -> Reply:
        return await list_keys(call, partner=call.parameters["partner_id"], environment=None)

    @endpoint(
        Rule(
            id="change_partner",
            method="PATCH",
            path="/partners/{partner_id}",
            tag=TAG,
            summary="Rename a partner, or put it into another tier",
            description="What is absent stays as it is.",
            permission=control.PARTNERS_WRITE,
            reach="all",
            environment="live",
            body=PartnerPatch,
            answer=Partner,
            conditional=True,
            sample_body=PartnerPatch(name="Acme Trading and Sons", reason="they have renamed themselves"),
            sample=structs.replace(SAMPLE, name="Acme Trading and Sons"),
        )
    )
    async def change_partner(self, call: Call) -> Reply:
        partner_id, asked = call.parameters["partner_id"], call.body
        by = call.if_unchanged(partial(partners.find_revision, partner_id=partner_id))
        change = records.PartnerChange(name=asked.name, tier=asked.tier)
        return _one(await call.operations.partners.change(by, partner_id, change, reason=asked.reason))

    @endpoint(
        Rule(
            id="freeze_partner",
            method="POST",
            path="/partners/{partner_id}/freeze",
            tag=TAG,
            summary="Refuse all keys of a partner until it is unfrozen",
            permission=control.FREEZE,
            reach="own",
            environment="live",
            body=types.Why,
            answer=Partner,
            conditional=True,
            sample_body=types.Why(reason="found in a public repository"),
            sample=SAMPLE_FROZEN,
        )
    )
    async def freeze_partner(self, call: Call) -> Reply:
        partner_id = call.parameters["partner_id"]
        by = call.if_unchanged(partial(partners.find_revision, partner_id=partner_id))
        return _one(await call.operations.partners.freeze(by, partner_id, reason=call.body.reason))

    @endpoint(
        Rule(
            id="unfreeze_partner",
            method="POST",
            path="/partners/{partner_id}/unfreeze",
            tag=TAG,
            summary="Let a frozen partner's keys work again",
            permission=control.UNFREEZE,
            reach="all",
            environment="live",
            body=types.Why,
            answer=Partner,
            conditional=True,
            sample_body=types.Why(reason="the keys have been rotated"),
            sample=SAMPLE,
        )
    )
    async def unfreeze_partner(self, call: Call) -> Reply:
        partner_id = call.parameters["partner_id"]
        by = call.if_unchanged(partial(partners.find_revision, partner_id=partner_id))
        return _one(await call.operations.partners.unfreeze(by, partner_id, reason=call.body.reason))


def _view(partner: records.Partner) -> Partner:
    return Partner(
        id=partner.id,
        name=partner.name,
        tier=partner.tier,
        created_at=partner.created_at,
        frozen_at=partner.frozen_at,
        frozen_reason=partner.frozen_reason,
    )


def _one(partner: records.Partner) -> Reply:
    return Reply(_view(partner), revision=partner.revision)


def _made(partner: records.Partner) -> Reply:
    return Reply(_view(partner), revision=partner.revision, location=f"{PREFIX}/partners/{partner.id}")
