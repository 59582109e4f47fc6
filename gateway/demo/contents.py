"""The shape of `demo.json`, by which scripts drive the demo."""

from __future__ import annotations

import msgspec

from gateway.cli.credentials import Credentials


class DemoClient(msgspec.Struct, frozen=True, omit_defaults=True):
    """An OAuth client, and what authenticates it. `scope`: all that it can have."""

    client_id: str
    auth: str
    environment: str
    partner: str
    scope: str
    private_jwk: dict[str, str] | None = None
    client_secret: str | None = None
    redirect_uris: tuple[str, ...] = ()


class DemoOperator(msgspec.Struct, frozen=True, omit_defaults=True):
    email: str
    password: str
    totp_secret: str
    roles: tuple[str, ...]
    partner: str | None = None


class Contents(Credentials, frozen=True):
    oauth_clients: tuple[DemoClient, ...] = ()
    operators: tuple[DemoOperator, ...] = ()
