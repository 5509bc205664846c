"""What an evaluation of a site costs, from its windows and sampling alone, before the first message has come."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from monitor.decision.criteria.scope import history_s, reach_s, wanted_series
from monitor.sites.records import SeriesSpec, Site
from monitor.text.message import format_duration, format_span

ROWS_WARN: Final = 50_000  # about a second of one processor at each evaluation
ROWS_MOST: Final = 200_000
_COMPONENTS: Final = 3  # east, north, up: a site file does not say which of them will come


def count_rows(site: Site) -> int:
    """Rows that one evaluation reads at most, when every series comes at its declared interval."""
    return round(math.fsum(rows for *_, rows in _list_wanted(site)))


@dataclass(frozen=True, slots=True)
class StationReadingLimit:
    """What a station may bring into the windows of its site."""

    rows: float  # twice what its intervals declare, or those that take a second of one processor
    span_s: Mapping[str, float]  # how far back the windows reach, by declared quantity


def measure_room(site: Site) -> Mapping[str, StationReadingLimit]:
    """By station, for those that an evaluation reads."""
    spans: dict[str, dict[str, float]] = {}
    rows: dict[str, float] = {}
    for station, spec, history, count in _list_wanted(site):
        spans.setdefault(station, {})[spec.quantity] = reach_s(history)
        rows[station] = rows.get(station, 0.0) + count
    return {
        station: StationReadingLimit(max(2.0 * rows[station], float(ROWS_WARN)), span_s)
        for station, span_s in spans.items()
    }


def find_dear(site: Site) -> tuple[str, bool] | None:
    """One line on a site whose evaluations read very much, and whether it is too much; None for all others."""
    total = count_rows(site)
    if total <= ROWS_WARN:
        return None
    rows, criterion, spec = max(
        (
            (_rows(spec, criterion.quantity, history_s(site, criterion, spec)), criterion, spec)
            for criterion in site.criteria
            if criterion.kind.source == "instruments"
            for station in criterion.stations
            if (spec := site.series(station, criterion.quantity)) is not None
        ),
        key=lambda found: found[0],
    )
    bound = f"at most {ROWS_MOST:,} are allowed" if total > ROWS_MOST else f"more than {ROWS_WARN:,} is slow"
    text = (
        f"one evaluation reads up to {total:,} rows ({bound}); criterion {criterion.id!r} at station {spec.station!r} "
        f"reads most, {rows:,.0f}: {format_span(history_s(site, criterion, spec))} of "
        f"{criterion.quantity} every {format_duration(spec.interval_s)}; shorten its windows or its history, or thin "
        "the series"
    )
    return text, total > ROWS_MOST


def _list_wanted(site: Site) -> Iterator[tuple[str, SeriesSpec, float, float]]:
    for (station, quantity), span_s in wanted_series(site).items():
        spec = site.series(station, quantity)
        if spec is not None:
            yield station, spec, span_s, _rows(spec, quantity, span_s)


def _rows(spec: SeriesSpec, quantity: str, span_s: float) -> float:
    return reach_s(span_s) / spec.interval_s * (_COMPONENTS if quantity == spec.quantity == "displacement" else 1)
