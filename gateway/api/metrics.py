"""The metrics, as Prometheus fetches them."""

from typing import Annotated

from fastapi import APIRouter, Header, Response

from gateway import metrics


def metric_routes() -> APIRouter:
    """Return the one route. It asks neither Asterisk nor the ledger, and so never waits."""
    router = APIRouter(tags=["metrics"])

    @router.get("/metrics", response_class=Response)
    async def read(accept: Annotated[str, Header()] = "") -> Response:
        """Return the metrics, as text or as OpenMetrics."""
        content, content_type = metrics.exposition(accept)
        return Response(content, headers={"Content-Type": content_type})

    return router
