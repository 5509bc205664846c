"""Who is on duty: plans of teams, what people changed of them, day by day; and how one hands over to the next."""

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
_PLAN_PAST: Final = Template("duty.plan_past", "a plan cannot begin in the past: who was on duty stays so")
_CHANGE_PAST: Final = Template("duty.change_past", "a change cannot begin in the past: who was on duty stays so")
_ODD_PLAN: Final = Template("duty.odd_plan", "plan of {team}: {problem}")
_LONG: Final = Template("duty.change_long", "a change lasts at most {count} days, and ends after it begins")
_NOBODY: Final = Template("duty.change_of_nobody", "name who is replaced, or who is on duty instead")
_SAME: Final = Template("duty.same_person", "{name} cannot replace {other}: they are one person")
_OVER: Final = Template("duty.change_over", "change {number} is withdrawn or over already")
LAID_OUT: Final = timedelta(days=35)  # so far ahead the view `duty` goes
LONGEST: Final = timedelta(days=92)  # of one change; a longer one is another plan
GRACE: Final = timedelta(minutes=1)
PAST: Final = timedelta(days=7)  # so far back shifts are shown, and looked for the begin of the one that runs
MOST_PLANS: Final = 20  # of a team, the newest: what was in force before them no message asks for


@dataclass(frozen=True, slots=True)
class DutyPlan:
    """A plan as it is stored."""

    id: int
    valid_from: datetime
    plan: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class DutyChange:
    """A change of a plan as it is stored."""

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
    """What is planned for teams from an instant on."""
    known = {(team.site, team.name): team for team in teams}
    if not known:
        return {}
    r, o = duty_rota.c, duty_override.c
    rotas: dict[RotaKey, list[rota.Rota]] = {}
    for site, name in known:
        newest = select(duty_rota).where(r.site == site, r.team == name).order_by(r.id.desc()).limit(MOST_PLANS)
        rotas[site, name] = [_read_rota(row) for row in c.execute(newest)][::-1]
    overrides: dict[RotaKey, list[rota.Override]] = {}
    mine = tuple_(o.site, o.team).in_(sorted(known))
    standing = (mine, o.to_at > since, o.withdrawn_at.is_(None))
    for row in c.execute(select(duty_override).where(*standing).order_by(o.id)):
        one = rota.Override(row.id, row.from_at, row.to_at, row.person_out or "", row.person_in or "")
        overrides.setdefault((row.site, row.team), []).append(one)
    return {
        key: rota.Roster(
            tuple(rotas.get(key, ())), tuple(overrides.get(key, ())), frozenset(m.name for m in team.members)
        )
        for key, team in known.items()
    }


def _read_rota(row: Row[Any]) -> rota.Rota:
    """The plan of a row; of one that cannot be read nobody is on duty, so that messages go to the whole team."""
    try:
        weeks, turns = rota.read_plan(row.plan, None)
        return rota.Rota(ZoneInfo(row.zone).key, weeks, date.fromisoformat(row.begins), turns, row.valid_from)
    except Exception as error:  # whatever stands in the row, it stops no alarm
        _log_unread(row.id, row.team, str(error))
        return rota.Rota("UTC", 1, date.min, (), row.valid_from)


@lru_cache(maxsize=256)  # the log says it once of a plan: it is read every few seconds
def _log_unread(number: int, team: str, problem: str) -> None:
    logging.getLogger(__name__).error("plan %s of team %s cannot be read: %s", number, team, problem)


def find_on_duty(c: Connection, teams: Iterable[Team], at: datetime) -> dict[RotaKey, tuple[str, ...]]:
    """The names of who is on duty of each team at an instant, first who is called first."""
    return {key: rota.who_is_on_duty(one, at) for key, one in load_rosters(c, teams, at).items()}


def load_plans(c: Connection, site: str, team: str) -> list[DutyPlan]:
    """The plans of a team, newest first."""
    r = duty_rota.c
    mine = (r.site == site, r.team == team)
    return load_records(c, DutyPlan, select(duty_rota).where(*mine).order_by(r.id.desc()).limit(MOST_PLANS))


def load_changes(c: Connection, site: str, since: datetime) -> list[DutyChange]:
    """Changes of the plans of a site that stand and are not over, the earliest first."""
    o = duty_override.c
    standing = (o.site == site, o.to_at > since, o.withdrawn_at.is_(None))
    return load_records(c, DutyChange, select(duty_override).where(*standing).order_by(o.from_at, o.id))


def find_team_of_change(c: Connection, site: str, number: int) -> str:
    """The team of a change; raises NotFoundError where the site has no such change."""
    o = duty_override.c
    team = c.execute(select(o.team).where(o.id == number, o.site == site)).scalar()
    if team is None:
        raise NotFoundError(_NO_CHANGE(site=site, number=number))
    return str(team)


# ---- what people do --------------------------------------------------------------------------------------------
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
    """Put a plan in force for a team, until a later one begins; returns its number.

    Args:
        text: its lines, see `read_plan`.
        valid_from: not in the past; None = now.
        begins: the week in which `week 1` of the plan begins; None = the week of `valid_from`.

    Raises RefusedError: a line cannot be read, no person or reason, or the plan would begin in the past.
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
    lay_out(c, team, now)
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
    """Let somebody take the place of somebody else for a time, or nobody; returns the number of the change.

    Args:
        from_at: not in the past.
        to_at: at most `LONGEST` later.
        person_out: who is not on duty then; empty = whoever is on duty.
        person_in: who is instead; empty = nobody, and the second moves up.

    Raises RefusedError: somebody is not of the team, no person or reason, or the time is wrong.
    """
    require_person(actor, reason)
    if from_at < now - GRACE:
        raise RefusedError(_CHANGE_PAST())
    if not timedelta(0) < to_at - from_at <= LONGEST:
        raise RefusedError(_LONG(count=LONGEST.days))
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
    lay_out(c, team, now)
    return number


def withdraw_change(c: Connection, number: int, team: Team, actor: Actor, reason: str, now: datetime) -> None:
    """Take a change back from now on.

    Raises:
        NotFoundError: the team has no such change.
        RefusedError: it is withdrawn or over already, or no person or reason is named.
    """
    require_person(actor, reason)
    o = duty_override.c
    mine = (o.id == number, o.site == team.site, o.team == team.name)
    found = c.execute(select(o.to_at, o.withdrawn_at).where(*mine).with_for_update()).one_or_none()
    if found is None:
        raise NotFoundError(_NOT_OF_TEAM(team=team.name, number=number, site=team.site))
    if found.withdrawn_at is not None or found.to_at <= now:
        raise RefusedError(_OVER(number=number))
    c.execute(update(duty_override).where(o.id == number).values(withdrawn_at=now, withdrawn_by=actor.name))
    add_audit(c, actor, "duty.swap.withdraw", f"duty_override:{number}", {"reason": reason}, now)
    lay_out(c, team, now)


# ---- day by day ------------------------------------------------------------------------------------------------
def lay_out(c: Connection, team: Team, now: datetime) -> int:
    """Write who is on duty from now on into the table behind the view `duty`; what has passed stays.

    Returns how many rows are new.
    """
    d = duty_turn.c
    mine = (d.site == team.site, d.team == team.name)
    c.execute(select(site_table.c.id).where(site_table.c.id == team.site).with_for_update())  # one after the other
    c.execute(delete(duty_turn).where(*mine, d.from_at >= now))
    last = c.execute(select(duty_turn).where(*mine).order_by(d.from_at.desc()).limit(1)).one_or_none()
    start = now if last is None else min(now, last.to_at)
    roster = load_rosters(c, [team], start)[team.site, team.name]
    if not roster.rotas:
        return 0
    start = max(start, min(r.valid_from for r in roster.rotas))
    rows: list[dict[str, Any]] = []
    for day, shift in rota.split_days(rota.list_shifts(roster, start, now + LAID_OUT), team.zone):
        person, second = (*shift.people, None, None)[:2]
        facts = {"site": team.site, "team": team.name, "from_at": shift.from_at, "to_at": shift.to_at}
        rows.append(facts | {"day": day.isoformat(), "person": person, "second_person": second})
    if last is not None and rows:
        goes_on = all(rows[0][name] == getattr(last, name) for name in ("day", "person", "second_person"))
        ends_at = rows.pop(0)["to_at"] if goes_on and last.to_at >= start else min(last.to_at, start)
        c.execute(update(duty_turn).where(*mine, d.from_at == last.from_at).values(to_at=ends_at))
    if rows:
        c.execute(insert(duty_turn), rows)
    return len(rows)


def join_days(turns: Iterable[PlannedDuty], now: datetime) -> list[rota.DutyShift]:
    """Shifts out of turns by day, up to the one that runs: the same people over midnight are one shift."""
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


MOST: Final = 50  # of each kind of what is open
LONGEST_NOTES: Final = 4000
FIRST_PERIOD: Final = timedelta(days=1)  # reports shown where no hand-over was ever signed
_NO_NOTES: Final = Template("handover.no_notes", "write in the notes what who comes must know")
_LONG_NOTES: Final = Template("handover.long_notes", "the notes are longer than {count} signs")
_WAITS: Final = Template(
    "handover.waits", "hand-over {number} by {name} waits for who comes; it is signed or withdrawn first"
)
_NOT_YOURS: Final = Template(
    "handover.not_yours", "hand-over {number} is that of {name}, who may withdraw it, or an admin"
)
_NONE: Final = Template("handover.none", "site {site} has no hand-over {number}")
_SIGNED: Final = Template("handover.signed_already", "hand-over {number} is signed already")
_WITHDRAWN: Final = Template("handover.withdrawn_already", "hand-over {number} is withdrawn already")
WELL: Final = ("ok", "unknown")
SICK_FACTS: Final = ("instrument", "state", "reason", "since")
ALERT_FACTS: Final = ("alert_id", "ledger", "level", "level_name", "state", "reason", "raised_at")
Describe = Callable[[Connection, Sequence[AlertRow]], Mapping[int, str]]
"""One sentence for each of some alerts, by their id."""


class OpenItems(TypedDict):
    """What is open; of each kind `MOST`."""

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
    """One hand-over as it is stored."""

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


def gather_open(c: Connection, site: str, now: datetime, describe: Describe) -> OpenItems:
    """What who comes must know: level, open alerts, sick instruments, work, and reports since the last hand-over.

    The reason of an alert is the sentence that `describe` has of it, else its own.
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
    came = select(r.at, r.kind, r.text, r.by).where(r.site == site, r.received_at > since)
    seen = c.execute(came.order_by(r.at.desc()).limit(MOST)).mappings()
    lasts = select(m.station, m.to_at, m.reason, m.by).where(m.site == site, m.to_at > now, m.ended_at.is_(None))
    work = c.execute(lasts.order_by(m.to_at).limit(MOST)).mappings()
    return {
        "level": status[0]["level"] if status else None,
        "level_name": status[0]["level_name"] if status else None,
        "alerts": alerts[:MOST],
        "alerts_count": len(alerts),
        "shelved": [a["alert_id"] for a in alerts if a["state"] == AlertState.SHELVED][:MOST],
        "sick": sick[:MOST],
        "reports": [{**x, "at": format_iso(x["at"])} for x in seen],
        "maintenance": [{**x, "to_at": format_iso(x["to_at"])} for x in work],
        "since": format_iso(since),
    }


def sign_out(c: Connection, team: Team, actor: Actor, notes: str, now: datetime, describe: Describe) -> int:
    """Who goes says what is open and signs; returns the number of the hand-over, which waits for who comes.

    `actor`: a person who may act on the site; `notes`: what who comes must know; `describe`: one sentence for each of
    some alerts. Raises RefusedError: no person or no notes, too long ones, or another hand-over of the team waits.
    """
    if not notes.strip():
        raise RefusedError(_NO_NOTES())
    require_person(actor, notes)
    require_account(c, actor.name)
    if len(notes) > LONGEST_NOTES:
        raise RefusedError(_LONG_NOTES(count=LONGEST_NOTES))
    h = duty_handover.c
    mine = (h.site == team.site, h.team == team.name, h.signed_at.is_(None), h.withdrawn_at.is_(None))
    waiting = find_record(c, Handover, select(duty_handover).where(*mine).order_by(h.id).limit(1).with_for_update())
    if waiting is not None:
        raise RefusedError(_WAITS(number=waiting.id, name=waiting.outgoing))
    items = gather_open(c, team.site, now, describe)
    facts = {"site": team.site, "team": team.name, "notes": notes}
    turns = [turn for turn in load_days(c, team.site, now - PAST, now) if turn.team == team.name]
    shifts = join_days(turns, now)
    row = {"since_at": shifts[-1].from_at if shifts else None, "at": now, "outgoing": actor.name, "open_items": items}
    number = add_row(c, duty_handover, facts | row)
    add_audit(c, actor, "duty.handover", f"duty_handover:{number}", facts | {"open": items}, now)
    return number


def sign_in(c: Connection, site: str, number: int, actor: Actor, remark: str, now: datetime) -> Handover:
    """Who comes has read it and takes the watch; returns what was signed.

    Raises:
        NotFoundError: the site has no such hand-over.
        RefusedError: it is signed or withdrawn already, or both are one person.
    """
    found = _require_waiting(c, site, number)
    require_person(actor, "signs")
    require_two(c, Actor(found.outgoing), actor, now)
    h = duty_handover.c
    remarks = remark.strip()[:LONGEST_NOTES]
    values = {"signed_at": now, "incoming": actor.name, "remark": remarks or None}
    c.execute(update(duty_handover).where(h.id == number).values(**values))
    detail = {"site": site, "team": found.team, "of": found.outgoing, "remark": remarks}
    add_audit(c, actor, "duty.handover.sign", f"duty_handover:{number}", detail, now)
    return found


def withdraw_handover(c: Connection, site: str, number: int, actor: Actor, reason: str, now: datetime) -> None:
    """Who goes takes it back before anybody signed, or an admin of the site does.

    Raises:
        NotFoundError: the site has no such hand-over.
        RefusedError: it is signed or withdrawn already, or it is somebody else's.
    """
    found = _require_waiting(c, site, number)
    require_person(actor, reason)
    if not is_same_person(found.outgoing, actor.name) and not is_admin_of(c, actor.name, site):
        raise RefusedError(_NOT_YOURS(number=number, name=found.outgoing))
    h = duty_handover.c
    c.execute(update(duty_handover).where(h.id == number).values(withdrawn_at=now, withdrawn_by=actor.name))
    add_audit(c, actor, "duty.handover.withdraw", f"duty_handover:{number}", {"site": site, "reason": reason}, now)


def load_handovers(c: Connection, site: str) -> list[Handover]:
    """The newest hand-overs of a site that were not withdrawn, newest first."""
    h = duty_handover.c
    mine = (h.site == site, h.withdrawn_at.is_(None))
    return load_records(c, Handover, select(duty_handover).where(*mine).order_by(h.id.desc()).limit(20))


def _require_waiting(c: Connection, site: str, number: int) -> Handover:
    h = duty_handover.c
    mine = (h.id == number, h.site == site)
    found = find_record(c, Handover, select(duty_handover).where(*mine).with_for_update())
    if found is None:
        raise NotFoundError(_NONE(site=site, number=number))
    if found.signed_at is not None or found.withdrawn_at is not None:
        raise RefusedError((_SIGNED if found.signed_at else _WITHDRAWN)(number=number))
    return found
