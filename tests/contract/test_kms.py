"""One suite over every KMS backend: what `KmsBackend` promises, whoever keeps the master key."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from keys import kms
from keys.kms.local import LocalKms

CONTEXT = {"purpose": "data-key", "environment": "paper", "id": "dk_1"}


class Site(NamedTuple):
    """One backend as deployed: `reopen` is another process with the same key, `stranger` has another key."""

    backend: kms.KmsBackend
    reopen: Callable[[], kms.KmsBackend]
    stranger: kms.KmsBackend


def local_site(tmp_path: Path) -> Site:
    ours, theirs = tmp_path / "ours.key", tmp_path / "theirs.key"
    LocalKms.create(ours)
    LocalKms.create(theirs)
    return Site(LocalKms(ours), lambda: LocalKms(ours), LocalKms(theirs))


@pytest.fixture(params=[local_site], ids=["local"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    made: Site = request.param(tmp_path)
    return made


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
