"""The OpenAPI 3.1 document of the control surface, made from the rules and their types.

Invariant: what it says of an endpoint is what runs: paths, permissions and types are read from the same rules, and its
schemas from the types that decode and encode. It names no partner, no key and nothing of a configuration.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gateway.api.control.reading import is_optional
from gateway.api.control.rules import LARGEST_BODY, PREFIX, Rule
from gateway.problems import KINDS

Schema = dict[str, Any]

TITLE: Final = "Portreeve control"
VERSION: Final = "1"
REFERENCE: Final = "#/components/schemas/{name}"

# What any endpoint may answer, since every request comes through the same stages.
COMMON: Final = (
    "malformed_request",
    "malformed_path",
    "malformed_headers",
    "missing_credentials",
    "malformed_credentials",
    "stale_timestamp",
    "bad_signature",
    "replayed_request",
    "key_expired",
    "key_revoked",
    "permission_denied",
    "source_not_allowed",
    "key_frozen",
    "partner_frozen",
    "body_too_large",
    "invalid_request",
    "headers_too_large",
    "rate_limited",
    "internal_error",
    "store_unavailable",
    "replay_store_unavailable",
    "limiter_unavailable",
    "overloaded",
    "draining",
)
_ABOUT: Final = (
    "What operators and partners can do with the gateway itself. Requests are signed with API keys whose roles hold"
    " `control:` permissions. `x-portreeve-permission` names the one that an operation asks for,"
    " `x-portreeve-reach` whose subjects it may be about (`own`: those of the key's partner, or anybody's with"
    " `control:all-partners`; `all`: that permission is needed; `listed`: what is reached is shown; `any`: anybody's;"
    " `asked`: only what the same key has asked for),"
    " and `x-portreeve-environment` which keys may ask (`any`, `live`, or `subject`: those of the subject's own"
    " environment)."
)
_SIGNATURE: Final = {
    "PortreeveKey": ("Portreeve-Key", "The id of the key"),
    "PortreeveTimestamp": ("Portreeve-Timestamp", "Unix milliseconds, optionally / and a window"),
    "PortreeveNonce": ("Portreeve-Nonce", "16 to 64 of A-Z a-z 0-9 _ -, used once"),
    "PortreeveSignature": ("Portreeve-Signature", "The signature of the request, in hex"),
}
_PARAMETERS: Final = {
    "If-Match": "The ETag of the state that the change rests on, or * for whichever it is",
    "Idempotency-Key": "Names this request: sent again within a day, it is not done again",
    "If-None-Match": "An ETag: while it is current, the answer is 304 without a body",
    "Portreeve-Approval": "The id of an approval, where the policies ask for a second person",
    "Portreeve-Break-Glass": "The id of the break-glass that the caller has opened, to act without a second person",
}


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457. `pointer`, `parameter` and `header` point to what was wrong with a request.

    `approval_id` and `expires_at`: in `approval_needed`. `version` to `use_count`: in the `conflict` that a version is
    still used. `server_time` and `skew_ms`: in `stale_timestamp`. `limit` and `retry_after_ms`: in `rate_limited`.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    hint: str | msgspec.UnsetType = msgspec.UNSET
    pointer: str | msgspec.UnsetType = msgspec.UNSET
    parameter: str | msgspec.UnsetType = msgspec.UNSET
    header: str | msgspec.UnsetType = msgspec.UNSET
    permission: str | msgspec.UnsetType = msgspec.UNSET
    approval_id: str | msgspec.UnsetType = msgspec.UNSET
    expires_at: int | msgspec.UnsetType = msgspec.UNSET
    version: int | msgspec.UnsetType = msgspec.UNSET
    last_used_at: int | msgspec.UnsetType | None = msgspec.UNSET
    last_used_source: str | msgspec.UnsetType | None = msgspec.UNSET
    use_count: int | msgspec.UnsetType = msgspec.UNSET
    server_time: int | msgspec.UnsetType = msgspec.UNSET
    skew_ms: int | msgspec.UnsetType = msgspec.UNSET
    limit: str | msgspec.UnsetType = msgspec.UNSET
    retry_after_ms: int | msgspec.UnsetType = msgspec.UNSET


def document(rules: Iterable[Rule]) -> Schema:
    rules = tuple(rules)
    paths: dict[str, Schema] = {}
    for rule in rules:
        paths.setdefault(PREFIX + rule.path, {})[rule.method.lower()] = _operation(rule)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION, "description": _ABOUT},
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(rule.tag for rule in rules)],
        "paths": paths,
        "components": {
            "schemas": _schemas(rules),
            "securitySchemes": {
                name: {"type": "apiKey", "in": "header", "name": header, "description": about}
                for name, (header, about) in _SIGNATURE.items()
            },
        },
    }


def _schemas(rules: tuple[Rule, ...]) -> Schema:
    kinds: dict[type, None] = {ProblemDetails: None}
    for rule in rules:
        kinds |= dict.fromkeys(kind for kind in (rule.body, rule.answer) if kind is not None)
    _, components = msgspec.json.schema_components(list(kinds), ref_template=REFERENCE)
    return dict(sorted(components.items()))


def _operation(rule: Rule) -> Schema:
    operation: Schema = {
        "operationId": rule.id,
        "summary": rule.summary,
        "tags": [rule.tag],
        "security": [{name: [] for name in _SIGNATURE}],
        "x-portreeve-permission": rule.permission,
        "x-portreeve-reach": rule.reach,
        "x-portreeve-environment": rule.environment,
        "parameters": [*_path_parameters(rule), *_query_parameters(rule), *_header_parameters(rule)],
        "responses": _answers(rule),
    }
    if rule.description:
        operation["description"] = rule.description
    if rule.body is not None:
        content: Schema = {"schema": _reference(rule.body)}
        if rule.sample_body is not None:
            content["example"] = msgspec.to_builtins(rule.sample_body)
        operation["requestBody"] = {
            "required": not is_optional(rule.body),
            "description": f"At most {LARGEST_BODY} bytes",
            "content": {"application/json": content},
        }
    return operation


def _path_parameters(rule: Rule) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in rule.parameters
    ]


def _query_parameters(rule: Rule) -> list[Schema]:
    if rule.query is None:
        return []
    _, components = msgspec.json.schema_components([rule.query])
    properties = components[rule.query.__name__]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in properties.items()
    ]


def _header_parameters(rule: Rule) -> list[Schema]:
    named: dict[str, bool] = {}
    if rule.conditional:
        named["If-Match"] = True
    if rule.settles is not None:
        named["Idempotency-Key"] = False
    if rule.has_etag:
        named["If-None-Match"] = False
    if rule.method != "GET":
        named["Portreeve-Approval"] = False
        named["Portreeve-Break-Glass"] = False
    return [
        {
            "name": name,
            "in": "header",
            "required": required,
            "description": _PARAMETERS[name],
            "schema": {"type": "string"},
        }
        for name, required in named.items()
    ]


def _answers(rule: Rule) -> Schema:
    shown = {"schema": _reference(rule.answer), "example": msgspec.to_builtins(rule.sample)}
    answer: Schema = {"description": rule.summary, "content": {"application/json": shown}}
    headers = _answer_headers(rule)
    if headers:
        answer["headers"] = headers
    answers: Schema = {str(rule.status): answer}
    if rule.has_etag:
        answers["304"] = {"description": "It is as the client has it"}
    codes: dict[int, list[str]] = {}
    for code in dict.fromkeys((*COMMON, *rule.own_refusals())):
        codes.setdefault(KINDS[code].status, []).append(code)
    for status, named in sorted(codes.items()):
        answers[str(status)] = {
            "description": " · ".join(f"`{code}`: {KINDS[code].title}" for code in named),
            "content": {"application/problem+json": {"schema": _reference(ProblemDetails)}},
            "x-portreeve-codes": named,
        }
    return answers


def _answer_headers(rule: Rule) -> Schema:
    named = {}
    if rule.has_etag or rule.tells_revision:
        named["ETag"] = "The state that is shown, for If-Match and If-None-Match"
    if rule.tells_revision:
        named["Portreeve-Revision"] = (
            "The revision that was committed: GET /control/v1/revisions/{revision} follows it"
        )
    if rule.settles is not None:
        named["Location"] = "The address of what was made"
    if "next" in rule.answer.__struct_fields__:
        named["Link"] = 'The next page, as rel="next"'
    return {name: {"description": about, "schema": {"type": "string"}} for name, about in named.items()}


def _reference(kind: type[msgspec.Struct]) -> Schema:
    return {"$ref": REFERENCE.format(name=kind.__name__)}
