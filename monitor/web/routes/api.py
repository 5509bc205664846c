"""Routes of the JSON API that read sites, stations, alerts and messages. Each answer has a limited number of rows."""

from typing import Any

from fastapi import APIRouter, Request

from monitor.alerts.queries import overview as pages
from monitor.alerts.views import AlertRow
from monitor.delivery.views import MessageRow
from monitor.storage.rows import record_to_dict
from monitor.storage.views import load_view
from monitor.text.instants import format_iso
from monitor.web.access.redaction import redactor_of
from monitor.web.access.rules import find_readable_sites
from monitor.web.context import AlertId, Limit, context_of
from monitor.web.parts import features
from monitor.web.parts.collect import collect_alert, read_site
from monitor.web.parts.columns import list_quantities
from monitor.web.parts.geojson import GeoJsonResponse, make_collection
from monitor.web.parts.headline import find_hazards, find_headlines, find_present_reasons

router = APIRouter(prefix="/api/v1")


def _card_to_json(card: pages.SiteCard) -> dict[str, Any]:
    return {
        **card.status,
        "name": card.name,
        "latitude": card.latitude,
        "longitude": card.longitude,
        "levels": card.levels,
        "top_level": card.top_level,
        "action": card.level_action,
        "observability": card.sight,
        "starting": None if card.start is None else card.start.to_json(),
        "stations": card.station_counts,
    }


@router.get("/openapi.json", include_in_schema=False)
def describe_api(request: Request) -> dict[str, Any]:
    """Return the OpenAPI document of this API."""
    document: dict[str, Any] = request.app.openapi()
    return document


@router.get("/sites", tags=["sites"])
def list_sites(request: Request) -> list[dict[str, Any]]:
    """Return all active sites with level, observability, reachable level and newest datum; the highest level first."""
    with context_of(request).db.read() as c:
        cards = pages.load_cards(c, find_readable_sites(request, None), now=context_of(request).clock())
        return [_card_to_json(card) for card in cards]


@router.get("/sites/{site}", tags=["sites"])
def get_site(request: Request, site: str) -> dict[str, Any]:
    """Return one site, with the reason of its level: when the level was raised, and by the newest readings.

    `now` is null if the newest readings are older than two of their usual intervals. Then `last` contains the reason.
    """
    with read_site(request, site) as snapshot:
        hazards = find_hazards(pages.load_open_alerts(snapshot.c, site))
        raised = [headline.sentence for headline in find_headlines(snapshot.c, hazards.values()).values()]
        reason = find_present_reasons(snapshot.c, hazards, {site: snapshot.card.stations}).get(site)
        is_current = reason is not None and reason.is_current
        return {
            **_card_to_json(snapshot.card),
            "when_raised": raised[0] if raised else None,
            "now": reason.sentence if reason is not None and is_current else None,
            "last": reason.sentence if reason is not None and not is_current else None,
            "data_at": None if reason is None or reason.at is None else format_iso(reason.at),
        }


@router.get("/sites/{site}/stations", tags=["sites"])
def list_stations(request: Request, site: str) -> list[dict[str, Any]]:
    """Return the stations with position, health, newest readings and quantities."""
    with read_site(request, site) as snapshot:
        return [
            record_to_dict(station) | {"quantities": list_quantities(station)}
            for station in pages.load_stations(snapshot.c, site, snapshot.card.stations)
        ]


@router.get("/alerts", tags=["alerts"], response_model=list[dict[str, Any]])
def list_alerts(
    request: Request,
    site: str | None = None,
    ledger: str | None = None,
    open: bool = False,  # noqa: A002 - the name in the address
    limit: Limit = 100,
) -> list[AlertRow]:
    """Return alerts without their evidence, newest first."""
    with context_of(request).db.read() as c:
        alerts = pages.load_history(c, find_readable_sites(request, site), ledger, limit, open_only=open)
        return redactor_of(request, c).cover_service(alerts)


@router.get("/alerts/{alert_id}", tags=["alerts"])
def get_alert(request: Request, alert_id: AlertId) -> dict[str, Any]:
    """Return one alert with its evidence, events, notifications and outcomes."""
    with context_of(request).db.read() as c:
        values = collect_alert(c, alert_id, redactor_of(request, c), context_of(request).clock())
    return {
        "alert": {**values["alert"], "evidence": values["evidence"], "action": values["action"]},
        "events": values["events"],
        "notifications": values["notifications"],
        "outcomes": values["outcomes"],
    }


@router.get("/notifications", tags=["notifications"], response_model=list[dict[str, Any]])
def list_notifications(
    request: Request, site: str | None = None, state: str | None = None, limit: Limit = 100
) -> list[MessageRow]:
    """Return messages with the state of their delivery, newest first."""
    with context_of(request).db.read() as c:
        rows = load_view(
            c,
            "notification_status",
            MessageRow,
            order_by=["-notification_id"],
            limit=limit,
            site=find_readable_sites(request, site),
            state=state,
        )
        return redactor_of(request, c).cover_messages(rows)


@router.get("/sites.geojson", tags=["export"], response_class=GeoJsonResponse)
def map_sites(request: Request) -> GeoJsonResponse:
    """Return the sites as points with their level; the highest level first."""
    with context_of(request).db.read() as c:
        sites = features.list_sites(c, find_readable_sites(request, None), context_of(request).clock())
        return GeoJsonResponse(make_collection(sites))


@router.get("/sites/{site}/stations.geojson", tags=["export"], response_class=GeoJsonResponse)
def map_stations(request: Request, site: str) -> GeoJsonResponse:
    """Return the stations as points with health, velocity, the level that each requests, and the level of the site."""
    with read_site(request, site) as snapshot:
        return GeoJsonResponse(make_collection(features.list_stations(snapshot.c, site, snapshot.now)))
