"""What the gateway proves itself with towards an upstream: nobody else can say it, see it or have it taken away."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import rawhttp
from tests.support.gateway import Deployment, deployed, wait_until
from tests.support.recording_upstream import Recorded
from tests.support.signing import plain_request

CANARY = "canary-credential-1f7a"
ECHO = b"/paper/v1/echo"
PUBLIC = b"/pub/anything"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two nodes on one store; `paper` has a credential, `live` has to have one and has none."""
    changes = {"upstreams": {"live": {"requires_credential": True}}}
    with deployed(tmp_path_factory.mktemp("guarded"), nodes=2, changes=changes) as deployment:
        enter(deployment, "set", "paper", f"{CANARY}-1", "--form", "header", "--header", "x-api-key")
        wait_until(lambda: all(sends(deployment, f"{CANARY}-1", at) for at in (0, 1)), 5, "it is sent")
        yield deployment


def enter(deployment: Deployment, step: str, upstream: str, secret: str, *options: str) -> None:
    file = deployment.directory / "secret"
    file.write_text(secret + "\n")
    deployment.command("upstreams", "credential", step, upstream, "--secret-file", str(file), *options)


def ask(deployment: Deployment, *headers: tuple[str, str], at: int = 0) -> rawhttp.Answer:
    signer = deployment.key()
    wire = plain_request("GET", ECHO, [*signer.headers("GET", ECHO), *headers])
    return deployment.nodes[at].ask(wire)


def last(deployment: Deployment) -> Recorded:
    return deployment.paper.requests[-1]


def sends(deployment: Deployment, secret: str, at: int) -> bool:
    """Whether this node sends exactly this one."""
    return ask(deployment, at=at).status == 200 and last(deployment).all(b"x-api-key") == [secret.encode()]


SPELLINGS = ["x-api-key", "X-Api-Key", "X-API-KEY", "x_api_key", "X_API_Key", "X-Api_Key"]


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("public", [False, True])
def test_a_client_cannot_say_it(guarded: Deployment, name: str, public: bool) -> None:
    """In any spelling, on signed and on public routes: exactly the gateway's own arrives, and once."""
    theirs = [(name, "theirs"), ("Accept", "a"), (name, "theirs-2")]
    wire = plain_request("GET", PUBLIC, theirs)
    answer = guarded.node.ask(wire) if public else ask(guarded, *theirs)
    assert answer.status == 200
    seen = [(key.lower().replace(b"_", b"-"), value) for key, value in last(guarded).headers]
    assert [value for key, value in seen if key == b"x-api-key"] == [f"{CANARY}-1".encode()]
    assert not any(b"theirs" in value for _, value in seen)
    assert (b"accept", b"a") in seen


def test_a_client_cannot_have_it_taken_away(guarded: Deployment) -> None:
    """By naming it in Connection, with one of its own or without."""
    for headers in (
        [("Connection", "x-api-key")],
        [("Connection", "close, X-Api-Key"), ("X-Api-Key", "theirs")],
    ):
        assert ask(guarded, *headers).status == 200
        assert last(guarded).all(b"x-api-key") == [f"{CANARY}-1".encode()]


def test_a_body_goes_with_it(guarded: Deployment) -> None:
    """Signed and whole, or of a stranger and in pieces: framed once."""
    signer, body = guarded.key(), b"x" * 100_000
    wire = plain_request("POST", ECHO, signer.headers("POST", ECHO, body), body)
    assert guarded.node.ask(wire, method="POST").status == 200
    assert (last(guarded).body, last(guarded).all(b"x-api-key")) == (body, [f"{CANARY}-1".encode()])
    chunked = [("Transfer-Encoding", "chunked"), ("X-Api-Key", "theirs")]
    wire = plain_request("POST", PUBLIC, chunked) + b"3\r\nabc\r\n0\r\n\r\n"
    assert guarded.node.ask(wire, method="POST").status == 200
    assert (last(guarded).body, last(guarded).all(b"x-api-key")) == (b"abc", [f"{CANARY}-1".encode()])
    assert guarded.paper.garbage == []


def test_the_identity_goes_with_it(guarded: Deployment) -> None:
    """Who is calling is told as ever."""
    assert ask(guarded).status == 200
    assert len(last(guarded).all(b"portreeve-identity")) == 1


def test_an_upstream_that_has_to_have_one_is_never_asked_without(guarded: Deployment) -> None:
    """A named problem, and not one byte to the upstream."""
    signer = guarded.key(environment="live")
    answer = guarded.node.ask(signer.request("GET", b"/live/v1/orders"))
    assert (answer.status, answer.code) == (503, "upstream_credential_unavailable")
    assert guarded.live.received == b""


def test_a_paper_credential_cannot_be_entered_for_a_live_upstream(guarded: Deployment) -> None:
    """The environment is the upstream's, and who believes otherwise is told."""
    options = ("--form", "header", "--header", "x-api-key", "--environment", "paper")
    refused = guarded.run("upstreams", "credential", "set", "live", *options)
    assert refused.returncode == 1
    assert "live is a live one, not paper" in refused.stderr


def test_every_step_reaches_every_node_without_a_restart(guarded: Deployment) -> None:
    """Announced: nothing changes. Rotated: the new one on both nodes. Revoked: no node asks. Set again: both do."""
    enter(guarded, "announce", "paper", f"{CANARY}-2")
    assert all(sends(guarded, f"{CANARY}-1", at) for at in (0, 1))
    guarded.command("upstreams", "credential", "activate", "paper")
    wait_until(lambda: all(sends(guarded, f"{CANARY}-2", at) for at in (0, 1)), 5, "the new one is sent")
    guarded.command("upstreams", "credential", "revoke", "paper", "--reason", "a test")
    wait_until(lambda: all(ask(guarded, at=at).status == 503 for at in (0, 1)), 5, "nothing is asked")
    assert ask(guarded).code == "upstream_credential_unavailable"
    before = len(guarded.paper.requests)
    assert guarded.node.ask(plain_request("GET", PUBLIC)).status == 503
    assert len(guarded.paper.requests) == before
    enter(guarded, "rotate", "paper", f"{CANARY}-1")
    wait_until(lambda: all(sends(guarded, f"{CANARY}-1", at) for at in (0, 1)), 5, "it is sent again")


FORMS: dict[str, tuple[str, tuple[str, ...], Callable[[Recorded], bool]]] = {
    "basic": (
        f"{CANARY}-b",
        ("--username", "us"),
        lambda seen: seen.all(b"authorization")[0].startswith(b"Basic dXM6"),
    ),
    "hmac": (
        f"{CANARY}-h",
        ("--key-id", "us"),
        lambda seen: seen.all(b"x-api-key") == [b"us"] and len(seen.all(b"x-signature")[0]) == 64,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_other_forms_arrive(guarded: Deployment, form: str) -> None:
    """Through the same commands, and a client's `Authorization` and signature headers do not."""
    secret, options, arrived = FORMS[form]
    guarded.command("upstreams", "credential", "remove", "paper")
    enter(guarded, "set", "paper", secret, "--form", form, *options)
    theirs = [("Authorization", "Basic theirs"), ("X-Signature", "theirs"), ("X-Api-Key", "theirs")]

    def is_sent() -> bool:
        if ask(guarded, *theirs).status != 200:
            return False
        wanted = b"authorization" if form == "basic" else b"x-signature"
        return len(last(guarded).all(wanted)) == 1 and arrived(last(guarded))

    try:
        wait_until(is_sent, 5, "it is sent")
        if form == "hmac":
            assert b"theirs" not in b" ".join(value for _, value in last(guarded).headers)
            # Signed with its body: what is not held cannot be.
            wire = plain_request("POST", PUBLIC, [("Content-Length", "3")]) + b"abc"
            assert guarded.node.ask(wire, method="POST").code == "upstream_credential_unavailable"
    finally:
        guarded.command("upstreams", "credential", "remove", "paper")
        enter(guarded, "set", "paper", f"{CANARY}-1", "--form", "header", "--header", "x-api-key")
        wait_until(lambda: all(sends(guarded, f"{CANARY}-1", at) for at in (0, 1)), 5, "it is sent again")


def test_nothing_tells_it(guarded: Deployment) -> None:
    """No log, no metric, no command and no row: what was seeded above stands in none of them."""
    shown = [node.log_text() for node in guarded.nodes]
    shown += [guarded.node.ask(plain_request("GET", b"/metrics")).body.decode()]
    shown += [guarded.command(*words) for words in (("audit", "tail", "--json"), ("upstreams", "list"))]
    shown += [guarded.command("upstreams", "credential", "show", "paper", "--json")]
    shown += [
        guarded.run("upstreams", "credential", "set", "paper", "--form", "header", "--header", "host").stderr
    ]
    stored = b"".join(path.read_bytes() for path in Path(guarded.directory).glob("portreeve.db*"))
    assert "upstream_credential.set" in shown[3]
    assert CANARY not in "".join(shown)
    assert CANARY.encode() not in stored
    assert [json.loads(shown[5])["form"], json.loads(shown[5])["header"]] == ["header", "x-api-key"]
