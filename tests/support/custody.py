"""Custody's outside, faked: a clock, a KMS and a wake-up that do as they are told; and the room on them."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import kms, register
from keys.api_key_secrets import ApiKeySecrets
from keys.changes import Author, Changes
from keys.client_registration import ClientRegistration
from keys.custody import Custody
from keys.data_keys import FOR_EVER, DataKeys, Lifetimes
from keys.directory import Companion, Directory
from keys.kinds import Kind
from keys.oauth_client_secrets import OAuthClientSecrets
from keys.oauth_clients import OAuthClients
from keys.records import CreatedKey, KeyRequest
from keys.ring import Ring
from keys.rotations import Rotations
from keys.schedules import Schedules
from keys.secret import SecretBytes
from keys.webhook_rotation import WebhookSecrets
from keys.wrappers import Wrappers

START_MS = 1_763_596_800_000

Eventually = Callable[[Callable[[], bool]], Awaitable[None]]


class FakeClock:
    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


class FakeKms:
    """Remembers what it wrapped. `down` makes it unavailable, `refusing` revokes our right to it; `calls` counts
    what it was asked; while `held` is not set it keeps everybody waiting.
    """

    name = "fake"

    def __init__(self, key_id: str = "fake-key") -> None:
        self.key_id = key_id
        self.held = asyncio.Event()
        self.held.set()
        self.down = False
        self.refusing = False
        self.calls = 0
        self._wrapped: dict[bytes, tuple[bytes, dict[str, str]]] = {}

    async def generate_data_key(self, context: Mapping[str, str]) -> kms.DataKey:
        self._answer()
        plaintext, wrapped = os.urandom(32), os.urandom(16)
        self._wrapped[wrapped] = (plaintext, dict(context))
        return kms.DataKey(SecretBytes(plaintext), wrapped)

    async def wrap(self, plaintext: SecretBytes, context: Mapping[str, str]) -> bytes:
        self._answer()
        wrapped = os.urandom(16)
        self._wrapped[wrapped] = (plaintext.reveal(), dict(context))
        return wrapped

    async def aclose(self) -> None:
        return

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> SecretBytes:
        self._answer()
        await self.held.wait()
        plaintext, made_for = self._wrapped.get(wrapped, (b"", {}))
        if not plaintext or made_for != dict(context):
            raise kms.KmsRefused("not wrapped by this fake for this context")
        return SecretBytes(plaintext)

    def _answer(self) -> None:
        self.calls += 1
        if self.down:
            raise kms.KmsUnavailable("the fake is down")
        if self.refusing:
            raise kms.KmsRefused("the fake refuses")


class FakeWakeUp:
    """Delivers what is announced to whoever listens, unless it is `broken`, when it raises."""

    def __init__(self) -> None:
        self.announced: list[int] = []
        self.broken = False
        self._waiting: asyncio.Queue[int] = asyncio.Queue()

    async def announce(self, revision: int) -> None:
        self.announced.append(revision)
        self._waiting.put_nowait(revision)

    async def listen(self) -> AsyncIterator[int]:
        while True:
            if self.broken:
                raise ConnectionError("the fake is broken")
            yield await self._waiting.get()

    async def aclose(self) -> None:
        return


class Room(msgspec.Struct, frozen=True):
    """The keys room of one node. `another_node` shares the store and the KMS and nothing else."""

    engine: AsyncEngine
    clock: FakeClock
    kms: FakeKms
    wakeup: FakeWakeUp
    changes: Changes
    data_keys: DataKeys
    custody: Custody
    rotations: Rotations
    oauth_clients: OAuthClients
    client_registration: ClientRegistration

    def another_node(self) -> "Room":
        return build_room(self.engine, clock=self.clock, backend=self.kms)

    def directory(self, *, poll_ms: int = 250, companions: Sequence[Companion] = ()) -> Directory:
        return Directory(
            self.engine, self.data_keys, self.wakeup, self.clock, poll_ms=poll_ms, companions=companions
        )

    def ring(self, entropy: Callable[[int], bytes] = os.urandom) -> Ring:
        return Ring(self.engine, self.data_keys, self.changes, self.clock, entropy)

    async def create_key(self, **asked: object) -> CreatedKey:
        """An HMAC paper key of the partner `acme`, or whatever is asked otherwise."""
        fields: dict[str, object] = {
            "partner": "acme",
            "environment": "paper",
            "algorithm": "hmac-sha256",
            "roles": ("trader",),
        }
        return await self.custody.create_key(make_request(**fields | asked), author=Author("operator"))


def make_request(**fields: object) -> KeyRequest:
    return msgspec.convert(fields, KeyRequest)


def build_room(
    engine: AsyncEngine,
    *,
    clock: FakeClock | None = None,
    backend: FakeKms | None = None,
    wrappers: Wrappers | None = None,
    lifetimes: Lifetimes = FOR_EVER,
    store_clock: FakeClock | None = None,
) -> Room:
    """`store_clock`: what the store's clock says, where it is not what the node's own says."""
    clock = clock or FakeClock()
    says = store_clock or clock

    async def ask_store(_: AsyncConnection) -> int:
        return says()

    backend = backend or FakeKms()
    wakeup = FakeWakeUp()
    changes = Changes(engine, wakeup, clock, ask_store)
    data_keys = DataKeys(
        engine, wrappers or Wrappers(backend), changes, os.urandom, clock=clock, lifetimes=lifetimes
    )
    custody = Custody(engine, data_keys, changes, clock, os.urandom)
    kinds: dict[register.Kind, Kind] = {
        "api-key": ApiKeySecrets(engine, data_keys, os.urandom),
        "oauth-client": OAuthClientSecrets(engine, data_keys, os.urandom),
        "webhook": WebhookSecrets(data_keys, os.urandom),
    }
    rotations = Rotations(engine, changes, clock, kinds, Schedules())
    oauth_clients = OAuthClients(engine, data_keys, changes, clock, os.urandom)
    registration = ClientRegistration(engine, changes, oauth_clients, os.urandom)
    return Room(
        engine, clock, backend, wakeup, changes, data_keys, custody, rotations, oauth_clients, registration
    )
