"""Why the authorization server refuses: by the names of RFC 6749, 8628, 8707 and OpenID Connect Core.

Invariant: a description is written for the client's developer and repeats nothing that was presented.
"""

from typing import Literal

Error = Literal[
    "access_denied",
    "authorization_pending",
    "expired_token",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "request_not_supported",
    "slow_down",
    "unauthorized_client",
    "unsupported_response_type",
]


class Refused(Exception):
    def __init__(self, error: Error, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.error: Error = error
        self.description = description
