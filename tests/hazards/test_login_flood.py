"""Hazards, "Limits and faults": somebody tries passwords by the thousand. What that may cost is bounded, counted in
work; and requests of partners go on whatever becomes of the attempts.
"""

from __future__ import annotations

import asyncio
import re
import threading
import urllib.parse
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from auth.people import account_rows
from auth.people.hashing import PasswordHashes
from tests.support import gateway_config, rawhttp, signing
from tests.support.control_node import Client, ControlNode, control_node

ATTEMPTS, CONNECTIONS = 400, 20
PATH = "/oauth/sign-in"
ORIGIN = "https://gateway.test"
REQUESTS = 100
# Of one node: a password is worked out, and so many wait.
AT_ONCE = 17
# What one source may try before it has to wait, and what it gets back meanwhile on a slow machine.
OF_ONE_SOURCE = 30
MEANWHILE = 5

_FORM_KEY = re.compile(rb'name="form_key" value="([0-9a-f]+)"')


class Work:
    """Counts passwords that are worked out, by the thread that does it; and holds up the work as long as it is told."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.threads: Counter[str] = Counter()
        self.looked_up = 0
        self.taken_on = 0

    def instead_of(self, _hashed: str, _password: bytes) -> bool:
        self.threads[threading.current_thread().name.partition("_")[0]] += 1
        assert self.go_on.wait(60)
        # The real one takes a tenth of a second and tells nothing that is asked here.
        return False


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    counted, find_held, verify = Work(), account_rows.find_held, PasswordHashes.verify

    def look_up(*given: Any) -> Any:  # noqa: ANN401  whatever it is asked and answers
        counted.looked_up += 1
        return find_held(*given)

    def take_on(*given: Any) -> Any:  # noqa: ANN401  the same
        counted.taken_on += 1
        return verify(*given)

    monkeypatch.setattr(account_rows, "find_held", look_up)
    monkeypatch.setattr(PasswordHashes, "verify", take_on)
    monkeypatch.setattr(PasswordHashes, "_verify", lambda _, *given: counted.instead_of(*given))
    yield counted
    counted.go_on.set()


@asynccontextmanager
async def node_behind_proxy(place: Path) -> AsyncIterator[ControlNode]:
    changes = {"server": {"trusted_proxies": ["127.0.0.0/8"]}, "redis": None}
    surfaces = ("edge", "oauth", "control")
    async with control_node(place, gateway_config.policies(), surfaces=surfaces, changes=changes) as node:
        yield node


async def form_of(node: ControlNode) -> tuple[str, str]:
    """What a guessing program asks for once: the key of the form, and the cookie that it goes with."""
    page = await node.ask(None, "GET", PATH)
    found = _FORM_KEY.search(page.body)
    assert found is not None, page
    return found[1].decode(), page.all("set-cookie")[0].partition(";")[0]


def attempt(form: tuple[str, str], number: int, source: str) -> bytes:
    fields = {
        "form_key": form[0],
        "email": f"p{number}@acme.example",
        "password": f"a guess, number {number}",
    }
    sent = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Cookie", form[1]),
        ("Origin", ORIGIN),
        ("Sec-Fetch-Site", "same-origin"),
        ("X-Forwarded-For", source),
    ]
    return signing.plain_request("POST", PATH.encode(), sent, urllib.parse.urlencode(fields).encode())


async def flood(node: ControlNode, attempts: list[bytes]) -> Counter[int]:
    """Over a few connections at once, each attempt as soon as the one before is answered."""
    waiting, answered = iter(attempts), Counter[int]()

    async def go_on() -> None:
        client = Client(node.address)
        try:
            for wire in waiting:
                answered[(await client.send(wire)).status] += 1
        finally:
            await client.close()

    await asyncio.gather(*(go_on() for _ in range(CONNECTIONS)))
    return answered


async def whoami(node: ControlNode, signer: signing.Signer) -> rawhttp.Answer:
    return await node.ask(signer, "GET", "/edge/v1/whoami")


async def test_many_sources_make_a_node_work_out_no_more_than_its_bound(tmp_path: Path, work: Work) -> None:
    """However many addresses and accounts: while one password is worked out, as many wait as may and all others are
    refused at once, and signed requests are answered as if nobody tried.
    """
    async with node_behind_proxy(tmp_path) as node:
        signer, form = await node.key("trader", environment="paper"), await form_of(node)
        attempts = [
            attempt(form, number, f"198.51.{number // 250}.{number % 250}") for number in range(ATTEMPTS)
        ]
        flooding = asyncio.create_task(flood(node, attempts))
        served = 0
        # Nothing is worked out to its end meanwhile: whoever waited for a password would wait for ever.
        for _ in range(REQUESTS):
            served += (await whoami(node, signer)).status == 200
        assert served == REQUESTS
        assert sum(work.threads.values()) <= 1
        work.go_on.set()
        answered = await asyncio.wait_for(flooding, 60)
    assert sum(answered.values()) == ATTEMPTS
    assert 200 not in answered
    assert 303 not in answered
    assert set(work.threads) == {"passwords"}


async def test_while_none_is_done_no_more_than_the_bound_are_taken_on(tmp_path: Path, work: Work) -> None:
    """A place is free again only once a password has been worked out. Whoever finds none costs no look at the accounts,
    which would take the connections to the database from everybody else.
    """
    async with node_behind_proxy(tmp_path) as node:
        form = await form_of(node)
        first = asyncio.create_task(
            flood(node, [attempt(form, number, f"198.51.100.{number}") for number in range(AT_ONCE)])
        )
        async with asyncio.timeout(60):
            # Nothing tells the test that a place has been taken.
            while work.taken_on < AT_ONCE:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        refused = await flood(
            node, [attempt(form, 100 + number, f"203.0.113.{number % 250}") for number in range(ATTEMPTS)]
        )
        assert refused == {503: ATTEMPTS}
        assert (work.threads, work.looked_up) == ({"passwords": 1}, AT_ONCE)
        work.go_on.set()
        assert await first == {403: AT_ONCE}
    assert work.threads == {"passwords": AT_ONCE}


async def test_one_source_is_refused_before_anything_is_worked_out(tmp_path: Path, work: Work) -> None:
    """A new account with each attempt buys no more of them."""
    work.go_on.set()
    async with node_behind_proxy(tmp_path) as node:
        form = await form_of(node)
        answered = await flood(node, [attempt(form, number, "198.51.100.7") for number in range(ATTEMPTS)])
    assert sum(work.threads.values()) <= OF_ONE_SOURCE + MEANWHILE
    assert answered[429] >= ATTEMPTS - OF_ONE_SOURCE - MEANWHILE
