"""Refusing is cheaper than serving: else whoever is refused could keep a node busy for less than it takes to ask well.

In bytecodes, which are the same on every machine and at every hour, counted by the gateway itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.deployment import TARGET, hmac_signer, signed_requests
from bench.ground import Ground
from bench.load import drive
from bench.profile import Watched
from bench.scenarios.floods import with_wrong_signature
from bench.scenarios.measuring import await_served

REQUESTS = 300
# What a refused one may take of an accepted one. Behind the store it is spared the upstream alone, and the way there
# and back is nearly all compiled code and system calls, which have no bytecodes: there the bench measures how much less
# it is (`make bench ARGS=floods`), and this no more than that telling it does not eat that up.
MOST = 0.75
MOST_BEHIND_THE_STORE = 1

Make = Callable[[bytes], bytes]


def unsigned(request: bytes) -> bytes:
    return b"\r\n".join(line for line in request.split(b"\r\n") if not line.startswith(b"portreeve-"))


def instead(old: bytes, new: bytes) -> Make:
    return lambda request: request.replace(old, new, 1)


# Not what can be read in two ways: that ends its connection, and costs its sender a new one each time.
REFUSED: dict[str, tuple[int, Make]] = {
    "wrong signature": (401, with_wrong_signature),
    "unsigned": (401, unsigned),
    "stale": (401, instead(b"timestamp: ", b"timestamp: 9")),
    "malformed": (401, instead(b"nonce: ", b"nonce: !")),
    "no route": (404, instead(TARGET.encode(), b"/nothing/here")),
}


class Counting:
    """A gateway that counts its bytecodes, and of what keys it gets requests."""

    def __init__(self, watched: Watched, folder: Path) -> None:
        self._watched = watched
        self._folder = folder
        watched.create_partner("hasty", "tiny")
        self._keys = {
            partner: watched.create_key("--algorithm", "hmac-sha256", partner=partner)
            for partner in ("acme", "hasty")
        }
        for key in self._keys.values():
            await_served(watched.port, lambda key=key: signed_requests(key, 1, hmac_signer(key))[0])  # type: ignore[misc]  # mypy cannot infer a default of a lambda
        self._before = 0

    def requests(self, partner: str = "acme") -> list[bytes]:
        key = self._keys[partner]
        return signed_requests(key, REQUESTS, hmac_signer(key))

    def bytecodes(self, requests: list[bytes], status: int) -> float:
        """Of one of these, once the first of them have made ready what is kept."""
        drive(self._watched.port, requests[:10], self._folder, connections=1)
        counted = requests[10:]
        self._watched.toggle()
        drive(self._watched.port, counted, self._folder, connections=4, expect=status)
        self._watched.toggle()
        # Libraries run beside requests, to follow the store and to write uses: for as long as the machine takes.
        counted_in = self._watched.read_counted()
        total = sum(count for place, _, count in counted_in if not place.startswith("library "))
        spent, self._before = total - self._before, total
        return spent / len(counted)


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counting]:
    folder = tmp_path_factory.mktemp("counting")
    with (
        Ground(folder, redis_port=None) as ground,
        Watched(folder, None, ground.upstream_port, "bytecodes") as it,
    ):
        yield Counting(it, folder)


@pytest.fixture(scope="module")
def accepted(counting: Counting) -> float:
    """What an accepted one takes."""
    return counting.bytecodes(counting.requests(), 200)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_at_once_takes_much_less(counting: Counting, accepted: float, kind: str) -> None:
    """Nothing is asked of the store or the upstream for it, and telling it is cheap."""
    status, make = REFUSED[kind]
    assert counting.bytecodes(list(map(make, counting.requests())), status) < MOST * accepted


def test_a_replay_takes_less(counting: Counting, accepted: float) -> None:
    """It is told by the store, behind all that an accepted request is asked."""
    again = counting.requests()[:1] * REQUESTS
    assert counting.bytecodes(again, 401) < MOST_BEHIND_THE_STORE * accepted


def test_what_is_over_its_limit_takes_less(counting: Counting, accepted: float) -> None:
    """It is told by the store, too, and tells when to come again."""
    assert counting.bytecodes(counting.requests("hasty"), 429) < MOST_BEHIND_THE_STORE * accepted
