"""Rotas: weekly plans in the local time of a site, what people changed of them, and who is on duty at an instant."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from monitor.api.text import (
    MINUTES_PER_DAY,
    format_minute,
    is_same_person,
    local_day,
    read_minute,
    tidy_name,
    to_instant,
)

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MOST_WEEKS: Final = 26
MOST_TURNS: Final = 200
NOBODY: Final = "nobody"
WEEK_MIN: Final = 7 * MINUTES_PER_DAY


@dataclass(frozen=True, slots=True, order=True)
class DutyTurn:
    """A hand-over of a plan: from here on these people are on duty, until the next one."""

    minute: int  # after Monday, 00:00, of the first week; local time
    people: tuple[str, ...]  # on duty, second, ...; empty = nobody


@dataclass(frozen=True, slots=True)
class Rota:
    """A plan that repeats after some weeks, in force from an instant until a later one is."""

    zone: str
    weeks: int
    begins: date  # the Monday of its first week
    turns: tuple[DutyTurn, ...]  # in order; none: it was stored and cannot be read, so that nobody is planned
    valid_from: datetime


@dataclass(frozen=True, slots=True)
class Override:
    """For a time somebody takes the place of somebody else, wherever the plan has him, or nobody does."""

    id: int
    from_at: datetime
    to_at: datetime
    out: str  # empty = whoever is on duty
    into: str  # empty = nobody: who comes next on the plan moves up


@dataclass(frozen=True, slots=True)
class DutyShift:
    """A time through which the same people are on duty; the last one has no end."""

    from_at: datetime
    to_at: datetime
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Roster:
    """All that is planned for one team; without a rota the team is on duty as a whole."""

    rotas: tuple[Rota, ...] = ()
    overrides: tuple[Override, ...] = ()  # those that stand, oldest first
    members: frozenset[str] | None = None  # who belongs to the team now; None = not known, all planned do


def who_is_on_duty(roster: Roster, at: datetime) -> tuple[str, ...]:
    """Who is on duty at an instant: first who is called first; empty where nobody is planned.

    A hand-over counts from its own instant on. Who belongs to the team no more is on duty no more.
    """
    rota = _find_rota(roster, at)
    turn = None if rota is None else _find_turn(rota, at)
    return _apply(roster, () if turn is None else turn.people, at)


def list_shifts(roster: Roster, from_at: datetime, to_at: datetime) -> list[DutyShift]:
    """Who is on duty through a range: shifts that follow each other without a gap, the first and last one cut."""
    bounds = {from_at, *(r.valid_from for r in roster.rotas)}
    bounds |= {at for o in roster.overrides for at in (o.from_at, o.to_at)}
    for rota in roster.rotas:
        bounds.update(_list_handovers(rota, from_at, to_at))
    starts = sorted(at for at in bounds if from_at <= at < to_at)
    shifts: list[DutyShift] = []
    for start, end in zip(starts, [*starts[1:], to_at], strict=True):
        people = who_is_on_duty(roster, start)
        if shifts and shifts[-1].people == people:
            shifts[-1] = DutyShift(shifts[-1].from_at, end, people)
        else:
            shifts.append(DutyShift(start, end, people))
    return shifts


def find_gap(roster: Roster, from_at: datetime, to_at: datetime) -> DutyShift | None:
    """The first time of a range in which nobody is on duty; None where somebody always is, or there is no rota."""
    if not roster.rotas or min(r.valid_from for r in roster.rotas) >= to_at:
        return None
    begins = max(from_at, min(r.valid_from for r in roster.rotas))
    return next((s for s in list_shifts(roster, begins, to_at) if not s.people), None)


def find_unread(roster: Roster, at: datetime) -> bool:
    """Whether the plan in force, or a later one, cannot be read."""
    now = _find_rota(roster, at)
    return any(not r.turns for r in roster.rotas if r is now or r.valid_from > at)


def split_days(shifts: Iterable[DutyShift], zone: str) -> list[tuple[date, DutyShift]]:
    """The shifts cut at local midnights, each with its day."""
    found = []
    for shift in shifts:
        start = shift.from_at
        while start < shift.to_at:
            day = local_day(start, zone)
            end = min(shift.to_at, to_instant(day + timedelta(days=1), 0, zone))
            found.append((day, DutyShift(start, end, shift.people)))
            start = end
    return found


def _find_rota(roster: Roster, at: datetime) -> Rota | None:
    return max((r for r in roster.rotas if r.valid_from <= at), key=lambda r: r.valid_from, default=None)


def _find_turn(rota: Rota, at: datetime) -> DutyTurn | None:
    this_week = _week_of(rota, local_day(at, rota.zone))
    for week in range(this_week, this_week - rota.weeks - 1, -1):
        for turn in reversed(_turns_of_week(rota, week)):
            if _instant_of(rota, week, turn) <= at:
                return turn
    return None


def _list_handovers(rota: Rota, from_at: datetime, to_at: datetime) -> Iterable[datetime]:
    first, last = (_week_of(rota, local_day(at, rota.zone)) for at in (from_at, to_at))
    for week in range(first, last + 1):
        for turn in _turns_of_week(rota, week):
            yield _instant_of(rota, week, turn)


def _week_of(rota: Rota, day: date) -> int:
    return (day - rota.begins).days // 7


def _turns_of_week(rota: Rota, week: int) -> list[DutyTurn]:
    place = week % rota.weeks
    return [turn for turn in rota.turns if turn.minute // WEEK_MIN == place]


def _instant_of(rota: Rota, week: int, turn: DutyTurn) -> datetime:
    day, minute = divmod(turn.minute % WEEK_MIN, MINUTES_PER_DAY)
    return to_instant(rota.begins + timedelta(weeks=week, days=day), minute, rota.zone)


def _apply(roster: Roster, planned: Sequence[str], at: datetime) -> tuple[str, ...]:
    people = list(planned)
    for one in roster.overrides:
        if not one.from_at <= at < one.to_at:
            continue
        if not one.out:
            people = [one.into, *people[1:]]
        else:
            people = [one.into if is_same_person(one.out, name) else name for name in people]
    found: list[str] = []
    for name in people:
        belongs = roster.members is None or any(is_same_person(name, m) for m in roster.members)
        if name and belongs and not any(is_same_person(name, known) for known in found):
            found.append(name)
    return tuple(found)


# ---- the plan as people write it -------------------------------------------------------------------------------
def read_plan(text: str, members: Collection[str] | None) -> tuple[int, tuple[DutyTurn, ...]]:
    r"""How many weeks a plan has, and its hand-overs, out of its lines.

    A line is `[week N] DAYS HH:MM NAME[, SECOND]`: from that time on these people are on duty, until the next line.
    DAYS is a day (`Mon`), some (`Sat,Sun`), a range (`Mon-Fri`) or `daily`; `nobody` stands for nobody.
    Without `members` every name is taken: a plan that was stored names people who may have left.

    >>> weeks, turns = read_plan("Mon-Fri 07:00 Mori, Rossi\nFri 19:00 Rossi", ["Mori", "Rossi"])
    >>> weeks, len(turns), turns[-1].people
    (1, 6, ('Rossi',))
    >>> print(format_plan(weeks, turns))
    Mon-Fri 07:00 Mori, Rossi
    Fri 19:00 Rossi

    Raises ValueError: a line cannot be read, names nobody of the team, or two lines are of one time.
    """
    turns: dict[int, DutyTurn] = {}
    weeks = 1
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        try:
            week, found = _read_line(content, members)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        weeks = max(weeks, week)
        for turn in found:
            if turn.minute in turns:
                raise ValueError(f"line {number}: two lines are of one time")
            turns[turn.minute] = turn
    if not turns:
        raise ValueError("a plan has one line at least, such as: Mon 08:00 NAME, SECOND")
    if len(turns) > MOST_TURNS:
        raise ValueError(f"a plan has {MOST_TURNS} hand-overs at most")
    return weeks, tuple(sorted(turns.values()))


def _read_line(line: str, members: Collection[str] | None) -> tuple[int, list[DutyTurn]]:
    words = line.split()
    week = 1
    if words[0].lower() == "week":
        week = int(words[1]) if len(words) > 1 and words[1].isascii() and words[1].isdigit() else 0
        if not 1 <= week <= MOST_WEEKS:
            raise ValueError(f"expected `week N` with N from 1 to {MOST_WEEKS}")
        words = words[2:]
    if len(words) < 3:
        raise ValueError("expected DAYS HH:MM NAME, such as: Mon-Fri 07:00 R. Mori, A. Rossi")
    minute, people = read_minute(words[1]), _read_people(" ".join(words[2:]), members)
    return week, [
        DutyTurn((week - 1) * WEEK_MIN + day * MINUTES_PER_DAY + minute, people) for day in _read_days(words[0])
    ]


def _read_days(text: str) -> list[int]:
    if text.lower() == "daily":
        return list(range(7))
    days: list[int] = []
    for part in text.split(","):
        first, mark, last = part.partition("-")
        ends = [_read_day(first), _read_day(last) if mark else _read_day(first)]
        if ends[0] > ends[1]:
            raise ValueError(f"{part!r} ends before it begins; write two lines")
        days += range(ends[0], ends[1] + 1)
    return days


def _read_day(text: str) -> int:
    name = text[:3].capitalize()
    if name not in DAYS or len(text) < 3:
        raise ValueError(f"{text!r} is no day; expected one of {', '.join(DAYS)}, or daily")
    return DAYS.index(name)


def _read_people(text: str, members: Collection[str] | None) -> tuple[str, ...]:
    if text.strip().lower() == NOBODY:
        return ()
    found: list[str] = []
    for part in text.split(","):
        name = tidy_name(part) if members is None else find_member(part, members)
        if name in found:
            raise ValueError(f"{name} stands there twice")
        found.append(name)
    return tuple(found)


def find_member(text: str, members: Collection[str]) -> str:
    """The name of a member as the team has it; raises ValueError."""
    name = tidy_name(text)
    known = next((m for m in members if name and is_same_person(m, name)), None)
    if known is None:
        raise ValueError(f"{name!r} does not belong to the team; it has: {', '.join(members) or 'nobody'}")
    return known


def format_plan(weeks: int, turns: Sequence[DutyTurn]) -> str:
    """The lines of a plan; what is the same from day to day is one line."""
    lines: dict[tuple[int, int, tuple[str, ...]], list[int]] = {}
    for turn in turns:
        week, rest = divmod(turn.minute, WEEK_MIN)
        day, minute = divmod(rest, MINUTES_PER_DAY)
        lines.setdefault((week, minute, turn.people), []).append(day)
    found = []
    for (week, minute, people), days in sorted(lines.items(), key=lambda one: (one[0][0], one[1][0], one[0][1])):
        head = f"week {week + 1} " if weeks > 1 else ""
        found.append(f"{head}{_format_days(days)} {format_minute(minute)} {', '.join(people) or NOBODY}")
    return "\n".join(found)


def _format_days(days: Sequence[int]) -> str:
    if list(days) == list(range(7)):
        return "daily"
    if len(days) > 2 and list(days) == list(range(days[0], days[-1] + 1)):
        return f"{DAYS[days[0]]}-{DAYS[days[-1]]}"
    return ",".join(DAYS[day] for day in days)
