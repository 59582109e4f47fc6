"""What the upstream is told about whom: bound to the one request where the route says so."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from auth.admission import NOTHING_CHARGED
from auth.assertion import Assertions, RequestBinding, Statement
from gateway import routes
from gateway.grants import Grants
from gateway.stages.admit_once import Counted
from gateway.stages.assert_identity import AssertIdentity
from gateway.stages.authenticate import Authenticated
from gateway.stages.authorize import Authorized
from gateway.stages.match_route import Routed
from keys.served import ServedKey
from policies.document import Policies
from tests.support.served_keys import make_entitlement, make_hmac_key
from tests.support.stage_values import PUBLIC, READ, REQUEST_ID, admitted

CALLER = make_hmac_key(entitlement=make_entitlement(roles=("reader",)))
STATEMENT = Statement("acme", CALLER.id, "paper", ("reader",), "orders:read", "paper")
BOUND = msgspec.structs.replace(READ, bind_request=True)


class Issuer:
    """Writes down what it was asked to state."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def issue(self, statement: Statement, _now_ms: int, bind: Any = None) -> str:  # noqa: ANN401  a binding or none
        self.asked.append((statement, bind))
        return "statement"


def stated(route: routes.Route, caller: ServedKey | None = CALLER) -> tuple[str | None, list[Any]]:
    issuer = Issuer()
    authenticated = Authenticated(Routed(admitted(), route), None, b"n", b"{}", b"hash of the body")
    grant = None if caller is None else Grants(Policies({}, {}, {})).find(caller.entitlement, route.terms)
    counted = Counted(Authorized(authenticated, grant), NOTHING_CHARGED)
    asserted = AssertIdentity(cast("Assertions", issuer))(counted)
    return asserted.assertion, issuer.asked


def test_an_assertion_is_for_the_routes_upstream_and_permission() -> None:
    """And is not bound to a request where the route does not ask for it."""
    assert stated(READ) == ("statement", [(STATEMENT, None)])


def test_a_bound_assertion_names_its_request() -> None:
    """By what the upstream can check: id, method, target and the hash of the body."""
    _, [(*_, bind)] = stated(BOUND)
    assert bind == RequestBinding(
        request_id=REQUEST_ID, method="GET", path=b"/a", query=b"", body_sha256="hash of the body"
    )


def test_nobody_is_asserted_where_nobody_is_known() -> None:
    """A public route's upstream is told nothing about a caller."""
    assert stated(PUBLIC, None) == (None, [])


def test_nothing_is_stated_where_no_permission_was_asked_for() -> None:
    """A caller of such a route is known, and its upstream is told of no one."""
    assert stated(msgspec.structs.replace(READ, permission=None)) == (None, [])
