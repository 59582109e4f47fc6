"""How the authorization server says no: one exception, and the codes that it may have.

Invariant: a description is fixed text of ours and repeats nothing that came, so that no answer and no log can carry
what somebody sent. Codes that the endpoints share stand here; `invalid_client` is one text whatever was wrong, so that
nobody learns who exists.
"""

from typing import Final

Header = tuple[str, str]

UNAUTHORIZED: Final = 401
TOO_MANY: Final = 429
UNAVAILABLE: Final = 503


class OAuthError(Exception):
    """`reason` is for our own log: it may tell apart what the asker may not."""

    def __init__(
        self,
        error: str,
        description: str,
        *,
        status: int = 400,
        headers: tuple[Header, ...] = (),
        reason: str = "",
    ) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status
        self.headers = headers
        self.reason = reason or error


def invalid_request(description: str, *, status: int = 400) -> OAuthError:
    return OAuthError("invalid_request", description, status=status)


def invalid_client(reason: str, *, challenged: bool = False) -> OAuthError:
    """`challenged`: the client tried the `Authorization` header, and is told which scheme is taken there."""
    headers = (("WWW-Authenticate", 'Basic realm="portreeve", charset="UTF-8"'),) if challenged else ()
    description = "The client is unknown, or did not prove that it is the one it says."
    return OAuthError("invalid_client", description, status=UNAUTHORIZED, headers=headers, reason=reason)


def unusable_client(description: str, reason: str) -> OAuthError:
    """For who has proved to be the client: only then is it told how things stand."""
    return OAuthError("invalid_client", description, status=UNAUTHORIZED, reason=reason)


def invalid_scope(description: str) -> OAuthError:
    return OAuthError("invalid_scope", description)


def invalid_target() -> OAuthError:
    return OAuthError("invalid_target", "No such resource is served here.")


def invalid_grant(description: str, *, reason: str = "") -> OAuthError:
    return OAuthError("invalid_grant", description, reason=reason)


def unauthorized_client(description: str) -> OAuthError:
    return OAuthError("unauthorized_client", description)


def unavailable(reason: str) -> OAuthError:
    description = "This cannot be answered just now. Try again shortly."
    return OAuthError(
        "temporarily_unavailable",
        description,
        status=UNAVAILABLE,
        headers=(("Retry-After", "1"),),
        reason=reason,
    )


def too_many(retry_after_ms: int, limit: str) -> OAuthError:
    wait_s = max(1, -(-retry_after_ms // 1000))
    return OAuthError(
        "temporarily_unavailable",
        "This is asked too often.",
        status=TOO_MANY,
        headers=(("Retry-After", str(wait_s)),),
        reason=f"rate_limited:{limit}",
    )
