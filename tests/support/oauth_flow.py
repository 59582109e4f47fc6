"""One authorization code flow, step by step, each step with its values in the test's hands.

Invariant: a `Flow` has a verifier and a state of its own; what a step is told to change, it changes and nothing else.
"""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Mapping
from typing import Any

from tests.support import jose_by_hand as jose
from tests.support import rawhttp
from tests.support.browser import Browser, Page
from tests.support.oauth_wire import HandClient, Issued, issued

READING = "orders:read"
TRADING = "orders:read orders:write"


@dataclasses.dataclass
class Flow:
    client: HandClient
    scope: str = READING
    verifier: str = dataclasses.field(default_factory=lambda: jose.fresh() + jose.fresh())
    state: str = dataclasses.field(default_factory=jose.fresh)

    def parameters(self, **changes: str | None) -> dict[str, str | None]:
        honest = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.client.redirect_uri,
            "scope": self.scope,
            "state": self.state,
            "code_challenge": jose.digest(self.verifier),
            "code_challenge_method": "S256",
        }
        return honest | changes

    def push(self, changes: Mapping[str, str | None] | None = None, **how: Any) -> rawhttp.Answer:  # noqa: ANN401  see post
        return self.client.post("/oauth/par", self.parameters(**(changes or {})), **how)

    def pushed(self, changes: Mapping[str, str | None] | None = None, **how: Any) -> str:  # noqa: ANN401  see post
        answer = self.push(changes, **how)
        assert answer.status == 201, answer
        return str(answer.json()["request_uri"])

    def url(self, request_uri: str, **beside: str) -> str:
        query = {"client_id": self.client.client_id, "request_uri": request_uri, **beside}
        return f"{self.client.base}/oauth/authorize?{urllib.parse.urlencode(query)}"

    def redeem(
        self,
        code: str,
        changes: Mapping[str, str | None] | None = None,
        *,
        by: HandClient | None = None,
        **how: Any,  # noqa: ANN401  see post
    ) -> rawhttp.Answer:
        honest: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.client.redirect_uri,
            "code_verifier": self.verifier,
        }
        return (by or self.client).request_token(honest | dict(changes or {}), **how)

    def code(self, person: Browser, changes: Mapping[str, str | None] | None = None, **how: Any) -> str:  # noqa: ANN401  see post
        """Pushed, looked at and allowed."""
        page = consent(person, self.url(self.pushed(changes, **how)))
        answered = page.callback()
        assert set(answered) == {"code", "state", "iss"} - (
            {"state"} if changes and "state" in changes else set()
        )
        return answered["code"]

    def tokens(self, person: Browser) -> Issued:
        return issued(self.redeem(self.code(person)))


def consent(person: Browser, url: str, *, allow: bool = True) -> Page:
    """Open the page, and press one of its two buttons."""
    page = person.open(url)
    if page.left_for is not None:
        return page
    form = page.form_with("decision")
    wanted = ("decision", "allow" if allow else "deny")
    assert wanted in form.buttons, form
    return person.submit(page, form, wanted)


def allow_device(person: Browser, url: str) -> Page:
    """Confirm the code that the address brings along, then allow what the device asks for."""
    page = person.open(url)
    page = person.submit(page, page.form_to("/oauth/device"))
    return person.submit(page, page.form_with("decision"), ("decision", "allow"))
