"""The watch of a site: who is on duty, whom to call, the hand-over that both sign, plans and swaps."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import Connection

from forecasting.message import Message, Template
from monitor.domain.duty.local_time import read_local
from monitor.domain.duty.rota import list_shifts
from monitor.domain.names import is_same_person
from monitor.domain.site import Team
from monitor.errors import NotFoundError, RefusedError
from monitor.store.alerting import duty, handovers
from monitor.store.alerting.answers import Answers, load_answers
from monitor.store.pages import load_open_alerts
from monitor.web.access.acting import Act, Acting
from monitor.web.access.callers import person_of
from monitor.web.context import NO_NUL, AlertId, Name, Why
from monitor.web.parts.collect import read_site, require_declared
from monitor.web.parts.duty import describe_team, list_calls
from monitor.web.parts.headline import find_hazards, find_headlines, tell_sentences
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
        signed = handovers.load_handovers(c, site)
        plans = {team.name: next(iter(duty.load_plans(c, site, team.name)), None) for team in declared.teams}
        changes, items = duty.load_changes(c, site, now), handovers.gather_open(c, site, now, tell_sentences)
    mine = answers.get(hazard["alert_id"], Answers()) if hazard else Answers()
    teams = [
        describe_team(team, rosters[site, team.name], past, signed, now) | {"plan": plans[team.name]}
        for team in declared.teams
    ]
    waiting = [h for h in signed if h.signed_at is None]
    caller = person_of(request)
    reader = "" if caller is None else caller.name
    return render(
        request, "duty.html", card=seen.card, teams=teams, hazard=hazard, headlines=headlines, answers=mine,
        calls=list_calls(declared, chain, rosters, mine, now), changes=changes, items=items,
        waiting=waiting, own=[h.id for h in waiting if is_same_person(h.outgoing, reader)],
        handovers=[h for h in signed if h.signed_at is not None],
    )  # fmt: skip


@router.get("/sites/{site}/duty.ics", response_class=Response)
def send_shifts(request: Request, site: str) -> Response:
    """The shifts to come as a calendar."""
    from monitor.export.calendar import write_duty

    with read_site(request, site) as seen:
        now, declared = seen.now, seen.require_declared()
        rosters = duty.load_rosters(seen.c, declared.teams, now)
    planned = {
        team: list_shifts(rosters[site, team.name], now, now + timedelta(days=CALENDAR_DAYS))
        for team in declared.teams if rosters[site, team.name].rotas
    }  # fmt: skip
    return Response(write_duty(planned, declared.name, now), media_type="text/calendar; charset=utf-8")


@router.post("/sites/{site}/duty/plan")
def put_plan(
    act: Acting, site: str, team: Name, plan: Annotated[str, Form(max_length=20_000, pattern=NO_NUL)],
    reason: Why, from_: Begin = "", turn: Turn = "",
) -> Response:  # fmt: skip
    """Put a plan in force, now or from a local time on."""

    def do(c: Connection, crew: Team) -> None:
        begin = _read(from_, crew.zone, turn) if from_ else None
        duty.add_plan(c, crew, plan, act.actor, reason, act.now, valid_from=begin)

    return _act(act, site, team, do, _PLAN())


@router.post("/sites/{site}/duty/swap")
def swap(
    act: Acting, site: str, team: Name, until: Local, reason: Why, out: Person = "", into: Person = "",
    from_: Begin = "", turn: Turn = "",
) -> Response:  # fmt: skip
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
    act: Acting, site: str, team: Name,
    notes: Annotated[str, Form(max_length=handovers.LONGEST_NOTES, min_length=3, pattern=NO_NUL)],
) -> Response:  # fmt: skip
    """Who goes signs: what is open is frozen with the notes."""
    tell = partial(tell_sentences, at_once=handovers.MOST)
    with act.db.read() as c:  # evidence is large: this process reads and keeps it before the database is held
        handovers.gather_open(c, site, act.now, tell)

    def do(c: Connection, crew: Team) -> None:
        handovers.sign_out(c, crew, act.actor, notes.strip(), act.now, tell)

    return _act(act, site, team, do, _SIGNED())


@router.post("/sites/{site}/duty/handovers/{number}/sign")
def take_over(
    act: Acting, site: str, number: AlertId,
    remark: Annotated[str, Form(max_length=handovers.LONGEST_NOTES, pattern=NO_NUL)] = "",
) -> Response:  # fmt: skip
    """Who comes signs."""
    with act.db.write() as c:
        handovers.sign_in(c, site, number, act.actor, remark, act.now)
    return act.back(f"/sites/{site}/duty", _HANDED_OVER())


@router.post("/sites/{site}/duty/handovers/{number}/withdraw")
def withdraw_handover(act: Acting, site: str, number: AlertId, reason: Why) -> Response:
    """Who goes takes the hand-over back before anybody signed it."""
    with act.db.write() as c:
        handovers.withdraw(c, site, number, act.actor, reason, act.now)
    return act.back(f"/sites/{site}/duty", _WITHDRAWN())


def _act(act: Act, site: str, team: str, do: Callable[[Connection, Team], None], said: Message) -> Response:
    """One act on a team of the site file in force, in one transaction."""
    with act.db.write() as c:
        teams = require_declared(act.context, c, site).teams
        crew = next((one for one in teams if one.name == team), None)
        if crew is None:
            raise NotFoundError(_NO_TEAM(site=site, team=team))
        do(c, crew)
    return act.back(f"/sites/{site}/duty", said)


def _read(text: str, zone: str, turn: str) -> datetime:
    try:
        return read_local(text, zone, LATER.get(turn))
    except ValueError as error:
        raise RefusedError(error.args[0]) from None
