"""Somebody at the gateway's pages, over a socket: what a browser does of its own, and nothing that it would not do.

Invariant: a form is sent as the last page held it, hidden fields included, with what was typed into it; cookies are
kept as the browser is told to. Nothing is followed by itself: a test says when to go on.
"""

from __future__ import annotations

import asyncio
import html
import re
from typing import Any
from urllib.parse import urlencode

from tests.support import rawhttp, signing
from tests.support.control_node import Client

_FORM = re.compile(r"<form [^>]*action=\"([^\"]*)\".*?</form>", re.DOTALL)
_HIDDEN = re.compile(
    r"<input type=\"hidden\" name=\"([^\"]*)\"(?: autocomplete=\"[^\"]*\")? value=\"([^\"]*)\""
)
_CHECKED = re.compile(r"<input [^>]*type=\"checkbox\" name=\"([^\"]*)\" checked")
SAME_ORIGIN = (("Sec-Fetch-Site", "same-origin"), ("Origin", "null"))


class NoSuchForm(AssertionError):
    """The page has no form that is sent there."""


class Visitor:
    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._client = Client(address)
        self.cookies: dict[str, str] = {}
        self.page = rawhttp.Answer(0, (), b"")

    @property
    def text(self) -> str:
        return self.page.body.decode()

    @property
    def location(self) -> str:
        """Where the last answer sends the browser; an answer that sends it nowhere fails."""
        assert self.page.status == 303, self.page
        found = self.page.header("location")
        assert found is not None
        return found

    async def open(self, path: str, *, method: str = "GET", **headers: str) -> rawhttp.Answer:
        return await self._ask(
            method, path, [(name.replace("_", "-"), each) for name, each in headers.items()]
        )

    async def follow(self) -> rawhttp.Answer:
        return await self.open(self.location)

    async def send(self, action: str, **typed: str | None) -> rawhttp.Answer:
        """The form of the last page that is sent there. None for a field: it is not sent, or its tick is taken away."""
        fields: dict[str, str] = self.fields(action)
        for name, value in typed.items():
            fields.pop(name, None)
            if value is not None:
                fields[name] = value
        return await self.send_raw(action, fields)

    async def send_raw(
        self, action: str, fields: dict[str, str], headers: tuple[tuple[str, str], ...] = SAME_ORIGIN
    ) -> rawhttp.Answer:
        form = ("Content-Type", "application/x-www-form-urlencoded")
        return await self._ask("POST", action, [form, *headers], urlencode(fields).encode())

    def fields(self, action: str) -> dict[str, str]:
        """As the last page sets them, in the last form that is sent there."""
        forms = [each for each in _FORM.finditer(self.text) if html.unescape(each[1]) == action]
        if not forms:
            raise NoSuchForm(f"{action} in {self.page}")
        form = forms[-1]
        hidden = {name: html.unescape(value) for name, value in _HIDDEN.findall(form[0])}
        return hidden | dict.fromkeys(_CHECKED.findall(form[0]), "on")

    async def close(self) -> None:
        await self._client.close()

    async def _ask(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes = b""
    ) -> rawhttp.Answer:
        if self.cookies:
            headers = [
                *headers,
                ("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())),
            ]
        wire = signing.plain_request(method, path.encode(), headers, body)
        if method == "HEAD":
            # It has a length and no body.
            self.page = await asyncio.to_thread(rawhttp.ask, self._address, wire, method="HEAD")
        else:
            self.page = await self._client.send(wire)
            # A page is looked at for longer than a connection is kept.
            await self._client.close()
        for written in self.page.all("set-cookie"):
            self._keep(written)
        return self.page

    def _keep(self, written: str) -> None:
        pair, *rules = written.split("; ")
        name, _, value = pair.partition("=")
        said = {rule.partition("=")[0].lower(): rule.partition("=")[2] for rule in rules}
        assert said.keys() >= {"secure", "httponly", "samesite", "path"}, written
        assert name.startswith("__Host-"), written
        if said.get("max-age") == "0":
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value


def find_all(pattern: str, text: str) -> list[Any]:
    return [html.unescape(each) for each in re.findall(pattern, text)]
