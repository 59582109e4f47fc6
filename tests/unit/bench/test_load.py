"""The load generator: what it takes for an answer, how it counts time, and that it ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench import load
from bench.answers import Answer

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=1\r\n0\r\n\r\n....\n\r\n0\r\n\r\n"
TRAILED = CHUNKED.removesuffix(b"\r\n") + b"x-sum: 1\r\n\r\n"
REFUSED = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize("pieces", [1, 2, 3, 1_000])
@pytest.mark.parametrize(("whole", "size"), [(LENGTH, 5), (CHUNKED, 15), (TRAILED, 15), (REFUSED, 0)])
def test_an_answer_ends_where_it_says_however_it_arrives(whole: bytes, size: int, pieces: int) -> None:
    """A chunk whose content looks like the end of chunks is not the end."""
    answer, step = Answer(), max(1, len(whole) // pieces)
    fed = [answer.feed(whole[at : at + step]) for at in range(0, len(whole), step)]
    assert fed == [False] * (len(fed) - 1) + [True]
    assert answer.status == whole[9:12]
    assert answer.body_bytes == size


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    """As HTTP has it, and only then."""
    answer = Answer()
    assert not answer.feed(b"HTTP/1.1 200 OK\r\n\r\nhello")
    assert answer.end()
    cut_off = Answer()
    cut_off.feed(LENGTH[:-1])
    assert not cut_off.end()


@pytest.mark.parametrize("whole", [LENGTH, CHUNKED, REFUSED])
def test_bytes_past_the_end_are_refused(whole: bytes) -> None:
    """An answer that nobody asked for is not counted as the next one."""
    with pytest.raises(ValueError, match="1 bytes more"):
        Answer().feed(whole + b"x")


def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed() -> None:
    """By nearest rank."""
    hundred = [number / 1000 for number in range(1, 101)]
    assert [load.percentile_ms(hundred, share) for share in (0.5, 0.99, 0.999, 1)] == [
        50.0,
        99.0,
        100.0,
        100.0,
    ]
    assert load.percentile_ms([0.007], 0.5) == 7.0
    assert load.percentile_ms([], 0.5) == 0.0


def test_requests_survive_their_file(tmp_path: Path) -> None:
    """Any bytes, the empty ones included."""
    requests = [b"", b"\x00\xff\r\n", b"x" * 70_000]
    load.write_requests(tmp_path / "requests", requests)
    assert load.read_requests(tmp_path / "requests") == requests


@contextmanager
def serving(answers: list[bytes], pause_s: float = 0.0) -> Iterator[int]:
    """One connection after another; pauses before the first answer."""

    def serve() -> None:
        left = list(answers)
        while left:
            connection, _ = listener.accept()
            with connection:
                while left and connection.recv(65_536):
                    time.sleep(pause_s if len(left) == len(answers) else 0)
                    connection.sendall(left.pop(0))
                    if b"close" in answers[0]:
                        break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def test_statuses_are_counted_across_closed_connections(tmp_path: Path) -> None:
    """A server that hangs up after each refusal is asked again on a new connection."""
    with serving([REFUSED, REFUSED, REFUSED]) as port:
        seen = load.drive(port, [REQUEST] * 3, tmp_path, connections=1, timeout_s=10)
    assert seen["statuses"] == {"401": 3}
    assert seen["connects"] >= 3
    assert list(tmp_path.iterdir()) == []


def test_an_unexpected_status_fails_a_run_that_expects_another(tmp_path: Path) -> None:
    """And tells all of the statuses."""
    with serving([LENGTH, REFUSED]) as port, pytest.raises(load.UnexpectedAnswers) as unexpected:
        load.drive(port, [REQUEST] * 2, tmp_path, connections=1, timeout_s=10, expect=200)
    assert unexpected.value.statuses == {"200": 1, "401": 1}


def test_at_a_rate_a_pause_counts_for_everyone_who_would_have_waited(tmp_path: Path) -> None:
    """With latency from sending, nine of ten would look fast."""
    with serving([LENGTH] * 10, pause_s=0.5) as port:
        seen = load.drive(port, [REQUEST] * 10, tmp_path, connections=1, rate=100, timeout_s=10)
    assert seen["statuses"] == {"200": 10}
    # The fifth was due 40 ms after the first and waited for the rest of its pause.
    assert seen["p50_ms"] > 400


def test_a_server_that_does_not_answer_ends_the_run_at_its_deadline(tmp_path: Path) -> None:
    """What was not answered is counted, and never as an answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen = load.drive(listener.getsockname()[1], [REQUEST] * 4, tmp_path, connections=2, timeout_s=0.3)
    assert seen["statuses"] == {"unanswered": 4}
    assert seen["requests"] == 0


def test_no_address_but_loopback_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The generator is no weapon."""
    monkeypatch.setattr("sys.argv", ["load", "192.0.2.1", "80", str(tmp_path / "requests"), "1"])
    with pytest.raises(SystemExit):
        load.main()
