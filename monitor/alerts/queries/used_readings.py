"""Compare the readings in the frozen inputs of decisions with the table, and report altered or deleted rows.

Retention keeps all rows that evidence cites, so a missing row was deleted otherwise. Late readings and later revisions
of the same time are allowed.
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

# Most readings in memory at once.
MAX_READINGS: Final = 100_000
# Most lines that are reported of one series.
MAX_LINES: Final = 20
# Windows of decisions that are closer than this are loaded together.
_GAP: Final = timedelta(days=1)
# Site, and `station.quantity`.
SeriesName = tuple[str, str]
# Epoch as ISO 8601 text, and revision.
ReadingKey = tuple[str, int]


class UsedReading(NamedTuple):
    """The values of a row that a decision froze."""

    received: str
    value: float
    sigma: float | None
    extra: str | None
    flags: tuple[str, ...]


class UsedSpan:
    """The readings of one series that some decisions used.

    Attributes:
        used: The first decision that used each reading.
        windows: The windows of the decisions.
    """

    def __init__(self) -> None:
        self.used: dict[tuple[ReadingKey, UsedReading], int] = {}
        self.windows: list[Span] = []

    def add(self, decision: int, rows: Sequence[Any]) -> None:
        """Add the readings of a decision as its evidence lists them, the oldest first."""
        if rows:
            self.windows.append((parse_time(rows[0][0]), parse_time(rows[-1][0])))
        for row in rows:
            for at, received, revision, value, _, _, sigma, flags, extra, *_ in (row, *row[9:]):
                self.used.setdefault(
                    ((at, revision), UsedReading(received, value, sigma, extra, tuple(flags))), decision
                )


def find_altered(
    connection: Connection, report_progress: Callable[[int, int], None] = lambda *_: None
) -> Iterator[str]:
    """Yield one line for each reading that differs from what a decision froze, with site, series and time.

    The windows of decisions overlap. Decisions in sequence are compared together, so that each row is loaded about
    once.

    Args:
        report_progress: Called with the number of decisions compared so far, and their total.
    """
    d, s = decision_table.c, series.c
    ids = {
        (row.site, f"{row.station}.{row.quantity}"): row.id
        for row in connection.execute(select(s.site, s.station, s.quantity, s.id))
    }
    total = int(connection.execute(select(func.count()).select_from(decision_table)).scalar_one())
    renamings = load_renamings(connection)
    frozen = select(d.id, d.site, d.at, d.evidence).order_by(d.site, d.at, d.id).execution_options(yield_per=50)
    spans: defaultdict[SeriesName, UsedSpan] = defaultdict(UsedSpan)
    for count, row in enumerate(connection.execute(frozen), 1):
        # Decisions of people contain no readings. Unreadable evidence is reported by its hash.
        with suppress(ValueError, KeyError, TypeError, AttributeError, IndexError):
            for name, rows in json.loads(row.evidence)["view"]["readings"].items():
                station, _, quantity = name.partition(".")
                station = find_present_id(renamings, row.site, station, row.at)
                spans[row.site, f"{station}.{quantity}"].add(row.id, rows)
        if count == total or sum(len(used_span.used) for used_span in spans.values()) >= MAX_READINGS:
            for name, span in spans.items():
                yield from _limit_lines(name, list(_compare(connection, ids.get(name), span)))
            spans.clear()
            report_progress(count, total)


def _compare(connection: Connection, series_id: int | None, span: UsedSpan) -> Iterator[str]:
    o, f = observation.c, observation_flag.c
    rows: dict[ReadingKey, UsedReading] = {}
    later_flags: defaultdict[ReadingKey, list[str]] = defaultdict(list)
    for from_at, to_at in join_spans(span.windows, _GAP):
        in_window = (o.series_id == series_id, o.observed_at.between(from_at, to_at))
        for at, revision, received, flags, value, sigma, extra in connection.execute(
            select(
                type_coerce(o.observed_at, String),
                o.revision,
                type_coerce(o.received_at, String),
                o.flags,
                o.value_raw,
                o.sigma,
                o.extra,
            ).where(*in_window)
        ):
            rows[at, revision] = UsedReading(received, value, sigma, extra, tuple(x for x in flags.split(",") if x))
        for flag_row in connection.execute(
            select(f.observed_at, f.revision, f.flag)
            .where(f.series_id == series_id, f.observed_at.between(from_at, to_at))
            .order_by(f.known_from, f.id)
        ):
            later_flags[format_iso(flag_row.observed_at), flag_row.revision].append(flag_row.flag)
    for (key, used), decision in sorted(span.used.items(), key=lambda item: item[0][0]):
        row = rows.get(key)
        if row is None:
            yield f"of {key[0]}, revision {key[1]}: the row is gone; decision {decision} used {used.value!r}"
        elif differences := _differ(used, row, later_flags[key]):
            yield f"of {key[0]}, revision {key[1]}: {'; '.join(differences)} (decision {decision})"


def _differ(used: UsedReading, row: UsedReading, later_flags: list[str]) -> list[str]:
    """Return the differences of a row.

    Flags may have been added later, in their order. Receptions were moved if the clock of the service was set back.
    """
    differences = [
        f"{name} was {getattr(used, name)!r} and is {getattr(row, name)!r}"
        for name in ("value", "sigma", "extra")
        if getattr(used, name) != getattr(row, name)
    ]
    if row.received > used.received:
        differences.append(f"it was received at {used.received} and is at {row.received}")
    if all(change_flags(row.flags, later_flags[:k]) != used.flags for k in range(len(later_flags) + 1)):
        differences.append(f"flags were {','.join(used.flags) or 'none'} and are {','.join(row.flags) or 'none'}")
    return differences


def _limit_lines(name: SeriesName, lines: list[str]) -> Iterator[str]:
    label = f"observation {name[0]} {name[1]}"
    yield from (f"{label} {line}" for line in lines[:MAX_LINES])
    if len(lines) > MAX_LINES:
        yield f"{label}: {len(lines) - MAX_LINES} more readings that decisions used are altered or gone"
