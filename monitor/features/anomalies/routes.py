"""Anomaly scores in the HTTP API."""

from typing import Any

from fastapi import APIRouter, Request

from monitor.api.database import load_view
from monitor.api.web import Limit, read_site

router = APIRouter(prefix="/api/v1")


@router.get("/sites/{site}/anomalies", tags=["anomalies"])
def list_anomalies(
    request: Request, site: str, alerted: bool | None = None, limit: Limit = 200
) -> list[dict[str, Any]]:
    """Newest anomaly scores with their thresholds."""
    order = ["-at", "station", "quantity", "detector"]
    with read_site(request, site) as seen:
        return load_view(seen.c, "anomalies", order_by=order, limit=limit, site=site, alerted=alerted)
