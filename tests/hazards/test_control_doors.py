"""Who comes as far as the control surface: verified callers, on the control port, within their limits, once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar import Controller, get

from gateway import operations
from gateway.api import control as control_surface
from gateway.api.control import rules
from gateway.stages import hand_over
from gateway.trace import Trace
from keys.records import KeyRequest
from tests.support import control_roles, gateway_config, problems, rawhttp, signing
from tests.support.control_node import AUTHOR, ControlNode, control_node
from tests.support.gateway import deployed
from tests.support.processes import free_port
from tests.support.signing import Signer, plain_request

KEYS = "/control/v1/keys"
POLICIES = {"roles": {"officer": {"permissions": sorted(control_roles.ROLES[control_roles.OFFICER])}}}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[ControlNode]:
    policies = control_roles.policies()
    policies["tiers"]["tiny"] = {"key": {"rate": 1, "per": "1h", "burst": 2}}
    async with control_node(tmp_path, policies) as found:
        yield found


@pytest.fixture
async def officer(node: ControlNode) -> Signer:
    return await node.key(control_roles.OFFICER)


async def test_strangers_are_refused_as_on_any_route(node: ControlNode, officer: Signer) -> None:
    problems.check(await node.ask(None, "GET", KEYS), "missing_credentials")
    forged = Signer(officer.key_id, "hmac-sha256", "prs_live_" + "A" * 49)
    problems.check(await node.ask(forged, "GET", KEYS), "bad_signature")
    old = officer.request("GET", KEYS.encode(), timestamp=str(signing.now_ms() - 40_000))
    problems.check(await node.client.send(old), "stale_timestamp")


async def test_a_captured_request_passes_once(node: ControlNode, officer: Signer) -> None:
    """Nonces are taken on the control surface, too."""
    body = b'{"partner":"acme","environment":"live","algorithm":"hmac-sha256","roles":["trader"]}'
    wire = officer.request("POST", KEYS.encode(), body, extra=[("Content-Type", "application/json")])
    assert (await node.client.send(wire)).status == 201
    problems.check(await node.client.send(wire), "replayed_request")
    altered = wire.replace(b'"trader"', b'"viewer"')
    problems.check(await node.client.send(altered), "bad_signature")


async def test_limits_count_as_on_any_route(node: ControlNode) -> None:
    """A partner's tier bounds what its operators ask."""
    await node.custody.create_partner("tiny", "Tiny", "tiny", author=AUTHOR)
    signer = await node.key(control_roles.AUDITOR, partner="tiny")
    answers = [await node.ask(signer, "GET", KEYS) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[0].header("ratelimit") is not None
    problems.check(answers[2], "rate_limited")


async def test_a_key_is_bound_to_its_addresses_and_its_state(node: ControlNode) -> None:
    asked = {
        "partner": "acme",
        "environment": "live",
        "algorithm": "hmac-sha256",
        "cidrs": ("203.0.113.0/24",),
    }
    request = msgspec.convert({**asked, "roles": (control_roles.OFFICER,)}, KeyRequest)
    created = await node.custody.create_key(request, author=AUTHOR)
    assert created.secret is not None
    elsewhere = Signer(created.key.id, "hmac-sha256", created.secret.reveal())
    for change, code in (("freeze", "key_frozen"), ("unfreeze", ""), ("revoke", "key_revoked")):
        signer = await node.key(control_roles.OFFICER)
        if change != "unfreeze":
            await getattr(node.custody, f"{change}_key")(signer.key_id, author=AUTHOR)
            await node.gateway.directory.load()
            problems.check(await node.ask(signer, "GET", KEYS), code)
    problems.check(await node.ask(elsewhere, "GET", KEYS), "source_not_allowed")


async def test_litestar_answers_nobody_whom_the_pipeline_has_not_verified(
    node: ControlNode, officer: Signer
) -> None:
    """Asked directly, without an operator, with something else in its place, or for another operation: nothing."""
    assert (await node.ask(officer, "GET", KEYS)).status == 200
    operator = operations.Operator(
        actor="test", permissions=control_roles.ROLES[control_roles.OFFICER], environments=frozenset({"live"})
    )
    for said in (
        {},
        {hand_over.OPERATOR: None},
        {hand_over.OPERATOR: {"actor": "key:x"}, hand_over.OPERATION: "control.list_keys"},
        {hand_over.OPERATOR: operator},
        {hand_over.OPERATOR: operator, hand_over.OPERATION: "control.list_partners"},
    ):
        for method in ("GET", "POST", "OPTIONS", "HEAD"):
            assert await ask_directly(node, method, said) in {401, 405}, (method, said)
    right = {hand_over.OPERATOR: operator, hand_over.OPERATION: "control.list_keys"}
    assert await ask_directly(node, "GET", right) == 200


async def ask_directly(node: ControlNode, method: str, said: dict[str, Any]) -> int:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": None,
        "client": ("127.0.0.1", 0),
        "scheme": "http",
        "method": method,
        "root_path": "",
        "path": KEYS,
        "raw_path": KEYS.encode(),
        "query_string": b"",
        "headers": [],
        "state": {},
        "portreeve.trace": Trace(0, "r", method),
    }
    app: Any = node.app
    await app({**scope, **said}, receive, send)
    status: int = sent[0]["status"]
    return status


def test_a_handler_without_a_declared_rule_is_not_served() -> None:
    """The gateway does not start with one."""

    class Careless(Controller):
        path = rules.PREFIX

        @get("/secrets")
        async def show(self) -> dict[str, str]:
            return {}

    with pytest.raises(control_surface.UndeclaredEndpoint, match=r"Careless\.show declares no rule"):
        control_surface.build((Careless,))


@pytest.mark.parametrize("permission", ["", "orders:read", "control:anything"])
def test_a_rule_asks_for_a_control_permission(permission: str) -> None:
    """A misspelt one would be one that some role holds, or nobody."""
    base = control_surface.build().rules[0]
    rule = msgspec.structs.replace(base, permission=permission)

    class Mistaken(Controller):
        path = rules.PREFIX

        @control_surface.endpoint.endpoint(rule)
        async def show(self, _call: Any) -> Any:  # noqa: ANN401  never asked
            raise AssertionError

    with pytest.raises(control_surface.UndeclaredEndpoint, match="no control permission"):
        control_surface.build((Mistaken,))


async def test_the_documents_are_there_for_whoever_reaches_the_port(node: ControlNode) -> None:
    """They tell of the code, and of nothing that this gateway holds."""
    told = await node.ask(None, "GET", "/control/openapi.json")
    shown = await node.ask(None, "GET", "/control/docs")
    assert told.header("content-type") == "application/json"
    assert shown.header("content-type") == "text/html; charset=utf-8"
    assert (shown.header("content-security-policy") or "").startswith("default-src 'none'")
    for answer in (told, shown):
        assert answer.status == 200
        assert "borealis" not in answer.body.decode()


async def test_a_node_without_the_surface_has_no_control_paths(tmp_path: Path) -> None:
    async with control_node(tmp_path, control_roles.policies(), surfaces=("edge",)) as node:
        officer = await node.key(control_roles.OFFICER)
        for target in (KEYS, "/control/openapi.json", "/control/docs"):
            problems.check(await node.ask(officer, "GET", target), "no_route")


async def test_a_node_of_the_surface_alone_serves_it(tmp_path: Path) -> None:
    """Control can be on machines of its own."""
    async with control_node(tmp_path, control_roles.policies(), surfaces=("control",)) as node:
        officer = await node.key(control_roles.OFFICER)
        assert (await node.ask(officer, "GET", KEYS)).status == 200
        problems.check(await node.ask(officer, "GET", "/paper/v1/orders"), "no_route")


def test_with_a_control_port_partners_have_no_way_to_it(tmp_path: Path) -> None:
    """Neither the operations nor their documents are on the partners' port; the control port serves them."""
    port = free_port()
    changes = {"control": {"port": port}}
    with deployed(tmp_path, changes=changes, nodes=0) as deployment:
        policies = deployment.policies
        policies["roles"] |= POLICIES["roles"]
        (tmp_path / "policies.toml").write_text(gateway_config.to_toml(policies))
        deployment.serve()
        officer = deployment.key(role="officer", environment="live")
        control, partners = ("127.0.0.1", port), deployment.node.address
        for target in (KEYS, "/control/openapi.json", "/control/docs"):
            wire = officer.request("GET", target.encode())
            assert rawhttp.ask(partners, wire).code == "no_route"
            assert rawhttp.ask(control, officer.request("GET", target.encode())).status == 200
        assert rawhttp.ask(control, plain_request("GET", KEYS.encode())).code == "missing_credentials"
