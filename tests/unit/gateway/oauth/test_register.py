"""`/oauth/register`, over a socket: clients that register and lead themselves (RFC 7591, RFC 7592)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keys.changes import Author
from keys.client_records import ClientChange
from keys.registration_records import RegistrationRequest
from keys.secret import Secret
from tests.support import control_roles, oauth_clients, rawhttp
from tests.support.control_node import ControlNode, control_node

REGISTER = "/oauth/register"
SURFACES = ("edge", "control", "oauth")
BY = Author("operator")


def metadata(**changes: object) -> dict[str, Any]:
    key = oauth_clients.public_jwk(oauth_clients.private_key(), kid="one")
    return {
        "client_name": "Acme desk",
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": ["https://app.acme.example/done"],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [key]},
        "contacts": ["desk@acme.example"],
        **changes,
    }


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[ControlNode]:
    changes = {"oauth": {"registration": True}}
    async with control_node(tmp_path, control_roles.policies(), surfaces=SURFACES, changes=changes) as opened:
        yield opened


async def let(node: ControlNode, uses: int = 1, role: str = "trader") -> Secret:
    request = RegistrationRequest(
        partner="acme",
        environment="paper",
        roles=(role,),
        uses=uses,
        expires_at=node.gateway.clock() + 60_000,
    )
    return (await node.store.client_registration.create(request, author=BY)).secret


async def ask(
    node: ControlNode, method: str, target: str, secret: Secret | str | None, body: object = None
) -> rawhttp.Answer:
    shown = secret.reveal() if isinstance(secret, Secret) else secret
    headers = {} if shown is None else {"Authorization": f"Bearer {shown}"}
    return await node.ask(None, method, target, body, **headers)


async def registered(node: ControlNode, **changes: object) -> dict[str, Any]:
    answer = await ask(node, "POST", REGISTER, await let(node), metadata(**changes))
    assert answer.status == 201, answer.body
    told: dict[str, Any] = answer.json()
    return told


def at(told: dict[str, Any]) -> str:
    return f"{REGISTER}/{told['client_id']}"


async def test_a_client_registers_itself_and_is_told_what_it_is(node: ControlNode) -> None:
    """All of it, bound by DPoP, and where it leads itself from now on; nobody may keep the answer."""
    answer = await ask(node, "POST", REGISTER, await let(node), metadata(scope="orders:read"))
    told = answer.json()
    assert answer.status == 201
    assert answer.header("cache-control") == "no-store"
    assert told["client_id"].startswith("prc_paper_")
    assert (told["scope"], told["dpop_bound_access_tokens"]) == ("orders:read", True)
    assert told["registration_client_uri"].endswith(at(told))
    stored = await node.store.oauth_clients.get(told["client_id"])
    assert (stored.partner, stored.roles, stored.exceptions) == ("acme", ("trader",), ())
    assert stored.permissions == ("orders:read",)
    shown = await ask(node, "GET", at(told), told["registration_access_token"])
    assert (shown.status, shown.json()) == (200, told)


async def test_without_the_switch_nothing_is_there(tmp_path: Path) -> None:
    """It is off unless somebody has switched it on."""
    async with control_node(tmp_path, control_roles.policies(), surfaces=SURFACES) as node:
        answer = await ask(node, "POST", REGISTER, await let(node), metadata())
        assert answer.status == 404
        told = (await node.ask(None, "GET", "/.well-known/oauth-authorization-server")).json()
        assert "registration_endpoint" not in told


async def test_nobody_registers_without_a_token(node: ControlNode) -> None:
    """No header, another scheme, one that was used up: the same answer, and nothing of the body is read."""
    used = await let(node)
    assert (await ask(node, "POST", REGISTER, used, metadata())).status == 201
    seen = set()
    for secret in (None, "pit_paper_nonsense", used):
        answer = await ask(node, "POST", REGISTER, secret, b"not even JSON")
        assert answer.status == 401
        seen.add(answer.body)
        assert (answer.header("www-authenticate") or "").startswith("Bearer")
    basic = await node.ask(None, "POST", REGISTER, metadata(), Authorization=f"Basic {used.reveal()}")
    assert basic.status == 401
    assert len(seen) == 1


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "secret": ({"token_endpoint_auth_method": "client_secret_basic"}, "invalid_client_metadata"),
    "public": ({"token_endpoint_auth_method": "none", "jwks": None}, "invalid_client_metadata"),
    "no-keys": ({"jwks": None}, "invalid_client_metadata"),
    "keys-twice": ({"jwks_uri": "https://acme.example/jwks.json"}, "invalid_client_metadata"),
    "wildcard": ({"redirect_uris": ["https://app.acme.example/*"]}, "invalid_redirect_uri"),
    "nowhere": ({"redirect_uris": []}, "invalid_redirect_uri"),
    "no-list": ({"redirect_uris": "https://app.acme.example/"}, "invalid_client_metadata"),
    "implicit": ({"grant_types": ["implicit"]}, "invalid_client_metadata"),
    "response-type": ({"response_types": ["token"]}, "invalid_client_metadata"),
    "control": ({"scope": "control:approve"}, "invalid_client_metadata"),
    "no-permission": ({"scope": "root"}, "invalid_client_metadata"),
    "statement": ({"software_statement": "e30.e30."}, "unapproved_software_statement"),
    "bound-twice": (
        {"dpop_bound_access_tokens": True, "tls_client_certificate_bound_access_tokens": True},
        "invalid_client_metadata",
    ),
    "script": ({"logo_uri": "javascript:alert(1)"}, "invalid_client_metadata"),
}


async def test_what_no_client_is_is_refused_and_uses_nothing_up(node: ControlNode) -> None:
    """In the standard's own words; the token is as good as before."""
    secret = await let(node)
    for name, (changes, error) in REFUSED.items():
        answer = await ask(node, "POST", REGISTER, secret, metadata(**changes))
        assert (answer.status, answer.json()["error"]) == (400, error), name
    assert (await ask(node, "POST", REGISTER, secret, metadata())).status == 201


async def test_nothing_of_a_private_key_is_repeated(node: ControlNode) -> None:
    """Nor of anything else that came."""
    key = oauth_clients.public_jwk(oauth_clients.private_key(), d="bXktcHJpdmF0ZS1udW1iZXI")
    for changes in (
        {"jwks": {"keys": [key]}},
        {"grant_types": ["bXktcHJpdmF0ZS1udW1iZXI"]},
        {"scope": "bXktcHJpdmF0ZS1udW1iZXI"},
        {"client_name": ["bXktcHJpdmF0ZS1udW1iZXI"]},
    ):
        answer = await ask(node, "POST", REGISTER, await let(node), metadata(**changes))
        assert answer.status == 400
        assert b"bXktcHJpdmF0ZS1udW1iZXI" not in answer.body


async def test_bodies_are_json_of_a_size(node: ControlNode) -> None:
    """Anything else is refused before it is looked at."""
    secret = await let(node)
    large = json.dumps(metadata(client_name="x" * 40_000)).encode()
    assert (await ask(node, "POST", REGISTER, secret, large)).status == 413
    assert (await ask(node, "POST", REGISTER, secret, b"[")).status == 400
    authorization = f"Bearer {secret.reveal()}"
    form = await node.ask(
        None, "POST", REGISTER, b"client_name=a", Authorization=authorization,
        content_type="application/x-www-form-urlencoded",
    )  # fmt: skip
    assert form.status == 415
    assert (await ask(node, "POST", f"{REGISTER}?a=b", secret, metadata())).status == 400


async def test_a_client_leads_itself(node: ControlNode) -> None:
    """It changes as a whole, its key follows with an overlap, and it ends itself for good."""
    told = await registered(node)
    access = told["registration_access_token"]
    key = oauth_clients.public_jwk(oauth_clients.private_key(number=2), kid="two")
    changed = metadata(
        client_id=told["client_id"], client_name="Acme desk 2", jwks={"keys": [key]}, contacts=[]
    )
    answer = await ask(node, "PUT", at(told), access, changed)
    assert answer.status == 200, answer.body
    assert answer.json()["client_name"] == "Acme desk 2"
    assert "contacts" not in answer.json()
    assert answer.json()["jwks"]["keys"][0]["kid"] == "two"
    stored = await node.store.oauth_clients.get(told["client_id"])
    assert [version.state for version in stored.versions] == ["retiring", "active"]
    again = await ask(node, "PUT", at(told), access, changed)
    assert (again.status, again.json()) == (200, answer.json())
    assert (await ask(node, "DELETE", at(told), access)).status == 204
    assert (await node.store.oauth_clients.get(told["client_id"])).revoked_at is not None
    assert (await ask(node, "GET", at(told), access)).status == 401


async def test_a_client_does_not_change_what_it_is(node: ControlNode) -> None:
    """Not into another one, not its proof, and not what only the server says of it."""
    told = await registered(node)
    access = told["registration_access_token"]
    for changes in (
        {},
        {"client_id": "prc_paper_other"},
        {"client_id": told["client_id"], "jwks": None, "jwks_uri": "https://acme.example/jwks.json"},
        {"client_id": told["client_id"], "token_endpoint_auth_method": "tls_client_auth"},
        {"client_id": told["client_id"], "registration_access_token": access},
        {"client_id": told["client_id"], "client_id_issued_at": 0},
    ):
        answer = await ask(node, "PUT", at(told), access, metadata(**changes))
        assert (answer.status, answer.json()["error"]) == (400, "invalid_client_metadata"), changes


async def test_another_client_and_none_are_one_answer(node: ControlNode) -> None:
    """Whichever way it is asked about."""
    one, two = await registered(node), await registered(node)
    for method, body in (("GET", None), ("PUT", metadata()), ("DELETE", None)):
        answers = [
            await ask(node, method, target, one["registration_access_token"], body)
            for target in (at(two), f"{REGISTER}/prc_paper_nobody")
        ]
        assert {answer.status for answer in answers} == {401}
        assert answers[0].body == answers[1].body


async def test_what_takes_a_second_person_a_client_does_not_do_alone(tmp_path: Path) -> None:
    """A rule about clients that get more binds the client that leads itself."""
    rule = {"action": "client.widen"}
    policies = control_roles.policies(two_persons=True, approvals=[rule])
    changes = {"oauth": {"registration": True}}
    async with control_node(tmp_path, policies, surfaces=SURFACES, changes=changes) as node:
        told = await registered(node)
        wider = metadata(
            client_id=told["client_id"],
            redirect_uris=["https://app.acme.example/done", "https://evil.example/"],
        )
        answer = await ask(node, "PUT", at(told), told["registration_access_token"], wider)
        assert (answer.status, answer.json()["error"]) == (403, "access_denied")
        same = metadata(client_id=told["client_id"], client_name="Renamed")
        assert (await ask(node, "PUT", at(told), told["registration_access_token"], same)).status == 200


async def test_what_an_operator_took_from_it_a_client_does_not_give_itself_back(node: ControlNode) -> None:
    """Neither by a scope, nor by leaving it out, nor by a grant; what it was left it may lead, and give up."""
    told = await registered(node)
    access, clients = told["registration_access_token"], node.store.oauth_clients
    seen = await clients.get(told["client_id"])
    narrowed = ClientChange(permissions=("orders:read",), grants=("authorization_code",))
    await clients.change(seen, narrowed, author=BY)
    for changes in (
        {"grant_types": ["authorization_code"]},
        {"grant_types": ["authorization_code"], "scope": "orders:read orders:write"},
        {"scope": "orders:read"},
    ):
        asked = metadata(client_id=told["client_id"], jwks=told["jwks"], **changes)
        answer = await ask(node, "PUT", at(told), access, asked)
        assert (answer.status, answer.json()["error"]) == (403, "access_denied"), changes
    left = {"grant_types": ["authorization_code"], "scope": "orders:read"}
    renamed = metadata(client_id=told["client_id"], jwks=told["jwks"], client_name="Renamed", **left)
    assert (await ask(node, "PUT", at(told), access, renamed)).status == 200


async def test_whoever_asks_too_often_waits(tmp_path: Path) -> None:
    """By source, as at every endpoint of the authorization server: a stranger, and a client that changes itself."""
    changes = {"oauth": {"registration": True, "source_limit": {"rate": 1, "per": "1h", "burst": 3}}}
    async with control_node(tmp_path, control_roles.policies(), surfaces=SURFACES, changes=changes) as node:
        told = await registered(node)
        body = metadata(client_id=told["client_id"], client_name="Renamed", jwks=told["jwks"])
        assert (await ask(node, "PUT", at(told), told["registration_access_token"], body)).status == 200
        assert (await ask(node, "POST", REGISTER, "pit_paper_nonsense", metadata())).status == 401
        for answer in (
            await ask(node, "PUT", at(told), told["registration_access_token"], body),
            await ask(node, "POST", REGISTER, "pit_paper_nonsense", metadata()),
        ):
            assert (answer.status, answer.json()["error"]) == (429, "temporarily_unavailable")
            assert int(answer.header("retry-after") or 0) > 0
