"""What a process leaves to the next one: every nonce, or the knowledge that some are missing."""

from pathlib import Path

import pytest

from auth.admission import Replayed, ReplayStoreUnavailable, handover
from auth.admission.memory import MemoryAdmission
from tests.support.admissions import admission

TAKEN = (b"a" * 16, b"b" * 16)
STALE_AFTER_MS = 100_000


def process(folder: Path) -> handover.Handover:
    return handover.Handover(folder, STALE_AFTER_MS)


def arrive(folder: Path) -> handover.Inheritance:
    return process(folder).arrive(0)


def crash(folder: Path) -> None:
    """A process that arrives and ends without a word; its lock goes with it."""
    crashed = process(folder)
    crashed.arrive(0)
    crashed._complete = False
    crashed.leave((), 0)


@pytest.fixture(autouse=True)
def begun(tmp_path: Path) -> None:
    """The folder of a store that has just been made."""
    handover.begin(tmp_path)


def test_a_first_process_inherits_nothing_and_misses_nothing(tmp_path: Path) -> None:
    """Nobody was there before."""
    assert arrive(tmp_path) == handover.Inheritance((), complete=True)


def test_a_folder_that_nobody_began_knows_nothing(tmp_path: Path) -> None:
    """An empty folder over an old store: what was taken before lies elsewhere, or nowhere."""
    (tmp_path / "replay.nonces").unlink()
    assert arrive(tmp_path) == handover.Inheritance((), complete=False)


def test_beginning_again_changes_nothing(tmp_path: Path) -> None:
    """Preparing a store is safe to repeat, also while it is served and after a crash."""
    first = process(tmp_path)
    first.arrive(0)
    first.leave(TAKEN, 1)
    handover.begin(tmp_path)
    assert arrive(tmp_path).nonces == TAKEN
    crash(tmp_path)
    handover.begin(tmp_path)
    assert not arrive(tmp_path).complete


def test_a_successor_inherits_every_nonce(tmp_path: Path) -> None:
    """An orderly stop forgets nothing."""
    first = process(tmp_path)
    first.arrive(0)
    first.leave(TAKEN, 1)
    assert arrive(tmp_path) == handover.Inheritance(TAKEN, complete=True)


def test_after_a_crash_the_successor_knows_that_it_does_not_know(tmp_path: Path) -> None:
    """Nothing was handed over; also not by the one before the one that crashed."""
    first = process(tmp_path)
    first.arrive(0)
    first.leave(TAKEN, 1)
    crash(tmp_path)
    assert arrive(tmp_path) == handover.Inheritance((), complete=False)


@pytest.mark.parametrize(("served_ms", "complete"), [(STALE_AFTER_MS, False), (STALE_AFTER_MS + 1, True)])
def test_what_a_crash_lost_is_missing_until_it_is_stale(
    tmp_path: Path, served_ms: int, complete: bool
) -> None:
    """Two quick restarts after a crash must not make the loss look whole."""
    crash(tmp_path)
    second = process(tmp_path)
    assert not second.arrive(0).complete
    second.leave(TAKEN, served_ms)
    assert arrive(tmp_path).complete is complete


@pytest.mark.parametrize("first_leaves_first", [True, False])
def test_two_processes_at_once_hand_over_nothing(tmp_path: Path, first_leaves_first: bool) -> None:
    """What either wrote would lack what the other took, in whichever order they end."""
    first, second = process(tmp_path), process(tmp_path)
    assert first.arrive(0).complete
    assert not second.arrive(0).complete
    for ending in (first, second) if first_leaves_first else (second, first):
        ending.leave(TAKEN, STALE_AFTER_MS * 2)
    assert arrive(tmp_path) == handover.Inheritance((), complete=False)


@pytest.mark.parametrize("content", [b"", b"something else", b"portreeve nonces 1\nhalf a nonce"])
def test_a_file_that_is_not_whole_is_no_inheritance(tmp_path: Path, content: bytes) -> None:
    """A disk that was full, or a hand that edited."""
    (tmp_path / "replay.nonces").write_bytes(content)
    assert arrive(tmp_path) == handover.Inheritance((), complete=False)


def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """They hold digests, but who can write them can make the gateway forget."""
    first = process(tmp_path)
    first.arrive(0)
    assert (tmp_path / "replay.serving").stat().st_mode & 0o777 == 0o600
    first.leave(TAKEN, 1)
    assert (tmp_path / "replay.nonces").stat().st_mode & 0o777 == 0o600


async def test_a_nonce_that_was_handed_over_stays_taken() -> None:
    """A request accepted before the restart is a replay after it."""
    before, after = (MemoryAdmission(lambda: 0, nonce_ttl_ms=122_000) for _ in range(2))
    await before.admit(admission("acme", "key:nonce", ()))
    await before.admit(admission("acme", "key:other", ()))
    for nonce in before.all_taken():
        after.recall((nonce,))
    for named in ("key:nonce", "key:other"):
        with pytest.raises(Replayed):
            await after.admit(admission("acme", named, ()))


async def test_one_partner_cannot_fill_the_memory_for_all() -> None:
    """It gets half; the next partner still finds room."""
    store = MemoryAdmission(lambda: 0, nonce_ttl_ms=122_000, max_nonces=8)
    for number in range(4):
        await store.admit(admission("acme", f"key:{number}", ()))
    with pytest.raises(ReplayStoreUnavailable):
        await store.admit(admission("acme", "key:4", ()))
    await store.admit(admission("globex", "key:0", ()))
