"""Reporting credentials that were found, by whoever may.

Invariant: what was found is in no answer and in no representation of what was asked.
"""

from __future__ import annotations

from typing import Annotated, Final

from litestar import Controller
from msgspec import Meta, Struct

from gateway.api.control import types
from gateway.api.control.call import Call, Reply
from gateway.api.control.endpoint import endpoint
from gateway.api.control.rules import PREFIX, Rule
from keys import leaks
from keys.secret import Secret
from policies import control

TAG: Final = "leaks"


class Finding(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`place`: where it was found."""

    secret: Annotated[str, Meta(min_length=1, max_length=200)]
    place: Annotated[str, Meta(max_length=500)] = ""

    def __repr__(self) -> str:
        return "Finding(***)"


class LeakReport(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    findings: Annotated[tuple[Finding, ...], Meta(min_length=1, max_length=leaks.LARGEST_BATCH)]
    reason: types.Reason | None = None


class LeakVerdict(Struct, frozen=True, kw_only=True):
    """Whose a real one is, is told to those who reach its partner."""

    outcome: leaks.Outcome
    key: str | None
    version: int | None
    partner: str | None


class LeakVerdicts(Struct, frozen=True, kw_only=True):
    """In the order of the findings."""

    items: tuple[LeakVerdict, ...]


_SAMPLE: Final = LeakReport(
    findings=(Finding(secret="prs_paper_…", place="https://code.example/repo/file.py"),)  # noqa: S106  no secret
)
_SAMPLE_VERDICTS: Final = LeakVerdicts(
    items=(
        LeakVerdict(
            outcome="frozen", key="prk_paper_2Yk4Nq0cJ8mVtXwR5sLbZe1A7hKc", version=1, partner="acme"
        ),
    )
)


class LeakController(Controller):
    path = PREFIX

    @endpoint(
        Rule(
            id="report_leaks",
            method="POST",
            path="/leaks",
            tag=TAG,
            summary="Report secrets that were found; those that are real freeze their keys",
            description="Any key may report what it found, whosever it is and of either environment: a secret that"
            " somebody could read here was already out. Outside scanners send reports of their own form to the same"
            " address, signed with their own keys.",
            permission=control.LEAKS_REPORT,
            reach="any",
            body=LeakReport,
            answer=LeakVerdicts,
            refuses=("kms_unavailable",),
            sample_body=_SAMPLE,
            sample=_SAMPLE_VERDICTS,
        )
    )
    async def report_leaks(self, call: Call) -> Reply:
        asked: LeakReport = call.body
        suspects = [leaks.Suspect(Secret(each.secret), each.place) for each in asked.findings]
        verdicts = await call.operations.leaks.report(call.operator, suspects, reason=asked.reason)
        return Reply(LeakVerdicts(items=tuple(_view(each) for each in verdicts)))


def _view(verdict: leaks.Verdict) -> LeakVerdict:
    return LeakVerdict(
        outcome=verdict.outcome, key=verdict.key_id, version=verdict.version, partner=verdict.partner
    )
