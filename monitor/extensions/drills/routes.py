"""Drills of a site: the form that holds one, and how quickly people answered."""

from datetime import timedelta
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from monitor.extensions.drills.store import REFUSED, RUNNING, Drill, load_drills
from monitor.web.parts.collect import read_site
from monitor.web.parts.templating import render

router = APIRouter(include_in_schema=False)
SHOWN: Final = 20


@router.get("/sites/{site}/drills", response_class=HTMLResponse)
def show_drills(request: Request, site: str) -> HTMLResponse:
    """Drills of a site, the newest first, and the form that holds one."""
    with read_site(request, site) as seen:
        drills = [_describe(one) for one in load_drills(seen.c, site)[:SHOWN]]
    running = any(one["state"] == RUNNING for one in drills)
    return render(request, "drills.html", card=seen.card, drills=drills, is_running=running)


def _describe(one: Drill) -> dict[str, Any]:
    outcome = dict(one.outcome or {})
    lasted = None if one.ended_at is None else one.ended_at - one.started_at
    return {
        "refused": outcome.get("reason", "") if one.state == REFUSED else "",
        "id": one.id,
        "state": one.state,
        "by": one.by,
        "scenario": one.scenario,
        "at": one.started_at,
        "lasted_min": None if lasted is None else round(lasted / timedelta(minutes=1)),
        "alerts": outcome.get("alerts"),
        "unanswered": outcome.get("unanswered"),
        "acknowledged": outcome.get("acknowledged") or (),
        "first_message_s": outcome.get("first_message_s"),
        "slowest_s": outcome.get("slowest_acknowledgement_s"),
        "messages": outcome.get("messages") or {},
    }
