"""Drills: hold one for a site by the real channels, end it, and read how quickly people answered."""

import threading
from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from forecasting.message import Message, Template, gather
from monitor.alerting.acts.change_control import require_in_force
from monitor.domain.alert import Actor
from monitor.domain.errors import RefusedError
from monitor.domain.site import Site
from monitor.extensions.drills.hold import DrillOptions
from monitor.extensions.drills.store import REFUSED, RUNNING, Drill, load_drills
from monitor.replay.apart import ChildProcess
from monitor.web.access.acting import Acting
from monitor.web.context import Context, take_turn
from monitor.web.parts.collect import read_site
from monitor.web.parts.templating import render

router = APIRouter(include_in_schema=False)
SHOWN: Final = 20
_preparing: Final = threading.Semaphore(1)  # one process at a time
PREPARED_S: Final = 20.0  # of waiting for the first word of a drill
_RUNS: Final = Template("drill.runs", "drill {number} runs already, held by {name}; end it first")
_BUSY: Final = Template("drill.busy", "another drill is being prepared; try again in a minute")
_NOT_PREPARED: Final = Template(
    "drill.not_prepared", "the drill could not be prepared; the log of the service says why"
)
_BEGUN: Final = Template("drill.begun", "the drill has begun")
_PREPARING: Final = Template("drill.preparing", "the drill is being prepared; look again in a minute")
MINUTES: Final = {"1": 60.0, "10": 600.0, "60": 3600.0}


@router.get("/sites/{site}/drills", response_class=HTMLResponse)
def show_drills(request: Request, site: str) -> HTMLResponse:
    """Drills of a site, the newest first, and the form that holds one."""
    with read_site(request, site) as seen:
        drills = [_describe(one) for one in load_drills(seen.c, site)[:SHOWN]]
    running = any(one["state"] == RUNNING for one in drills)
    return render(request, "drills.html", card=seen.card, drills=drills, is_running=running)


@router.post("/sites/{site}/drills")
def hold(
    act: Acting,
    site: str,
    minutes: Annotated[Literal["1", "10", "60"], Form()],
    health: Annotated[str, Form(max_length=3)] = "",
) -> Response:
    """Hold a drill in a process of its own; it goes on while this page is restarted."""
    with act.db.read() as c:
        place = require_in_force(c, site)
        running = load_drills(c, site, running_only=True)
    if running:
        raise RefusedError(_RUNS(number=running[0].id, name=running[0].by))
    terms = DrillOptions(lasts_s=MINUTES[minutes], quiet=not health)
    with take_turn(_preparing, _BUSY()):
        return act.back(f"/sites/{site}/drills", _begin(act.context, place, act.actor, terms))


def _begin(context: Context, place: Site, actor: Actor, terms: DrillOptions) -> Message:
    """Start the process, and wait for its first word; says what is known."""
    child = ChildProcess(
        "monitor.extensions.drills.hold:hold_apart",
        context.db.url.render_as_string(hide_password=False),
        place,
        actor,
        terms,
    )
    answer = next(child.lines(PREPARED_S), None)
    threading.Thread(target=child.wait, name="drill", daemon=True).start()
    if answer is not None and "refused" in answer:
        raise RefusedError(gather(answer)["refused"])
    if answer is None and child.is_over:
        raise RefusedError(_NOT_PREPARED())
    return _BEGUN() if answer else _PREPARING()


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
