"""Duty plans of teams with their changes, who is on duty day by day, and hand-overs."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, TypedDict
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, delete, func, insert, select, tuple_, update

from monitor.api.alerts import AlertState
from monitor.api.database import Actor, add_audit, add_row, find_record, load_records, load_view
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.queries.alerts import PlannedDuty, RotaKey, load_days
from monitor.api.queries.people import is_admin_of, require_account, require_person, require_two
from monitor.api.sites import Team
from monitor.api.tables import duty_handover, duty_override, duty_rota, duty_turn, report
from monitor.api.tables import maintenance as maintenance_table
from monitor.api.tables import site as site_table
from monitor.api.text import Template, format_iso, is_same_person, local_day
from monitor.api.views import AlertRow, InstrumentRow, SiteStatusRow
from monitor.features.duty import rota

_NO_CHANGE: Final = Template("duty.no_change", "site {site} has no change {number} of a plan")
_NOT_OF_TEAM: Final = Template(
    "duty.not_of_team", "team {team} has no change {number}; see `slopeward people duty show {site}`"
)
_PLAN_PAST: Final = Template(
    "duty.plan_past", "a plan cannot start in the past, because it would change who was on duty"
)
_CHANGE_PAST: Final = Template(
    "duty.change_past", "a change cannot start in the past, because it would change who was on duty"
)
_ODD_PLAN: Final = Template("duty.odd_plan", "plan of {team}: {problem}")
_LONG: Final = Template("duty.change_long", "a change must end after it starts, and last {count} days at most")
_NOBODY: Final = Template(
    "duty.change_of_nobody", "name the person who is replaced, or the person who is on duty instead"
)
_SAME: Final = Template("duty.same_person", "{name} cannot replace {other}, because both names are those of one person")
_OVER: Final = Template("duty.change_over", "change {number} is withdrawn or over already")
WRITTEN_AHEAD: Final = timedelta(days=35)  # how far the view `duty` extends into the future
LONGEST_CHANGE: Final = timedelta(days=92)
# A start this long ago still counts as now, because a request needs time.
GRACE: Final = timedelta(minutes=1)
PAST: Final = timedelta(days=7)  # how far back shifts are shown
MOST_PLANS: Final = 20  # newest plans of a team that are loaded


@dataclass(frozen=True, slots=True)
class DutyPlan:
    """A stored plan of a team."""

    id: int
    valid_from: datetime
    plan: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class DutyChange:
    """A stored change of a plan: a person is replaced for a time."""

    id: int
    team: str
    from_at: datetime
    to_at: datetime
    person_out: str | None
    person_in: str | None
    by: str
    reason: str


# ---- reads -----------------------------------------------------------------------------------------------------
def load_rosters(c: Connection, teams: Iterable[Team], since: datetime) -> dict[RotaKey, rota.Roster]:
    """Load the plans of teams, and their changes that end after an instant."""
    teams_by_key = {(team.site, team.name): team for team in teams}
    if not teams_by_key:
        return {}
    r, o = duty_rota.c, duty_override.c
    rotas: dict[RotaKey, list[rota.Rota]] = {}
    for site, name in teams_by_key:
        newest = select(duty_rota).where(r.site == site, r.team == name).order_by(r.id.desc()).limit(MOST_PLANS)
        rotas[site, name] = [_read_rota(row) for row in c.execute(newest)][::-1]
    overrides: dict[RotaKey, list[rota.Override]] = {}
    of_teams = tuple_(o.site, o.team).in_(sorted(teams_by_key))
    conditions = (of_teams, o.to_at > since, o.withdrawn_at.is_(None))
    for row in c.execute(select(duty_override).where(*conditions).order_by(o.id)):
        override = rota.Override(row.id, row.from_at, row.to_at, row.person_out or "", row.person_in or "")
        overrides.setdefault((row.site, row.team), []).append(override)
    return {
        key: rota.Roster(
            tuple(rotas.get(key, ())), tuple(overrides.get(key, ())), frozenset(m.name for m in team.members)
        )
        for key, team in teams_by_key.items()
    }


def _read_rota(row: Row[Any]) -> rota.Rota:
    """Return the plan of a row. If it cannot be read, nobody is on duty, so that messages go to the whole team."""
    try:
        weeks, turns = rota.read_plan(row.plan, None)
        return rota.Rota(ZoneInfo(row.zone).key, weeks, date.fromisoformat(row.begins), turns, row.valid_from)
    except Exception as error:  # an unreadable plan must not stop an alarm
        _log_unread(row.id, row.team, str(error))
        return rota.Rota("UTC", 1, date.min, (), row.valid_from)


# Cached, because a plan is read every few seconds and must be logged only once.
@lru_cache(maxsize=256)
def _log_unread(number: int, team: str, problem: str) -> None:
    logging.getLogger(__name__).error("plan %s of team %s cannot be read: %s", number, team, problem)


def find_on_duty(c: Connection, teams: Iterable[Team], at: datetime) -> dict[RotaKey, tuple[str, ...]]:
    """Return the people of each team who are on duty at an instant, in the order in which they are notified."""
    return {key: rota.who_is_on_duty(roster, at) for key, roster in load_rosters(c, teams, at).items()}


def load_plans(c: Connection, site: str, team: str) -> list[DutyPlan]:
    """Load the plans of a team, newest first."""
    r = duty_rota.c
    mine = (r.site == site, r.team == team)
    return load_records(c, DutyPlan, select(duty_rota).where(*mine).order_by(r.id.desc()).limit(MOST_PLANS))


def find_plan_in_force(plans: Iterable[DutyPlan], at: datetime) -> DutyPlan | None:
    """Return the plan that started last. Of plans with the same start, the plan that was stored last is in force."""
    started = [plan for plan in plans if plan.valid_from <= at]
    return max(started, key=lambda plan: (plan.valid_from, plan.id), default=None)


def load_changes(c: Connection, site: str, since: datetime) -> list[DutyChange]:
    """Load the changes of the plans of a site that end after an instant and are not withdrawn, the earliest first."""
    o = duty_override.c
    conditions = (o.site == site, o.to_at > since, o.withdrawn_at.is_(None))
    return load_records(c, DutyChange, select(duty_override).where(*conditions).order_by(o.from_at, o.id))


def find_team_of_change(c: Connection, site: str, number: int) -> str:
    """Return the team of a change; raises NotFoundError if the site has no such change."""
    o = duty_override.c
    team = c.execute(select(o.team).where(o.id == number, o.site == site)).scalar()
    if team is None:
        raise NotFoundError(_NO_CHANGE(site=site, number=number))
    return str(team)


# ---- changes by people -----------------------------------------------------------------------------------------
def add_plan(
    c: Connection,
    team: Team,
    text: str,
    actor: Actor,
    reason: str,
    now: datetime,
    *,
    valid_from: datetime | None = None,
    begins: date | None = None,
) -> int:
    """Put a plan in force for a team until a later plan starts. Return its number.

    Args:
        c: a write transaction.
        team: the team.
        text: lines of the plan, see `read_plan`.
        actor: the person who puts it in force.
        reason: reason of the plan.
        now: the present.
        valid_from: start of the plan, not in the past; None for now.
        begins: a day of the week that is `week 1` of the plan; None for the week of `valid_from`.

    Raises:
        RefusedError: a line cannot be read, person or reason is missing, or the plan would start in the past.
    """
    require_person(actor, reason)
    valid_from = now if valid_from is None else valid_from
    if valid_from < now - GRACE:
        raise RefusedError(_PLAN_PAST())
    try:
        weeks, turns = rota.read_plan(text, [m.name for m in team.members])
    except ValueError as error:
        raise RefusedError(_ODD_PLAN(team=team.name, problem=str(error))) from None
    first = begins or local_day(valid_from, team.zone)
    monday = first - timedelta(days=first.weekday())
    plan = rota.format_plan(weeks, turns)
    facts = {"site": team.site, "team": team.name, "begins": monday.isoformat(), "plan": plan, "reason": reason}
    signed = {"by": actor.name, "added_at": now}
    number = add_row(c, duty_rota, facts | signed, valid_from=valid_from, zone=team.zone)
    detail = facts | {"valid_from": format_iso(valid_from)}
    add_audit(c, actor, "duty.plan", f"duty_rota:{number}", detail, now)
    write_days(c, team, now)
    return number


def add_change(
    c: Connection,
    team: Team,
    from_at: datetime,
    to_at: datetime,
    person_out: str,
    person_in: str,
    actor: Actor,
    reason: str,
    now: datetime,
) -> int:
    """Replace a person for a time. Return the number of the change.

    Args:
        c: a write transaction.
        team: the team.
        from_at: start of the change, not in the past.
        to_at: its end, at most `LONGEST_CHANGE` later.
        person_out: the person who is replaced; empty for the person on duty.
        person_in: the person who is on duty instead; empty for nobody, so that the second person moves up.
        actor: the person who makes the change.
        reason: reason of the change.
        now: the present.

    Raises:
        RefusedError: a person is not a member of the team, person or reason is missing, or the times are wrong.
    """
    require_person(actor, reason)
    if from_at < now - GRACE:
        raise RefusedError(_CHANGE_PAST())
    if not timedelta(0) < to_at - from_at <= LONGEST_CHANGE:
        raise RefusedError(_LONG(count=LONGEST_CHANGE.days))
    members = [m.name for m in team.members]
    try:
        out, into = (rota.find_member(name, members) if name.strip() else "" for name in (person_out, person_in))
    except ValueError as error:
        raise RefusedError(str(error)) from None
    if not out and not into:
        raise RefusedError(_NOBODY())
    if out and into and is_same_person(out, into):
        raise RefusedError(_SAME(name=out, other=into))
    facts = {"site": team.site, "team": team.name, "reason": reason}
    people = {"person_out": out or None, "person_in": into or None, "by": actor.name}
    number = add_row(c, duty_override, facts | people, from_at=from_at, to_at=to_at, added_at=now)
    detail = facts | {"from": format_iso(from_at), "to": format_iso(to_at), "out": out, "in": into}
    add_audit(c, actor, "duty.swap", f"duty_override:{number}", detail, now)
    write_days(c, team, now)
    return number


def withdraw_change(c: Connection, number: int, team: Team, actor: Actor, reason: str, now: datetime) -> None:
    """Withdraw a change from now on.

    Raises:
        NotFoundError: the team has no such change.
        RefusedError: the change is withdrawn or over, or person or reason is missing.
    """
    require_person(actor, reason)
    o = duty_override.c
    conditions = (o.id == number, o.site == team.site, o.team == team.name)
    change = c.execute(select(o.to_at, o.withdrawn_at).where(*conditions).with_for_update()).one_or_none()
    if change is None:
        raise NotFoundError(_NOT_OF_TEAM(team=team.name, number=number, site=team.site))
    if change.withdrawn_at is not None or change.to_at <= now:
        raise RefusedError(_OVER(number=number))
    c.execute(update(duty_override).where(o.id == number).values(withdrawn_at=now, withdrawn_by=actor.name))
    add_audit(c, actor, "duty.swap.withdraw", f"duty_override:{number}", {"reason": reason}, now)
    write_days(c, team, now)


# ---- days ------------------------------------------------------------------------------------------------
def write_days(c: Connection, team: Team, now: datetime) -> int:
    """Write who is on duty from now on into the table behind the view `duty`. Past rows do not change.

    Returns:
        The number of new rows.
    """
    d = duty_turn.c
    of_team = (d.site == team.site, d.team == team.name)
    # The lock makes concurrent calls for one site wait for each other.
    c.execute(select(site_table.c.id).where(site_table.c.id == team.site).with_for_update())
    c.execute(delete(duty_turn).where(*of_team, d.from_at >= now))
    last = c.execute(select(duty_turn).where(*of_team).order_by(d.from_at.desc()).limit(1)).one_or_none()
    start = now if last is None else min(now, last.to_at)
    roster = load_rosters(c, [team], start)[team.site, team.name]
    if not roster.rotas:
        return 0
    start = max(start, min(r.valid_from for r in roster.rotas))
    rows: list[dict[str, Any]] = []
    for day, shift in rota.split_days(rota.list_shifts(roster, start, now + WRITTEN_AHEAD), team.zone):
        person, second = (*shift.people, None, None)[:2]
        facts = {"site": team.site, "team": team.name, "from_at": shift.from_at, "to_at": shift.to_at}
        rows.append(facts | {"day": day.isoformat(), "person": person, "second_person": second})
    if last is not None and rows:
        is_same_shift = all(rows[0][name] == getattr(last, name) for name in ("day", "person", "second_person"))
        ends_at = rows.pop(0)["to_at"] if is_same_shift and last.to_at >= start else min(last.to_at, start)
        c.execute(update(duty_turn).where(*of_team, d.from_at == last.from_at).values(to_at=ends_at))
    if rows:
        c.execute(insert(duty_turn), rows)
    return len(rows)


def join_days(turns: Iterable[PlannedDuty], now: datetime) -> list[rota.DutyShift]:
    """Join rows by day into shifts, up to the present shift. The same person before and after midnight is one shift."""
    shifts: list[rota.DutyShift] = []
    for turn in turns:
        if turn.from_at > now:
            break
        last = shifts[-1] if shifts else None
        if last and last.people[:1] == turn.people[:1] and last.to_at == turn.from_at:
            shifts[-1] = rota.DutyShift(last.from_at, turn.to_at, turn.people)
        else:
            shifts.append(rota.DutyShift(turn.from_at, turn.to_at, turn.people))
    return shifts


MOST: Final = 50  # open items of each kind that are stored
LONGEST_NOTES: Final = 4000  # characters
FIRST_PERIOD: Final = timedelta(days=1)  # age of reports in the first hand-over
_NO_NOTES: Final = Template("handover.no_notes", "write in the notes what the person who takes over must know")
_LONG_NOTES: Final = Template("handover.long_notes", "the notes are longer than {count} characters")
_WAITS: Final = Template(
    "handover.waits",
    "hand-over {number} by {name} waits for a signature; sign or withdraw it before you write another one",
)
_NOT_YOURS: Final = Template(
    "handover.not_yours", "hand-over {number} was written by {name}; only {name} or an admin can withdraw it"
)
_NONE: Final = Template("handover.none", "site {site} has no hand-over {number}")
_SIGNED: Final = Template("handover.signed_already", "hand-over {number} is signed already")
_WITHDRAWN: Final = Template("handover.withdrawn_already", "hand-over {number} is withdrawn already")
WELL: Final = ("ok", "unknown")
SICK_FACTS: Final = ("instrument", "state", "reason", "since")
ALERT_FACTS: Final = ("alert_id", "ledger", "level", "level_name", "state", "reason", "raised_at")
# Returns one sentence for each alert, by its id.
Describe = Callable[[Connection, Sequence[AlertRow]], Mapping[int, str]]


class OpenItems(TypedDict):
    """The state of a site for a hand-over, with at most `MOST` items of each kind. `since` is the last hand-over."""

    level: int | None
    level_name: str | None
    alerts: list[dict[str, Any]]  # `ALERT_FACTS` of each
    alerts_count: int
    shelved: list[int]
    sick: list[dict[str, Any]]  # `SICK_FACTS` of each
    reports: list[dict[str, str]]  # at, kind, text, by
    maintenance: list[dict[str, str]]  # station, to_at, reason, by
    since: str


@dataclass(frozen=True, slots=True)
class Handover:
    """A stored hand-over. `signed_at` is None until the person who takes over has signed."""

    id: int
    site: str
    team: str
    since_at: datetime | None
    at: datetime
    outgoing: str
    notes: str
    open_items: OpenItems
    signed_at: datetime | None
    incoming: str | None
    remark: str | None
    withdrawn_at: datetime | None


def load_open_items(c: Connection, site: str, now: datetime, describe: Describe) -> OpenItems:
    """Return the state of a site for a hand-over.

    It contains the level, open alerts, instruments with faults, maintenance, and reports since the last hand-over. The
    reason of an alert is the sentence that `describe` returns for it, else its own reason.
    """
    last = c.execute(select(func.max(duty_handover.c.signed_at)).where(duty_handover.c.site == site)).scalar()
    since = last or now - FIRST_PERIOD
    status = load_view(c, "site_status", SiteStatusRow, site=site)
    rows = [
        row
        for row in load_view(
            c, "active_alerts", AlertRow, order_by=("-level", "-alert_id"), without="evidence", site=site
        )
        if not row["exercise"] and row["ledger"] != "advice"
    ]
    sentences = describe(c, rows[:MOST])
    alerts: list[dict[str, Any]] = [
        {name: value for name, value in row.items() if name in ALERT_FACTS}
        | {"reason": sentences.get(row["alert_id"], row["reason"])}
        for row in rows
    ]
    sick = [
        {name: value for name, value in row.items() if name in SICK_FACTS}
        for row in load_view(c, "instrument_health", InstrumentRow, order_by=("instrument",), site=site)
        if row["state"] not in WELL
    ]
    r, m = report.c, maintenance_table.c
    new_reports = select(r.at, r.kind, r.text, r.by).where(r.site == site, r.received_at > since)
    reports = c.execute(new_reports.order_by(r.at.desc()).limit(MOST)).mappings()
    present = select(m.station, m.to_at, m.reason, m.by).where(m.site == site, m.to_at > now, m.ended_at.is_(None))
    work = c.execute(present.order_by(m.to_at).limit(MOST)).mappings()
    return {
        "level": status[0]["level"] if status else None,
        "level_name": status[0]["level_name"] if status else None,
        "alerts": alerts[:MOST],
        "alerts_count": len(alerts),
        "shelved": [a["alert_id"] for a in alerts if a["state"] == AlertState.SHELVED][:MOST],
        "sick": sick[:MOST],
        "reports": [{**row, "at": format_iso(row["at"])} for row in reports],
        "maintenance": [{**row, "to_at": format_iso(row["to_at"])} for row in work],
        "since": format_iso(since),
    }


def write_handover(c: Connection, team: Team, actor: Actor, notes: str, now: datetime, describe: Describe) -> int:
    """Store the hand-over of the person who leaves. Return its number. It waits for the person who takes over.

    Args:
        c: a write transaction.
        team: the team.
        actor: the person who leaves, who must be allowed to act on the site.
        notes: what the person who takes over must know.
        now: the present.
        describe: returns one sentence for each alert.

    Raises:
        RefusedError: person or notes are missing, the notes are too long, or another hand-over of the team waits.
    """
    if not notes.strip():
        raise RefusedError(_NO_NOTES())
    require_person(actor, notes)
    require_account(c, actor.name)
    if len(notes) > LONGEST_NOTES:
        raise RefusedError(_LONG_NOTES(count=LONGEST_NOTES))
    h = duty_handover.c
    unsigned = (h.site == team.site, h.team == team.name, h.signed_at.is_(None), h.withdrawn_at.is_(None))
    query = select(duty_handover).where(*unsigned).order_by(h.id).limit(1).with_for_update()
    waiting = find_record(c, Handover, query)
    if waiting is not None:
        raise RefusedError(_WAITS(number=waiting.id, name=waiting.outgoing))
    open_items = load_open_items(c, team.site, now, describe)
    facts = {"site": team.site, "team": team.name, "notes": notes}
    turns = [turn for turn in load_days(c, team.site, now - PAST, now) if turn.team == team.name]
    shifts = join_days(turns, now)
    row = {
        "since_at": shifts[-1].from_at if shifts else None,
        "at": now,
        "outgoing": actor.name,
        "open_items": open_items,
    }
    number = add_row(c, duty_handover, facts | row)
    add_audit(c, actor, "duty.handover", f"duty_handover:{number}", facts | {"open": open_items}, now)
    return number


def sign_handover(c: Connection, site: str, number: int, actor: Actor, remark: str, now: datetime) -> Handover:
    """Sign a hand-over as the person who takes over. Return the hand-over.

    Raises:
        NotFoundError: the site has no such hand-over.
        RefusedError: it is signed or withdrawn, or writer and signer do not count as two people.
    """
    handover = _require_waiting(c, site, number)
    # A signature needs no reason of its own, but `require_person` requires one.
    require_person(actor, "signs")
    require_two(c, Actor(handover.outgoing), actor, now)
    h = duty_handover.c
    remarks = remark.strip()[:LONGEST_NOTES]
    values = {"signed_at": now, "incoming": actor.name, "remark": remarks or None}
    c.execute(update(duty_handover).where(h.id == number).values(**values))
    detail = {"site": site, "team": handover.team, "of": handover.outgoing, "remark": remarks}
    add_audit(c, actor, "duty.handover.sign", f"duty_handover:{number}", detail, now)
    return handover


def withdraw_handover(c: Connection, site: str, number: int, actor: Actor, reason: str, now: datetime) -> None:
    """Withdraw a hand-over that nobody has signed yet. Its author and admins of the site may do so.

    Raises:
        NotFoundError: the site has no such hand-over.
        RefusedError: it is signed or withdrawn, or another person wrote it and `actor` is no admin of the site.
    """
    handover = _require_waiting(c, site, number)
    require_person(actor, reason)
    if not is_same_person(handover.outgoing, actor.name) and not is_admin_of(c, actor.name, site):
        raise RefusedError(_NOT_YOURS(number=number, name=handover.outgoing))
    h = duty_handover.c
    c.execute(update(duty_handover).where(h.id == number).values(withdrawn_at=now, withdrawn_by=actor.name))
    add_audit(c, actor, "duty.handover.withdraw", f"duty_handover:{number}", {"site": site, "reason": reason}, now)


def load_handovers(c: Connection, site: str) -> list[Handover]:
    """Load the newest hand-overs of a site that were not withdrawn, newest first."""
    h = duty_handover.c
    conditions = (h.site == site, h.withdrawn_at.is_(None))
    return load_records(c, Handover, select(duty_handover).where(*conditions).order_by(h.id.desc()).limit(20))


def _require_waiting(c: Connection, site: str, number: int) -> Handover:
    h = duty_handover.c
    query = select(duty_handover).where(h.id == number, h.site == site).with_for_update()
    handover = find_record(c, Handover, query)
    if handover is None:
        raise NotFoundError(_NONE(site=site, number=number))
    if handover.signed_at is not None or handover.withdrawn_at is not None:
        raise RefusedError((_SIGNED if handover.signed_at else _WITHDRAWN)(number=number))
    return handover
