"""Delete old readings of each series, and store summaries of them if the configuration requires it."""

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from statistics import fmean, median
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, insert, select

from monitor.readings.queries.observations import load_readings
from monitor.readings.tables import observation, observation_flag, observation_summary, series, series_latest
from monitor.storage.retention import Deleted, RetentionRule, Sweep, Thinning
from monitor.text.instants import epoch_s, from_epoch_s

_TICK: Final = timedelta(microseconds=1)
# No instrument reports readings from before 1970.
_BEGINNING: Final = from_epoch_s(0.0)
_ALL_REVISIONS: Final = datetime(9999, 1, 1, tzinfo=UTC)


class _Summaries(NamedTuple):
    """Summaries of a span of time, and the number of stored rows that they were made from."""

    readings: int
    rows: list[dict[str, object]]


def _sweep_readings(sweep: Sweep, _before_at: datetime) -> None:
    """Delete readings one series after the other, because the primary key starts with the series.

    The newest reading of a series always remains. Readings that decisions cite remain. Summaries are made of whole
    hours or days only.
    """
    latest = series_latest.c
    query = (
        select(series.c.id, series.c.site, series.c.quantity, latest.observed_at)
        .join(series_latest, latest.series_id == series.c.id)
        .order_by(series.c.id)
    )
    with sweep.read() as connection:
        every_series = connection.execute(query).all()
    limit = sweep.limits.before_at.get("observations")
    default = None if limit is None else Thinning(limit, 0)
    for row in every_series:
        thinning = sweep.limits.quantities.get(row.quantity, default)
        if thinning is None:
            continue
        needed_from = sweep.limits.needed_from.get(row.site, thinning.before_at)
        before_at = min(thinning.before_at, row.observed_at, needed_from)
        what = f"observation {row.quantity}" if thinning.span_s else "observation"
        # The spans between the readings that decisions cite.
        start = _BEGINNING
        for cited_from, cited_until in (*sweep.cited, (before_at, before_at)):
            end = _floor(min(cited_from, before_at), thinning.span_s)
            _sweep_span(sweep, row.id, what, thinning, _ceil(start, thinning.span_s), end)
            start = max(start, cited_until + _TICK)


RETENTION_RULES: Final = (RetentionRule("observations", "readings", _sweep_readings, by_quantity=True),)


def _sweep_span(sweep: Sweep, series_id: int, what: str, thinning: Thinning, start: datetime, end: datetime) -> None:
    """Delete the readings of [start, end) in parts, each in a transaction of its own."""
    while start < end:
        with sweep.read() as connection:
            until = _find_end(connection, series_id, start, end, sweep.rows_at_once, thinning.span_s)
            if until is None:
                return
            summaries = (
                _make_summaries(connection, series_id, start, until, thinning.span_s) if thinning.span_s else None
            )
        delete_span = partial(
            _delete_span, series_id=series_id, start=start, until=until, summaries=summaries, now=sweep.now
        )
        sweep.step(what, thinning.before_at, delete_span)
        start = until


def _delete_span(
    connection: Connection,
    *,
    series_id: int,
    start: datetime,
    until: datetime,
    summaries: _Summaries | None,
    now: datetime,
) -> Deleted:
    """Delete the readings of a span and store its summaries.

    Return zero without deleting anything if the readings have changed since they were summarised.
    """
    summary_count = 0
    if summaries is not None:
        if summaries.readings != _count(connection, series_id, start, until):
            # A late reading was stored after the summaries were made. The next run summarises all readings together.
            return Deleted(0)
        rows = [{**row, "series_id": series_id, "made_at": now} for row in summaries.rows]
        connection.execute(insert(observation_summary), rows)
        summary_count = len(rows)
    connection.execute(delete(observation_flag).where(_is_in_span(observation_flag, series_id, start, until)))
    removed = connection.execute(delete(observation).where(_is_in_span(observation, series_id, start, until))).rowcount
    return Deleted(int(removed), summary_count)


def _find_end(
    connection: Connection, series_id: int, start: datetime, end: datetime, rows: int, span_s: int
) -> datetime | None:
    """Return the end of the first part of a span, with about `rows` readings in whole hours or days.

    Return None if the span has no readings.
    """
    instants = select(observation.c.observed_at).where(_is_in_span(observation, series_id, start, end))
    instants = instants.order_by(observation.c.observed_at)
    first = connection.execute(instants.limit(1)).scalar()
    if first is None:
        return None
    next_part_at = connection.execute(instants.offset(rows).limit(1)).scalar()
    if next_part_at is None:
        return end
    return max(_floor(next_part_at, span_s), _ceil(first + _TICK, span_s))


def _make_summaries(
    connection: Connection, series_id: int, start: datetime, until: datetime, span_s: int
) -> _Summaries:
    """Summarise the readings of a span. Readings with a flag are counted and not included in the figures."""
    rows: list[dict[str, object]] = []
    readings = load_readings(connection, series_id, start - _TICK, until - _TICK, _ALL_REVISIONS)
    for starts_at, group in groupby(readings, lambda reading: _floor(reading.observed_at, span_s)):
        group_readings = list(group)
        values = [reading.value_raw for reading in group_readings if not reading.flags]
        rows.append(
            {
                "starts_at": starts_at,
                "span_s": span_s,
                "count": len(values),
                "flagged": len(group_readings) - len(values),
                "median": median(values) if values else None,
                "minimum": min(values, default=None),
                "maximum": max(values, default=None),
                "mean": fmean(values) if values else None,
            }
        )
    return _Summaries(_count(connection, series_id, start, until), rows)


def _count(connection: Connection, series_id: int, start: datetime, until: datetime) -> int:
    is_in_span = _is_in_span(observation, series_id, start, until)
    return int(connection.execute(select(func.count()).select_from(observation).where(is_in_span)).scalar_one())


def _floor(instant: datetime, span_s: int) -> datetime:
    return from_epoch_s(epoch_s(instant) // span_s * span_s) if span_s else instant


def _ceil(instant: datetime, span_s: int) -> datetime:
    start = _floor(instant, span_s)
    return start if start == instant else start + timedelta(seconds=span_s)


def _is_in_span(table: Table, series_id: int, start: datetime, end: datetime) -> ColumnElement[bool]:
    return and_(table.c.series_id == series_id, table.c.observed_at >= start, table.c.observed_at < end)
