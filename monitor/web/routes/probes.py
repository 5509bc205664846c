"""Routes for machines: health, metrics, and the files that a browser needs without a connection."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from monitor.alerts.queries.overview import count_open, load_cards
from monitor.app.heartbeats import CANNOT_DECIDE
from monitor.delivery.queries.outbox import count_states
from monitor.errors import StoreBusyError
from monitor.storage.service_state import load_heartbeats
from monitor.text.instants import parse_time
from monitor.web.access.redaction import redactor_of, trouble_for
from monitor.web.access.rules import find_readable_sites
from monitor.web.context import context_of
from monitor.web.parts.collect import collect_health
from monitor.web.parts.templating import render_part

router = APIRouter(include_in_schema=False)


@router.get("/health")
def get_health(request: Request) -> JSONResponse:
    """Return the state of core, ingest, dispatcher and broker. The status is 503 if the core is silent or stopped."""
    context = context_of(request)
    try:
        with context.db.read() as c:
            redactor = redactor_of(request, c)
            state = collect_health(context, c, context.clock(), find_readable_sites(request, None))
            health = redactor.hide_addresses(redactor.cover(state))
    except StoreBusyError as error:
        trouble = trouble_for(request)
        reason = CANNOT_DECIDE(text=trouble) if trouble else error.message
        return JSONResponse({"status": "down", "reasons": [reason], "version": context.version}, status_code=503)
    return JSONResponse(health, status_code=503 if health["status"] == "down" else 200)


class Gauges(Collector):
    """The gauges of the service. Each scrape reads the database once."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._context = context_of(request)
        self._sites = find_readable_sites(request, None)

    def collect(self) -> Iterator[Any]:
        """Yield all gauges."""
        with self._context.db.read() as c:
            cards = load_cards(c, self._sites)
            open_counts = count_open(c)
            message_counts = count_states(c)
            heartbeats = redactor_of(self._request, c).cover(load_heartbeats(c))
        now = self._context.clock()
        yield from _site_gauges(cards, now)
        readable_counts = {
            (site, ledger): count
            for (site, ledger), count in sorted(open_counts.items())
            if self._sites is None or site in self._sites
        }
        yield _gauge("open_alerts", "Open alerts without drills", ["site", "ledger"], readable_counts)
        yield _gauge("notifications", "Notifications by state", ["state"], dict(sorted(message_counts.items())))
        ages = {part: (now - at).total_seconds() for part, (at, _) in heartbeats.items()}
        yield _gauge("stamp_age_seconds", "Age of the newest heartbeat of a part of the service", ["part"], ages)
        core = heartbeats.get("core")
        yield from _ingest_gauges({} if core is None else core[1].get("ingest") or {})


def _gauge(name: str, about: str, labels: Sequence[str], values: Mapping[Any, float | None]) -> GaugeMetricFamily:
    """Return a gauge. The keys of its values are labels, or tuples of labels. Values that are None are left out."""
    gauge = GaugeMetricFamily(f"slopeward_{name}", about, labels=labels)
    for key, value in values.items():
        if value is not None:
            gauge.add_metric(key if isinstance(key, tuple) else [str(key)], value)
    return gauge


def _ingest_gauges(ingest: Mapping[str, Any]) -> Iterator[Any]:
    messages: dict[tuple[str, ...], float | None] = {}
    connected: dict[tuple[str, ...], float | None] = {}
    if ingest:
        messages[()] = ingest.get("messages", 0)
        connected[()] = float(all(ingest.get("connected", {}).values()))
    yield _gauge("ingest_messages", "Messages since the core process started", [], messages)
    yield _gauge("ingest_connected", "1 if connected to all brokers, else 0", [], connected)


def _site_gauges(cards: list[Any], now: datetime) -> Iterator[GaugeMetricFamily]:
    observability = {"blind": 0, "degraded": 1, "full": 2}
    gauges: tuple[tuple[str, str, Callable[[Mapping[str, Any]], float | None]], ...] = (
        ("level", "Hazard level of a site", lambda s: s["level"]),
        ("reachable_level", "Highest level the site can reach now", lambda s: s["reachable_level"]),
        ("observability", "0 blind, 1 degraded, 2 full", lambda s: observability.get(s["observability"])),
        ("newest_datum_age_seconds", "Age of the newest datum", lambda s: _age_s(s["newest_at"], now)),
        ("evaluation_age_seconds", "Age of the last evaluation", lambda s: _age_s(s["evaluated_at"], now)),
    )
    for name, about, measure in gauges:
        yield _gauge(name, about, ["site"], {card.id: measure(card.status) for card in cards})


def _age_s(at: str | None, now: datetime) -> float | None:
    return None if at is None else (now - parse_time(at)).total_seconds()


@router.get("/metrics")
def get_metrics(request: Request) -> Response:
    """Return the metrics in the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Gauges(request))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


_STATIC: Final = Path(__file__).parents[1] / "static"


@cache
def _read_service_worker(version: str) -> str:
    return (_STATIC / "sw.js").read_text(encoding="utf-8").replace("{version}", version)


@router.get("/sw.js")
def send_service_worker(request: Request) -> Response:
    """Return the service worker. It is served from the root, so that it controls every page."""
    text = _read_service_worker(context_of(request).version)
    return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


@router.get("/manifest.webmanifest")
def send_manifest(request: Request) -> Response:
    """Return name and icons of the page, for the home screen of a phone."""
    version = context_of(request).version
    icons: list[dict[str, Any]] = [
        {
            "src": f"/static/icon-{size}.png?v={version}",
            "sizes": f"{size}x{size}",
            "type": "image/png",
            "purpose": purpose,
        }
        for size in (192, 512)
        for purpose in ("any", "maskable")
    ]
    manifest = {
        "name": "Slopeward",
        "short_name": "Slopeward",
        "id": "/",
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": "#17202a",
        "theme_color": "#17202a",
        "icons": icons,
    }
    return JSONResponse(
        manifest, media_type="application/manifest+json", headers={"Cache-Control": "private, max-age=86400"}
    )


@router.get("/offline")
def show_offline(request: Request) -> HTMLResponse:
    """Return the page that the service worker shows without a connection. It contains no data of the service."""
    context = context_of(request)
    return HTMLResponse(render_part("offline.html", context.clock(), {"version": context.version}))
