"""For machines that watch: `/health` says in one status whether anybody evaluates, `/metrics` counts."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from monitor.domain.instants import parse
from monitor.errors import StoreBusyError
from monitor.health import CANNOT_DECIDE
from monitor.store.alerting.outbox import count_states
from monitor.store.pages import count_open, load_cards
from monitor.store.service_state import load_stamps
from monitor.web.access.rules import narrow
from monitor.web.access.veil import trouble_for, veil_of
from monitor.web.context import context_of
from monitor.web.parts.collect import collect_health

router = APIRouter(include_in_schema=False)


@router.get("/health")
def tell_health(request: Request) -> JSONResponse:
    """State of core, ingest, dispatcher and broker; 503 when core's stamp is old or says stopped."""
    context = context_of(request)
    try:
        with context.db.read() as c:
            found = collect_health(context, c, context.clock(), narrow(request, None))
            veil = veil_of(request, c)
            found = veil.hide_addresses(veil.cover(found))
    except StoreBusyError as error:
        trouble = trouble_for(request)
        reason = CANNOT_DECIDE(text=trouble) if trouble else error.message
        return JSONResponse({"status": "down", "reasons": [reason], "version": context.version}, status_code=503)
    return JSONResponse(found, status_code=503 if found["status"] == "down" else 200)


class Gauges(Collector):
    """Reads the database once per scrape."""

    def __init__(self, request: Request) -> None:
        self._request, self._context = request, context_of(request)
        self._sites = narrow(request, None)

    def collect(self) -> Iterator[Any]:
        """All gauges of the service."""
        with self._context.db.read() as c:
            cards, opened, states, stamps = load_cards(c, self._sites), count_open(c), count_states(c), load_stamps(c)
            stamps = veil_of(self._request, c).cover(stamps)
        now = self._context.clock()
        yield from _site_gauges(cards, now)
        alerts = GaugeMetricFamily("slopeward_open_alerts", "Open alerts, drills left out", labels=["site", "ledger"])
        for (site, ledger), count in sorted(opened.items()):
            if self._sites is None or site in self._sites:
                alerts.add_metric([site, ledger], count)
        yield alerts
        messages = GaugeMetricFamily("slopeward_notifications", "Notifications by state", labels=["state"])
        for state, count in sorted(states.items()):
            messages.add_metric([state], count)
        yield messages
        ages = GaugeMetricFamily("slopeward_stamp_age_seconds", "Age of the stamp of a part", labels=["part"])
        for name, (at, _) in stamps.items():
            ages.add_metric([name], (now - at).total_seconds())
        yield ages
        core = stamps.get("core")
        yield from _ingest_gauges({} if core is None else core[1].get("ingest") or {})


def _ingest_gauges(ingest: Mapping[str, Any]) -> Iterator[Any]:
    """Messages and connection of each process of ingest; 0 is the core itself, where it takes all."""
    messages = GaugeMetricFamily("slopeward_ingest_messages", "Messages since the start", labels=["process"])
    connected = GaugeMetricFamily("slopeward_ingest_connected", "1 connected to the broker, else 0", labels=["process"])
    whole = {
        "process": 0,
        "messages": ingest.get("messages", 0),
        "connected": all(ingest.get("connected", {}).values()),
    }
    for one in ingest.get("processes") or ([whole] if ingest else []):
        messages.add_metric([str(one["process"])], one["messages"])
        connected.add_metric([str(one["process"])], float(one["connected"]))
    yield from (messages, connected)


def _site_gauges(cards: list[Any], now: datetime) -> Iterator[GaugeMetricFamily]:
    level = GaugeMetricFamily("slopeward_level", "Hazard level of a site", labels=["site"])
    reachable = GaugeMetricFamily("slopeward_reachable_level", "Highest level the site can reach now", labels=["site"])
    sight = GaugeMetricFamily("slopeward_observability", "0 blind, 1 degraded, 2 full", labels=["site"])
    newest = GaugeMetricFamily("slopeward_newest_datum_age_seconds", "Age of the newest datum", labels=["site"])
    evaluated = GaugeMetricFamily("slopeward_evaluation_age_seconds", "Since the last evaluation", labels=["site"])
    for card in cards:
        status = card.status
        for gauge, value in (
            (level, status["level"]),
            (reachable, status["reachable_level"]),
            (sight, {"blind": 0, "degraded": 1, "full": 2}.get(status["observability"])),
            (newest, _age_s(status["newest_at"], now)),
            (evaluated, _age_s(status["evaluated_at"], now)),
        ):
            if value is not None:
                gauge.add_metric([card.id], value)
    yield from (level, reachable, sight, newest, evaluated)


def _age_s(at: str | None, now: datetime) -> float | None:
    return None if at is None else (now - parse(at)).total_seconds()


@router.get("/metrics")
def tell_metrics(request: Request) -> Response:
    """Prometheus text format, from a registry of its own."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Gauges(request))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
