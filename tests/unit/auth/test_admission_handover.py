"""What a process leaves to the next one: every nonce, or the knowledge that some are missing."""

from pathlib import Path

import pytest

from auth.admission import Admission, Replayed, handover
from auth.admission.memory import MemoryAdmission

TAKEN = (b"a" * 16, b"b" * 16)


def arrive(folder: Path, process: str = "next") -> handover.Inheritance:
    return handover.Handover(folder, process).arrive()


def test_a_first_process_inherits_nothing_and_misses_nothing(tmp_path: Path) -> None:
    """Nobody was there before."""
    assert arrive(tmp_path) == handover.Inheritance((), complete=True)


def test_a_successor_inherits_every_nonce(tmp_path: Path) -> None:
    """An orderly stop forgets nothing."""
    first = handover.Handover(tmp_path, "first")
    first.arrive()
    first.leave(TAKEN)
    assert arrive(tmp_path) == handover.Inheritance(TAKEN, complete=True)


def test_after_a_crash_the_successor_knows_that_it_does_not_know(tmp_path: Path) -> None:
    """Nothing was handed over; also not by the one before the one that crashed."""
    first = handover.Handover(tmp_path, "first")
    first.arrive()
    first.leave(TAKEN)
    arrive(tmp_path, "crashes")
    assert arrive(tmp_path) == handover.Inheritance((), complete=False)


def test_two_processes_at_once_hand_over_nothing(tmp_path: Path) -> None:
    """What one wrote would lack what the other took."""
    first = handover.Handover(tmp_path, "first")
    first.arrive()
    assert not arrive(tmp_path, "second").complete
    first.leave(TAKEN)
    assert not arrive(tmp_path, "third").complete


@pytest.mark.parametrize("content", [b"", b"something else", b"portreeve nonces 1\nhalf a nonce"])
def test_a_file_that_is_not_whole_is_no_inheritance(tmp_path: Path, content: bytes) -> None:
    """A disk that was full, or a hand that edited."""
    (tmp_path / "replay.nonces").write_bytes(content)
    assert arrive(tmp_path) == handover.Inheritance((), complete=False)


def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """They hold digests, but who can write them can make the gateway forget."""
    first = handover.Handover(tmp_path, "first")
    first.arrive()
    assert (tmp_path / "replay.serving").stat().st_mode & 0o777 == 0o600
    first.leave(TAKEN)
    assert (tmp_path / "replay.nonces").stat().st_mode & 0o777 == 0o600


async def test_a_nonce_that_was_handed_over_stays_taken() -> None:
    """A request accepted before the restart is a replay after it."""
    before, after = (MemoryAdmission(lambda: 0, nonce_ttl_ms=122_000) for _ in range(2))
    await before.admit(Admission("acme", "key:nonce", ()))
    after.recall(before.all_taken())
    with pytest.raises(Replayed):
        await after.admit(Admission("acme", "key:nonce", ()))
