"""What changes keys, partners and all else that is kept: one store with its services, be it a command's or a node's.

Invariant: everything here shares one way of changing the store, so that each change is stamped, audited and announced
alike. Nothing is opened here: that is `composition`'s.
"""

from collections.abc import Callable, Mapping
from functools import partial

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from auth import identity
from gateway import clocks, routes, spread
from gateway.ledger.export import Exporter
from gateway.operations import Operations
from gateway.people import PeopleTerms, StoredPeople
from gateway.settings import Settings
from keys import register
from keys.api_key_secrets import ApiKeySecrets
from keys.approvals import Approvals
from keys.break_glass import BreakGlass
from keys.changes import Changes, Clock
from keys.checkpoint_memory import Memory
from keys.checkpoints import Checkpoints
from keys.client_registration import ClientRegistration
from keys.custody import Custody
from keys.data_key_upkeep import DataKeyUpkeep
from keys.data_keys import DataKeys, Lifetimes
from keys.freezes import Freezes
from keys.kinds import Kind
from keys.leaks import Leaks
from keys.ledger_restores import LedgerRestores
from keys.oauth_client_secrets import OAuthClientSecrets
from keys.oauth_clients import OAuthClients
from keys.resealing import Resealing
from keys.rewrapping import Rewrapping
from keys.ring import ACCESS, LEDGER, Ring
from keys.ring_rotation import FOR_EVER_MS, RingRotation, RingTimes
from keys.ring_upkeep import RingUpkeep
from keys.rotations import Rotations
from keys.scheduler import Upkeep
from keys.schedules import Schedules
from keys.secret_pages import SecretPages
from keys.signing_keys import Algorithm as SigningAlgorithm
from keys.upstream_credentials import UpstreamCredentials
from keys.upstream_upkeep import UpstreamUpkeep
from keys.webhook_rotation import WebhookSecrets
from keys.webhooks import Examine, Webhooks
from keys.wrappers import Wrappers
from storage import wakeup


class Store(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What changes keys and partners, be it a command or a node."""

    engine: AsyncEngine
    wakeup: wakeup.WakeUp
    data_keys: DataKeys
    custody: Custody
    oauth_clients: OAuthClients
    client_registration: ClientRegistration
    freezes: Freezes
    leaks: Leaks
    ring: Ring
    webhooks: Webhooks
    ledger_ring: Ring
    access_ring: Ring
    checkpoints: Checkpoints
    ledger_restores: LedgerRestores
    exporter: Exporter
    # What changes them, by name.
    rings: Mapping[str, RingRotation]
    upstream_credentials: UpstreamCredentials
    rewrapping: Rewrapping
    resealing: Resealing
    rotations: Rotations
    secret_pages: SecretPages
    approvals: Approvals
    break_glass: BreakGlass
    people: StoredPeople

    # Whatever has things to be done when their time has come.
    upkeep: tuple[Upkeep, ...]


class AccessTerms(msgspec.Struct, frozen=True):
    """What access tokens are signed with, and the longest that one is good for."""

    algorithm: SigningAlgorithm
    lifetime_ms: int


def build_store(  # noqa: PLR0913  what is opened before, its sources of time and chance, and its terms by name
    engine: AsyncEngine,
    wrappers: Wrappers,
    wakeup_: wakeup.WakeUp,
    clock: Clock,
    entropy: Callable[[int], bytes],
    *,
    examine: Examine,
    spread_ms: int,
    lifetimes: Lifetimes,
    schedules: Schedules,
    issuer: str,
    memory: Memory,
    access: AccessTerms,
    people: PeopleTerms,
) -> Store:
    """`spread_ms`: how long a node may go on serving what it last saw of the store. `memory`: of the ledger."""
    changes = Changes(engine, wakeup_, clock)
    data_keys = DataKeys(engine, wrappers, changes, entropy, clock=clocks.monotonic_ms, lifetimes=lifetimes)
    make_ring = partial(Ring, engine, data_keys, changes, clock, entropy)
    ring, ledger_ring = make_ring(), make_ring(name=LEDGER)
    access_ring = make_ring(name=ACCESS, algorithm=access.algorithm)
    signed_for_ms = {
        ring: identity.LONGEST_LIFETIME_S * 1000,
        ledger_ring: FOR_EVER_MS,
        access_ring: access.lifetime_ms,
    }
    checkpoints = Checkpoints(engine, ledger_ring, clock, issuer, memory)
    kinds: dict[register.Kind, Kind] = {
        "api-key": ApiKeySecrets(engine, data_keys, entropy),
        "oauth-client": OAuthClientSecrets(engine, data_keys, entropy),
        "webhook": WebhookSecrets(data_keys, entropy),
    }
    rotations = Rotations(engine, changes, clock, kinds, schedules)
    clients = OAuthClients(engine, data_keys, changes, clock, entropy)
    rings = {
        each.name: RingRotation(each, changes, RingTimes(lifetime_ms=lifetime_ms, spread_ms=spread_ms))
        for each, lifetime_ms in signed_for_ms.items()
    }
    credentials = UpstreamCredentials(engine, data_keys, changes, entropy, spread_ms=spread_ms)
    return Store(
        engine=engine,
        wakeup=wakeup_,
        data_keys=data_keys,
        custody=Custody(engine, data_keys, changes, clock, entropy),
        oauth_clients=clients,
        client_registration=ClientRegistration(engine, changes, clients, entropy),
        freezes=Freezes(engine, changes),
        webhooks=Webhooks(engine, data_keys, changes, clock, entropy, examine=examine),
        ring=ring,
        ledger_ring=ledger_ring,
        access_ring=access_ring,
        checkpoints=checkpoints,
        ledger_restores=LedgerRestores(checkpoints, memory, changes),
        exporter=Exporter(engine, checkpoints, clock),
        rings=rings,
        upstream_credentials=credentials,
        leaks=Leaks(engine, data_keys, changes, entropy),
        rewrapping=Rewrapping(engine, wrappers, changes),
        resealing=Resealing(engine, data_keys, changes, entropy),
        rotations=rotations,
        upkeep=(
            rotations,
            RingUpkeep(engine, changes, clock, rings.values(), schedules),
            UpstreamUpkeep(engine, changes, clock, credentials, schedules),
            DataKeyUpkeep(engine, data_keys, clock, schedules),
        ),
        secret_pages=SecretPages(engine, clock, kinds, schedules),
        approvals=Approvals(engine, changes, entropy),
        break_glass=BreakGlass(engine, changes, entropy),
        people=StoredPeople(engine, changes, data_keys, clock, entropy, terms=people),
    )


def build_operations(store: Store, settings: Settings) -> Operations:
    return Operations(
        store.engine,
        store.custody,
        store.leaks,
        settings.policies,
        store.approvals,
        store.break_glass,
        store.freezes,
        partial(routes.find_environment, settings),
        rotations=store.rotations,
        secret_pages=store.secret_pages,
        upkeep=store.upkeep,
        lost_after_ms=spread.lost_after_ms(settings),
        data_keys=store.data_keys,
        rewrapping=store.rewrapping,
        resealing=store.resealing,
        rings=store.rings,
        upstream_credentials=store.upstream_credentials,
        webhooks=store.webhooks,
        oauth_clients=store.oauth_clients,
        client_registration=store.client_registration,
        people=store.people,
    )
