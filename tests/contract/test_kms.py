"""One suite over every KMS backend: what `KmsBackend` promises, whoever keeps the master key."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from keys import kms
from keys.kms.local import LocalKms
from keys.secret import SecretBytes
from tests.support.kms_sites import Hsm, MotoKms, ScriptedKms

CONTEXT = {"purpose": "data-key", "environment": "paper", "id": "dk_1"}


class Site(NamedTuple):
    """One backend as deployed: `reopen` is another process with the same key, `stranger` has another key."""

    backend: kms.KmsBackend
    reopen: Callable[[], kms.KmsBackend]
    stranger: kms.KmsBackend


def local_site(request: pytest.FixtureRequest) -> Site:
    tmp_path: Path = request.getfixturevalue("tmp_path")
    ours, theirs = tmp_path / "ours.key", tmp_path / "theirs.key"
    LocalKms.create(ours)
    LocalKms.create(theirs)
    return Site(LocalKms(ours), lambda: LocalKms(ours), LocalKms(theirs))


def aws_site(request: pytest.FixtureRequest) -> Site:
    moto: MotoKms = request.getfixturevalue("moto_kms")
    ours, theirs = moto.create_key(), moto.create_key()
    return Site(moto.open(ours), lambda: moto.open(ours), moto.open(theirs))


def pkcs11_site(request: pytest.FixtureRequest) -> Site:
    hsm: Hsm = request.getfixturevalue("hsm")
    ours, theirs = hsm.new_label(), hsm.new_label()
    for label in (ours, theirs):
        run_apart(hsm, label)
    return Site(hsm.open(ours), lambda: hsm.open(ours), hsm.open(theirs))


def run_apart(hsm: Hsm, label: str) -> None:
    """A key is made on a loop of its own, as by a command."""

    async def make() -> None:
        await (await hsm.with_key(label)).aclose()

    thread = threading.Thread(target=lambda: asyncio.run(make()))
    thread.start()
    thread.join()


@pytest.fixture(params=[local_site, aws_site, pkcs11_site], ids=["local", "aws", "pkcs11"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    opened: list[kms.KmsBackend] = []
    made: Site = request.param(request)

    def reopen() -> kms.KmsBackend:
        opened.append(made.reopen())
        return opened[-1]

    yield made._replace(reopen=reopen)
    for backend in (made.backend, made.stranger, *opened):
        await backend.aclose()


async def test_what_it_wrapped_it_unwraps(site: Site) -> None:
    """A data key comes back, 32 bytes, from the wrapped form and the context."""
    made = await site.backend.generate_data_key(CONTEXT)
    opened = await site.backend.unwrap(made.wrapped, CONTEXT)
    assert opened.reveal() == made.plaintext.reveal()
    assert len(opened.reveal()) == 32


async def test_another_process_unwraps_it(site: Site) -> None:
    """A restart with the same master key loses nothing, and calls the key by the same name."""
    made = await site.backend.generate_data_key(CONTEXT)
    again = site.reopen()
    assert (await again.unwrap(made.wrapped, CONTEXT)).reveal() == made.plaintext.reveal()
    assert (again.name, again.key_id) == (site.backend.name, site.backend.key_id)


async def test_every_data_key_is_new(site: Site) -> None:
    """Two calls with one context give two keys."""
    one, other = [await site.backend.generate_data_key(CONTEXT) for _ in range(2)]
    assert one.plaintext.reveal() != other.plaintext.reveal()
    assert one.wrapped != other.wrapped


async def test_the_wrapped_form_hides_the_key(site: Site) -> None:
    """The plaintext is nowhere in what is stored."""
    made = await site.backend.generate_data_key(CONTEXT)
    assert made.plaintext.reveal() not in made.wrapped


async def test_the_order_of_the_context_is_nothing(site: Site) -> None:
    """A context is a set of names with values."""
    made = await site.backend.generate_data_key(CONTEXT)
    turned = dict(reversed(CONTEXT.items()))
    assert (await site.backend.unwrap(made.wrapped, turned)).reveal() == made.plaintext.reveal()


@pytest.mark.parametrize(
    "context",
    [
        {},
        CONTEXT | {"environment": "live"},
        CONTEXT | {"more": "x"},
        {name: value for name, value in CONTEXT.items() if name != "id"},
        {"purpose": "data-keyenvironment", "id": "dk_1"},
    ],
)
async def test_another_context_is_refused(site: Site, context: dict[str, str]) -> None:
    """A wrapped key stands for the environment and the purpose it was made for, and no other."""
    made = await site.backend.generate_data_key(CONTEXT)
    with pytest.raises(kms.KmsRefused):
        await site.backend.unwrap(made.wrapped, context)


async def test_another_master_key_is_refused(site: Site) -> None:
    """A stranger's master key has another name and opens nothing of ours."""
    made = await site.backend.generate_data_key(CONTEXT)
    assert site.stranger.key_id != site.backend.key_id
    with pytest.raises(kms.KmsRefused):
        await site.stranger.unwrap(made.wrapped, CONTEXT)


async def test_altered_bytes_are_refused(site: Site) -> None:
    """A changed bit anywhere, a cut, an addition: refused."""
    wrapped = (await site.backend.generate_data_key(CONTEXT)).wrapped
    changed = [wrapped[:i] + bytes([wrapped[i] ^ 1]) + wrapped[i + 1 :] for i in range(len(wrapped))]
    for altered in (*changed, wrapped[:-1], wrapped + b"\x00", b"", wrapped[:5], wrapped[:13]):
        with pytest.raises(kms.KmsRefused):
            await site.backend.unwrap(altered, CONTEXT)


async def test_what_another_made_it_wraps(site: Site) -> None:
    """A data key made elsewhere can be wrapped here, hidden, and comes back for its own context alone."""
    plaintext = SecretBytes(bytes(range(32)))
    wrapped = await site.backend.wrap(plaintext, CONTEXT)
    assert plaintext.reveal() not in wrapped
    assert (await site.backend.unwrap(wrapped, CONTEXT)).reveal() == plaintext.reveal()
    assert await site.backend.wrap(plaintext, CONTEXT) != wrapped
    with pytest.raises(kms.KmsRefused):
        await site.backend.unwrap(wrapped, CONTEXT | {"environment": "live"})
    with pytest.raises(kms.KmsRefused):
        await site.stranger.unwrap(wrapped, CONTEXT)


async def test_nothing_it_says_is_secret(site: Site) -> None:
    """Neither how it prints nor what it refuses with shows a key or what it wrapped."""
    made = await site.backend.generate_data_key(CONTEXT)
    with pytest.raises(kms.KmsRefused) as refused:
        await site.stranger.unwrap(made.wrapped, CONTEXT)
    told = "".join(
        map(repr, (made, refused.value, refused.value.__cause__, site.backend, vars(site.backend)))
    )
    for secret in (made.plaintext.reveal(), made.plaintext.reveal().hex(), "4711-pin"):
        assert str(secret) not in told
    # Chained: whoever logs the traceback sees this, too.
    assert refused.value.__suppress_context__


async def test_many_at_once(site: Site) -> None:
    """More calls than it has threads or sessions all end well."""
    made = [await site.backend.generate_data_key(CONTEXT | {"id": str(number)}) for number in range(3)]
    opened = await asyncio.gather(
        *(site.backend.unwrap(made[n % 3].wrapped, CONTEXT | {"id": str(n % 3)}) for n in range(12))
    )
    assert [each.reveal() for each in opened] == [made[n % 3].plaintext.reveal() for n in range(12)]


@contextmanager
def stalled_aws(request: pytest.FixtureRequest) -> Iterator[tuple[kms.KmsBackend, threading.Event]]:
    moto: MotoKms = request.getfixturevalue("moto_kms")
    scripted: ScriptedKms = request.getfixturevalue("scripted_kms")
    arn = moto.create_key()
    scripted.answers = [(400, {"__type": "NotFoundException"})]
    scripted.released.clear()
    yield MotoKms(scripted.endpoint).open(arn, timeout_ms=60_000), scripted.released


@contextmanager
def stalled_hsm(request: pytest.FixtureRequest) -> Iterator[tuple[kms.KmsBackend, threading.Event]]:
    hsm: Hsm = request.getfixturevalue("hsm")
    backend = hsm.open(hsm.new_label(), timeout_ms=60_000)
    released = threading.Event()
    find = backend._find_key

    def find_slowly() -> Any:  # noqa: ANN401  the library's object
        released.wait(30)
        return find()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "_find_key", find_slowly)
        yield backend, released


@pytest.mark.parametrize("stalled", [stalled_aws, stalled_hsm], ids=["aws", "pkcs11"])
async def test_a_slow_one_blocks_nobody(request: pytest.FixtureRequest, stalled: Any) -> None:  # noqa: ANN401
    """While it keeps its callers waiting the loop turns as if nothing were, and the shared threads are free."""
    with stalled(request) as (backend, released):
        callers = [asyncio.create_task(backend.generate_data_key(CONTEXT)) for _ in range(40)]
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert await asyncio.to_thread(lambda: "free") == "free"
        assert not any(caller.done() for caller in callers)
        released.set()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        assert all(isinstance(outcome, kms.KmsRefused) for outcome in outcomes)
        await backend.aclose()


@pytest.mark.parametrize("stalled", [stalled_aws, stalled_hsm], ids=["aws", "pkcs11"])
async def test_one_that_hangs_is_given_up_on(request: pytest.FixtureRequest, stalled: Any) -> None:  # noqa: ANN401
    """No answer in time is `KmsUnavailable`, for those in line too."""
    with stalled(request) as (backend, released):
        backend._lane._timeout_s = 0.05
        outcomes = await asyncio.gather(
            *(backend.generate_data_key(CONTEXT) for _ in range(8)), return_exceptions=True
        )
        assert all(isinstance(outcome, kms.KmsUnavailable) for outcome in outcomes)
        released.set()
        backend._lane._timeout_s = 60
        await backend.aclose()
