"""Duty plans in the local time of a site, changes of plans, and who is on duty at an instant.

An instant is looked up in three steps: the plan in force, its last line before the instant, and the changes that
replace people at this instant.
"""

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
    """A line of a plan: from this minute on these people are on duty, until the next line.

    Attributes:
        minute: minutes in local time since Monday, 00:00, of the first week.
        people: the person on duty, the second person, and so on; empty if nobody is on duty.
    """

    minute: int
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rota:
    """A plan that repeats after some weeks, in force until a later plan starts.

    Attributes:
        zone: time zone of its hours.
        weeks: number of weeks after which it repeats.
        begins: the Monday of its first week.
        turns: its lines, ordered by time; empty if the stored plan cannot be read.
    """

    zone: str
    weeks: int
    begins: date
    turns: tuple[DutyTurn, ...]
    valid_from: datetime


@dataclass(frozen=True, slots=True)
class Override:
    """A change of a plan: a person replaces another one for a time.

    Attributes:
        out: the person who is replaced; empty for the person on duty.
        into: the person who is on duty instead; empty for nobody, so that the next person of the plan moves up.
    """

    id: int
    from_at: datetime
    to_at: datetime
    out: str
    into: str


@dataclass(frozen=True, slots=True)
class DutyShift:
    """A time range in which the same people are on duty."""

    from_at: datetime
    to_at: datetime
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Roster:
    """The plans and changes of a team. Without a plan, the whole team is notified.

    Attributes:
        rotas: plans in the order in which they were stored.
        overrides: changes that are not withdrawn, oldest first.
        members: members of the team now; None if they are not known, so that all planned people count.
    """

    rotas: tuple[Rota, ...] = ()
    overrides: tuple[Override, ...] = ()
    members: frozenset[str] | None = None


def who_is_on_duty(roster: Roster, at: datetime) -> tuple[str, ...]:
    """Return the people on duty at an instant, in the order in which they are notified; empty if nobody is planned.

    A line of the plan counts from its own instant on. People who have left the team are not on duty.
    """
    rota = _find_rota(roster, at)
    turn = None if rota is None else _find_turn(rota, at)
    return _apply_overrides(roster, () if turn is None else turn.people, at)


def list_shifts(roster: Roster, from_at: datetime, to_at: datetime) -> list[DutyShift]:
    """Return the shifts of a time range. They follow each other without gaps and are cut at the ends of the range."""
    if from_at >= to_at:
        return []
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
    """Return the first shift of a range without anybody on duty, or None if there is none or the team has no plan."""
    if not roster.rotas or min(r.valid_from for r in roster.rotas) >= to_at:
        return None
    start = max(from_at, min(r.valid_from for r in roster.rotas))
    return next((shift for shift in list_shifts(roster, start, to_at) if not shift.people), None)


def has_unreadable_plan(roster: Roster, at: datetime) -> bool:
    """Return whether the plan in force, or a later plan, cannot be read."""
    in_force = _find_rota(roster, at)
    return any(not rota.turns for rota in roster.rotas if rota is in_force or rota.valid_from > at)


def split_days(shifts: Iterable[DutyShift], zone: str) -> list[tuple[date, DutyShift]]:
    """Return the shifts cut at local midnight, each with its day."""
    days = []
    for shift in shifts:
        start = shift.from_at
        while start < shift.to_at:
            day = local_day(start, zone)
            end = min(shift.to_at, to_instant(day + timedelta(days=1), 0, zone))
            days.append((day, DutyShift(start, end, shift.people)))
            start = end
    return days


def _find_rota(roster: Roster, at: datetime) -> Rota | None:
    """Return the plan that started last. Of plans with the same start, the plan that was stored last is in force."""
    # `max` returns the first of several equal elements, so the newest plan must come first.
    newest_first = reversed(roster.rotas)
    return max((r for r in newest_first if r.valid_from <= at), key=lambda r: r.valid_from, default=None)


def _find_turn(rota: Rota, at: datetime) -> DutyTurn | None:
    """Return the last line before an instant. It can be as long ago as the plan has weeks."""
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
    week_of_plan = week % rota.weeks
    return [turn for turn in rota.turns if turn.minute // WEEK_MIN == week_of_plan]


def _instant_of(rota: Rota, week: int, turn: DutyTurn) -> datetime:
    day, minute = divmod(turn.minute % WEEK_MIN, MINUTES_PER_DAY)
    return to_instant(rota.begins + timedelta(weeks=week, days=day), minute, rota.zone)


def _apply_overrides(roster: Roster, planned: Sequence[str], at: datetime) -> tuple[str, ...]:
    """Return who is on duty after all changes. Names that are empty, occur twice or have left the team are dropped."""
    people = list(planned)
    for override in roster.overrides:
        if not override.from_at <= at < override.to_at:
            continue
        if not override.out:
            people = [override.into, *people[1:]]
        else:
            people = [override.into if is_same_person(override.out, name) else name for name in people]
    on_duty: list[str] = []
    for name in people:
        is_member = roster.members is None or any(is_same_person(name, member) for member in roster.members)
        if name and is_member and not any(is_same_person(name, other) for other in on_duty):
            on_duty.append(name)
    return tuple(on_duty)


# ---- text of a plan --------------------------------------------------------------------------------------------
def read_plan(text: str, members: Collection[str] | None) -> tuple[int, tuple[DutyTurn, ...]]:
    r"""Return the number of weeks of a plan, and its lines.

    A line is `[week N] DAYS HH:MM NAME[, SECOND]`: from that time on these people are on duty, until the next line.
    A line without `week` belongs to week 1.
    DAYS is a day (`Mon`), several days (`Sat,Sun`), a range (`Mon-Fri`) or `daily`. `nobody` means nobody.
    Without `members` every name is accepted, because a stored plan can contain people who have left the team.

    >>> weeks, turns = read_plan("Mon-Fri 07:00 Mori, Rossi\nFri 19:00 Rossi", ["Mori", "Rossi"])
    >>> weeks, len(turns), turns[-1].people
    (1, 6, ('Rossi',))
    >>> print(format_plan(weeks, turns))
    Mon-Fri 07:00 Mori, Rossi
    Fri 19:00 Rossi

    Raises:
        ValueError: a line cannot be read, a name is not that of a member, or two lines have the same time.
    """
    turns: dict[int, DutyTurn] = {}
    weeks = 1
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        try:
            week, line_turns = _read_line(content, members)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        weeks = max(weeks, week)
        for turn in line_turns:
            if turn.minute in turns:
                raise ValueError(f"line {number}: two lines have the same time")
            turns[turn.minute] = turn
    if not turns:
        raise ValueError("a plan needs at least one line, such as: Mon 08:00 NAME, SECOND")
    if len(turns) > MOST_TURNS:
        raise ValueError(f"a plan can have {MOST_TURNS} hand-overs at most")
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
        first_name, dash, last_name = part.partition("-")
        first = _read_day(first_name)
        last = _read_day(last_name) if dash else first
        if first > last:
            raise ValueError(f"{part!r} ends before it starts; write two lines")
        days += range(first, last + 1)
    return days


def _read_day(text: str) -> int:
    name = text[:3].capitalize()
    if name not in DAYS or len(text) < 3:
        raise ValueError(f"{text!r} is not a day; expected one of {', '.join(DAYS)}, or daily")
    return DAYS.index(name)


def _read_people(text: str, members: Collection[str] | None) -> tuple[str, ...]:
    if text.strip().lower() == NOBODY:
        return ()
    names: list[str] = []
    for part in text.split(","):
        name = tidy_name(part) if members is None else find_member(part, members)
        if name in names:
            raise ValueError(f"{name} occurs twice")
        names.append(name)
    return tuple(names)


def find_member(text: str, members: Collection[str]) -> str:
    """Return the name of a member as the site file spells it; raises ValueError if nobody has this name."""
    name = tidy_name(text)
    member = next((member for member in members if name and is_same_person(member, name)), None)
    if member is None:
        raise ValueError(f"{name!r} is not a member of the team; its members: {', '.join(members) or 'nobody'}")
    return member


def format_plan(weeks: int, turns: Sequence[DutyTurn]) -> str:
    """Return the text of a plan. Days with the same time and people are one line."""
    lines: dict[tuple[int, int, tuple[str, ...]], list[int]] = {}
    for turn in turns:
        week, minute_of_week = divmod(turn.minute, WEEK_MIN)
        day, minute = divmod(minute_of_week, MINUTES_PER_DAY)
        lines.setdefault((week, minute, turn.people), []).append(day)

    def sort_key(line: tuple[tuple[int, int, tuple[str, ...]], list[int]]) -> tuple[int, int, int]:
        (week, minute, _people), days = line
        return week, days[0], minute

    texts = []
    for (week, minute, people), days in sorted(lines.items(), key=sort_key):
        prefix = f"week {week + 1} " if weeks > 1 else ""
        texts.append(f"{prefix}{_format_days(days)} {format_minute(minute)} {', '.join(people) or NOBODY}")
    return "\n".join(texts)


def _format_days(days: Sequence[int]) -> str:
    if list(days) == list(range(7)):
        return "daily"
    if len(days) > 2 and list(days) == list(range(days[0], days[-1] + 1)):
        return f"{DAYS[days[0]]}-{DAYS[days[-1]]}"
    return ",".join(DAYS[day] for day in days)
