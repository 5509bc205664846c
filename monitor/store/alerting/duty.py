"""Who is on duty: plans of teams and what people changed of them, read for every message, kept day by day."""

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, delete, insert, select, tuple_, update

from forecasting.message import Template
from monitor.domain.alert import Actor
from monitor.domain.duty.local_time import local_day
from monitor.domain.duty.rota import (
    Override,
    Roster,
    Rota,
    Shift,
    Turn,
    find_member,
    list_shifts,
    read_plan,
    spell_plan,
    split_days,
    who_is_on_duty,
)
from monitor.domain.instants import spell
from monitor.domain.names import is_same_person
from monitor.domain.site import Recipient, Team
from monitor.errors import NotFoundError, RefusedError
from monitor.store.database.audit import add_audit
from monitor.store.database.rows import add_row, load_records
from monitor.store.people.users import require_person
from monitor.store.schema import tables as t

_LOG = logging.getLogger(__name__)
_NO_CHANGE: Final = Template("duty.no_change", "site {site} has no change {number} of a plan")
_NOT_OF_TEAM: Final = Template(
    "duty.not_of_team", "team {team} has no change {number}; see `slopeward duty show {site}`"
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
SAY_EVERY_S: Final = 3600.0  # that a plan cannot be read
MOST_PLANS: Final = 20  # of a team, the newest: what was in force before them no message asks for

Key = tuple[str, str]  # site and team
_told: Final[dict[int, float]] = {}  # plans that could not be read: when the log said so, monotonic


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as it is stored."""

    id: int
    valid_from: datetime
    begins: str
    zone: str
    plan: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a plan as it is stored."""

    id: int
    site: str
    team: str
    from_at: datetime
    to_at: datetime
    person_out: str | None
    person_in: str | None
    by: str
    reason: str
    added_at: datetime


# ---- reads -----------------------------------------------------------------------------------------------------
def load_rosters(c: Connection, teams: Iterable[Team], since: datetime) -> dict[Key, Roster]:
    """What is planned for teams from an instant on."""
    known = {(team.site, team.name): team for team in teams}
    if not known:
        return {}
    r, o = t.duty_rota.c, t.duty_override.c
    rotas: dict[Key, list[Rota]] = {}
    for site, name in known:
        newest = select(t.duty_rota).where(r.site == site, r.team == name).order_by(r.id.desc()).limit(MOST_PLANS)
        rotas[site, name] = [_read_rota(row) for row in c.execute(newest)][::-1]
    overrides: dict[Key, list[Override]] = {}
    mine = tuple_(o.site, o.team).in_(sorted(known))
    standing = (mine, o.to_at > since, o.withdrawn_at.is_(None))
    for row in c.execute(select(t.duty_override).where(*standing).order_by(o.id)):
        one = Override(row.id, row.from_at, row.to_at, row.person_out or "", row.person_in or "")
        overrides.setdefault((row.site, row.team), []).append(one)
    return {
        key: Roster(tuple(rotas.get(key, ())), tuple(overrides.get(key, ())), frozenset(m.name for m in team.members))
        for key, team in known.items()
    }


def _read_rota(row: Row[Any]) -> Rota:
    """The plan of a row; of one that cannot be read nobody is on duty, so that messages go to the whole team."""
    try:
        weeks, turns = _read_kept(row.plan)
        return Rota(ZoneInfo(row.zone).key, weeks, date.fromisoformat(row.begins), turns, row.valid_from)
    except Exception as error:  # whatever stands in the row, it stops no alarm
        now_s = time.monotonic()
        if now_s - _told.get(row.id, -math.inf) >= SAY_EVERY_S:  # it is read every few seconds
            _told[row.id] = now_s
            _LOG.error("plan %s of team %s cannot be read: %s", row.id, row.team, error)
        return Rota("UTC", 1, date.min, (), row.valid_from)


@lru_cache(maxsize=256)
def _read_kept(plan: str) -> tuple[int, tuple[Turn, ...]]:
    return read_plan(plan, None)


def list_chain(c: Connection, recipients: Sequence[Recipient], at: datetime) -> list[tuple[Recipient, ...]]:
    """Whom messages go to, one step after the other: a team gives who is on duty, the second, the lead, then all."""
    rosters = load_rosters(c, (r.team for r in recipients if r.team is not None), at)
    chain: list[tuple[Recipient, ...]] = []
    for one in recipients:
        if one.team is None:
            chain += [(one,)] if not one.by_team else []
        else:
            on_duty = who_is_on_duty(rosters[one.team.site, one.team.name], at)
            chain += one.team.list_steps(on_duty, one)
    return chain


def list_addressees(
    c: Connection, recipients: Sequence[Recipient], at: datetime, *, everybody: bool = False
) -> list[Recipient]:
    """Who gets a message first: of a team whoever is on duty now, or all of it where nobody is; or all it may go to."""
    if everybody:
        return [one for step in list_chain(c, recipients, at) for one in step]
    chosen = [r for r in recipients if not r.by_team]
    return [one for r in chosen for one in (list_chain(c, [r], at)[0] if r.team is not None else (r,))]


def load_plans(c: Connection, site: str, team: str) -> list[Plan]:
    """The plans of a team, newest first."""
    r = t.duty_rota.c
    mine = (r.site == site, r.team == team)
    return load_records(c, Plan, select(t.duty_rota).where(*mine).order_by(r.id.desc()).limit(MOST_PLANS))


def load_changes(c: Connection, site: str, since: datetime) -> list[Change]:
    """Changes of the plans of a site that stand and are not over, the earliest first."""
    o = t.duty_override.c
    standing = (o.site == site, o.to_at > since, o.withdrawn_at.is_(None))
    return load_records(c, Change, select(t.duty_override).where(*standing).order_by(o.from_at, o.id))


def find_team_of_change(c: Connection, site: str, number: int) -> str:
    """The team of a change; raises NotFoundError where the site has no such change."""
    o = t.duty_override.c
    team = c.execute(select(o.team).where(o.id == number, o.site == site)).scalar()
    if team is None:
        raise NotFoundError(_NO_CHANGE(site=site, number=number))
    return str(team)


# ---- what people do --------------------------------------------------------------------------------------------
def add_plan(
    c: Connection, team: Team, text: str, actor: Actor, reason: str, now: datetime, *,
    valid_from: datetime | None = None, begins: date | None = None,
) -> int:  # fmt: skip
    """Put a plan in force for a team, until a later one begins; returns its number.

    Args:
        c: a write transaction.
        team: the team of the site file in force.
        text: its lines, see `read_plan`.
        actor: a person.
        reason: why.
        now: wall time.
        valid_from: not in the past; None = now.
        begins: the week in which `week 1` of the plan begins; None = the week of `valid_from`.

    Raises:
        RefusedError: a line cannot be read, no person or reason, or the plan would begin in the past.
    """
    require_person(actor, reason)
    valid_from = now if valid_from is None else valid_from
    if valid_from < now - GRACE:
        raise RefusedError(_PLAN_PAST())
    try:
        weeks, turns = read_plan(text, [m.name for m in team.members])
    except ValueError as error:
        raise RefusedError(_ODD_PLAN(team=team.name, problem=str(error))) from None
    first = begins or local_day(valid_from, team.zone)
    monday = first - timedelta(days=first.weekday())
    plan = spell_plan(weeks, turns)
    number = add_row(
        c, t.duty_rota, site=team.site, team=team.name, valid_from=valid_from, begins=monday.isoformat(),
        zone=team.zone, plan=plan, by=actor.name, reason=reason, added_at=now,
    )  # fmt: skip
    detail = {
        "site": team.site, "team": team.name, "valid_from": spell(valid_from), "begins": monday.isoformat(),
        "plan": plan, "reason": reason,
    }  # fmt: skip
    add_audit(c, actor, "duty.plan", f"duty_rota:{number}", detail, now)
    lay_out(c, team, now)
    return number


def add_change(
    c: Connection, team: Team, from_at: datetime, to_at: datetime, person_out: str, person_in: str, actor: Actor,
    reason: str, now: datetime,
) -> int:  # fmt: skip
    """Let somebody take the place of somebody else for a time, or nobody; returns the number of the change.

    Args:
        c: a write transaction.
        team: the team of the site file in force.
        from_at: not in the past.
        to_at: at most `LONGEST` later.
        person_out: who is not on duty then; empty = whoever is on duty.
        person_in: who is instead; empty = nobody, and the second moves up.
        actor: a person.
        reason: why.
        now: wall time.

    Raises:
        RefusedError: somebody is not of the team, no person or reason, or the time is wrong.
    """
    require_person(actor, reason)
    if from_at < now - GRACE:
        raise RefusedError(_CHANGE_PAST())
    if not timedelta(0) < to_at - from_at <= LONGEST:
        raise RefusedError(_LONG(count=LONGEST.days))
    members = [m.name for m in team.members]
    try:
        out, into = (find_member(name, members) if name.strip() else "" for name in (person_out, person_in))
    except ValueError as error:
        raise RefusedError(str(error)) from None
    if not out and not into:
        raise RefusedError(_NOBODY())
    if out and into and is_same_person(out, into):
        raise RefusedError(_SAME(name=out, other=into))
    number = add_row(
        c, t.duty_override, site=team.site, team=team.name, from_at=from_at, to_at=to_at, person_out=out or None,
        person_in=into or None, by=actor.name, reason=reason, added_at=now,
    )  # fmt: skip
    detail = {
        "site": team.site, "team": team.name, "from": spell(from_at), "to": spell(to_at), "out": out, "in": into,
        "reason": reason,
    }  # fmt: skip
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
    o = t.duty_override.c
    mine = (o.id == number, o.site == team.site, o.team == team.name)
    found = c.execute(select(o.to_at, o.withdrawn_at).where(*mine).with_for_update()).one_or_none()
    if found is None:
        raise NotFoundError(_NOT_OF_TEAM(team=team.name, number=number, site=team.site))
    if found.withdrawn_at is not None or found.to_at <= now:
        raise RefusedError(_OVER(number=number))
    c.execute(update(t.duty_override).where(o.id == number).values(withdrawn_at=now, withdrawn_by=actor.name))
    add_audit(c, actor, "duty.swap.withdraw", f"duty_override:{number}", {"reason": reason}, now)
    lay_out(c, team, now)


# ---- day by day ------------------------------------------------------------------------------------------------
def lay_out(c: Connection, team: Team, now: datetime) -> int:
    """Write who is on duty from now on into the table behind the view `duty`; what has passed stays.

    Returns:
        How many rows are new.
    """
    d = t.duty_turn.c
    mine = (d.site == team.site, d.team == team.name)
    c.execute(select(t.site.c.id).where(t.site.c.id == team.site).with_for_update())  # one after the other
    c.execute(delete(t.duty_turn).where(*mine, d.from_at >= now))
    last = c.execute(select(t.duty_turn).where(*mine).order_by(d.from_at.desc()).limit(1)).one_or_none()
    start = now if last is None else min(now, last.to_at)
    roster = load_rosters(c, [team], start)[team.site, team.name]
    if not roster.rotas:
        return 0
    start = max(start, min(r.valid_from for r in roster.rotas))
    rows: list[dict[str, Any]] = []
    for day, shift in split_days(list_shifts(roster, start, now + LAID_OUT), team.zone):
        person, second = (*shift.people, None, None)[:2]
        rows.append({
            "site": team.site, "team": team.name, "from_at": shift.from_at, "to_at": shift.to_at,
            "day": day.isoformat(), "person": person, "second_person": second,
        })  # fmt: skip
    if last is not None and rows:
        goes_on = all(rows[0][name] == getattr(last, name) for name in ("day", "person", "second_person"))
        ends_at = rows.pop(0)["to_at"] if goes_on and last.to_at >= start else min(last.to_at, start)
        c.execute(update(t.duty_turn).where(*mine, d.from_at == last.from_at).values(to_at=ends_at))
    if rows:
        c.execute(insert(t.duty_turn), rows)
    return len(rows)


def load_days(c: Connection, site: str, from_at: datetime, to_at: datetime) -> list[Mapping[str, Any]]:
    """Rows of the view `duty` that touch a range, by team and time."""
    d = t.duty_turn.c
    wanted = select(t.duty_turn).where(d.site == site, d.to_at > from_at, d.from_at < to_at)
    return [dict(row) for row in c.execute(wanted.order_by(d.team, d.from_at)).mappings()]


def find_shift_start(c: Connection, team: Team, now: datetime) -> datetime | None:
    """When the shift that runs began; None where none was laid out."""
    rows = load_days(c, team.site, now - PAST, now)
    shifts = join_days([row for row in rows if row["team"] == team.name], now)
    return shifts[-1].from_at if shifts else None


def join_days(rows: Iterable[Mapping[str, Any]], now: datetime) -> list[Shift]:
    """Shifts out of rows by day, up to the one that runs: the same people over midnight are one shift."""
    shifts: list[Shift] = []
    for row in rows:
        if row["from_at"] > now:
            break
        people = tuple(name for name in (row["person"], row["second_person"]) if name)
        if shifts and shifts[-1].people[:1] == people[:1] and shifts[-1].to_at == row["from_at"]:
            shifts[-1] = Shift(shifts[-1].from_at, row["to_at"], people)
        else:
            shifts.append(Shift(row["from_at"], row["to_at"], people))
    return shifts
