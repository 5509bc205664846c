"""Estimate how many rows an evaluation of a site reads, from the windows and intervals in its site file."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from monitor.decision.criteria.scope import find_history_s, find_history_spans, find_longest_reach_s
from monitor.sites.records import SeriesSpec, Site
from monitor.text.message import format_duration, format_span

# One processor needs about a second to evaluate this number of rows.
SLOW_ROWS: Final = 50_000
MAX_ROWS: Final = 200_000
# East, north and up. A site file does not state which of them a station sends.
_COMPONENTS: Final = 3


def count_rows(site: Site) -> int:
    """Return how many rows one evaluation reads if every series has its declared interval."""
    return round(math.fsum(rows for *_, rows in _list_series_rows(site)))


@dataclass(frozen=True, slots=True)
class StationReadingLimit:
    """How many readings of a station are accepted within the windows of its site.

    Attributes:
        rows: Twice the number at the declared intervals, and at least `SLOW_ROWS`.
        span_s: Length of the longest window, in seconds, by declared quantity.
    """

    rows: float
    span_s: Mapping[str, float]


def compute_reading_limits(site: Site) -> Mapping[str, StationReadingLimit]:
    """Return the limit of each station that an evaluation reads."""
    spans: dict[str, dict[str, float]] = {}
    rows: dict[str, float] = {}
    for station, spec, history, count in _list_series_rows(site):
        spans.setdefault(station, {})[spec.quantity] = find_longest_reach_s(history)
        rows[station] = rows.get(station, 0.0) + count
    return {
        station: StationReadingLimit(max(2.0 * rows[station], float(SLOW_ROWS)), span_s)
        for station, span_s in spans.items()
    }


def describe_costly_evaluation(site: Site) -> tuple[str, bool] | None:
    """Return a message if evaluations read many rows, and whether they exceed `MAX_ROWS`; None for other sites."""
    total = count_rows(site)
    if total <= SLOW_ROWS:
        return None
    costs = []
    for criterion in site.criteria:
        if criterion.kind.source != "instruments":
            continue
        for station in criterion.stations:
            spec = site.series(station, criterion.quantity)
            if spec is not None:
                rows = _count_series_rows(spec, criterion.quantity, find_history_s(site, criterion, spec))
                costs.append((rows, criterion, spec))
    rows, criterion, spec = max(costs, key=itemgetter(0))
    limit = f"at most {MAX_ROWS:,} are allowed" if total > MAX_ROWS else f"more than {SLOW_ROWS:,} is slow"
    history = format_span(find_history_s(site, criterion, spec))
    text = (
        f"one evaluation reads up to {total:,} rows ({limit}). Criterion {criterion.id!r} reads most at station "
        f"{spec.station!r}, {rows:,.0f} rows: {history} of {criterion.quantity} every "
        f"{format_duration(spec.interval_s)}. Shorten its windows or its history, or store fewer readings"
    )
    return text, total > MAX_ROWS


def _list_series_rows(site: Site) -> Iterator[tuple[str, SeriesSpec, float, float]]:
    """Yield each series that an evaluation reads: station, declaration, history in seconds and number of rows."""
    for (station, quantity), span_s in find_history_spans(site).items():
        spec = site.series(station, quantity)
        if spec is not None:
            yield station, spec, span_s, _count_series_rows(spec, quantity, span_s)


def _count_series_rows(spec: SeriesSpec, quantity: str, span_s: float) -> float:
    components = _COMPONENTS if quantity == spec.quantity == "displacement" else 1
    return find_longest_reach_s(span_s) / spec.interval_s * components
