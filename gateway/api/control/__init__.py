"""The control surface, `/control/v1/`: what operators and partners can do with the gateway itself, over HTTP.

Every request has come through the pipeline as any signed request does, and is answered here for the operator that it
made of the caller. The permission that a rule declares is the one that the pipeline asks for.

Invariant: an endpoint without a declared rule is not served: `build` refuses it, so the gateway does not start. All
that is known of an endpoint (its path, permission and types, what it refuses, its examples) stands in its rule, and the
route table, the handlers, the OpenAPI document and its page are all made from there.

To add a resource, write one file beside `keys.py`:

1. Types. Requests are `msgspec.Struct`s with `forbid_unknown_fields=True`, each text bounded by a pattern or a length
   (`types.py` has the usual ones); answers are structs of their own, with no field that can hold a secret but in the
   answer to the create that made it.
2. A `Controller` with `path = rules.PREFIX` and one method an endpoint, `async def name(self, call: Call) -> Reply`,
   decorated with `@endpoint(Rule(...))`. It asks an operation in `gateway.operations`, as `call.operator`, and knows
   nothing of permissions, reach or environments: operations do.
   - A change: `conditional=True`, and `by = call.if_unchanged(find_revision)` instead of `call.operator`, where
     `find_revision(conn)` reads the row's revision. `Reply(view, revision=...)` sends the `ETag`.
   - A create: `settles="the.action"`, the audit action that the operation records, and `call.once(make, again)`.
   - A list: a query with `limit` and `after`, `call.position(str)`, and `call.next(position)`.
3. Its class in `_CONTROLLERS` below. New exceptions get a line in `failures.py`, new problem codes a page.

Then `reach` and `environment` in the rule say what the authorization matrix (tests/hazards/test_control_matrix.py)
expects of it; new path parameters need a subject there.
"""

from __future__ import annotations

from typing import Final

from litestar import Controller, Router
from litestar.handlers import HTTPRouteHandler

from gateway import routes
from gateway.api.control import documents, endpoint
from gateway.api.control.approvals import ApprovalController
from gateway.api.control.audit import AuditController
from gateway.api.control.break_glass import BreakGlassController
from gateway.api.control.clients import ClientController
from gateway.api.control.custody import CustodyController
from gateway.api.control.freezes import FreezeController
from gateway.api.control.keys import KeyController
from gateway.api.control.leaks import LeakController
from gateway.api.control.nodes import NodeController
from gateway.api.control.partners import PartnerController
from gateway.api.control.people import PeopleController
from gateway.api.control.rules import LARGEST_BODY, PREFIX, Rule
from gateway.api.control.secrets import SecretController
from gateway.api.control.webhooks import WebhookController
from policies import control

__all__ = ["Control", "Rule", "UndeclaredEndpoint", "build"]

_CONTROLLERS: Final[tuple[type[Controller], ...]] = (
    PartnerController,
    PeopleController,
    KeyController,
    ClientController,
    SecretController,
    FreezeController,
    ApprovalController,
    BreakGlassController,
    NodeController,
    AuditController,
    LeakController,
    WebhookController,
    CustodyController,
)


class UndeclaredEndpoint(Exception):
    """A handler of the control surface says not, or not rightly, who may ask it."""


class Control:
    """The surface, built: its routes for the pipeline, its handlers for Litestar."""

    def __init__(self, controllers: tuple[type[Controller], ...]) -> None:
        self.rules = tuple(rule for controller in controllers for rule in _declared(controller))
        _require_distinct(self.rules)
        self.handlers = (
            Router(path="/", route_handlers=list(controllers), guards=[endpoint.require_operator]),
            *documents.serve(self.rules),
        )

    def routes(self) -> tuple[routes.Route, ...]:
        return tuple(
            routes.control_route(
                rule.route_name, PREFIX + rule.path, rule.method, rule.permission, LARGEST_BODY
            )
            for rule in self.rules
        )


def build(controllers: tuple[type[Controller], ...] = _CONTROLLERS) -> Control:
    return Control(controllers)


def _declared(controller: type[Controller]) -> list[Rule]:
    # Those that it inherits are served as well.
    names = dict.fromkeys(name for kind in reversed(controller.__mro__) for name in vars(kind))
    members = [getattr(controller, name) for name in names]
    return [_get_rule(controller, member) for member in members if isinstance(member, HTTPRouteHandler)]


def _get_rule(controller: type[Controller], handler: HTTPRouteHandler) -> Rule:
    rule = handler.opt.get(endpoint.RULE)
    path = getattr(controller, "path", None)
    where = f"{controller.__name__}.{handler.fn.__name__}"
    if not isinstance(rule, Rule):
        raise UndeclaredEndpoint(f"{where} declares no rule")
    if rule.permission not in control.ALL:
        raise UndeclaredEndpoint(f"{where} asks for {rule.permission!r}, which is no control permission")
    if path != PREFIX:
        raise UndeclaredEndpoint(f"{where} is served below {path!r}, not {PREFIX!r}")
    return rule


def _require_distinct(rules: tuple[Rule, ...]) -> None:
    ids = [rule.id for rule in rules]
    doubled = sorted({one for one in ids if ids.count(one) > 1})
    if doubled:
        raise UndeclaredEndpoint(f"{', '.join(doubled)}: two endpoints of one name")
