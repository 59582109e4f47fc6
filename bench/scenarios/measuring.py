"""What the scenarios have in common: what is started for one, and how one load of it is measured.

Invariant: a load counts only if every single answer had the status it was to have.
"""

from __future__ import annotations

import copy
import http.client
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import load, machine
from bench.contenders import Contender, Running, all_of
from bench.contenders.requests import Signed
from bench.deployment import Deployment, hmac_signer
from bench.ground import Ground

HMAC = ("--algorithm", "hmac-sha256")
_KNOWN_WITHIN_S = 10.0
_TIMEOUT_S = 30


class Unexpected(RuntimeError):
    """An answer with another status than it was to have."""


def drive(  # noqa: PLR0913  what one load is made of
    port: int,
    pid: int,
    requests: list[bytes],
    folder: Path,
    *,
    status: int = 200,
    connections: int = 32,
) -> dict[str, Any]:
    """What the load saw, and as `cpu_us` what a request cost the process tree below `pid`."""
    before = machine.cpu_seconds(pid)
    seen = send(port, requests, folder, status=status, connections=connections)
    used = machine.cpu_seconds(pid) - before
    return {**seen, "cpu_us": round(used / len(requests) * 1e6, 1)}


def send(  # noqa: PLR0913  what one load is made of
    port: int,
    requests: list[bytes],
    folder: Path,
    *,
    status: int = 200,
    connections: int = 32,
    rate: float | None = None,
) -> dict[str, Any]:
    seen = load.drive(port, requests, folder, connections=connections, rate=rate, expect=None)
    require(seen["statuses"], status, len(requests))
    return seen


def require(statuses: Mapping[str, int], status: int, count: int) -> None:
    if statuses != {str(status): count}:
        raise Unexpected(f"instead of {count} answers of {status}: {dict(statuses)}")


def medians(rounds: Iterable[Mapping[str, Any]], names: Iterable[str]) -> dict[str, float]:
    runs = list(rounds)
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in names}


def ratio(above: float, below: float) -> float:
    """Rounded; 0 if there is nothing to compare with."""
    return round(above / below, 3) if below else 0.0


def not_here(target: str, missing: str) -> dict[str, Any]:
    """The result of a scenario that can't be shown on this machine: told, not left out."""
    return {"target": target, "met": False, "missing": missing}


def ask(port: int, request: bytes) -> tuple[int, bytes]:
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read()


def new_key(deployment: Deployment, partner: str = "acme") -> Signed:
    """A key that is served: a node learns of a new one a moment after it was made."""
    key = deployment.create_key(*HMAC, partner=partner)
    signed = Signed(key["id"], hmac_signer(key))
    await_served(deployment.port, lambda: signed.make(1, "/edge/v1/whoami")[0])
    return signed


def await_served(port: int, make: Callable[[], bytes]) -> None:
    deadline = time.monotonic() + _KNOWN_WITHIN_S
    status = 0
    while time.monotonic() < deadline:
        status, _ = ask(port, make())
        if status == http.HTTPStatus.OK:
            return
        time.sleep(0.05)
    raise TimeoutError(f"a good request is still answered {status}")


def store_url(ground: Ground, database: int = 0) -> str | None:
    """A database each keeps what two deployments count and remember apart."""
    return None if ground.redis_port is None else f"redis://127.0.0.1:{ground.redis_port}/{database}"


@contextmanager
def deployed(  # noqa: PLR0913  what differs from one deployment to another
    ground: Ground,
    *,
    redis_url: str | None,
    workers: int = 1,
    upstream_port: int | None = None,
    extra_routes: int = 0,
    database: str | None = None,
    behind_proxy: bool = False,
    prepare: Callable[[Path], None] | None = None,
) -> Iterator[Deployment]:
    """A gateway in a folder that goes with it, in front of the ground's upstream unless another is given."""
    with tempfile.TemporaryDirectory(dir=ground.folder) as name:
        port = upstream_port or ground.upstream_port
        deployment = Deployment(
            Path(name),
            redis_url,
            workers,
            upstream_port=port,
            extra_routes=extra_routes,
            database=database,
            behind_proxy=behind_proxy,
            prepare=prepare,
        )
        with deployment:
            try:
                yield deployment
            except Unexpected as failure:
                failure.add_note(f"Refused lately: {deployment.refusals()}")
                raise


@contextmanager
def contenders(ground: Ground, names: Iterable[str]) -> Iterator[tuple[dict[str, Running], dict[str, str]]]:
    """The named of the comparison, as `started` has them."""
    known = {each.name: each for each in all_of(quick=False)}
    with started(ground, [known[name] for name in names]) as (running, missing):
        yield running, missing


@contextmanager
def started(
    ground: Ground, wanted: Iterable[Contender]
) -> Iterator[tuple[dict[str, Running], dict[str, str]]]:
    """Those that can run here, all running at once, and why the others can't."""
    lacking = {each: each.missing(ground) for each in wanted}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=ground.folder)))
        apart = _in_folder(ground, folder)
        running: dict[str, Running] = {}
        for contender in (each for each, why in lacking.items() if why is None):
            each = running[contender.name] = contender.start(apart)
            stack.callback(each.stop)
            await_served(each.port, lambda each=each: each.requests(1)[0])  # type: ignore[misc]  # mypy cannot infer a default of a lambda
        yield running, {each.name: why for each, why in lacking.items() if why is not None}


def _in_folder(ground: Ground, folder: Path) -> Ground:
    """The same upstream and Redis, so that what an earlier measurement left in its folder is not in the way."""
    apart = copy.copy(ground)
    apart.folder = folder
    return apart


def reset_peak(pid: int) -> None:
    """From now on the kernel's high-water mark of memory is that of what comes."""
    for member in machine.tree(pid):
        Path(f"/proc/{member}/clear_refs").write_text("5")
