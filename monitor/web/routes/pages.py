"""Pages of the kernel: overview, site, alert, and lists of alerts and messages."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from monitor.alerts.queries import overview as queries
from monitor.alerts.queries.answers import load_states
from monitor.alerts.records import AlertState
from monitor.delivery.views import DeliveryRow
from monitor.sites.queries.sites import load_sites_summary
from monitor.storage.views import load_view
from monitor.text.catalogue import gettext
from monitor.web.access.callers import SERVICE_ALERTS
from monitor.web.access.redaction import redactor_of
from monitor.web.access.rules import find_readable_sites
from monitor.web.context import AlertId, context_of
from monitor.web.parts.collect import collect_alert, collect_overview, collect_site
from monitor.web.parts.headline import find_headlines
from monitor.web.parts.templating import render

router = APIRouter(include_in_schema=False)


@router.get("/", response_class=HTMLResponse)
def show_overview(request: Request) -> HTMLResponse:
    """Show all sites and all open alerts."""
    context = context_of(request)
    with context.db.read() as c:
        values = redactor_of(request, c).cover_service(
            collect_overview(c, find_readable_sites(request, None), context.clock())
        )
    return render(request, "overview.html", **values)


@router.get("/sites/{site}", response_class=HTMLResponse)
def show_site(request: Request, site: str) -> HTMLResponse:
    """Show one site."""
    context = context_of(request)
    with context.db.read() as c:
        values = redactor_of(request, c).cover_service(collect_site(context, c, site))
    return render(request, "site.html", **values)


@router.get("/alerts", response_class=HTMLResponse)
def show_alerts(request: Request, site: str | None = None, ledger: str | None = None) -> HTMLResponse:
    """Show the open alerts about slopes, then the newest alerts of all kinds."""
    with context_of(request).db.read() as c:
        sites = find_readable_sites(request, site or None)
        newest = queries.load_history(c, sites, ledger or None, 300)
        open_hazards = (
            queries.load_history(c, sites, "hazard", 300, open_only=True) if ledger in {None, "", "hazard"} else []
        )
        open_ids = {alert["alert_id"] for alert in open_hazards}
        others = [alert for alert in newest if alert["alert_id"] not in open_ids]
        alerts = redactor_of(request, c).cover_service([*open_hazards, *others])
        cards = queries.load_cards(c, find_readable_sites(request, None))
        returned = [alert["alert_id"] for alert in alerts if alert["state"] == AlertState.RETURNED_UNACKNOWLEDGED]
        values = {
            "ended": {alert_id: since for alert_id, (_, since) in load_states(c, returned).items()},
            "headlines": find_headlines(c, open_hazards),
        }
    return render(
        request,
        "alerts.html",
        **values,
        alerts=alerts,
        names={SERVICE_ALERTS: gettext("service")} | {card.id: card.name for card in cards},
        tops={card.id: card.top_level for card in cards},
        zones={card.id: card.timezone for card in cards},
        site=site or "",
        ledger=ledger or "",
    )


@router.get("/alerts/{alert_id}", response_class=HTMLResponse)
def show_alert(request: Request, alert_id: AlertId) -> HTMLResponse:
    """Show an alert: what happened, what to do, who was notified, who is notified next, and the evidence."""
    context = context_of(request)
    with context.db.read() as c:
        values = collect_alert(c, alert_id, redactor_of(request, c), context.clock(), context.config)
    return render(request, "alert.html", **values)


@router.get("/alerts/{alert_id}/evidence", response_class=HTMLResponse)
def show_evidence(request: Request, alert_id: AlertId) -> HTMLResponse:
    """Show the tables of the evidence of an alert.

    They can have a size of a megabyte, so the page of the alert loads them only when a reader opens them.
    """
    with context_of(request).db.read() as c:
        values = collect_alert(c, alert_id, redactor_of(request, c), context_of(request).clock())
    return render(request, "evidence.html", **values)


@router.get("/notifications", response_class=HTMLResponse)
def show_notifications(request: Request, state: Annotated[str | None, Query()] = None) -> HTMLResponse:
    """Show the newest messages and the state of their delivery."""
    with context_of(request).db.read() as c:
        sites = find_readable_sites(request, None)
        rows = load_view(
            c, "deliveries", DeliveryRow, order_by=["-notification_id"], limit=300, site=sites, state=state or None
        )
        rows = redactor_of(request, c).cover_messages(rows)
        sites_of_rows = {row["site"] for row in rows}
        zones = {
            site.id: site.timezone for site in load_sites_summary(c, active_only=False) if site.id in sites_of_rows
        }
    return render(request, "notifications.html", rows=rows, zones=zones, state=state or "")
