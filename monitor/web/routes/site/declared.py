"""The page of declarations of a site: level by hand, maintenance, events, offsets and models, with their forms."""

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
SHOWN = 30  # newest events and offsets


@router.get("/sites/{site}/acts", response_class=HTMLResponse)
def show_declared(request: Request, site: str) -> HTMLResponse:
    """Show the declarations of a site, and the forms that add, confirm and end them."""
    # Without the feature of scenes there are no acts on its networks.
    has_networks = any(act.name.startswith("network.") for act in list_acts())
    with read_site(request, site) as seen:
        choices = list_choices(seen.c, site)
        waiting = [one for one in load_waiting(seen.c, seen.now) if one.site == site]
        now = seen.now
        work = load_maintenance(seen.c, site, now)
        events = load_view(seen.c, "site_events", order_by=("-from_at", "-event_id"), limit=SHOWN, site=site)
        offsets = load_view(seen.c, "offsets", order_by=("-offset_id",), limit=SHOWN, site=site)
        networks = load_models(seen.c, task="scene", site=site) if has_networks else []
    return render(
        request,
        "declared.html",
        card=seen.card,
        choices=choices,
        waiting=waiting,
        maintenance=work,
        events=events,
        offsets=offsets,
        networks=[network for network in networks if network.state != "retired"],
    )
