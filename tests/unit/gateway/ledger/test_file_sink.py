"""The file sink: whole lines, on the disk, for nobody else to read, whatever happened to the file in between."""

import asyncio
import os
from pathlib import Path

import pytest

from gateway.ledger.sinks import SinkUnavailable
from gateway.ledger.sinks.file import FileSink
from storage import audit
from tests.support.ledger import entries, written


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def begin(path: Path, content: bytes) -> None:
    path.touch(0o600)
    path.write_bytes(content)


def deliver(sink: FileSink, some: list[audit.AuditEntry]) -> None:
    asyncio.run(sink.deliver(some))


def test_a_file_gets_lines_as_an_export_has_them(target: Path) -> None:
    """Appended to what is there, for nobody else to read."""
    some = entries(5)
    sink = FileSink("copy", target)
    deliver(sink, some[:2])
    deliver(sink, some[2:])
    asyncio.run(sink.aclose())
    deliver(FileSink("copy", target), some[:1])
    assert target.read_bytes() == written([*some, some[0]])
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("torn", [1, 30, 200_000])
def test_a_torn_line_is_taken_back(target: Path, torn: int) -> None:
    """After a crash in the middle of a write the file goes on with whole lines, however long the torn one is."""
    some = entries(3)
    begin(target, written(some[:1]) + b"x" * torn)
    deliver(FileSink("copy", target), some[1:])
    assert target.read_bytes() == written(some)


def test_a_file_that_is_only_a_torn_line_begins_anew(target: Path) -> None:
    """There is no line end to go back to."""
    begin(target, b'{"entry":')
    deliver(FileSink("copy", target), entries(1))
    assert target.read_bytes() == written(entries(1))


def test_a_file_that_was_moved_away_is_begun_anew(target: Path) -> None:
    """As logrotate does it; what was moved stays as it is. The same for one that was removed."""
    some = entries(4)
    sink = FileSink("copy", target)
    deliver(sink, some[:1])
    moved = target.rename(target.with_suffix(".1"))
    deliver(sink, some[1:2])
    assert (moved.read_bytes(), target.read_bytes()) == (written(some[:1]), written(some[1:2]))
    target.unlink()
    deliver(sink, some[2:3])
    moved.rename(target)
    deliver(sink, some[3:])
    assert target.read_bytes() == written([some[0], some[3]])


def test_files_that_will_not_do_are_refused_until_they_do(target: Path, tmp_path: Path) -> None:
    """Open to others, a link, no regular file, no directory to stand in, a directory."""
    target.touch(0o644)
    target.chmod(0o644)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "link", tmp_path / "pipe", tmp_path / "none" / "file", tmp_path):
        with pytest.raises(SinkUnavailable):
            deliver(FileSink("copy", path), entries(1))
    assert not (tmp_path / "elsewhere").exists()
    sink = FileSink("copy", target)
    with pytest.raises(SinkUnavailable, match="chmod 600"):
        deliver(sink, entries(1))
    target.chmod(0o600)
    deliver(sink, entries(1))
    assert target.read_bytes() == written(entries(1))


def test_a_full_disk_is_told_and_nothing_torn_stays(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next delivery takes back what the failed one began."""
    real = os.write
    some = entries(2)

    def full(descriptor: int, block: bytes) -> int:
        real(descriptor, bytes(block[:20]))
        raise OSError(28, "No space left on device")

    sink = FileSink("copy", target)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SinkUnavailable, match="No space left"):
        deliver(sink, some)
    monkeypatch.setattr(os, "write", real)
    deliver(sink, some)
    assert target.read_bytes() == written(some)
