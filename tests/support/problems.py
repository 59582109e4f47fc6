"""What the contract says about every refusal, checked in one place, whoever provoked it."""

from __future__ import annotations

from pathlib import Path

from tests.support.rawhttp import Answer

DOCS = Path(__file__).resolve().parents[2] / "docs" / "problems"

STATUS = {
    "malformed_request": 400,
    "malformed_path": 400,
    "malformed_headers": 400,
    "missing_credentials": 401,
    "malformed_credentials": 401,
    "stale_timestamp": 401,
    "bad_signature": 401,
    "replayed_request": 401,
    "key_expired": 401,
    "key_revoked": 401,
    "permission_denied": 403,
    "environment_mismatch": 403,
    "source_not_allowed": 403,
    "key_frozen": 403,
    "partner_frozen": 403,
    "environment_frozen": 403,
    "route_frozen": 403,
    "approval_needed": 403,
    "no_route": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "precondition_failed": 412,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "invalid_request": 422,
    "idempotency_mismatch": 422,
    "precondition_required": 428,
    "headers_too_large": 431,
    "rate_limited": 429,
    "upstream_unreachable": 502,
    "upstream_broken": 502,
    "replay_store_unavailable": 503,
    "limiter_unavailable": 503,
    "store_unavailable": 503,
    "kms_unavailable": 503,
    "key_store_stale": 503,
    "overloaded": 503,
    "draining": 503,
    "upstream_timeout": 504,
}
# Nothing of the insides: no traces, no types, no addresses, no statements, no files.
_INSIDES = (
    "Traceback",
    'File "',
    "Error(",
    "Exception",
    "127.0.0.1:",
    "localhost",
    "SELECT ",
    "redis",
    "asyncpg",
    ".py",
    "/tmp/",  # noqa: S108  looked for, not written to
    "/dev/shm/",  # noqa: S108  as above
)

_titles: dict[str, str] = {}


def check(answer: Answer, code: str) -> dict[str, object]:
    """The problem, after everything that holds for each of them has been seen to hold for this one."""
    assert answer.header("content-type") == "application/problem+json", str(answer)
    problem = answer.json()
    assert problem["code"] == code, str(answer)
    assert answer.status == problem["status"] == STATUS[code], str(answer)
    assert problem["type"] == f"https://gateway.test/docs/problems/{code}"
    assert isinstance(problem["detail"], str)
    assert problem["detail"]
    assert problem["title"] == _titles.setdefault(code, problem["title"]), "one code, one title"
    assert problem["request_id"]
    assert answer.header("portreeve-request-id") == problem["request_id"]
    if answer.status == 401:
        assert answer.header("www-authenticate")
    text = answer.body.decode()
    assert not [inside for inside in _INSIDES if inside in text], text
    return problem


def has_page(code: str) -> bool:
    return (DOCS / f"{code}.md").is_file()
