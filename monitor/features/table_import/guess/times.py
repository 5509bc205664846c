"""The interpretation of the times of a table, with others that are as plausible."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from itertools import pairwise
from statistics import median
from typing import Final

from monitor.api.ingest import SECONDS_PER_UNIT, WEEKDAY, YEAR, YEAR_DAY_HHMM, TimeRule
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.time_forms import MONTH_FORMS, is_workbook_date

_LEAD_LEAST: Final = 2  # breaks that an interpretation has more than one that clearly leads it


@dataclass(frozen=True, slots=True)
class Times:
    """An interpretation of the time column of a table: a candidate, or the best one with its rivals.

    Interpretations are ranked by their number of breaks. The times of an instrument run forward in even steps. In a
    wrong order of day and month, or as digits of another clock, they jump.

    Attributes:
        rule: How the cells are read.
        parsed: The times of the cells that the rule reads, without a zone if the cells contain none.
        has_zone: Whether each cell contains its zone.
        zone: The zone that the file itself names; None if it names none.
        breaks: Steps back, and steps that are much longer than usual.
        rivals: Other interpretations that are as plausible. A question must decide.
        repeats: Other columns that contain the same times, such as seconds since 1970 beside a date.
    """

    rule: TimeRule
    parsed: tuple[datetime, ...] = ()
    has_zone: bool = False
    zone: str | None = None
    breaks: int = 0
    rivals: tuple["Times", ...] = ()
    repeats: tuple[str, ...] = ()

    @property
    def interpretations(self) -> tuple["Times", ...]:
        """This interpretation and its rivals."""
        return (replace(self, rivals=()), *self.rivals)

    def clearly_leads(self, other: "Times") -> bool:
        """Return whether this interpretation is so much better than another one that no question is needed.

        One break more is enough if all steps of this interpretation are equal: no wrong one makes an even record.
        """
        lead = other.breaks - self.breaks
        return lead >= _LEAD_LEAST or (lead > 0 and _is_even(self.parsed))


def make_times(rule: TimeRule, parsed: Sequence[datetime]) -> Times:
    """Return an interpretation with its number of breaks.

    If only some cells contain their offset, the zone of the others is open: all are compared by their clock.
    """
    has_zone = all(at.tzinfo is not None for at in parsed)
    clocks = tuple(parsed) if has_zone else tuple(at.replace(tzinfo=None) for at in parsed)
    return Times(replace(rule, clock="") if has_zone else rule, clocks, has_zone, None, count_breaks(clocks))


def _is_even(times: Sequence[datetime]) -> bool:
    """Return whether all steps of a record are equal."""
    return len({after - before for before, after in pairwise(times)}) == 1


def count_breaks(times: Sequence[datetime]) -> int:
    """Return how many steps of a record go back or are much longer than usual."""
    back, uneven = measure_disorder(times)
    return back + uneven


def measure_disorder(times: Sequence[datetime]) -> tuple[int, int]:
    """Return how many steps go back, and how many are over three times as long as usual.

    A record whose newest row is first is turned.
    """
    steps = [(after - before).total_seconds() for before, after in pairwise(times)]
    if 2 * sum(step < 0 for step in steps) > len(steps):
        steps = [-step for step in steps]
    ahead = [step for step in steps if step > 0]
    usual = median(ahead) if ahead else 0.0
    uneven = sum(step > 3 * usual for step in ahead)
    return sum(step < 0 for step in steps), uneven


def are_days(times: Times) -> bool:
    """Return whether all times are midnights."""
    return bool(times.parsed) and all(at.time() == time() for at in times.parsed)


def names_dates_alone(table: RawTable, times: Times) -> bool:
    """Return whether the times are dates without a time of the day; a workbook keeps a date as its midnight."""
    form = times.rule.format.removeprefix(WEEKDAY)
    if not are_days(times) or form in SECONDS_PER_UNIT or form in {YEAR, YEAR_DAY_HHMM} or times.rule.clock:
        return False
    if "%H" in form or "%I" in form:
        return False
    cells = table.list_cells(times.rule.columns[0])
    if any(isinstance(cell, datetime) for cell in cells):
        return False
    return all(":" not in str(cell) or is_workbook_date(str(cell)) for cell in cells)


def names_months(times: Times) -> bool:
    """Return whether the times are months without a day."""
    return times.rule.format in MONTH_FORMS


def describe_gaps(times: Sequence[datetime]) -> tuple[timedelta | None, int, timedelta | None]:
    """Return the usual step, how many steps are over three times as long, and the longest of them."""
    steps = [(after - before).total_seconds() for before, after in pairwise(sorted(set(times)))]
    if not steps:
        return None, 0, None
    usual = median(steps)
    gaps = [step for step in steps if step > 3 * usual]
    return timedelta(seconds=usual), len(gaps), timedelta(seconds=max(gaps)) if gaps else None
