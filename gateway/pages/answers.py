"""What a page's turn answers: a page to show, or where to go on.

Invariant: a browser that goes on asks with GET (303), at a path of ours or at the redirect URI of the client that the
turn was about; no other answer redirects.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Response
from litestar.datastructures import Cookie

from gateway.pages import guarding
from gateway.pages.rendering import Templates

_SEE_OTHER: Final = 303
_HTML: Final = "text/html"


class Page(msgspec.Struct, frozen=True):
    """`form_target`: the redirect URI to which the answer to this page's form may lead."""

    template: str
    values: dict[str, Any] = {}
    status: int = 200
    form_target: str | None = None
    headers: dict[str, str] = {}


class SeeOther(msgspec.Struct, frozen=True):
    address: str


Answer = Page | SeeOther


def respond(
    answer: Answer, templates: Templates, shared: dict[str, Any], cookies: list[Cookie]
) -> Response[bytes]:
    """`shared`: what every template is given beside its own values."""
    if isinstance(answer, SeeOther):
        headers = {**guarding.headers(), "location": answer.address}
        return Response(b"", status_code=_SEE_OTHER, headers=headers, media_type=_HTML, cookies=cookies)
    content = templates.render(answer.template, {**shared, **answer.values})
    headers = {**answer.headers, **guarding.headers(answer.form_target)}
    return Response(content, status_code=answer.status, headers=headers, media_type=_HTML, cookies=cookies)
