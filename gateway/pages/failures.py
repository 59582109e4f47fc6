"""From a failure to what a person is told of it, in a page: what happened, and what they can do.

Whatever does not stand here is told by the title and detail of the problem that it would be for a program. Invariant:
nothing that was sent, and nothing of the inside, stands in any of them.
"""

from __future__ import annotations

from typing import Final

import msgspec
from litestar.exceptions import HTTPException

from auth.oauth.authorization import NoSuchRequest
from auth.oauth.devices import NoSuchUserCode
from auth.oauth.grants import UnknownGrant
from auth.people import failures as people
from gateway.pages import answers, authorize, excuses, fields, forging, visit, ways
from gateway.problems import KINDS, Problem
from gateway.refusals import problem_of
from keys import data_keys, kms
from storage import engine

_TOO_LARGE: Final = 413


class Told(msgspec.Struct, frozen=True):
    """`code` is for the log; `headers` for the browser."""

    status: int
    code: str
    title: str
    detail: str
    headers: dict[str, str] = {}
    is_defect: bool = False


def find_detour(failure: Exception) -> answers.SeeOther | None:
    """What is no failure, but takes another page first."""
    if isinstance(failure, visit.SignInNeeded):
        return answers.SeeOther(failure.way.through("/oauth/sign-in"))
    if isinstance(failure, visit.StepUpNeeded):
        return answers.SeeOther(failure.way.through("/oauth/confirm"))
    if isinstance(failure, people.SessionMissing):
        return answers.SeeOther(ways.ACCOUNT.through("/oauth/sign-in"))
    if isinstance(failure, people.StepUpNeeded):
        return answers.SeeOther(ways.ACCOUNT.through("/oauth/confirm"))
    return None


def describe(failure: Exception) -> Told:
    known = next((_TABLE[kind] for kind in type(failure).__mro__ if kind in _TABLE), None)
    return known or _of_excuse(failure) or _of_problem(_problem_of(failure))


def _of_excuse(failure: Exception) -> Told | None:
    excuse = excuses.find(failure)
    if excuse is None:
        return None
    return Told(excuse.status, excuse.code, "This was not accepted", excuse.text, excuse.headers)


def _problem_of(failure: Exception) -> Problem:
    if isinstance(failure, HTTPException):
        code = "body_too_large" if failure.status_code == _TOO_LARGE else "malformed_request"
        return Problem(KINDS[code], "The request could not be read.")
    return problem_of(failure)


def _of_problem(problem: Problem) -> Told:
    kind = problem.kind
    headers = {name.decode(): value.decode() for name, value in problem.headers}
    return Told(
        kind.status, kind.code, kind.title, problem.detail, headers, is_defect=kind.code == "internal_error"
    )


_AWAY: Final = (
    "This cannot be done right now",
    "Something that we depend on is away. Nothing was changed. Try again in a moment.",
    {"retry-after": "5"},
)
_TABLE: Final[dict[type, Told]] = {
    forging.ForgedForm: Told(
        403,
        "forged_form",
        "This form cannot be used",
        "It was not sent from a page of ours in this browser, or the page had been open too long. "
        "Go back, load the page again, and try once more.",
    ),
    fields.MalformedFields: Told(
        400, "malformed_request", "This request cannot be read", "Go back and try once more."
    ),
    ways.MalformedWay: Told(
        400,
        "malformed_request",
        "This link cannot be followed",
        "It is not one of ours, or not whole. Start again from the app that sent you here.",
    ),
    NoSuchRequest: Told(
        400,
        "no_such_request",
        "There is nothing to answer here",
        "The app's request has expired, was answered already, or was never made. Start again from the app.",
    ),
    NoSuchUserCode: Told(
        400,
        "no_such_user_code",
        "No device waits for this code",
        "It has expired, or was answered already. Start again on the device.",
    ),
    UnknownGrant: Told(
        404, "not_found", "This app has no access", "It was withdrawn already, or has ended by itself."
    ),
    authorize.UndecidedForm: Told(
        400, "malformed_request", "This request cannot be read", "Go back and try once more."
    ),
    engine.StorageUnavailable: Told(503, "store_unavailable", *_AWAY),
    kms.KmsUnavailable: Told(503, "kms_unavailable", *_AWAY),
    kms.KmsRefused: Told(503, "kms_unavailable", *_AWAY),
    data_keys.UnknownDataKey: Told(503, "kms_unavailable", *_AWAY),
}
