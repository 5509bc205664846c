"""Replay the record from which a first site file was written, and count the days at each level."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from monitor.api.decision import PreparedSite, RecordDays
from monitor.api.decoders import Pipeline
from monitor.api.queries.alerts import (
    BacktestOptions,
    VisibilityRule,
    find_record_end,
    find_record_span,
    find_span,
    find_station_days,
    run_backtest,
)
from monitor.api.queries.ingest import FileImport, add_places, open_empty_database
from monitor.api.queries.readings import find_uncounted
from monitor.api.sites import Site
from monitor.api.text import Template
from monitor.features.table_import.guess.guess import TableGuess
from monitor.features.table_import.guess.values import LineReader, list_values

LONGEST_ROWS: Final = 200_000  # a longer record is not replayed
# Computing time of a replay, and of each reading in it: failure windows take most of it.
REPLAY_MS: Final = 60_000.0
READING_MS: Final = 1.0
WINDOWED_READING_MS: Final = 5.0
_NEWEST: Final = Template(
    "guess.days.newest",
    "only the days from {first} on were counted, because a replay of all days takes minutes; `slopeward backtest "
    "--site {site}` counts all",
)
_TOO_LONG: Final = Template(
    "guess.days.too_long", "the record has {n} values, more than {most}; `slopeward backtest --site {site}` counts them"
)
_NOTHING_JUDGED: Final = Template("guess.days.nothing_judged", "no criterion judges these series yet")
_TOO_SHORT: Final = Template("guess.days.too_short", "the record has readings of one instant alone")


def count_days(
    site: Site,
    files: Sequence[tuple[Path, TableGuess]],
    values: int,
    reader: LineReader | None = None,
    on_progress: Callable[[float], None] = lambda _: None,
) -> RecordDays:
    """Count on how many days of the record each criterion reached each level.

    `slopeward backtest` computes the same figures. Of a long record, only the newest days are counted. Days are those
    of the time zone of the site. Days on which a criterion had no recent readings that count are counted apart: they
    are not days without an alarm.

    Args:
        site: The site file that was written from the record.
        files: The files of the record, each with what was understood of it.
        values: Number of values in all files.
        reader: Reads the lines of the files.
        on_progress: Called with the share of the replay that is done.

    Returns:
        The days; only a reason if no criterion judges a series, if the record is longer than `LONGEST_ROWS` values, or
        if it has a single instant.
    """
    if values > LONGEST_ROWS:
        return RecordDays(reason=_TOO_LONG(n=values, most=LONGEST_ROWS, site=site.id))
    if not any(series.is_judged for series in PreparedSite(site).judgements):
        return RecordDays(reason=_NOTHING_JUDGED())
    criteria = {criterion.id: criterion for criterion in site.criteria}
    reader = reader or LineReader()
    zone = ZoneInfo(site.timezone)
    with open_empty_database(site) as db:
        pipeline = Pipeline(db, {site.id: site}, _now)
        ends: list[datetime] = []
        for path, table_guess in files:
            # Several files of a point count from one origin, that of the site file.
            options = add_places(table_guess.options, site)
            lines = partial(reader.open, path, table_guess.form, options)
            file = FileImport(path, pipeline, site, _now, accept_units=True, accept_times=True, open_lines=lines)
            result = file.run()
            ends += [] if result.to_at is None else [result.to_at]
        span = db.run_read(find_span, site.id)
        uncounted: dict[str, tuple[str, ...]] = {}
        for series in db.run_read(find_uncounted, site, _now()):
            uncounted[series.flag] = (*uncounted.get(series.flag, ()), series.name)
        if span is None or span[0] >= span[1]:
            return RecordDays(reason=_TOO_SHORT(), uncounted=uncounted)
        terms = BacktestOptions(known=VisibilityRule("observed"))
        first, end = find_record_span(db, site, terms.known) or span
        start = _find_start(site, files, reader)
        if start is not None and first < start < end:
            first = start
        card = run_backtest(db, site, first, end, terms=terms, on_progress=on_progress)
    bounded = {(criterion.id, bound.level) for criterion in site.criteria for bound in criterion.thresholds}
    reached = {}
    judged = {}
    run = card.runs[0]
    for score in run.criteria:
        # A criterion on computed facts, such as failure windows, has none of them while nothing moves.
        if not criteria[score.criterion].kind.facts:
            judged[score.criterion] = score.days_judged
        days = 0
        for level in reversed(site.levels[1:]):
            days += score.days_by_level.get(level.name, 0)
            if (score.criterion, level.number) in bounded:
                reached[score.criterion, level.name] = days
    is_part = first > span[0]
    first_day = first.astimezone(zone).date()
    return RecordDays(
        reached,
        (span[1].astimezone(zone).date() - first_day).days + 1,
        part=_NEWEST(first=first_day.isoformat(), site=site.id) if is_part else None,
        judged=judged,
        uncounted=uncounted,
        by_station=find_station_days(run, site),
        # A level may have been raised before the days that were replayed.
        end=None if is_part else find_record_end(run, site, max(ends), _now()),
    )


def _find_start(site: Site, files: Sequence[tuple[Path, TableGuess]], reader: LineReader) -> datetime | None:
    """Return the midnight from which on a replay takes about `REPLAY_MS`; None if all of the record takes less."""
    windowing = [criterion for criterion in site.criteria if criterion.kind.facts == "failures"]
    windowed = {station for criterion in windowing for station in criterion.stations}
    readings = (
        (value.at, value.station)
        for path, table_guess in files
        for value in list_values(path, table_guess.form, add_places(table_guess.options, site), reader)
        if value.at is not None
    )
    left_ms = REPLAY_MS
    for at, station in sorted(readings, reverse=True):
        left_ms -= WINDOWED_READING_MS if station in windowed else READING_MS
        if left_ms < 0:
            return at.astimezone(ZoneInfo(site.timezone)).replace(hour=0, minute=0, second=0, microsecond=0)
    return None


def _now() -> datetime:
    return datetime.now(UTC)
