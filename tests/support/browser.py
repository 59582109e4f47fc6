"""As much of a browser as pages without scripts need: cookies, forms, and redirects as far as the site's own edge.

Invariant: it fills in what the page offers and sends it as a browser would, hidden fields, Origin and the pressed
button included; it sends no field that the page does not have. A redirect to another site is where it stops and tells.
"""

from __future__ import annotations

import dataclasses
import html.parser
import urllib.parse

from tests.support import oauth_wire, rawhttp

_REDIRECTS = {301, 302, 303, 307, 308}


@dataclasses.dataclass
class Form:
    method: str
    action: str
    fields: dict[str, str] = dataclasses.field(default_factory=dict)
    buttons: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    choices: list[tuple[str, str]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Page:
    """`left_for`: where a redirect leads to outside the site; then nothing of that was asked for."""

    url: str
    answer: rawhttp.Answer
    left_for: str | None = None

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def text(self) -> str:
        return self.answer.body.decode()

    @property
    def path(self) -> str:
        return urllib.parse.urlsplit(self.url).path

    @property
    def forms(self) -> list[Form]:
        reader = _FormReader()
        reader.feed(self.text)
        return reader.forms

    def form_with(self, *names: str) -> Form:
        for form in self.forms:
            offered = {*form.fields, *(name for name, _ in [*form.buttons, *form.choices])}
            if set(names) <= offered:
                return form
        raise AssertionError(f"{self.url} has no form with {names}: {self.forms}\n{self.text[:3000]}")

    def form_to(self, path: str) -> Form:
        found = [form for form in self.forms if form.action == path]
        assert found, f"{self.url} has no form to {path}\n{self.text[:3000]}"
        return found[0]

    def callback(self) -> dict[str, str]:
        """What the redirect out of the site says."""
        assert self.left_for is not None, f"{self.status} {self.url}\n{self.text[:3000]}"
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.left_for).query))


class Browser:
    def __init__(self, site: str) -> None:
        self.site = site
        self.cookies: dict[str, str] = {}

    def open(self, url: str) -> Page:
        return self._go("GET", urllib.parse.urljoin(self.site, url), b"")

    def submit(self, page: Page, form: Form, button: tuple[str, str] | None = None, **filled: str) -> Page:
        """`filled`: only fields that the form has; dashes of their names are written as underscores."""
        pairs = dict(form.fields)
        for name, value in filled.items():
            own = name if name in pairs else name.replace("_", "-")
            assert own in pairs, f"the form of {page.url} has no field {name}: {sorted(pairs)}"
            pairs[own] = value
        sent = [*pairs.items(), *form.choices, *([button] if button else [])]
        return self._go(
            form.method, urllib.parse.urljoin(page.url, form.action), urllib.parse.urlencode(sent).encode()
        )

    def _go(self, method: str, url: str, body: bytes) -> Page:
        for _ in range(10):
            answer = self._ask(method, url, body)
            if answer.status not in _REDIRECTS:
                return Page(url, answer)
            there = urllib.parse.urljoin(url, answer.header("location") or "")
            if not there.startswith(self.site + "/"):
                return Page(url, answer, there)
            method, url, body = "GET", there, b""
        raise AssertionError(f"redirected for ever, at last to {url}")

    def _ask(self, method: str, url: str, body: bytes) -> rawhttp.Answer:
        parts = urllib.parse.urlsplit(url)
        headers = [("Accept", "text/html")]
        if self.cookies:
            headers.append(("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        if method == "POST":
            headers += [oauth_wire.FORM, ("Origin", self.site), ("Sec-Fetch-Site", "same-origin")]
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        answer = oauth_wire.ask(self.site, method, target, headers, body)
        for cookie in answer.all("set-cookie"):
            self._keep(cookie)
        return answer

    def _keep(self, cookie: str) -> None:
        pair, *attributes = [part.strip() for part in cookie.split(";")]
        name, _, value = pair.partition("=")
        if not value or "max-age=0" in (attribute.lower() for attribute in attributes):
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value


class _FormReader(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(said.get("method", "get").upper(), said.get("action", "")))
            self._inside = True
        elif self._inside and "name" in said:
            self._field(tag, said, dict(attrs))

    def _field(self, tag: str, said: dict[str, str], present: dict[str, str | None]) -> None:
        if "disabled" in present:
            return  # a browser sends nothing of it
        form, kind = self.forms[-1], said.get("type", "submit" if tag == "button" else "text")
        pair = (said["name"], said.get("value", ""))
        if tag == "button" or kind == "submit":
            form.buttons.append(pair)
        elif kind in {"checkbox", "radio"}:
            form.choices += [(pair[0], said.get("value", "on"))] if "checked" in present else []
        elif tag in {"input", "textarea", "select"}:
            form.fields[pair[0]] = pair[1]

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "form"
