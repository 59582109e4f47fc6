"""A found secret, reported over the control surface: its key is frozen, and whose it is stays where it belongs."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keys.changes import Author
from tests.support import control_roles, problems, rawhttp
from tests.support.control_node import ControlNode, control_node
from tests.support.signing import Signer

LEAKS = "/control/v1/leaks"
SCANNER = ec.generate_private_key(ec.SECP256R1())
STRANGER = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[ControlNode]:
    (tmp_path / "scanner.pem").write_bytes(
        SCANNER.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    changes = {"scanners": {"github": {"keys": {"k1": "scanner.pem"}}}}
    async with control_node(tmp_path, control_roles.policies(), changes=changes) as found:
        yield found


async def test_a_found_secret_freezes_its_key_and_is_told_to_who_reaches_it(node: ControlNode) -> None:
    """The stranger who holds it learns that it was real; the officer, whose it was."""
    officer, finder = await node.key(control_roles.OFFICER), await node.key("control-leaks-report")
    found = await node.key("trader", partner="borealis", environment="paper")
    report = {"findings": [{"secret": found.secret, "place": "a chat"}, {"secret": "prs_paper_none"}]}
    first = await node.ask(finder, "POST", LEAKS, report)
    nothing = {"key": None, "version": None, "partner": None}
    assert first.json()["items"] == [{"outcome": "frozen", **nothing}, {"outcome": "unknown", **nothing}]
    second = await node.ask(officer, "POST", LEAKS, report)
    assert second.json()["items"][0] == {
        "outcome": "was-frozen",
        "key": found.key_id,
        "version": 1,
        "partner": "borealis",
    }
    await node.gateway.directory.load()
    problems.check(await node.ask(found, "GET", "/edge/v1/whoami"), "key_frozen")
    for answer in (first, second):
        assert found.secret not in answer.body.decode()


async def test_no_refusal_quotes_what_was_reported(node: ControlNode) -> None:
    finder = await node.key("control-leaks-report")
    secret = finder.secret
    for body in (
        {"findings": [{"secret": [secret]}]},
        {"findings": [{"secret": secret * 9}]},
        {"findings": secret},
        {"findings": [{"secret": secret, "place": "x\u0000"}], "reason": " "},
        f'{{"findings":[{{"secret":"{secret}"'.encode(),
    ):
        refused = await node.ask(finder, "POST", LEAKS, body)
        problems.check(refused, "invalid_request")
        assert secret not in refused.body.decode()


async def scanned(
    node: ControlNode,
    body: bytes,
    *,
    key: ec.EllipticCurvePrivateKey = SCANNER,
    key_id: str = "k1",
    signer: Signer | None = None,
    target: str = LEAKS,
) -> rawhttp.Answer:
    signature = base64.b64encode(key.sign(body, ec.ECDSA(hashes.SHA256()))).decode()
    signed = {"Github-Public-Key-Identifier": key_id, "Github-Public-Key-Signature": signature}
    return await node.ask(signer, "POST", target, body, **signed)


async def test_a_scanner_reports_by_its_own_signature(node: ControlNode) -> None:
    """And learns only what is true of what it sent, by its hash; the ledger names it."""
    officer = await node.key(control_roles.OFFICER)
    found = await node.key("trader", partner="borealis")
    body = json.dumps([{"token": found.secret, "type": "portreeve", "url": "https://code.example"}]).encode()
    answer = await scanned(node, body)
    token_hash = base64.b64encode(hashlib.sha256(found.secret.encode()).digest()).decode()
    expected = {"token_hash": token_hash, "token_type": "portreeve", "label": "true_positive"}
    assert (answer.status, json.loads(answer.body)) == (200, [expected])
    await node.gateway.directory.load()
    problems.check(await node.ask(found, "GET", "/edge/v1/whoami"), "key_frozen")
    ledger = (await node.ask(officer, "GET", f"/control/v1/audit?subject={found.key_id}")).json()["items"]
    assert "scanner:github" in {entry["actor"] for entry in ledger}


async def test_what_no_known_scanner_has_signed_does_nothing(node: ControlNode) -> None:
    """Nor does a scanner's signature open anything but reporting, and no other address leads there."""
    found = await node.key("trader", partner="borealis")
    body = json.dumps([{"token": found.secret}]).encode()
    problems.check(await scanned(node, body, key=STRANGER), "bad_signature")
    problems.check(await scanned(node, body, key_id="k2"), "bad_signature")
    problems.check(await scanned(node, b"{}"), "invalid_request")
    problems.check(await scanned(node, body, target="/control/v1/keys"), "missing_credentials")
    problems.check(await scanned(node, body, target=f"{LEAKS}/scanned"), "no_route")
    # Whoever signs as a partner is held to be one, and may report only if permitted.
    problems.check(await scanned(node, body, signer=found), "permission_denied")
    await node.gateway.directory.load()
    assert (await node.ask(found, "GET", "/edge/v1/whoami")).status == 200


async def test_a_captured_report_is_good_for_nothing(node: ControlNode) -> None:
    """Sent again, and signed anew over the same bytes, it is answered alike; the key that was thawed goes on."""
    found = await node.key("trader", partner="borealis")
    body = json.dumps([{"token": found.secret, "url": "https://code.example"}]).encode()
    first = await scanned(node, body)
    await node.custody.unfreeze_key(found.key_id, author=Author("two persons"))
    again = await scanned(node, body)
    assert (again.status, again.body) == (first.status, first.body)
    await node.gateway.directory.load()
    assert (await node.ask(found, "GET", "/edge/v1/whoami")).status == 200
