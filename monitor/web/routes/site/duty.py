"""The watch of a site: who is on duty, whom to call, the hand-over that both sign, plans and swaps."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import Connection

from forecasting.message import Message, Template
from monitor.domain.duty.local_time import local_day, read_local
from monitor.domain.duty.rota import DAYS, Roster, list_shifts, who_is_on_duty
from monitor.domain.errors import NotFoundError, RefusedError
from monitor.domain.names import is_same_person
from monitor.domain.site import Recipient, Site, Team
from monitor.store.alerting import duty
from monitor.store.alerting.answers import AlertDeliveries, load_answers
from monitor.store.alerting.duty import Handover, PlannedDuty, join_days
from monitor.store.pages import load_open_alerts
from monitor.web.access.acting import Acting, PageAct
from monitor.web.access.callers import person_of
from monitor.web.context import NO_NUL, AlertId, Name, Why
from monitor.web.parts.collect import read_site, require_declared
from monitor.web.parts.headline import find_hazards, find_headlines, list_sentences
from monitor.web.parts.templating import render
from monitor.web.routes.site.readings import LATER

router = APIRouter(include_in_schema=False)
Person = Annotated[str, Form(max_length=200, pattern=NO_NUL)]
Begin = Annotated[str, Form(alias="from", max_length=40, pattern=NO_NUL)]
Local = Annotated[str, Form(max_length=40, pattern=NO_NUL)]
Turn = Annotated[Literal["", "first", "second"], Form()]  # of a time that the clock shows twice
CALENDAR_DAYS = 60
_PLAN: Final = Template("duty.plan", "the plan is in force")
_CHANGED: Final = Template("duty.changed", "the change is stored")
_TAKEN_BACK: Final = Template("duty.change_withdrawn", "the change is withdrawn")
_SIGNED: Final = Template("duty.signed", "signed; who comes signs as well")
_HANDED_OVER: Final = Template("duty.handed_over", "the watch is handed over")
_WITHDRAWN: Final = Template("duty.handover_withdrawn", "the hand-over is withdrawn")
_NO_TEAM: Final = Template("duty.no_team", "site {site} has no team '{team}'")


@router.get("/sites/{site}/duty", response_class=HTMLResponse)
def show_duty(request: Request, site: str) -> HTMLResponse:
    """Who is on duty and whom to call, what is open, and what was handed over."""
    with read_site(request, site) as seen:
        c, now, declared = seen.c, seen.now, seen.require_declared()
        rosters = duty.load_rosters(c, declared.teams, now)
        chain = duty.list_chain(c, declared.recipients, now)
        hazard = find_hazards(load_open_alerts(c, site)).get(site)
        headlines = find_headlines(c, [hazard] if hazard else [])
        answers = load_answers(c, [hazard["alert_id"]] if hazard else [])
        past = duty.load_days(c, site, now - duty.PAST, now)
        signed = duty.load_handovers(c, site)
        plans = {team.name: next(iter(duty.load_plans(c, site, team.name)), None) for team in declared.teams}
        changes, items = duty.load_changes(c, site, now), duty.gather_open(c, site, now, list_sentences)
    mine = answers.get(hazard["alert_id"], AlertDeliveries()) if hazard else AlertDeliveries()
    teams = [
        describe_team(team, rosters[site, team.name], past, signed, now) | {"plan": plans[team.name]}
        for team in declared.teams
    ]
    waiting = [h for h in signed if h.signed_at is None]
    caller = person_of(request)
    reader = "" if caller is None else caller.name
    return render(
        request,
        "duty.html",
        card=seen.card,
        teams=teams,
        hazard=hazard,
        headlines=headlines,
        answers=mine,
        calls=list_calls(declared, chain, rosters, mine, now),
        changes=changes,
        items=items,
        waiting=waiting,
        own=[h.id for h in waiting if is_same_person(h.outgoing, reader)],
        handovers=[h for h in signed if h.signed_at is not None],
    )


@router.get("/sites/{site}/duty.ics", response_class=Response)
def send_shifts(request: Request, site: str) -> Response:
    """The shifts to come as a calendar."""
    from monitor.web.parts.calendars import write_duty

    with read_site(request, site) as seen:
        now, declared = seen.now, seen.require_declared()
        rosters = duty.load_rosters(seen.c, declared.teams, now)
    planned = {
        team: list_shifts(rosters[site, team.name], now, now + timedelta(days=CALENDAR_DAYS))
        for team in declared.teams
        if rosters[site, team.name].rotas
    }
    return Response(write_duty(planned, declared.name, now), media_type="text/calendar; charset=utf-8")


@router.post("/sites/{site}/duty/plan")
def put_plan(
    act: Acting,
    site: str,
    team: Name,
    plan: Annotated[str, Form(max_length=20_000, pattern=NO_NUL)],
    reason: Why,
    from_: Begin = "",
    turn: Turn = "",
) -> Response:
    """Put a plan in force, now or from a local time on."""

    def do(c: Connection, crew: Team) -> None:
        begin = _read(from_, crew.zone, turn) if from_ else None
        duty.add_plan(c, crew, plan, act.actor, reason, act.now, valid_from=begin)

    return _act(act, site, team, do, _PLAN())


@router.post("/sites/{site}/duty/swap")
def swap(
    act: Acting,
    site: str,
    team: Name,
    until: Local,
    reason: Why,
    out: Person = "",
    into: Person = "",
    from_: Begin = "",
    turn: Turn = "",
) -> Response:
    """Let somebody take the place of somebody else for a time."""

    def do(c: Connection, crew: Team) -> None:
        from_at = _read(from_, crew.zone, turn) if from_ else act.now
        duty.add_change(c, crew, from_at, _read(until, crew.zone, turn), out, into, act.actor, reason, act.now)

    return _act(act, site, team, do, _CHANGED())


@router.post("/sites/{site}/duty/changes/{number}/withdraw")
def withdraw_change(act: Acting, site: str, number: AlertId, reason: Why) -> Response:
    """Take a change back."""
    with act.db.read() as c:
        team = duty.find_team_of_change(c, site, number)

    def do(c: Connection, crew: Team) -> None:
        duty.withdraw_change(c, number, crew, act.actor, reason, act.now)

    return _act(act, site, team, do, _TAKEN_BACK())


@router.post("/sites/{site}/duty/handover")
def hand_over(
    act: Acting,
    site: str,
    team: Name,
    notes: Annotated[str, Form(max_length=duty.LONGEST_NOTES, min_length=3, pattern=NO_NUL)],
) -> Response:
    """Who goes signs: what is open is frozen with the notes."""
    sentences_of = partial(list_sentences, at_once=duty.MOST)
    with act.db.read() as c:  # evidence is large: this process reads and keeps it before the database is held
        duty.gather_open(c, site, act.now, sentences_of)

    def do(c: Connection, crew: Team) -> None:
        duty.sign_out(c, crew, act.actor, notes.strip(), act.now, sentences_of)

    return _act(act, site, team, do, _SIGNED())


@router.post("/sites/{site}/duty/handovers/{number}/sign")
def take_over(
    act: Acting,
    site: str,
    number: AlertId,
    remark: Annotated[str, Form(max_length=duty.LONGEST_NOTES, pattern=NO_NUL)] = "",
) -> Response:
    """Who comes signs."""
    with act.db.write() as c:
        duty.sign_in(c, site, number, act.actor, remark, act.now)
    return act.back(f"/sites/{site}/duty", _HANDED_OVER())


@router.post("/sites/{site}/duty/handovers/{number}/withdraw")
def withdraw_handover(act: Acting, site: str, number: AlertId, reason: Why) -> Response:
    """Who goes takes the hand-over back before anybody signed it."""
    with act.db.write() as c:
        duty.withdraw_handover(c, site, number, act.actor, reason, act.now)
    return act.back(f"/sites/{site}/duty", _WITHDRAWN())


def _act(act: PageAct, site: str, team: str, do: Callable[[Connection, Team], None], done: Message) -> Response:
    """One act on a team of the site file in force, in one transaction."""
    with act.db.write() as c:
        teams = require_declared(act.context, c, site).teams
        crew = next((one for one in teams if one.name == team), None)
        if crew is None:
            raise NotFoundError(_NO_TEAM(site=site, team=team))
        do(c, crew)
    return act.back(f"/sites/{site}/duty", done)


def _read(text: str, zone: str, turn: str) -> datetime:
    try:
        return read_local(text, zone, LATER.get(turn))
    except ValueError as error:
        raise RefusedError(error.args[0]) from None


SOONER: Final = timedelta(hours=3)  # a hand-over signed so long before the shift begins counts for it
SHOWN_DAYS: Final = 14


def list_calls(
    site: Site,
    chain: Sequence[Sequence[Recipient]],
    rosters: Mapping[tuple[str, str], Roster],
    answers: AlertDeliveries,
    now: datetime,
) -> list[dict[str, Any]]:
    """Who to call, in the order in which messages go out, each once: role, telephone, what became of the messages."""
    roles: dict[str, str] = {}
    for team in site.teams:
        on_duty = who_is_on_duty(rosters[team.site, team.name], now)
        for name, role in [*zip(on_duty, ("on duty", "second"), strict=False), (team.lead, "lead")]:
            roles.setdefault(name, role)
    answered = {one.recipient: one for one in answers.deliveries}
    people: dict[str, Recipient] = {r.name: r for step in chain for r in step}
    return [
        {
            "name": name,
            "role": roles.get(name, ""),
            "phone": one.phone,
            "tel": "".join(sign for sign in one.phone if sign in "+0123456789"),
            "told": answered.get(name),
            "channels": sorted({k.partition(":")[0] for k in one.channels}),
        }
        for name, one in people.items()
    ]


def describe_team(
    team: Team, roster: Roster, past: Sequence[PlannedDuty], handovers: Sequence[Handover], now: datetime
) -> dict[str, Any]:
    """One team: who is on duty until when, the shifts that were with their hand-overs, those to come."""
    coming = list_shifts(roster, now, now + timedelta(days=SHOWN_DAYS)) if roster.rotas else []
    was = join_days([turn for turn in past if turn.team == team.name], now)
    mine = sorted((h for h in handovers if h.team == team.name and h.signed_at), key=lambda h: str(h.signed_at))
    rows: list[dict[str, Any]] = [
        {
            # nobody is known who could have handed the first one over
            "first": number == 0,
            "shift": shift,
            "day": day_of(shift.from_at, team.zone),
            "people": list(shift.people),
            "signed": next(
                (h for h in mine if h.signed_at and shift.from_at - SOONER <= h.signed_at < shift.to_at), None
            ),
        }
        for number, shift in enumerate(was)
    ]
    on_duty = who_is_on_duty(roster, now)
    return {
        "name": team.name,
        "lead": team.lead,
        "members": [m.name for m in team.members],
        "has_plan": bool(roster.rotas),
        "on_duty": list(on_duty),
        "until": coming[0].to_at if len(coming) > 1 else None,
        "past": rows[::-1],
        "coming": [{"shift": s, "day": day_of(s.from_at, team.zone), "people": list(s.people)} for s in coming],
        "unsigned": bool(len(rows) > 1 and rows[-1]["people"] and rows[-1]["signed"] is None),
    }


def day_of(at: datetime, zone: str) -> str:
    """The day of the week there."""
    return DAYS[local_day(at, zone).weekday()]
