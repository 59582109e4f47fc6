"""Reports of outside scanners: the one request to the control surface that is not signed with a key of ours.

It comes to `POST /control/v1/leaks` like an operator's, and the edge, which sees by what it is signed, leads it here.
All that it can do is to have keys frozen whose secrets it holds.

Invariant: nothing of the body is read before its signature holds under a key that the configuration names. It has no
nonce: what was signed is remembered instead, and sent again it is answered as before and changes nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.datastructures import State

from gateway import operations
from gateway.api.control import failures
from gateway.edge import SCANNER_REPORTS
from gateway.problems import Refusal
from gateway.scanners import ReportMalformed, ReportRefused
from gateway.trace import Trace
from keys.leaks import SignedReport

_KEY = "github-public-key-identifier"
_SIGNATURE = "github-public-key-signature"


@post(SCANNER_REPORTS, status_code=200)
async def take_report(request: Request[Any, Any, State], state: State) -> Response[bytes]:
    gateway = state.gateway
    trace: Trace = request.scope["portreeve.trace"]  # type: ignore[typeddict-item]  # our own key
    try:
        report = gateway.scanners.parse(
            _only(request, _KEY), _only(request, _SIGNATURE), await request.body()
        )
    except ReportRefused:
        raise Refusal("bad_signature", "No scanner that this gateway knows has signed this report.") from None
    except ReportMalformed as failure:
        raise Refusal("invalid_request", f"{failure}.", members={"pointer": "#"}) from None
    trace.credential = f"scanner:{report.scanner}"
    by = operations.of_scanner(report.scanner, source=trace.source, request_id=trace.request_id)
    with failures.translated(None):
        signed = SignedReport(report.scanner, report.digest)
        verdicts = await gateway.operations.leaks.report(by, report.suspects, signed=signed)
    return Response(
        msgspec.json.encode(report.feedback(verdicts)),
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


def _only(request: Request[Any, Any, State], name: str) -> str:
    """One that stands there twice could be two readers' two signatures."""
    values = request.headers.getall(name, [])
    return values[0] if len(values) == 1 else ""
