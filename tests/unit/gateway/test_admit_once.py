"""What is asked of the store for whom: a fake store writes it down, and admits or refuses as told."""

from __future__ import annotations

import msgspec
import pytest

from auth.admission import Admission, Admitted, Replayed
from auth.signature import VerifiedKey
from gateway import routes
from gateway.grants import Grants
from gateway.problems import Refusal
from gateway.stages.admit_once import AdmitOnce
from gateway.stages.authenticate import EMPTY_SHA256, Authenticated
from gateway.stages.authorize import Authorized
from gateway.stages.match_route import Routed
from keys import usage
from keys.served import ServedKey
from policies import document
from policies.gcra import Limit
from tests.support.access_tokens import CLIENT_ID, World
from tests.support.served_keys import make_hmac_key
from tests.support.stage_values import PUBLIC, READ, SOURCE, admitted

POLICIES = document.parse(
    b"""
[tiers.standard]
key = { rate = 1, per = "1s", burst = 2 }
partner = { rate = 2, per = "1s", burst = 4 }
[tiers.gold]
key = { rate = 9, per = "1s", burst = 9 }
""",
    "policies.toml",
)
ORDERS = Limit(name="orders", rate=1, per_us=1_000_000, burst=5)
KEY = make_hmac_key()
OWN_LIMIT = msgspec.structs.replace(READ, limits=(ORDERS,), cost=3)


class Store:
    def __init__(self) -> None:
        self.asked: list[Admission] = []
        self.refusal: Exception | None = None

    async def admit(self, admission: Admission) -> Admitted:
        self.asked.append(admission)
        if self.refusal is not None:
            raise self.refusal
        return Admitted(admission.charges, [0] * len(admission.charges.buckets))

    async def aclose(self) -> None:
        raise NotImplementedError


class Stage:
    def __init__(self) -> None:
        self.store = Store()
        self.grants = Grants(POLICIES)
        self.uses: list[tuple[str, int, str, int]] = []
        self.admit_once = AdmitOnce(self.store, lambda *use: self.uses.append(use))

    async def ask(
        self, route: routes.Route, key: ServedKey | None = None, nonce: bytes | None = b"n"
    ) -> list[tuple[str, str, int]]:
        """The buckets that the store was asked to charge: key, limit and cost of each."""
        caller = None if key is None else VerifiedKey(key, 1)
        authenticated = Authenticated(Routed(admitted(), route), caller, nonce, b"", EMPTY_SHA256)
        grant = None if key is None else self.grants.find(key.entitlement, route.terms)
        authorized = Authorized(authenticated, grant)
        counted = self.admit_once.count(authorized, await self.admit_once.ask(authorized))
        return [(each.key, each.limit.name, each.cost) for each in counted.states.charges.buckets]


async def test_a_key_is_charged_for_itself_its_partner_and_the_route() -> None:
    """Paper and live count apart; a route without limits of its own charges the other two."""
    stage = Stage()
    own = [(f"key:{KEY.id}", "standard.key", 1), ("partner:paper", "standard.partner", 1)]
    assert await stage.ask(READ, KEY) == own
    assert await stage.ask(OWN_LIMIT, KEY) == [
        (f"key:{KEY.id}", "standard.key", 3),
        ("partner:paper", "standard.partner", 3),
        ("route:orders:orders", "orders", 3),
    ]
    assert await stage.ask(msgspec.structs.replace(READ, cost=2), KEY) == [(*each[:2], 2) for each in own]
    assert [asked.charges.slot for asked in stage.store.asked] == ["acme"] * 3
    assert [asked.nonce for asked in stage.store.asked] == [b"n"] * 3


async def test_what_is_charged_is_worked_out_once_for_a_key_and_again_when_it_changes() -> None:
    """A new tier counts from the moment it is served, and one that has left the policies is not unlimited."""
    stage = Stage()
    for _ in range(2):
        await stage.ask(READ, KEY)
    assert stage.store.asked[0].charges is stage.store.asked[1].charges
    gold, gone = (
        make_hmac_key(entitlement=msgspec.structs.replace(KEY.entitlement, tier=tier))
        for tier in ("gold", "gone")
    )
    assert await stage.ask(READ, gold) == [(f"key:{KEY.id}", "gold.key", 1)]
    for _ in range(2):
        with pytest.raises(Refusal) as refused:
            await stage.ask(READ, gone)
        assert refused.value.problem.kind.code == "limiter_unavailable"


async def test_a_stranger_is_charged_by_address_and_only_for_the_route() -> None:
    """Without a nonce; and where the route limits nobody, the store is not asked."""
    stage = Stage()
    assert await stage.ask(PUBLIC) == []
    assert stage.store.asked == []
    limited = msgspec.structs.replace(PUBLIC, limits=(ORDERS,))
    assert await stage.ask(limited) == [("route:public:orders", "orders", 1)]
    assert stage.store.asked[0].charges.slot == f"source:{SOURCE}"
    assert stage.store.asked[0].nonce is None
    assert stage.uses == []


async def test_a_caller_without_a_nonce_is_never_admitted() -> None:
    """Nothing else would tell its copy from it."""
    stage = Stage()
    with pytest.raises(TypeError):
        await stage.ask(READ, KEY, nonce=None)
    assert stage.store.asked == []


async def test_only_what_was_admitted_is_a_use() -> None:
    """A captured request that is sent again tells nothing of its key."""
    stage = Stage()
    await stage.ask(READ, KEY)
    stage.store.refusal = Replayed()
    with pytest.raises(Replayed):
        await stage.ask(READ, KEY)
    assert stage.uses == [(KEY.id, 1, SOURCE, 0)]


async def test_to_ask_is_not_yet_a_use() -> None:
    """The two halves of the stage: what is asked of the store, and what is counted once it has said yes."""
    stage = Stage()
    authenticated = Authenticated(Routed(admitted(), READ), VerifiedKey(KEY, 1), b"n", b"", EMPTY_SHA256)
    authorized = Authorized(authenticated, stage.grants.find(KEY.entitlement, READ.terms))
    states = await stage.admit_once.ask(authorized)
    assert stage.uses == []
    assert stage.admit_once.count(authorized, states).states is states
    assert stage.uses == [(KEY.id, 1, SOURCE, 0)]


async def test_a_known_caller_without_a_grant_is_never_admitted() -> None:
    """It would be charged nothing, as a stranger is."""
    stage = Stage()
    authenticated = Authenticated(Routed(admitted(), READ), VerifiedKey(KEY, 1), b"n", b"", EMPTY_SHA256)
    with pytest.raises(TypeError):
        await stage.admit_once.ask(Authorized(authenticated, None))
    assert stage.store.asked == []


async def test_a_token_brings_its_proof_in_place_of_a_nonce_and_is_no_secrets_use() -> None:
    """It counts for its client; a token without a proof is charged all the same, and takes nothing."""
    world, stage = World(), Stage()
    bound = world.verify(world.present(world.token()))
    for caller in (bound, msgspec.structs.replace(bound, nonce=None)):
        authenticated = Authenticated(Routed(admitted(), READ), caller, caller.nonce, b"", EMPTY_SHA256)
        grant = stage.grants.find(caller.key.entitlement, READ.terms)
        await stage.admit_once.ask(Authorized(authenticated, grant))
        assert stage.store.asked[-1].nonce == caller.nonce
    assert stage.store.asked[-1].charges.buckets[0].key == f"key:{CLIENT_ID}"


def test_the_use_of_a_token_is_no_use_of_a_version() -> None:
    """Which secret its client showed for it is not known here, so none is written as used."""
    noted = usage.Usage()
    noted.note(CLIENT_ID, usage.NO_VERSION, SOURCE, 1)
    assert len(noted) == 0
