"""Sums of rain over whole hours, days or weeks, for charts."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, Final

from sqlalchemy import Connection

from monitor.decision.criteria.rain_gauge import Gauge, make_gauge, read_gauge
from monitor.decision.records import DecisionInputs
from monitor.readings.queries.extremes import count_revisions, load_first_usable, load_spans, load_usable
from monitor.readings.queries.observations import SeriesRow, load_readings
from monitor.sites.records import SeriesSpec, Site
from monitor.text.instants import parse_time
from monitor.web.parts.columns import EXACT, encode_instants, shorten

MAX_BARS: Final = 200
# Possible lengths of a step: 10 minutes to a year.
STEPS_S: Final = (600, 3600, 10_800, 21_600, 43_200, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400)
# Of more readings of a counter, one is loaded for each step.
MAX_COUNTER_READINGS: Final = 20_000


def load_rain_sums(
    c: Connection, site: Site | None, series: SeriesRow, from_at: datetime, to_at: datetime, now: datetime
) -> dict[str, Any]:
    """Return the rain of each step of a range as columns. A sum is at the end of its step.

    The first step starts before the range and the last one ends after it, because steps are whole hours, days or weeks.

    Args:
        c: An open connection.
        site: The declared site; None if its file cannot be read. The values of the gauge are then added up as they are.
        series: Series of the gauge.
        from_at: Start of the range.
        to_at: End of the range.
        now: Readings known at this instant count.
    """
    range_s = (to_at - from_at).total_seconds()
    step_s = next((step_s for step_s in STEPS_S if range_s / step_s <= MAX_BARS), STEPS_S[-1])
    first_s = from_at.timestamp() // step_s * step_s
    steps = ceil((to_at.timestamp() - first_s) / step_s)
    edges = [datetime.fromtimestamp(first_s + position * step_s, UTC) for position in range(steps + 1)]
    spec = None if site is None else site.series(series.station, series.quantity)
    if spec is None:
        sums = {span.number: span.total for span in load_spans(c, [(series.id, 1.0)], edges, now)}
    else:
        sums = sum_rain(c, series, spec, edges, now)
    return {
        "at": encode_instants(edges[position + 1].timestamp() for position in sums),
        "value": [shorten(total) for total in sums.values()],
        "step_s": step_s,
    }


def sum_rain(
    c: Connection, series: SeriesRow, spec: SeriesSpec, edges: Sequence[datetime], now: datetime
) -> dict[int, float]:
    """Return the rain between neighbouring edges, by the index of the earlier edge, as criteria on rain count it.

    Of more than `MAX_COUNTER_READINGS` readings of a counter, one is loaded for each step. Rain before a reset of the
    counter within a step is then missing. More than `EXACT` sums of intervals are added up by the database, unless a
    step contains more intervals than fit into it.
    """
    is_counter = spec.stamp == "counter"
    # The amount of a counter is its difference to the reading before.
    load_from = edges[0] - timedelta(seconds=2.0 * spec.interval_s)
    limit = MAX_COUNTER_READINGS if is_counter else EXACT
    is_long = count_revisions(c, [series.id], load_from, edges[-1], limit + 1) > limit
    gauge: Gauge | None
    if not is_long:
        readings = tuple(load_readings(c, series.id, load_from, edges[-1], now))
        inputs = DecisionInputs({f"{series.station}.{series.quantity}": readings})
        gauge = read_gauge(inputs, spec, series.station, series.quantity, edges[-1].timestamp())
    elif is_counter:
        rows = load_first_usable(c, [series.id], [load_from, *edges], now)
        gauge = _make_gauge(rows.get(series.id, []), spec)
    else:
        spans = load_spans(c, [(series.id, 1.0)], edges, now)
        intervals_in_step = (edges[1] - edges[0]).total_seconds() / spec.interval_s + 0.5
        if spec.stamp == "event" or all(span.count <= intervals_in_step for span in spans):
            return {span.number: span.total for span in spans}
        rows = load_usable(c, [series.id], load_from, edges[-1], now)
        gauge = _make_gauge(rows.get(series.id, []), spec)
    return {} if gauge is None else _sum_amounts(gauge, edges)


def _make_gauge(rows: Sequence[tuple[str, float]], spec: SeriesSpec) -> Gauge | None:
    return make_gauge([(parse_time(at).timestamp(), value) for at, value in rows if value >= 0.0], spec)


def _sum_amounts(gauge: Gauge, edges: Sequence[datetime]) -> dict[int, float]:
    edges_s = [edge.timestamp() for edge in edges]
    sums: dict[int, float] = {}
    for at_s, amount_mm in zip(gauge.times_s, gauge.amounts_mm, strict=True):
        position = bisect_left(edges_s, at_s) - 1
        if 0 <= position < len(edges_s) - 1:
            sums[position] = sums.get(position, 0.0) + amount_mm
    return sums
