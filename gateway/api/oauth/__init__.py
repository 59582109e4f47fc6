"""The authorization server over HTTP. What it decides is decided in `auth.oauth`: here it is read and written."""

from __future__ import annotations

from typing import Any

from gateway.api.oauth import register
from gateway.api.oauth.device_authorization import authorize_device
from gateway.api.oauth.introspect import introspect
from gateway.api.oauth.par import push_request
from gateway.api.oauth.revoke import revoke
from gateway.api.oauth.token import issue_tokens
from gateway.api.oauth.well_known import describe_resource, describe_server, show_keys


def handlers(*, registration: bool) -> list[Any]:
    """`registration`: whether clients may register themselves."""
    registering = register.HANDLERS if registration else ()
    return [
        *registering,
        push_request,
        authorize_device,
        issue_tokens,
        introspect,
        revoke,
        describe_server,
        describe_resource,
        show_keys,
    ]
