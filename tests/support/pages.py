"""Values that pages are made of."""

from __future__ import annotations

from typing import Any

from keys.client_records import About
from keys.served_clients import ServedClient

CLIENT_ID = "prc_paper_0123456789ABCDEFGHIJKLMNOP"


def served_client(**changes: Any) -> ServedClient:  # noqa: ANN401  the fields of a client
    fields: dict[str, Any] = {
        "id": CLIENT_ID,
        "partner": "acme",
        "tier": "standard",
        "environment": "paper",
        "name": "Order Desk",
        "authentication": "private_key_jwt",
        "binding": "dpop",
        "grants": frozenset({"authorization_code"}),
        "roles": ("trader",),
        "permissions": None,
        "networks": (),
        "redirect_uris": ("https://app.example/callback",),
        "exceptions": frozenset(),
        "keys": (),
        "secrets": (),
        "keys_url": None,
        "certificate": None,
        "about": About(),
        "expires_at": None,
        "frozen": False,
        "revoked": False,
        "partner_frozen": False,
        "revision": 1,
    }
    return ServedClient(**fields | changes)
