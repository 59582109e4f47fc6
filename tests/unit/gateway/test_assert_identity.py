"""What the upstream is told about whom: bound to the one request where the route says so."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from auth.admission import NOTHING_CHARGED
from auth.assertion import Assertions, RequestBinding
from gateway import routes
from gateway.stages.admit_once import Counted
from gateway.stages.assert_identity import AssertIdentity
from gateway.stages.authenticate import Authenticated
from gateway.stages.authorize import Authorized
from gateway.stages.match_route import Routed
from policies.principal import Principal
from tests.support.stage_values import PUBLIC, READ, REQUEST_ID, admitted

CALLER = Principal("acme", "k", "paper", "standard", ("reader",), frozenset({"orders:read"}), ())
BOUND = msgspec.structs.replace(READ, bind_request=True)


class Issuer:
    """Writes down what it was asked to state."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def issue(self, caller: Principal, upstream: str, permission: str, _now_ms: int, bind: Any = None) -> str:  # noqa: ANN401  a binding or none
        self.asked.append((caller, upstream, permission, bind))
        return "statement"


def stated(route: routes.Route, principal: Principal | None = CALLER) -> tuple[str | None, list[Any]]:
    issuer = Issuer()
    authenticated = Authenticated(Routed(admitted(), route), None, b"n", b"{}", "hash of the body")
    counted = Counted(Authorized(authenticated, principal), NOTHING_CHARGED)
    asserted = AssertIdentity(cast("Assertions", issuer))(counted)
    return asserted.assertion, issuer.asked


def test_an_assertion_is_for_the_routes_upstream_and_permission() -> None:
    """And is not bound to a request where the route does not ask for it."""
    assert stated(READ) == ("statement", [(CALLER, "paper", "orders:read", None)])


def test_a_bound_assertion_names_its_request() -> None:
    """By what the upstream can check: id, method, target and the hash of the body."""
    _, [(*_, bind)] = stated(BOUND)
    assert bind == RequestBinding(
        request_id=REQUEST_ID, method="GET", path=b"/a", query=b"", body_sha256="hash of the body"
    )


def test_nobody_is_asserted_where_nobody_is_known() -> None:
    """A public route's upstream is told nothing about a caller."""
    assert stated(PUBLIC, None) == (None, [])
