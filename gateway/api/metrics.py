"""`/metrics`, in Prometheus' text format. Belongs to the control surface: labels name routes and upstreams."""

from __future__ import annotations

from litestar import MediaType, Response, get
from litestar.datastructures import State
from prometheus_client import CONTENT_TYPE_LATEST


@get("/metrics", sync_to_thread=False)
def metrics(state: State) -> Response[bytes]:
    return Response(
        state.gateway.metrics.render(),
        media_type=MediaType.TEXT,
        headers={"content-type": CONTENT_TYPE_LATEST},
    )
