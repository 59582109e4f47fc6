"""What docs/webhooks.md tells partners to run does verify what we send, and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.settings import WebhooksSettings
from gateway.webhooks import events, signing
from gateway.webhooks.assembly import plan
from keys import webhook_secrets
from keys.secret import Secret
from keys.webhook_records import EVENTS
from tests.support import optional

PAGE = (Path(__file__).parents[4] / "docs" / "webhooks.md").read_text()
BODY = b'{"type":"key.revoked","timestamp":"2026-11-21T09:30:00.000Z","data":{}}'
SECRET = webhook_secrets.mint_webhook_secret(bytes(range(32)))
OTHER = webhook_secrets.mint_webhook_secret(bytes(32))
Read = Callable[[str, dict[str, str], bytes], Any]

NODE = """
const { secret, headers, body } = JSON.parse(require("node:fs").readFileSync(0));
try { console.log(JSON.stringify(read(secret, headers, Buffer.from(body)))); } catch { process.exit(3); }
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def sign(*secrets: Secret, age_s: int = 0) -> dict[str, str]:
    keys = [webhook_secrets.parse_signing_key(secret) for secret in secrets]
    return dict(signing.sign(keys, "msg_1", time.time_ns() // 1_000_000 - 1000 * age_s, BODY))


def python_reader(source: str) -> Read:
    room: dict[str, Any] = {}
    exec(source, room)  # noqa: S102  the page's own words
    read: Read = room["read"]
    return read


def node_reader() -> Read:
    node = optional.require("node")
    (source,) = blocks("js")

    def read(secret: str, headers: dict[str, str], body: bytes) -> Any:  # noqa: ANN401  whatever was in it
        given = json.dumps({"secret": secret, "headers": headers, "body": body.decode()})
        done = subprocess.run(
            [str(node), "-e", source + NODE],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ,
        )
        if done.returncode == 3:
            raise ValueError
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return read


@pytest.fixture(params=["library", "plain", "node"])
def read(request: pytest.FixtureRequest) -> Read:
    """Each reader on the page, by its language."""
    if request.param == "node":
        return node_reader()
    library, plain = blocks("python")
    return python_reader(library if request.param == "library" else plain)


def test_a_reader_on_the_page_accepts_what_we_send(read: Read) -> None:
    """By either secret of a rotation."""
    for headers in (sign(SECRET), sign(OTHER, SECRET), sign(SECRET, OTHER)):
        assert read(SECRET.reveal(), headers, BODY) == json.loads(BODY)


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        # Signed when the test runs: what was signed when it was collected may be too old by then.
        (lambda: sign(OTHER), BODY),
        (lambda: sign(SECRET), BODY + b" "),
        (lambda: sign(SECRET) | {"webhook-id": "msg_2"}, BODY),
        (lambda: sign(SECRET, age_s=400), BODY),
        (lambda: sign(SECRET, age_s=-400), BODY),
        (lambda: sign(SECRET) | {"webhook-timestamp": "soon"}, BODY),
        (lambda: sign(SECRET) | {"webhook-signature": "v1,"}, BODY),
    ],
    ids=["secret", "body", "id", "old", "ahead", "no-time", "no-signature"],
)
def test_a_reader_on_the_page_refuses_what_we_did_not_send(
    read: Read, sent: Callable[[], dict[str, str]], body: bytes
) -> None:
    """Another secret, body or id, and a time that is long ago or far ahead."""
    with pytest.raises(Exception):  # noqa: B017, PT011  each reader has its own way to say no
        read(SECRET.reveal(), sent(), body)


def test_the_page_names_every_event_and_the_schedule() -> None:
    """None that there is not, either."""
    named = set(re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", PAGE, re.MULTILINE))
    assert named == {*EVENTS, *events.OWN}
    assert plan(WebhooksSettings()).retry_after_s == (5, 30, 120, 600, 3_600, 10_800, 21_600, 43_200)
    assert "5 s, 30 s, 2 min, 10 min, 1 h, 3 h, 6 h and 12 h" in PAGE
