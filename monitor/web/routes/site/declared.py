"""The page on which people declare levels, maintenance, events and offsets of a site, and decide on its networks."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from monitor.alerts.acts.table import list_acts
from monitor.alerts.queries.maintenance import load_maintenance
from monitor.alerts.queries.signatures import load_waiting
from monitor.models.queries.registry import load_models
from monitor.storage.views import load_view
from monitor.web.parts.act_forms import list_choices
from monitor.web.parts.collect import read_site
from monitor.web.parts.templating import render

router = APIRouter(include_in_schema=False)
# Newest events and offsets on the page.
MOST_SHOWN = 30


@router.get("/sites/{site}/acts", response_class=HTMLResponse)
def show_declared(request: Request, site: str) -> HTMLResponse:
    """Show the declarations of a site, and the forms that add, confirm and end them."""
    # Without the feature of scenes there are no acts on its networks.
    has_networks = any(act.name.startswith("network.") for act in list_acts())
    with read_site(request, site) as snapshot:
        choices = list_choices(snapshot.c, site)
        waiting = [signature for signature in load_waiting(snapshot.c, snapshot.now) if signature.site == site]
        maintenance = load_maintenance(snapshot.c, site, snapshot.now)
        events = load_view(snapshot.c, "site_events", order_by=("-from_at", "-event_id"), limit=MOST_SHOWN, site=site)
        offsets = load_view(snapshot.c, "offsets", order_by=("-offset_id",), limit=MOST_SHOWN, site=site)
        networks = load_models(snapshot.c, task="scene", site=site) if has_networks else []
    return render(
        request,
        "declared.html",
        card=snapshot.card,
        choices=choices,
        waiting=waiting,
        maintenance=maintenance,
        events=events,
        offsets=offsets,
        networks=[network for network in networks if network.state != "retired"],
    )
