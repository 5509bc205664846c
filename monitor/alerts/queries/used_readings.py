"""Compare the readings that decisions used, as they froze them, with the table: an edited or deleted row is named.

What was let go by retention is none of them: it keeps all that evidence cites. What came later of the same time, a late
reading or a revision, is no fault.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, String, func, select, type_coerce

from monitor.alerts.evaluation_tables import decision as decision_table
from monitor.readings.queries.observations import change_flags
from monitor.readings.queries.renames import find_present_id, load_renamings
from monitor.readings.tables import observation, observation_flag, series
from monitor.text.instants import Span, format_iso, join_spans, parse_time

AT_ONCE: Final = 100_000  # readings in memory
MOST: Final = 20  # lines of a series
_APART: Final = timedelta(days=1)  # windows closer than this are read as one
Name = tuple[str, str]  # site, and `station.quantity`
Key = tuple[str, int]  # epoch and revision


class UsedReading(NamedTuple):
    """What a decision froze of a row."""

    received: str
    value: float
    sigma: float | None
    extra: str | None
    flags: tuple[str, ...]


class UsedSpan:
    """The readings of one series that some decisions used, each with the first of these, and the windows they span."""

    def __init__(self) -> None:
        self.used: dict[tuple[Key, UsedReading], int] = {}
        self.windows: list[Span] = []

    def add(self, decision: int, rows: Sequence[Any]) -> None:
        """Readings of a decision, oldest first, as they are spelled in its evidence."""
        if rows:
            self.windows.append((parse_time(rows[0][0]), parse_time(rows[-1][0])))
        for row in rows:
            for at, received, revision, value, _, _, sigma, flags, extra, *_ in (row, *row[9:]):
                self.used.setdefault(
                    ((at, revision), UsedReading(received, value, sigma, extra, tuple(flags))), decision
                )


def find_altered(connection: Connection, note: Callable[[int, int], None] = lambda *_: None) -> Iterator[str]:
    """One line for each reading that is no longer as a decision froze it, with its site, series and instant.

    The windows of decisions overlap: those that follow one another are compared together, so that a row is read
    about once, however many decisions used it.

    `note`: called with how many decisions were compared, and of how many.
    """
    d, s = decision_table.c, series.c
    ids = {
        (r.site, f"{r.station}.{r.quantity}"): r.id
        for r in connection.execute(select(s.site, s.station, s.quantity, s.id))
    }
    total = int(connection.execute(select(func.count()).select_from(decision_table)).scalar_one())
    renamings = load_renamings(connection)
    frozen = select(d.id, d.site, d.at, d.evidence).order_by(d.site, d.at, d.id).execution_options(yield_per=50)
    found: defaultdict[Name, UsedSpan] = defaultdict(UsedSpan)
    for n, row in enumerate(connection.execute(frozen), 1):
        # a person decided, or what is frozen is altered beyond reading: its hash says so
        with suppress(ValueError, KeyError, TypeError, AttributeError, IndexError):
            for name, rows in json.loads(row.evidence)["view"]["readings"].items():
                station, _, quantity = name.partition(".")
                station = find_present_id(renamings, row.site, station, row.at)
                found[row.site, f"{station}.{quantity}"].add(row.id, rows)
        if n == total or sum(len(one.used) for one in found.values()) >= AT_ONCE:
            for name, stretch in found.items():
                yield from _cut(name, list(_compare(connection, ids.get(name), stretch)))
            found.clear()
            note(n, total)


def _compare(connection: Connection, series_id: int | None, stretch: UsedSpan) -> Iterator[str]:
    o, f = observation.c, observation_flag.c
    rows: dict[Key, UsedReading] = {}
    later: defaultdict[Key, list[str]] = defaultdict(list)
    for begin, end in join_spans(stretch.windows, _APART):
        lies = (o.series_id == series_id, o.observed_at.between(begin, end))
        for at, revision, received, flags, value, sigma, extra in connection.execute(
            select(
                type_coerce(o.observed_at, String),
                o.revision,
                type_coerce(o.received_at, String),
                o.flags,
                o.value_raw,
                o.sigma,
                o.extra,
            ).where(*lies)
        ):
            rows[at, revision] = UsedReading(received, value, sigma, extra, tuple(x for x in flags.split(",") if x))
        for one in connection.execute(
            select(f.observed_at, f.revision, f.flag)
            .where(f.series_id == series_id, f.observed_at.between(begin, end))
            .order_by(f.known_from, f.id)
        ):
            later[format_iso(one.observed_at), one.revision].append(one.flag)
    for (key, used), decision in sorted(stretch.used.items(), key=lambda item: item[0][0]):
        row = rows.get(key)
        if row is None:
            yield f"of {key[0]}, revision {key[1]}: the row is gone; decision {decision} used {used.value!r}"
        elif wrong := _differ(used, row, later[key]):
            yield f"of {key[0]}, revision {key[1]}: {'; '.join(wrong)} (decision {decision})"


def _differ(used: UsedReading, row: UsedReading, later: list[str]) -> list[str]:
    """What differs. Flags may have come since, in their order; where our clock was set back, receptions were too."""
    wrong = [
        f"{name} was {getattr(used, name)!r} and is {getattr(row, name)!r}"
        for name in ("value", "sigma", "extra")
        if getattr(used, name) != getattr(row, name)
    ]
    if row.received > used.received:
        wrong.append(f"it was received at {used.received} and is at {row.received}")
    if all(change_flags(row.flags, later[:k]) != used.flags for k in range(len(later) + 1)):
        wrong.append(f"flags were {','.join(used.flags) or 'none'} and are {','.join(row.flags) or 'none'}")
    return wrong


def _cut(name: Name, lines: list[str]) -> Iterator[str]:
    label = f"observation {name[0]} {name[1]}"
    yield from (f"{label} {line}" for line in lines[:MOST])
    if len(lines) > MOST:
        yield f"{label}: {len(lines) - MOST} more readings that decisions used are altered or gone"
