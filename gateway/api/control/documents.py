"""`/control/openapi.json` and `/control/docs`: what the control surface is, for whoever can reach its port.

They need no credentials: they are made from the code alone and name nothing that a gateway holds.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from gateway.api.control import openapi, page
from gateway.api.control.rules import Rule

_HEADERS = {"cache-control": "public, max-age=300", "x-content-type-options": "nosniff"}


def serve(rules: Iterable[Rule]) -> tuple[HTTPRouteHandler, HTTPRouteHandler]:
    document = openapi.document(rules)
    encoded, rendered = msgspec.json.encode(document), page.render(document)

    @get("/control/openapi.json", sync_to_thread=False)
    def control_openapi() -> Response[bytes]:
        return Response(encoded, media_type="application/json", headers=_HEADERS)

    @get("/control/docs", sync_to_thread=False)
    def control_docs() -> Response[bytes]:
        headers = {**_HEADERS, "content-security-policy": page.POLICY}
        return Response(rendered, media_type="text/html", headers=headers)

    return control_openapi, control_docs
