"""What operators may do with OAuth clients, and what nobody may."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.operations import Operator, PermissionMissing
from gateway.operations.client_operations import TradingRefused, VersionWaits
from gateway.operations.operator import EnvironmentForeign
from keys import oauth_client_rows, partners
from keys.client_records import ClientChange, CreatedClient
from keys.kinds import Offer
from keys.rotations import Wish
from keys.thawing import FrozenFromAbove
from policies import control
from policies.document import NotGranted, UnknownName
from tests.support import oauth_clients
from tests.support.desk import Desk, needed, person, showing

ALICE, BOB = person("alice"), person("bob")
ANNA, ABEL = person("anna", partner="acme"), person("abel", partner="acme")
ELSE = person("else", partner="borealis")


async def make(desk: Desk, by: Operator = ALICE, **asked: Any) -> CreatedClient:  # noqa: ANN401  whatever a request has
    return await desk.ops.clients.create(by, oauth_clients.request(**asked))


async def test_a_partner_s_operators_lead_its_own_clients(desk: Desk) -> None:
    """From the first to the last; those of another partner know of nothing."""
    made = await make(desk, ANNA)
    client_id = made.client.id
    assert [each.id for each in (await desk.ops.clients.find_page(ABEL)).clients] == [client_id]
    assert (await desk.ops.clients.find_page(ELSE)).clients == ()
    with pytest.raises(partners.UnknownPartner):
        await make(desk, ELSE)
    with pytest.raises(partners.UnknownPartner):
        await desk.ops.clients.find_page(ELSE, partner="acme")
    ops = desk.ops.clients
    for ask in (
        lambda: ops.get(ELSE, client_id),
        lambda: ops.change(ELSE, client_id, ClientChange(name="Mine")),
        lambda: ops.revoke(ELSE, client_id),
        lambda: ops.freeze(ELSE, client_id),
        lambda: ops.unfreeze(ELSE, client_id),
        lambda: ops.find_page(ELSE, after=client_id),
    ):
        with pytest.raises(oauth_client_rows.UnknownClient):
            await ask()
    await desk.ops.clients.change(ANNA, client_id, ClientChange(name="Renamed"))
    assert (await desk.ops.clients.revoke(ABEL, client_id)).revoked_at is not None


async def test_each_act_takes_its_permission(desk: Desk) -> None:
    """To freeze is another one than to change."""
    client_id = (await make(desk)).client.id
    ops = desk.ops.clients
    blind, idle = (
        person("blind", without=(control.CLIENTS_READ,)),
        person("idle", without=(control.CLIENTS_WRITE,)),
    )
    for ask in (
        lambda: ops.get(blind, client_id),
        lambda: ops.find_page(blind),
        lambda: make(desk, idle),
        lambda: ops.change(idle, client_id, ClientChange(name="Mine")),
        lambda: ops.revoke(idle, client_id),
        lambda: desk.ops.secrets.rotate(idle, client_id),
        lambda: ops.freeze(person("mild", without=(control.FREEZE,)), client_id),
        lambda: ops.unfreeze(person("stern", without=(control.UNFREEZE,)), client_id),
    ):
        with pytest.raises(PermissionMissing):
            await ask()


async def test_a_paper_operator_makes_no_live_client(desk: Desk) -> None:
    """Environments stay apart."""
    paper = person("paper", environments=frozenset({"paper"}))
    await make(desk, paper)
    with pytest.raises(EnvironmentForeign):
        await make(desk, paper, environment="live")


WEAK = [
    pytest.param({"authentication": "client_secret_basic", "exceptions": ("client-secret",)}, id="secret"),
    pytest.param({"binding": None, "exceptions": ("bearer-tokens",)}, id="bearer"),
    pytest.param(
        {
            "authentication": "none",
            "exceptions": ("public-client",),
            "grants": ("authorization_code",),
            "redirect_uris": ("https://app.acme.example/",),
        },
        id="public",
    ),
]


@pytest.mark.parametrize("asked", WEAK)
async def test_what_is_weaker_never_trades(desk: Desk, asked: dict[str, Any]) -> None:
    """Not when it is made, and not when it is changed."""
    with pytest.raises(TradingRefused):
        await make(desk, **asked, roles=("trader",))
    narrowed = await make(desk, **asked, roles=("trader",), permissions=("orders:read",))
    with pytest.raises(TradingRefused):
        await desk.ops.clients.change(ALICE, narrowed.client.id, ClientChange(permissions=None))


async def test_a_client_that_trades_does_not_become_weaker(desk: Desk) -> None:
    """The exception is refused where the permission is there already."""
    made = await make(desk)
    with pytest.raises(TradingRefused):
        await desk.ops.clients.change(
            ALICE, made.client.id, ClientChange(binding=None, exceptions=("bearer-tokens",))
        )


async def test_roles_and_permissions_are_those_of_the_policies(desk: Desk) -> None:
    """Nothing is handed out that nobody has defined."""
    with pytest.raises(UnknownName):
        await make(desk, roles=("emperor",))
    with pytest.raises(NotGranted):
        await make(desk, roles=("viewer",), permissions=("orders:write",))


async def test_a_client_is_given_no_more_while_a_version_waits(desk: Desk) -> None:
    """Whoever prepared it did so for a client that could less."""
    made = await make(desk, roles=("viewer",))
    brought = Offer(public_key=oauth_clients.encoded_jwk(oauth_clients.private_key(number=2), kid="two"))
    await desk.ops.secrets.rotate(ALICE, made.client.id, Wish(prepare=True), brought)
    with pytest.raises(VersionWaits):
        await desk.ops.clients.change(ALICE, made.client.id, ClientChange(roles=("trader",)))


async def test_two_of_a_partner_thaw_what_one_of_it_froze(desk: Desk) -> None:
    """And not what the gateway's own operators did."""
    client_id = (await make(desk)).client.id
    ops = desk.ops.clients
    with pytest.raises(oauth_client_rows.ClientNotFrozen):
        await ops.unfreeze(ANNA, client_id)
    await ops.freeze(ABEL, client_id)
    need = await needed(ops.unfreeze(ANNA, client_id))
    await desk.approved(need, ABEL)
    await ops.unfreeze(showing(ANNA, need.id), client_id)
    await ops.freeze(ABEL, client_id)
    await ops.freeze(ALICE, client_id)
    with pytest.raises(FrozenFromAbove):
        await ops.unfreeze(ANNA, client_id)
    need = await needed(ops.unfreeze(ALICE, client_id))
    await desk.approved(need, BOB)
    assert (await ops.unfreeze(showing(ALICE, need.id), client_id)).frozen_at is None
