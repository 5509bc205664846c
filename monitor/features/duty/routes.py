"""The page of duty of a site: who is on duty, who to call, hand-overs, plans and swaps; and a calendar of shifts."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from monitor.api.queries.alerts import AlertDeliveries, PlannedDuty, load_answers, load_days, load_open_alerts
from monitor.api.sites import Team
from monitor.api.text import is_same_person, local_day
from monitor.api.web import find_hazards, find_headlines, list_calls, list_sentences, person_of, read_site
from monitor.api.web import render_page as render
from monitor.features.duty import queries as duty
from monitor.features.duty.queries import DutyPlan, Handover, join_days
from monitor.features.duty.rota import DAYS, DutyShift, Roster, list_shifts, who_is_on_duty

router = APIRouter(include_in_schema=False)
CALENDAR_DAYS = 60


@router.get("/sites/{site}/duty", response_class=HTMLResponse)
def show_duty(request: Request, site: str) -> HTMLResponse:
    """Show who is on duty, who to call, what is open, and the hand-overs."""
    with read_site(request, site) as snapshot:
        c, now, declared = snapshot.c, snapshot.now, snapshot.require_declared()
        rosters = duty.load_rosters(c, declared.teams, now)
        hazard = find_hazards(load_open_alerts(c, site)).get(site)
        headlines = find_headlines(c, [hazard] if hazard else [])
        answers = load_answers(c, [hazard["alert_id"]] if hazard else [])
        past = load_days(c, site, now - duty.PAST, now)
        handovers = duty.load_handovers(c, site)
        plans = {team.name: _find_shown_plan(duty.load_plans(c, site, team.name), now) for team in declared.teams}
        changes, items = duty.load_changes(c, site, now), duty.load_open_items(c, site, now, list_sentences)
        deliveries = answers.get(hazard["alert_id"], AlertDeliveries()) if hazard else AlertDeliveries()
        calls = list_calls(c, declared, deliveries, now)
    teams = [
        describe_team(team, rosters[site, team.name], past, handovers, now) | {"plan": plans[team.name]}
        for team in declared.teams
    ]
    waiting = [h for h in handovers if h.signed_at is None]
    reader = getattr(person_of(request), "name", "")
    return render(
        request,
        "duty.html",
        card=snapshot.card,
        teams=teams,
        hazard=hazard,
        headlines=headlines,
        answers=deliveries,
        calls=calls,
        changes=changes,
        items=items,
        waiting=waiting,
        own=[h.id for h in waiting if is_same_person(h.outgoing, reader)],
        handovers=[h for h in handovers if h.signed_at is not None],
    )


@router.get("/sites/{site}/duty.ics", response_class=Response)
def send_shifts(request: Request, site: str) -> Response:
    """Return the next shifts as an iCalendar file."""
    with read_site(request, site) as snapshot:
        now, declared = snapshot.now, snapshot.require_declared()
        rosters = duty.load_rosters(snapshot.c, declared.teams, now)
    planned = {
        team: list_shifts(rosters[site, team.name], now, now + timedelta(days=CALENDAR_DAYS))
        for team in declared.teams
        if rosters[site, team.name].rotas
    }
    return Response(write_shifts(planned, declared.name, now), media_type="text/calendar; charset=utf-8")


def write_shifts(planned: Mapping[Team, Sequence[DutyShift]], name: str, now: datetime) -> bytes:
    """Return an iCalendar file with an entry for each shift.

    The uid of a shift stays the same when the file is written again, so that calendars update it.

    Args:
        planned: the shifts of each team.
        name: name of the site.
        now: when the file is written.
    """
    from monitor.api.web import write_calendar

    entries = []
    for team, shifts in planned.items():
        for shift in shifts:
            first, second = (*shift.people, "", "")[:2]
            shift_id = f"{shift.from_at:%Y%m%dT%H%M%S}-{team.name.replace(' ', '-')}"
            entries.append(
                {
                    "uid": f"duty-{shift_id}@{team.site}.slopeward",
                    "dtstart": shift.from_at,
                    "dtend": shift.to_at,
                    "summary": f"{team.name}: {first or 'nobody on duty'}",
                    "description": f"Second: {second}. Site {name}." if second else f"Site {name}.",
                }
            )
    return write_calendar(entries, "duty", name, now)


def _find_shown_plan(plans: Sequence[DutyPlan], now: datetime) -> DutyPlan | None:
    """Return the plan in force, or the newest plan if none has started."""
    return duty.find_plan_in_force(plans, now) or next(iter(plans), None)


SIGNED_BEFORE: Final = timedelta(hours=3)  # a hand-over may be signed this long before its shift starts
SHOWN_DAYS: Final = 14


def describe_team(
    team: Team, roster: Roster, past: Sequence[PlannedDuty], handovers: Sequence[Handover], now: datetime
) -> dict[str, Any]:
    """Return the values of a team on the page: who is on duty until when, past shifts with hand-overs, next shifts."""
    coming = list_shifts(roster, now, now + timedelta(days=SHOWN_DAYS)) if roster.rotas else []
    past_shifts = join_days([turn for turn in past if turn.team == team.name], now)
    signed = sorted((h for h in handovers if h.team == team.name and h.signed_at), key=lambda h: str(h.signed_at))
    rows: list[dict[str, Any]] = [
        {
            # The shift before the first loaded one is unknown, so a missing hand-over is not reported.
            "first": number == 0,
            "shift": shift,
            "day": DAYS[local_day(shift.from_at, team.zone).weekday()],
            "signed": next(
                (h for h in signed if h.signed_at and shift.from_at - SIGNED_BEFORE <= h.signed_at < shift.to_at), None
            ),
        }
        for number, shift in enumerate(past_shifts)
    ]
    on_duty = who_is_on_duty(roster, now)
    return {
        "name": team.name,
        "members": [m.name for m in team.members],
        "has_plan": bool(roster.rotas),
        "on_duty": list(on_duty),
        "until": coming[0].to_at if len(coming) > 1 else None,
        "past": rows[::-1],
        "coming": [{"shift": s, "day": DAYS[local_day(s.from_at, team.zone).weekday()]} for s in coming],
        "unsigned": bool(len(rows) > 1 and past_shifts[-1].people and rows[-1]["signed"] is None),
    }
