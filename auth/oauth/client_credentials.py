"""The grant by which a client gets a token for itself (RFC 6749, 4.4).

Invariant: the scope is what the client was given, or less; the audience is one that tokens are made for here. A client
that cannot prove who it is gets none, whatever stands with it.
"""

from collections.abc import Mapping
from typing import Any

from auth.oauth import bridge, errors, scopes
from auth.oauth.access_tokens import AccessTokens
from auth.oauth.terms import Terms
from policies.document import Policies


class ClientCredentials(bridge.Grant):
    GRANT_TYPE = "client_credentials"

    policies: Policies
    terms: Terms
    access_tokens: AccessTokens

    async def issue(self, request: bridge.Request) -> Mapping[str, Any]:
        authenticated, form = request.authenticated, request.form
        client = authenticated.client
        if authenticated.method == "none":
            raise errors.unauthorized_client("A client that cannot prove who it is gets nothing for itself.")
        scope = scopes.narrow(form.get("scope"), scopes.of_client(self.policies, client))
        bound = authenticated.bind()
        issued = self.access_tokens.issue(
            client=client,
            scope=scope,
            resource=self.terms.choose_resource(form.get("resource")),
            jkt=bound.jkt,
            x5t=bound.x5t,
            now_ms=request.arrived.now_ms,
        )
        return issued.answer()
