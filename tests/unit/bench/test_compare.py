"""Nobody wins by not checking: what the comparison makes of answers that are not as they must be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import compare, load


class Gate:
    """Answers by what a request is; every request it has been sent is a replay from then on."""

    name = "gate"
    port = pid = 1

    def __init__(self, claims: set[str], refuses: set[str], *, fails: bool = False) -> None:
        self.checks = frozenset(claims)
        self._refuses = refuses
        self._fails = fails
        self._seen: set[bytes] = set()

    def requests(self, count: int) -> list[bytes]:
        return [b"good %d" % (len(self._seen) + number) for number in range(count)]

    def tampered(self, count: int) -> list[bytes]:
        return [b"forged %d" % number for number in range(count)]

    def drive(
        self, _port: int, requests: list[bytes], _folder: Path, *, expect: int | None = None
    ) -> dict[str, Any]:
        statuses: dict[str, int] = {}
        for request in requests:
            status = str(self._status(request))
            statuses[status] = statuses.get(status, 0) + 1
        if expect is not None and statuses.keys() != {str(expect)}:
            raise load.UnexpectedAnswers(statuses, expect)
        return {"statuses": statuses}

    def _status(self, request: bytes) -> int:
        if self._fails:
            return 503
        forged, replayed = request.startswith(b"forged"), request in self._seen
        self._seen.add(request)
        refused = (forged and "signature" in self._refuses) or (replayed and "replay" in self._refuses)
        return 401 if refused else 200


def check(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(load, "drive", gate.drive)
    each: Any = SimpleNamespace(contender=gate, running=gate)
    ground: Any = SimpleNamespace(folder=Path())
    return compare.check(each, ground)


BOTH = {"signature", "replay"}


def test_what_is_claimed_and_refused_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both samples, each with how many were refused."""
    assert check(Gate(BOTH, BOTH), monkeypatch) == {
        "tampered": {"claimed": True, "sent": 200, "refused": 200},
        "replayed": {"claimed": True, "sent": 200, "refused": 200},
    }


def test_what_is_not_claimed_is_reported_as_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The floor checks nothing, and its figures say so."""
    checked = check(Gate(set(), set()), monkeypatch)
    assert [checked[name]["refused"] for name in ("tampered", "replayed")] == [0, 0]
    assert not any(one["claimed"] for one in checked.values())


@pytest.mark.parametrize("refuses", [set[str](), {"signature"}, {"replay"}])
def test_a_claim_that_is_not_kept_fails_the_run(refuses: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """By the contender's name."""
    with pytest.raises(RuntimeError, match=r"gate must refuse (tampered|replayed) requests"):
        check(Gate(BOTH, refuses), monkeypatch)


def test_a_good_request_that_is_not_answered_200_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusing everything would look like checking everything."""
    with pytest.raises(RuntimeError, match=r"gate answered {'503': 200}"):
        check(Gate(BOTH, BOTH, fails=True), monkeypatch)
