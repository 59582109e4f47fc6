"""Why the authorization server refuses: by the names of RFC 6749, 7636, 8628, 8707 and OpenID Connect Core.

Invariant: a description is written for the client's developer and repeats nothing that was presented.
"""

from typing import Literal

Error = Literal[
    "access_denied",
    "account_selection_required",
    "authorization_pending",
    "consent_required",
    "expired_token",
    "interaction_required",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "login_required",
    "request_not_supported",
    "server_error",
    "slow_down",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_response_type",
]


class Refused(Exception):
    def __init__(self, error: Error, description: str) -> None:
        super().__init__(f"{error}: {description}")
        self.error: Error = error
        self.description = description
