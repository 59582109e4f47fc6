"""Chromium as the system has it, driven over its own protocol; and what people and apps around it do.

Invariant: nothing of the product is imported, and the browser is the one that people have: no rule of its is off.
"""

from __future__ import annotations

import base64
import contextlib
import email
import email.policy
import hashlib
import hmac
import http.server
import json
import os
import re
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright import sync_api

from tests.support import optional
from tests.support.gateway import Deployment, wait_until

STEP_S = 30


@contextlib.contextmanager
def chromium() -> Iterator[sync_api.Browser]:
    executable = optional.require("chromium")
    # Its sandbox refuses to run as root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Authenticator:
    """Somebody's authenticator app. It hands out one code after the other: a code counts once."""

    def __init__(self, key: str) -> None:
        plain = key.replace(" ", "")
        self._secret = base64.b32decode(plain + "=" * (-len(plain) % 8))
        # The one before now, now, and the one after are taken.
        self._step = int(time.time()) // STEP_S - 1

    def code(self) -> str:
        mac = hmac.new(self._secret, self._step.to_bytes(8), hashlib.sha1).digest()
        self._step += 1
        at = mac[-1] & 15
        number = int.from_bytes(mac[at : at + 4]) & 0x7FFFFFFF
        return f"{number % 1_000_000:06}"


def newest_link(deployment: Deployment, address: str, page: str) -> str:
    """Out of the last mail to this address that leads to that page."""
    found: list[str] = []

    def look() -> bool:
        for file in sorted((deployment.directory / "outbox").glob("*.eml")):
            mail = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
            if mail["To"] == address:
                found.extend(re.findall(rf"\S+/oauth/{page}\?ticket=\S+", mail.get_content()))
        return bool(found)

    wait_until(look, 30, f"a mail to {address}")
    return found[-1]


class App:
    """A client of the gateway's: it pushes requests, and listens where codes are sent."""

    def __init__(self, base_url: str, client_id: str, scope: str) -> None:
        self._base_url = base_url
        self._scope = scope
        self.client_id = client_id
        self.told: list[dict[str, str]] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _listener(self.told))
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def push(self) -> str:
        """The address that it sends its person's browser to."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).rstrip(b"=").decode()
        pushed = self._post(
            "/oauth/par",
            response_type="code",
            redirect_uri=f"{self.origin}/callback",
            code_challenge=challenge,
            code_challenge_method="S256",
            scope=self._scope,
            state="s-1",
        )
        query = urllib.parse.urlencode({"client_id": self.client_id, "request_uri": pushed["request_uri"]})
        return f"{self._base_url}/oauth/authorize?{query}"

    def begin_device(self) -> dict[str, Any]:
        return self._post("/oauth/device_authorization", scope=self._scope)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _post(self, path: str, **form: str) -> dict[str, Any]:
        body = urllib.parse.urlencode({"client_id": self.client_id, **form}).encode()
        with urllib.request.urlopen(f"{self._base_url}{path}", body, timeout=30) as answer:  # noqa: S310  our own node
            told: dict[str, Any] = json.load(answer)
        return told


def _listener(told: list[dict[str, str]]) -> type[http.server.BaseHTTPRequestHandler]:
    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urllib.parse.urlsplit(self.path)
            if parts.path == "/callback":
                told.append(dict(urllib.parse.parse_qsl(parts.query)))
            self._answer(b"<!doctype html><title>app</title><p>back in the app")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the base names it
            pass

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Listener


@contextlib.contextmanager
def serving_page(place: Path, body: str) -> Iterator[str]:
    """A page of somebody else's, at an origin of its own."""
    (place / "index.html").write_text(f"<!doctype html><title>elsewhere</title>{body}")

    class Elsewhere(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any, **named: Any) -> None:  # noqa: ANN401  as the base takes them
            super().__init__(*args, directory=str(place), **named)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the base names it
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/index.html"
    finally:
        server.shutdown()
        server.server_close()
