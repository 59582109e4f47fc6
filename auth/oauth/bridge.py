"""Authlib's authorization server, asked from a coroutine.

Authlib's core knows no framework and no `await`: it runs in a greenlet, and a hook of ours that has to wait leaves it
for the time. What it does is its part: find the grant for a request, and take a grant through its steps in their order.
Whom a client is, what is checked and what is issued is decided by what is given to it.

Invariant: nothing of Authlib's own reaches a client: its exceptions become an `OAuthError` with a text of ours, here
and nowhere else. Authlib's client authentication, its token generators and its response types are not used.
"""

from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar, cast

import msgspec
from authlib.oauth2 import rfc6749
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from sqlalchemy.util.concurrency import await_only, greenlet_spawn

from auth.oauth import errors
from auth.oauth.client_authentication import AuthenticatedClient, ClientAuthentication
from auth.oauth.refusals import Refused
from auth.oauth.requests import TokenRequest

T = TypeVar("T")

_DESCRIPTIONS: Final = {
    "unsupported_grant_type": "This grant type is not served here.",
    "unauthorized_client": "This client was not given this grant type.",
    "invalid_request": "The request lacks something, or holds something that does not belong there.",
    "invalid_grant": "This grant is not good, or is no longer.",
    "invalid_scope": "The client was not given this scope.",
}


def wait_for(awaited: Awaitable[T]) -> T:
    """For hooks: what is awaited is awaited by whoever asked the server."""
    return await_only(awaited)


class Answer(msgspec.Struct, frozen=True):
    """What a client gets, as JSON. It holds secrets: it is for the response alone."""

    body: Mapping[str, Any]

    def __repr__(self) -> str:
        return "Answer(***)"


class Client(rfc6749.ClientMixin):  # type: ignore[misc]  # Authlib carries no types
    """Who asked, in the form that Authlib asks it."""

    def __init__(self, authenticated: AuthenticatedClient) -> None:
        self.authenticated = authenticated
        self.served = authenticated.client

    def get_client_id(self) -> str:
        return self.served.id

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.served.grants

    def __repr__(self) -> str:
        return f"Client({self.served.id})"


class Request(rfc6749.OAuth2Request):  # type: ignore[misc]  # Authlib carries no types
    """One request on its way through Authlib. `client` is there once it has been authenticated."""

    client: Client

    def __init__(self, arrived: TokenRequest) -> None:
        super().__init__(arrived.method, arrived.url)
        self.arrived = arrived
        self.payload = BasicOAuth2Payload(arrived.form)

    @property
    def form(self) -> Mapping[str, str]:
        return self.arrived.form

    @property
    def authenticated(self) -> AuthenticatedClient:
        return self.client.authenticated


class Grant(rfc6749.BaseGrant, rfc6749.TokenEndpointMixin):  # type: ignore[misc]  # Authlib carries no types
    """One grant type. A subclass names its `GRANT_TYPE` and says what is issued; `register` makes the server know it.

    The client has been authenticated, and may use this grant type, before `issue` is asked.
    """

    request: Request

    def validate_token_request(self) -> None:
        client = self.authenticate_token_endpoint_client()
        if not client.check_grant_type(self.GRANT_TYPE):
            raise rfc6749.UnauthorizedClientError
        self.request.client = client

    def create_token_response(self) -> tuple[int, Mapping[str, Any], list[tuple[str, str]]]:
        return 200, wait_for(self.issue(self.request)), []

    async def issue(self, request: Request) -> Mapping[str, Any]:
        """The members of the answer. Refuses by `OAuthError`."""
        raise NotImplementedError


class Server(rfc6749.AuthorizationServer):  # type: ignore[misc]  # Authlib carries no types
    """The token endpoint. Grants are registered once, before the first request: `register(grant, its arguments)`."""

    def __init__(self, clients: ClientAuthentication) -> None:
        super().__init__()
        self._clients = clients

    def register(self, grant: type[Grant], **parts: object) -> None:
        """`parts` are set on each grant that is made for a request, by their names."""
        bound = type(grant.__name__, (grant,), dict(parts))
        self.register_grant(bound)

    @property
    def grant_types(self) -> tuple[str, ...]:
        return tuple(grant.GRANT_TYPE for grant, _ in self._token_grants)

    async def respond(self, arrived: TokenRequest) -> Answer:
        if "grant_type" not in arrived.form:
            raise errors.invalid_request("The grant_type is missing.")
        try:
            return cast("Answer", await greenlet_spawn(self.create_token_response, arrived))
        except Refused as refused:
            raise errors.OAuthError(refused.error, refused.description) from None

    # What Authlib asks of whoever uses it -------------------------------------------------------------------

    def create_oauth2_request(self, request: TokenRequest) -> Request:
        return Request(request)

    def authenticate_client(
        self,
        request: Request,
        methods: object,  # noqa: ARG002  which method a client uses stands with the client
        endpoint: str = "token",  # noqa: ARG002  the same one at every endpoint
    ) -> Client:
        return Client(wait_for(self._clients.authenticate(request.arrived)))

    def handle_response(self, status: int, body: Mapping[str, Any], headers: object) -> Answer:  # noqa: ARG002  see Answer
        return Answer(body)

    def handle_error_response(self, request: Request, error: rfc6749.OAuth2Error) -> Answer:  # noqa: ARG002  ours alone
        code = str(error.error)
        raise errors.OAuthError(code, _DESCRIPTIONS.get(code, "The request is refused.")) from None

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens: what is done is told where it is done."""
