"""Builds, from settings, everything below HTTP: the store with its services, and what a node adds to serve.

Invariant: nodes and the command line get the same parts in the same way, so a command acts on exactly what
the nodes serve. What is opened here is closed here, in reverse. Refused: a store whose schema is not this
version's, and a KMS that does not open what it holds; nothing is created on the way, that is `initialise`'s.
"""

import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from secrets import token_bytes
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from auth import dpop
from auth.admission import AdmissionStore, handover
from auth.admission.memory import MemoryAdmission
from auth.admission.redis import RedisAdmission
from auth.oauth.revocations import ServedRevocations
from auth.people.hashing import PasswordHashes
from gateway import clocks, kms_keys, people, receipts, references
from gateway.break_glass_alarm import BreakGlassAlarm
from gateway.credentials.secrets_manager import SecretsManager
from gateway.credentials.served import ServedCredentials
from gateway.ledger.follower import Followers
from gateway.ledger.sinks import build as sinks
from gateway.settings import RedisTlsSettings, Settings, build_schedules
from gateway.store import AccessTerms, Store, build_operations, build_store
from gateway.webhooks import assembly
from gateway.webhooks.dispatch import Dispatch
from keys import checkpoint_memory
from keys.changes import Clock
from keys.checkpoints import Rhythm
from keys.client_directory import ServedClients
from keys.data_keys import Lifetimes
from keys.directory import Companion, Directory
from keys.freezes import ServedFreezes
from keys.ring import Ring
from keys.scheduler import InTime, Scheduler
from keys.secret import Secret
from keys.wrappers import Wrappers
from storage import engine as sql
from storage import leases, migrate, redis, wakeup

__all__ = [
    "Node",
    "Store",
    "build_operations",
    "build_store",
]

_LOG: Final = logging.getLogger("portreeve.composition")
# A node that died is followed by another after as long.
_LEASE_MS: Final = 15_000
# A batch of entries takes longer than an admission, and nobody waits for it.
_SINK_TIMEOUT_MS: Final = 5_000
_COUNTING_LABEL: Final = b"portreeve counted attempts"
# An assertion or a proof of possession that a client makes is good for little more than a minute by one clock, and is
# remembered for as long again: clocks differ.
_LONGEST_ONCE_MS: Final = 140_000
Entropy = Callable[[int], bytes]


class Node(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What serves requests. `background` is what must run for as long as it does.

    `remembers`: the admission store knows every nonce that was taken before this process began. `scheduler`: None
    where the configuration leaves what is due to other nodes.
    """

    store: Store
    directory: Directory
    clients: ServedClients
    revocations: ServedRevocations
    frozen: ServedFreezes
    receipts: receipts.Receipts
    ring: Ring
    admission: AdmissionStore
    remembers: bool
    dispatch: Dispatch | None
    credentials: ServedCredentials
    scheduler: Scheduler | None
    rhythm: Rhythm
    followers: Followers
    people: people.People

    def background(self) -> list[Coroutine[Any, Any, None]]:
        running = (
            self.directory,
            self.receipts,
            self.credentials,
            self.followers,
            self.dispatch,
            self.scheduler,
        )
        return [
            self.store.data_keys.watch(),
            self.store.checkpoints.run(self.rhythm),
            *self.people.background(),
            *(each.run() for each in running if each is not None),
        ]


@asynccontextmanager
async def opened_engine(settings: Settings) -> AsyncIterator[AsyncEngine]:
    password = _find_secret(settings.storage.password)
    engine = sql.open_engine(
        settings.storage.url,
        password=None if password is None else password.reveal(),
        pool_size=settings.storage.pool_size,
    )
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def opened_wrappers(settings: Settings) -> AsyncIterator[Wrappers]:
    configured = settings.kms
    second = None if configured.second is None else kms_keys.open_key(configured.second)
    previous = [kms_keys.open_key(each) for each in configured.previous]
    wrappers = Wrappers(kms_keys.open_key(configured), second, previous)
    try:
        yield wrappers
    finally:
        await wrappers.aclose()


def master_key_file(settings: Settings) -> Path:
    return kms_keys.master_key_file(settings.kms)


@asynccontextmanager
async def opened_store(
    settings: Settings, clock: Clock, entropy: Entropy = token_bytes
) -> AsyncIterator[Store]:
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(opened_engine(settings))
        await migrate.require_current(engine)
        waker = await stack.enter_async_context(_opened_wakeup(settings))
        wrappers = await stack.enter_async_context(opened_wrappers(settings))
        yield build_store(
            engine,
            wrappers,
            waker,
            clock,
            entropy,
            lifetimes=Lifetimes(settings.kms.soft_lifetime_ms, settings.kms.hard_lifetime_ms),
            examine=assembly.examine(settings.webhooks),
            spread_ms=settings.keys.staleness_bound_ms,
            schedules=build_schedules(settings.rotation),
            issuer=settings.service.issuer,
            memory=checkpoint_memory.open_memory(Path(settings.service.state_dir)),
            access=AccessTerms(settings.oauth.signing_algorithm, settings.oauth.lifetime_ms),
            people=people.build_terms(settings, clock, entropy),
        )


@asynccontextmanager
async def opened(settings: Settings, clock: Clock, surfaces: tuple[str, ...] = ()) -> AsyncIterator[Node]:
    """A node whose keys are loaded: from here on it can serve."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened_store(settings, clock))
        frozen = ServedFreezes()
        told = receipts.Receipts(
            store.engine,
            receipts.identify(surfaces, token_bytes),
            clocks.monotonic_ms,
            settings.keys.heartbeat_ms,
        )
        credentials = serve_credentials(settings, store, clock)
        stack.push_async_callback(credentials.aclose)
        clients = ServedClients(store.engine, store.data_keys)
        revocations = ServedRevocations(store.engine, clock)
        directory = _build_directory(
            settings,
            store,
            (clients, revocations, store.access_ring.withdrawals),
            (clients.openings, credentials),
            frozen,
            told,
        )
        await directory.load()
        await credentials.look()
        await store.checkpoints.tell_memory()
        stack.push_async_callback(_flush_last_usage, directory)
        stack.push_async_callback(told.leave)
        admission, remembers = await stack.enter_async_context(_opened_admission(settings))
        hashes = PasswordHashes(token_bytes)
        stack.callback(hashes.close)
        shared = await stack.enter_async_context(_opened_leases(store, told))
        dispatch = assembly.build_dispatch(
            settings.webhooks, store.engine, store.webhooks, clock, token_bytes, shared.named("webhooks")
        )
        followers = _build_followers(settings, store, clock, shared)
        stack.push_async_callback(followers.aclose)
        yield Node(
            store=store,
            directory=directory,
            clients=clients,
            revocations=revocations,
            ring=store.ring,
            admission=admission,
            remembers=remembers,
            dispatch=dispatch,
            credentials=credentials,
            scheduler=_build_scheduler(settings, store, shared.named("scheduler"), clock),
            rhythm=Rhythm(settings.audit.checkpoint_entries, settings.audit.checkpoint_ms),
            followers=followers,
            people=store.people.serve(admission, hashes, _build_counting_key(store.access_ring)),
            frozen=frozen,
            receipts=told,
        )


def _build_directory(  # noqa: PLR0913, PLR0917  what it reads by, and all that follows it
    settings: Settings,
    store: Store,
    prompt: Sequence[Companion],
    served: Sequence[Companion],
    frozen: ServedFreezes,
    told: receipts.Receipts,
) -> Directory:
    """What a node serves from memory, and everything that is read again whenever the store has changed."""
    return Directory(
        store.engine,
        store.data_keys,
        store.wakeup,
        clocks.monotonic_ms,
        poll_ms=settings.keys.poll_ms,
        flush_usage_ms=settings.keys.flush_usage_ms,
        companions=(
            store.data_keys,
            store.ring,
            store.ledger_ring,
            store.access_ring,
            *served,
            BreakGlassAlarm(store.break_glass),
        ),
        prompt=prompt,
        frozen=frozen,
        notice=told.notice,
    )


def _build_counting_key(ring: Ring) -> Callable[[], bytes]:
    """All nodes have the ring, so that all of them count in the same buckets; asked for at each count, since the ring
    turns.
    """

    def derive() -> bytes:
        return ring.derive(_COUNTING_LABEL)[0].reveal()

    return derive


def _build_followers(settings: Settings, store: Store, clock: Clock, lease: leases.Leases) -> Followers:
    return Followers(
        store.engine,
        sinks.build(settings, lambda: _connect_redis(settings, _SINK_TIMEOUT_MS)),
        clock,
        poll_ms=settings.audit.sink_poll_ms,
        lease=lease,
    )


@asynccontextmanager
async def _opened_leases(store: Store, told: receipts.Receipts) -> AsyncIterator[leases.Leases]:
    """What one node at a time does. Let go at a clean stop, so that the next one need not wait for its end."""
    held = leases.Leases(store.engine, told.identity.id, _LEASE_MS)
    try:
        yield held
    finally:
        with suppress(sql.StorageUnavailable):
            await held.release()


def serve_credentials(settings: Settings, store: Store, clock: Clock) -> ServedCredentials:
    return ServedCredentials(
        store.upstream_credentials,
        SecretsManager(settings.secrets_manager),
        {name: upstream.environment for name, upstream in settings.upstreams.items()},
        [name for name, upstream in settings.upstreams.items() if upstream.requires_credential],
        wall_ms=clock,
        monotonic_ms=clocks.monotonic_ms,
        poll_ms=settings.secrets_manager.poll_ms,
    )


def _build_scheduler(settings: Settings, store: Store, lease: leases.Lease, clock: Clock) -> Scheduler | None:
    if not settings.rotation.scheduler:
        return None
    return Scheduler(store.upkeep, InTime(lease, store.engine, clock), settings.rotation.check_ms)


async def _flush_last_usage(directory: Directory) -> None:
    try:
        await directory.flush_usage()
    except sql.StorageUnavailable as outage:  # no reason to end a clean stop as a failure
        _LOG.warning("the latest last-used times are lost: %s", outage)


@asynccontextmanager
async def opened_redis(settings: Settings) -> AsyncIterator[redis.Client | None]:
    """None where the configuration does without."""
    client = _connect_redis(settings)
    try:
        yield client
    finally:
        if client is not None:
            await client.aclose()


def nonce_ttl_ms(settings: Settings) -> int:
    """A nonce must outlive every moment at which its request can still be admitted, twice over: a request is fresh
    when its head has come, and is admitted only when its body has. What clients of the authorization server use once
    is good for a time of its own, whatever is configured for signed requests.
    """
    signed_ms = 2 * settings.signing.max_window_ms + settings.signing.future_skew_ms
    proved_ms = dpop.WINDOW_MS + dpop.AHEAD_MS
    return max(max(signed_ms, proved_ms) + settings.server.body_timeout_ms, _LONGEST_ONCE_MS)


@asynccontextmanager
async def _opened_admission(settings: Settings) -> AsyncIterator[tuple[AdmissionStore, bool]]:
    """The store, and whether it knows every nonce that was taken before."""
    remembered_ms = nonce_ttl_ms(settings)
    async with opened_redis(settings) as client:
        if settings.redis is None or client is None:
            async with _opened_memory(settings, remembered_ms) as opened:
                yield opened
            return
        shared = RedisAdmission(client, remembered_ms, settings.redis.timeout_ms)
        try:
            yield shared, True
        finally:
            await shared.aclose()


@asynccontextmanager
async def _opened_memory(settings: Settings, nonce_ttl_ms: int) -> AsyncIterator[tuple[AdmissionStore, bool]]:
    line = handover.Handover(Path(settings.service.state_dir), stale_after_ms=nonce_ttl_ms)
    inherited = line.arrive(clocks.monotonic_ms())
    memory = MemoryAdmission(clocks.monotonic_us, nonce_ttl_ms)
    memory.recall(inherited.nonces)
    try:
        yield memory, inherited.complete
    finally:
        await memory.aclose()
        line.leave(memory.all_taken(), clocks.monotonic_ms())


@asynccontextmanager
async def _opened_wakeup(settings: Settings) -> AsyncIterator[wakeup.WakeUp]:
    announcing = _connect_redis(settings)
    listening = _connect_redis(settings, patient=True)
    opened: wakeup.WakeUp = wakeup.NoWakeUp()
    if announcing is not None and listening is not None:
        opened = wakeup.RedisWakeUp(announcing, listening)
    try:
        yield opened
    finally:
        await opened.aclose()


def _connect_redis(
    settings: Settings, timeout_ms: int | None = None, *, patient: bool = False
) -> redis.Client | None:
    configured = settings.redis
    if configured is None:
        return None
    password = _find_secret(configured.password)
    tls = configured.tls or RedisTlsSettings()
    return redis.connect(
        redis.RedisSettings(
            url=configured.url,
            password=None if password is None else password.reveal(),
            cluster=configured.cluster,
            timeout_ms=timeout_ms or configured.timeout_ms,
            ca_file=_find_path(tls.ca_file),
            client_cert_file=_find_path(tls.client_cert_file),
            client_key_file=None if tls.client_key is None else references.get_path(tls.client_key),
        ),
        patient=patient,
    )


def _find_path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _find_secret(reference: str | None) -> Secret | None:
    return None if reference is None else references.resolve(reference, os.environ)
