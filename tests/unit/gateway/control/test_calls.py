"""Calls and failures by themselves: what a handler forgets is told, and every failure below has its problem."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest

from gateway import operations
from gateway.api.control import build, failures, reading
from gateway.api.control.call import Call, ConditionForgotten, Request
from gateway.api.control.rules import Rule
from gateway.problems import Refusal
from keys import api_keys, conditions, kms, requests
from policies import document
from storage import engine

RULES = {rule.id: rule for rule in build().rules}
OPERATOR = operations.Operator(actor="test", permissions=frozenset(), environments=frozenset())


def call_of(rule: Rule, **headers: str) -> Call:
    told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    body = b"" if rule.body is None else msgspec.json.encode(rule.sample_body)
    told.append((b"content-type", b"application/json; charset=utf-8"))
    request = Request(rule.path, b"", body, reading.Headers(told))
    return Call(rule, cast("operations.Operations", None), OPERATOR, request, {}, 0)


def test_a_change_without_its_condition_is_a_defect() -> None:
    """A handler that never asked for the operator who is bound by If-Match has made an unbound change."""
    with pytest.raises(ConditionForgotten):
        call_of(RULES["freeze_key"], if_match="*").require_kept()


def test_a_create_that_could_be_done_twice_is_a_defect() -> None:
    with pytest.raises(ConditionForgotten):
        call_of(RULES["create_key"]).require_kept()


def test_a_read_needs_no_condition() -> None:
    call_of(RULES["get_key"]).require_kept()


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (api_keys.UnknownKey("prk_x"), "not_found"),
        (api_keys.AlreadyRevoked("prk_x"), "conflict"),
        (requests.InvalidCidr("no range"), "invalid_request"),
        (document.UnknownName("role", "x"), "invalid_request"),
        (conditions.ChangedMeanwhile(), "precondition_failed"),
        (conditions.RequestDiffers(), "idempotency_mismatch"),
        (operations.PermissionMissing("control:freeze"), "permission_denied"),
        (operations.EnvironmentForeign("live"), "environment_mismatch"),
        (engine.StorageUnavailable("10.0.0.7: timed out"), "store_unavailable"),
        (kms.KmsUnavailable("at 10.0.0.8"), "kms_unavailable"),
        (kms.KmsRefused("key arn:x"), "kms_unavailable"),
    ],
)
def test_every_failure_below_has_a_problem(failure: Exception, code: str) -> None:
    """And what is of the inside stays there."""
    with pytest.raises(Refusal) as caught, failures.translated(None):
        raise failure
    problem = caught.value.problem
    assert problem.kind.code == code
    assert "10.0.0" not in problem.detail
    assert "arn:" not in problem.detail


def test_what_is_not_in_the_table_is_a_defect() -> None:
    with pytest.raises(ZeroDivisionError), failures.translated(None):
        raise ZeroDivisionError


def test_an_invalid_field_is_pointed_to_only_where_the_body_has_it() -> None:
    body = RULES["create_key"].body
    with pytest.raises(Refusal) as known, failures.translated(body):
        raise requests.InvalidCidr("no range")
    with pytest.raises(Refusal) as unknown, failures.translated(body):
        raise requests.InvalidTier("no tier")
    assert known.value.problem.members == {"pointer": "#/cidrs"}
    assert unknown.value.problem.members == {}


def test_what_was_made_is_represented_without_its_secret() -> None:
    """A sample stands for any answer of its type."""
    for rule in RULES.values():
        assert "prs_" not in repr(rule.sample)
        assert "prs_" not in repr(rule.sample_body)
