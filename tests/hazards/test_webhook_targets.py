"""Hazards: a webhook's target is a stranger's server. Nothing inside is reached through it, and nothing hangs on it."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
import trustme

from gateway.upstream import Timeouts, client_context
from gateway.webhooks import resolving, targets
from gateway.webhooks.resolving import NameNotFound, Resolve
from gateway.webhooks.sending import Outcome, Sender
from tests.support.hostile_upstream import HostileUpstream, Wire, hostile_upstream

NAME = "hooks.acme.example"
PUBLIC = "8.8.8.8"
HEADERS = (("webhook-id", "msg_1"), ("webhook-timestamp", "1"), ("webhook-signature", "v1,AAAA"))
# Longer than any test may take: what ends an attempt is then not its deadline.
ENDLESS = Timeouts(connect_ms=60_000, first_byte_ms=60_000, idle_ms=60_000, total_ms=60_000)
PATIENT = Timeouts(connect_ms=20_000, first_byte_ms=20_000, idle_ms=20_000, total_ms=20_000)
LOOPBACK = targets.Rules(networks=(ipaddress.ip_network("127.0.0.0/8"),))


class FakeResolver:
    """Answers one list after the other, and the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


class Pki:
    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.file)

    def server(self, name: str = NAME) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(name).configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        return client_context(ca_file=self.file)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


Script = Callable[[Wire], Awaitable[object]]


async def post(
    pki: Pki,
    script: Script,
    *,
    rules: targets.Rules = LOOPBACK,
    resolver: Resolve | None = None,
    timeouts: Timeouts = PATIENT,
    server: ssl.SSLContext | None = None,
    path: str = "/hook?key=mine",
) -> tuple[Outcome, HostileUpstream]:
    """One attempt over TLS at a target that does as its script says, at an address of this machine."""
    async with hostile_upstream(script, server or pki.server()) as upstream:
        sender = Sender(rules, resolver or FakeResolver(["127.0.0.1"]), timeouts, pki.client())
        async with asyncio.timeout(30):
            outcome = await sender.post(f"https://{NAME}:{upstream.port}{path}", HEADERS, b'{"a":1}')
    return outcome, upstream


def answering(*parts: bytes) -> Script:
    return lambda wire: wire.answer(*parts)


def status(line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + line, *headers, b"content-length: 0", b"", b""])


async def test_a_target_gets_the_request_as_it_was_signed(pki: Pki) -> None:
    """Host, path, headers and body; and its certificate is checked against the name."""
    outcome, upstream = await post(pki, answering(status(b"200 OK")))
    assert outcome == Outcome(200, None)
    (asked,) = upstream.asked
    assert (asked.line, asked.body) == (b"POST /hook?key=mine HTTP/1.1", b'{"a":1}')
    assert asked.find(b"host") == f"{NAME}:{upstream.port}".encode()
    assert asked.find(b"content-type") == b"application/json"
    assert (asked.find(b"webhook-id"), asked.find(b"webhook-signature")) == (b"msg_1", b"v1,AAAA")


async def test_what_is_not_public_is_not_connected_to(pki: Pki) -> None:
    """The target is there and would answer; without the operator's exception nobody asks it."""
    outcome, upstream = await post(pki, answering(status(b"200 OK")), rules=targets.Rules())
    assert outcome == Outcome(None, "address refused")
    assert not upstream.wires


async def test_a_name_that_changes_its_mind_is_looked_up_once(pki: Pki) -> None:
    """What was checked is what is connected to: the answer that would come next is never asked for."""
    resolver = FakeResolver(["127.0.0.1"], ["127.0.0.2"])
    outcome, _ = await post(pki, answering(status(b"200 OK")), resolver=resolver)
    assert (outcome.status, resolver.asked) == (200, [NAME])
    inside = FakeResolver([PUBLIC, "10.0.0.1"], [PUBLIC])
    outcome, upstream = await post(pki, answering(status(b"200 OK")), resolver=inside)
    assert (outcome.failure, inside.asked, upstream.wires) == ("address refused", [NAME], [])


async def test_rules_are_asked_again_at_every_attempt(pki: Pki) -> None:
    """A URL that was stored under other rules, or past them, is refused when it is used."""
    sender = Sender(targets.Rules(), FakeResolver([PUBLIC]), PATIENT, pki.client())
    for stored in ("http://127.0.0.1/", "https://10.0.0.1/", "https://a@b/"):
        assert await sender.post(stored, HEADERS, b"") == Outcome(None, "url refused")


@pytest.mark.parametrize("code", [b"301", b"302", b"303", b"307", b"308"])
async def test_a_redirect_leads_nowhere(pki: Pki, code: bytes) -> None:
    """It is an answer that is no delivery; where it points is not asked."""
    async with hostile_upstream(answering(status(b"200 OK"))) as inside:
        location = b"location: http://127.0.0.1:%d/" % inside.port
        outcome, upstream = await post(pki, answering(status(code + b" Go", location)))
        assert outcome == Outcome(int(code), f"status {code.decode()}")
        assert (len(upstream.wires), inside.wires) == (1, [])


async def test_only_2xx_is_a_delivery(pki: Pki) -> None:
    """And 410 says that there is nothing to come back to."""
    for line, failure in ((b"204 None", None), (b"404 No", "status 404"), (b"500 No", "status 500")):
        outcome, _ = await post(pki, answering(status(line)))
        assert (outcome.failure, outcome.is_gone) == (failure, False)
    outcome, _ = await post(pki, answering(status(b"410 Gone")))
    assert outcome.is_gone


async def test_a_certificate_for_another_name_is_refused(pki: Pki) -> None:
    """Nothing was sent to whoever showed it."""
    outcome, upstream = await post(pki, answering(status(b"200 OK")), server=pki.server("other.example"))
    assert (outcome.failure, upstream.asked) == ("unreachable: tls", [])


async def test_an_authority_that_nobody_trusts_is_refused(pki: Pki, tmp_path: Path) -> None:
    """Even for the right name."""
    outcome, upstream = await post(pki, answering(status(b"200 OK")), server=Pki(tmp_path).server())
    assert (outcome.failure, upstream.asked) == ("unreachable: tls", [])


async def test_the_next_address_is_tried_where_nobody_listens(pki: Pki) -> None:
    """Every one of them was checked, and nothing had been sent."""
    for answer in (["127.0.0.9", "127.0.0.1"], ["127.0.0.1", "127.0.0.9"]):
        outcome, _ = await post(pki, answering(status(b"200 OK")), resolver=FakeResolver(answer))
        assert outcome == Outcome(200, None)


async def test_no_other_address_is_tried_once_one_has_answered_wrongly(pki: Pki) -> None:
    """A certificate that is refused, and a request that may have been taken, are the end of the attempt."""
    resolver = FakeResolver(["127.0.0.1", "127.0.0.9"])
    wrong = pki.server("other.example")
    outcome, _ = await post(pki, answering(status(b"200 OK")), resolver=resolver, server=wrong)
    assert outcome.failure == "unreachable: tls"

    async def hang_up(wire: Wire) -> None:
        await wire.read_request()
        wire.reset()

    outcome, _ = await post(pki, hang_up, resolver=resolver)
    assert outcome.failure == "broken answer: closed_early"


async def test_a_target_that_resets_is_a_failure_with_a_name(pki: Pki) -> None:
    """Before its answer and inside it."""

    async def reset(wire: Wire) -> None:
        await wire.read_request()
        wire.reset()

    outcome, upstream = await post(pki, reset)
    assert (outcome.failure, len(upstream.wires)) == ("broken answer: closed_early", 1)


async def test_a_target_that_never_answers_is_left(pki: Pki) -> None:
    """At the deadline, by its name."""

    async def silent(wire: Wire) -> None:
        await wire.wait_hung_up()

    quick = Timeouts(connect_ms=20_000, first_byte_ms=50, idle_ms=50, total_ms=20_000)
    outcome, _ = await post(pki, silent, timeouts=quick)
    assert outcome.failure in {"timeout: first_byte", "timeout: idle"}


async def test_a_target_that_drips_its_head_is_left(pki: Pki) -> None:
    """However often a byte comes: the total runs on."""

    async def drip(wire: Wire) -> None:
        await wire.read_request()
        await wire.send(b"HTTP/1.1 200 OK\r\nx: ")
        while True:
            await wire.send(b"a")
            await asyncio.sleep(0.01)

    quick = Timeouts(connect_ms=20_000, first_byte_ms=300, idle_ms=20_000, total_ms=300)
    outcome, _ = await post(pki, drip, timeouts=quick)
    assert outcome.failure in {"timeout: first_byte", "timeout: total"}


async def test_a_body_without_end_is_not_read_to_its_end(pki: Pki) -> None:
    """A little of it, then the connection is closed; the status is what counts."""

    async def pour(wire: Wire) -> None:
        await wire.read_request()
        await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await wire.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")

    outcome, _ = await post(pki, pour, timeouts=ENDLESS)
    assert outcome == Outcome(200, None)


async def test_a_body_that_drips_costs_no_more_than_the_total(pki: Pki) -> None:
    """It had said that it has it."""

    async def drip(wire: Wire) -> None:
        await wire.read_request()
        await wire.send(b"HTTP/1.1 202 OK\r\ncontent-length: 1000000\r\n\r\n")
        while True:
            await wire.send(b"x")
            await asyncio.sleep(0.01)

    quick = Timeouts(connect_ms=20_000, first_byte_ms=20_000, idle_ms=20_000, total_ms=500)
    outcome, _ = await post(pki, drip, timeouts=quick)
    assert outcome == Outcome(202, None)


@pytest.mark.parametrize(
    ("head", "failure"),
    [
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n", "broken answer: headers_too_large"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: a\r\n" * 100 + b"\r\n", "broken answer: headers_too_large"),
        (b"HTTP/1.1 100 Go\r\n\r\n" * 9 + status(b"200 OK"), "broken answer: interim"),
        (b"HTTP/1.1 101 Switch\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "broken answer: upgrade"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok", "broken answer: malformed"),
        (b"220 mail.inside ESMTP\r\n", "broken answer: malformed"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure_with_a_name(pki: Pki, head: bytes, failure: str) -> None:
    """Not a byte of it is in what is kept."""
    outcome, _ = await post(pki, answering(head))
    assert outcome == Outcome(None, failure)


async def test_a_name_that_cannot_be_found_is_a_failure_with_a_name(pki: Pki) -> None:
    """No answer, and an empty one."""

    async def missing(_host: str, _port: int) -> Sequence[str]:
        raise NameNotFound

    for resolver in (FakeResolver([]), missing):
        outcome, _ = await post(pki, answering(status(b"200 OK")), resolver=resolver)
        assert outcome == Outcome(None, "name not found")


async def test_the_systems_resolver_answers_plain_addresses() -> None:
    """And has a name for what it does not find."""
    assert "127.0.0.1" in await resolving.resolve("localhost", 443)
    with pytest.raises(NameNotFound):
        await resolving.resolve("nobody.invalid", 443)


async def test_a_look_up_that_hangs_is_in_nobodys_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many of them at once hold up neither another nor the threads that everything else shares."""
    released = threading.Event()

    def look_up(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host == "slow.example":
            released.wait(30)
        return [(0, 0, 0, "", (PUBLIC, 443))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    slow = [asyncio.create_task(resolving.resolve("slow.example", 443)) for _ in range(100)]
    async with asyncio.timeout(20):
        assert await resolving.resolve("quick.example", 443) == [PUBLIC]
        assert await asyncio.to_thread(lambda: 7) == 7
    assert not any(task.done() for task in slow)
    released.set()
    await asyncio.gather(*slow)
