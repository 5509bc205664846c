"""Anomaly scores in the HTTP API."""

from typing import Any

from fastapi import APIRouter, Request

from monitor.storage.views import load_view
from monitor.web.context import Limit
from monitor.web.parts.collect import read_site

router = APIRouter(prefix="/api/v1")


@router.get("/sites/{site}/anomalies", tags=["anomalies"])
def list_anomalies(
    request: Request, site: str, alerted: bool | None = None, limit: Limit = 200
) -> list[dict[str, Any]]:
    """Newest anomaly scores with their thresholds."""
    order = ["-at", "station", "quantity", "detector"]
    with read_site(request, site) as seen:
        return load_view(seen.c, "anomalies", order_by=order, limit=limit, site=site, alerted=alerted)
