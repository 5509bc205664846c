"""Return the readings of a range as columns with at most as many points as a chart can show, and plan the charts."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from itertools import accumulate
from math import cos, hypot, radians, sin
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from monitor.alerts.queries.overview import StationCard
from monitor.readings.queries import extremes
from monitor.readings.queries.observations import SeriesRow, load_offsets, load_readings
from monitor.readings.records import Reading
from monitor.sites.quantities import BATTERY_VOLTAGE, DEPTH_PREFIX, SCENE_QUANTITIES, SIGNAL_STRENGTH
from monitor.text.instants import parse_time

# A range with more readings is not loaded: the database finds the extremes of short stretches.
EXACT: Final = 4_000
# A comparison of stations with more readings together is not loaded: one reading represents each stretch.
COMPARED: Final = 20_000
# Newest readings of a range that are always loaded.
NEWEST: Final = 50
# Newest flagged readings of a long range that are loaded.
FLAGGED: Final = 60
# Points of a comparison: of all stations together, and at least of each station.
COMPARE_POINTS: Final = 12_000
LEAST_POINTS: Final = 60
TICK: Final = timedelta(microseconds=1)
# The series of a curve and their weights.
Parts = list[tuple[SeriesRow, float]]
# Epoch in seconds since 1970, value, and flags.
_Point = tuple[float, float, str]


def load_points(
    c: Connection, parts: Parts, low: datetime, high: datetime, now: datetime, most: int
) -> tuple[dict[str, Any], int, list[Reading]]:
    """Return the columns of a curve, how many readings they represent, and the loaded readings.

    Up to `EXACT` readings are loaded and sampled. Of more readings, the database finds the extremes of short stretches,
    and only the newest readings are loaded. An extreme is then drawn at the start or the end of its stretch, which is
    less than a pixel away.

    Args:
        c: An open connection.
        parts: Series of the curve with their weights.
        low: Start of the range, excluded.
        high: End of the range, included.
        now: Readings and offsets known at this instant count.
        most: Most points of the curve, approximately.
    """
    count = max(extremes.count_revisions(c, [series.id], low, high, EXACT + 1) for series, _ in parts)
    if count <= EXACT:
        readings = load_exact(c, parts, low, high, now)
        return make_columns(_list_points(sample(readings, most))), len(readings), readings
    newest_from = max(low, extremes.find_nth_newest(c, parts[0][0].id, high, NEWEST) or low) - TICK
    newest = load_exact(c, parts, newest_from, high, now)
    offsets = [load_offsets(c, series.id, now) for series, _ in parts]
    edges = spread(low, newest_from, most // 2)
    for offsets_of_series in offsets:
        for at, _ in offsets_of_series:
            # A stretch that contains an offset would mix values from before and after it.
            edge = parse_time(at) - TICK
            if low < edge < newest_from:
                edges.append(edge)
    points: list[_Point] = []
    total = len(newest)
    weights = [(series.id, weight) for series, weight in parts]
    for span in extremes.load_spans(c, weights, sorted(set(edges)), now):
        total += span.count
        shift = 0.0
        for offsets_of_series, (_, weight) in zip(offsets, parts, strict=True):
            shift += sum(weight * size for at, size in offsets_of_series if at <= span.last_at)
        ends = [span.low - shift, span.high - shift]
        if points and abs(ends[1] - points[-1][1]) < abs(ends[0] - points[-1][1]):
            ends.reverse()
        points.append((parse_time(span.first_at).timestamp(), ends[0], ""))
        if span.count > 1:
            points.append((parse_time(span.last_at).timestamp(), ends[1], ""))
    if len(parts) == 1:
        for flagged_at in extremes.list_flagged_epochs(c, parts[0][0].id, low, newest_from, FLAGGED):
            points += _list_points(load_exact(c, parts, flagged_at - TICK, flagged_at, now))
    points += _list_points(newest)
    return make_columns(sorted(points, key=lambda point: point[0])), total, newest


def _list_points(readings: Iterable[Reading]) -> list[_Point]:
    return [(reading.observed_at.timestamp(), reading.value, ",".join(reading.flags)) for reading in readings]


def load_exact(c: Connection, parts: Parts, low: datetime, high: datetime, now: datetime) -> list[Reading]:
    """Return all readings of a curve, with their flags."""
    components = [load_readings(c, series.id, low, high, now) for series, _ in parts]
    return components[0] if len(parts) == 1 else project_downslope(components, [weight for _, weight in parts])


def load_curves(
    c: Connection, parts_by_station: dict[str, Parts], low: datetime, high: datetime, now: datetime
) -> tuple[dict[str, list[tuple[float, float]]], bool]:
    """Return the curves of several stations for a comparison, and whether one reading represents each stretch.

    A curve is a list of epochs (seconds since 1970) and values.
    """
    ids = [series.id for parts in parts_by_station.values() for series, _ in parts]
    points_of_each = max(COMPARE_POINTS // len(ids), LEAST_POINTS)
    is_thinned = extremes.count_revisions(c, ids, low, high, COMPARED + 1) > COMPARED
    if is_thinned:
        values = extremes.load_first_usable(c, ids, spread(low, high, points_of_each), now)
    else:
        values = extremes.load_usable(c, ids, low, high, now)
    for series_id in extremes.list_offset_series(c, ids):
        offsets = load_offsets(c, series_id, now)
        instants = [at for at, _ in offsets]
        sums = [0.0, *accumulate(size for _, size in offsets)]
        values[series_id] = [(at, value - sums[bisect_right(instants, at)]) for at, value in values.get(series_id, [])]
    curves: dict[str, list[tuple[float, float]]] = {}
    # Stations share most of their epochs.
    read_epoch = cache(lambda at: parse_time(at).timestamp())
    for station, parts in parts_by_station.items():
        first, *others = (dict(values.get(series.id, [])) for series, _ in parts)
        common = [at for at in first if all(at in component for component in others)]
        total = [0.0 + first[at] * parts[0][1] for at in common]
        for component, (_, weight) in zip(others, parts[1:], strict=True):
            total = [value + component[at] * weight for at, value in zip(common, total, strict=True)]
        chosen = choose_plot_points(total, points_of_each)
        curves[station] = [(read_epoch(common[position]), total[position]) for position in chosen]
    return curves, is_thinned


def spread(low: datetime, high: datetime, count: int) -> list[datetime]:
    """Return `count` + 1 evenly spaced instants."""
    return [low + (high - low) * position / count for position in range(count + 1)]


def make_columns(points: Iterable[_Point]) -> dict[str, Any]:
    """Return points as columns. The column of flags contains only flagged points, by their position."""
    rows = list(points)
    return {
        "at": encode_instants(at for at, _, _ in rows),
        "value": [shorten(value) for _, value, _ in rows],
        "flags": {str(position): flags for position, (_, _, flags) in enumerate(rows) if flags},
    }


def shorten(value: float) -> float:
    """Return a value rounded to six digits, which is finer than a screen shows.

    >>> shorten(1234.56789), shorten(-0.1234567891)
    (1234.57, -0.123457)
    """
    return float(f"{value:.6g}")


def encode_instants(instants: Iterable[float | str | datetime]) -> list[float]:
    """Return instants as epoch seconds: the first instant, then the step to each next one.

    Equal steps compress to almost nothing.

    >>> encode_instants([1000.0, 1600.0, 2200.5])
    [1000, 600, 600.5]
    """
    previous_s = 0.0
    exact_step_s = 0.0
    step_s = 0.0
    steps_s: list[float] = []
    for value in instants:
        instant = parse_time(value) if isinstance(value, str) else value
        at_s = instant.timestamp() if isinstance(instant, datetime) else instant
        # Most steps are equal, so the rounded step is kept.
        if at_s - previous_s != exact_step_s:
            exact_step_s = at_s - previous_s
            step_s = round(exact_step_s, 3)
            step_s = int(step_s) if step_s.is_integer() else step_s
        steps_s.append(step_s)
        previous_s += step_s
    return steps_s


def unfold(steps_s: Iterable[float]) -> list[float]:
    """Return the epoch seconds that `encode_instants` encoded.

    >>> unfold([1000, 600, 600.5])
    [1000.0, 1600.0, 2200.5]
    """
    return [float(at_s) for at_s in accumulate(steps_s)]


def choose_plot_points(values: Sequence[float], most: int) -> list[int]:
    """Return the positions of the values that a chart of about `most` points needs, in rising order.

    The values are divided into buckets of equal size, and the M4 points of each bucket are kept (Jugel et al. 2014,
    doi:10.14778/2732951.2732953).
    """
    if len(values) <= most:
        return list(range(len(values)))
    buckets = max(most // 4, 1)
    keep: set[int] = set()
    for bucket in range(buckets):
        low = bucket * len(values) // buckets
        high = (bucket + 1) * len(values) // buckets
        if low < high:
            inside = range(low, high)
            keep |= {low, high - 1, min(inside, key=values.__getitem__), max(inside, key=values.__getitem__)}
    return sorted(keep)


def sample(readings: Sequence[Reading], most: int) -> list[Reading]:
    """Return about `most` readings in their order, with the extremes, and with the newest flagged ones.

    Flagged readings are at most a quarter of `most`.
    """
    if len(readings) <= most:
        return list(readings)
    flagged = [position for position, reading in enumerate(readings) if reading.flags]
    keep = {*choose_plot_points([reading.value for reading in readings], most), *flagged[-max(most // 4, 1) :]}
    return [readings[position] for position in sorted(keep)]


def component_weights(azimuth_deg: float, plunge_deg: float) -> tuple[float, float, float]:
    """Return east, north and up of one unit of motion along azimuth (clockwise from north) and plunge (below horizon).

    >>> [round(w, 3) + 0.0 for w in component_weights(90.0, 30.0)]
    [0.866, 0.0, -0.5]
    """
    azimuth, plunge = radians(azimuth_deg), radians(plunge_deg)
    return sin(azimuth) * cos(plunge), cos(azimuth) * cos(plunge), -sin(plunge)


def project_downslope(components: Sequence[Sequence[Reading]], weights: Sequence[float]) -> list[Reading]:
    """Return the displacement along the direction of motion at the epochs that all three components have.

    d = (e sin A + n cos A) cos P - u sin P, with azimuth A clockwise from north and plunge P below the horizon. The
    weights are those of `component_weights`.

    Args:
        components: Readings of east, north and up.
        weights: Weights of east, north and up.
    """
    by_epoch = [{reading.observed_at: reading for reading in component} for component in components]
    displacements = []
    for at in by_epoch[0]:
        parts = [part for component in by_epoch if (part := component.get(at)) is not None]
        if len(parts) < 3:
            continue
        weighted = list(zip(weights, parts, strict=True))
        sigmas = [weight * part.sigma for weight, part in weighted if part.sigma is not None]
        value_raw = sum(weight * part.value_raw for weight, part in weighted)
        offset_applied = sum(weight * part.offset_applied for weight, part in weighted)
        displacements.append(
            Reading(
                observed_at=at,
                received_at=max(part.received_at for part in parts),
                revision=max(part.revision for part in parts),
                value_raw=value_raw,
                offset_applied=offset_applied,
                value=value_raw - offset_applied,
                sigma=hypot(*sigmas) if len(sigmas) == len(parts) else None,
                flags=tuple(sorted({flag for part in parts for flag in part.flags})),
            )
        )
    return displacements


COMPUTED: Final = "displacement_downslope"
COMPONENTS: Final = ("displacement_east", "displacement_north", "displacement_up")
# Panes below the curve and the velocity.
PANES: Final = 4
# Drivers of motion, in the order in which they are shown.
DRIVERS: Final = (
    "rain",
    "reservoir_level",
    "groundwater_level",
    "water_level",
    "pore_pressure",
    "soil_moisture",
    "snow_depth",
    "temperature",
    "air_pressure",
)
MOTION: Final = ("displacement", "crack", "tilt", "strain")


class ChartPlan(NamedTuple):
    """Curves of a station.

    Attributes:
        order: Position among the stations: motion first.
        first: Quantity of the first curve.
        choices: All quantities that can be drawn.
    """

    order: int
    is_control: bool
    station: str
    first: str
    choices: list[str]


def plan_page(
    stations: list[StationCard],
    landslides: list[StationCard],
    forecast: set[tuple[str, str]],
    series: Sequence[SeriesRow],
    preferred: Sequence[str] = (),
) -> Mapping[str, Any]:
    """Return the values of the chart of a site page that are known before its data is loaded.

    Args:
        stations: Stations of the site.
        landslides: Landslides that are followed from scene to scene.
        forecast: Station and quantity of the series with a shown forecast.
        series: Stored series of the site.
        preferred: The chart opens with the first of these stations that has a curve.
    """
    charts = plan_charts(stations, forecast)
    counts = Counter(quantity for chart in charts for quantity in chart.choices)
    by_station = {chart.station: chart for chart in charts}
    first = next((by_station[name] for name in preferred if name in by_station), charts[0] if charts else None)
    panes = [] if first is None else plan_panes(series, first.station, first.first)
    return {
        "charts": charts,
        "opens": first,
        "landslide_charts": plan_charts(landslides, forecast),
        "shared": [quantity for quantity, count in counts.most_common() if count > 1],
        "has_velocity": first is not None and first.first.startswith("displacement"),
        "panes": [f"{row.station}.{row.quantity}" for row in panes],
    }


def list_quantities(station: StationCard) -> list[str]:
    """Return the quantities that can be drawn for a station, first the downslope displacement if it can be computed."""
    stored = sorted((row["quantity"] for row in station.latest), key=lambda name: name.startswith(DEPTH_PREFIX))
    if COMPUTED not in stored and station.azimuth_deg is not None and set(COMPONENTS) <= set(stored):
        return [COMPUTED, *stored]
    return stored


def plan_charts(stations: list[StationCard], forecast: set[tuple[str, str]]) -> list[ChartPlan]:
    """Return the curves of stations: motion first, then pressure and water, then rain.

    A station opens with a quantity that has a shown forecast; of several, the one along its azimuth.
    """
    order_by_family = {"displacement": 0, "crack": 1, "tilt": 1, "strain": 1, "velocity": 1, "reservoir": 3, "rain": 4}
    charts = []
    for station in stations:
        choices = list_quantities(station)
        if not choices:
            continue
        first_choices = [name for name in choices if (station.id, name) in forecast] or choices[:1]
        first = first_choices[0]
        if station.azimuth_deg is not None:
            azimuth = radians(station.azimuth_deg)
            along = {"displacement_north": abs(cos(azimuth)), "displacement_east": abs(sin(azimuth))}
            first = max(first_choices, key=lambda name: along.get(name, 1.0))
        order = order_by_family.get(first.split("_")[0], 2)
        charts.append(ChartPlan(order, not station.on_slope, station.id, first, choices))
    return sorted(charts, key=lambda chart: chart[:3])


def plan_panes(series: Sequence[SeriesRow], station: str, quantity: str) -> list[SeriesRow]:
    """Return the series that are drawn below a curve, at most one of a quantity.

    These are other quantities of the same station, then drivers of motion that other stations measure.
    """
    family = quantity.partition("_")[0]
    rank = {name: position for position, name in enumerate(DRIVERS)}

    def find_rank(row: SeriesRow) -> int:
        return rank.get(row.quantity, len(rank))

    of_station = [
        row
        for row in series
        if row.station == station
        and row.quantity.partition("_")[0] != family
        and not row.quantity.startswith(MOTION)
        and row.quantity not in {BATTERY_VOLTAGE, SIGNAL_STRENGTH, *SCENE_QUANTITIES}
        and row.unit != "index"
    ]
    drivers = [row for row in series if row.quantity in rank and row.station != station and row.quantity != quantity]
    by_quantity: dict[str, SeriesRow] = {}
    for row in [*sorted(of_station, key=find_rank), *sorted(drivers, key=lambda row: (find_rank(row), row.station))]:
        by_quantity.setdefault(row.quantity, row)
    chosen = sorted(by_quantity.values(), key=lambda row: (row.station != station, find_rank(row)))[:PANES]
    return sorted(chosen, key=find_rank)
