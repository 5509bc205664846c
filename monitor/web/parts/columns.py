"""Readings of a range as columns that are as short as a picture allows, however long the record is."""

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

EXACT: Final = 4_000  # readings that are read one by one; of more the database works out the extremes
COMPARED: Final = 20_000  # readings of all stations together that are read; of more one stands for a stretch
NEWEST: Final = 50  # are always read one by one
FLAGGED: Final = 60  # of a long range, the newest
COMPARE_POINTS: Final = 12_000  # of all stations together
LEAST_POINTS: Final = 60  # of each of them
TICK: Final = timedelta(microseconds=1)
Parts = list[tuple[SeriesRow, float]]
"""What a curve rests on: series and their weights."""


def load_points(
    c: Connection, parts: Parts, low: datetime, high: datetime, now: datetime, most: int
) -> tuple[dict[str, Any], int, list[Reading]]:
    """Columns of a curve, how many readings they stand for, and the readings themselves, of a long range the newest.

    Up to `EXACT` readings are read and sampled. Of more, the database finds the extremes of short stretches; a
    point then stands at the begin or end of its stretch, which a screen does not show apart.
    """
    count = max(extremes.count_revisions(c, [s.id], low, high, EXACT + 1) for s, _ in parts)
    if count <= EXACT:
        readings = load_exact(c, parts, low, high, now)
        kept = sample(readings, most)
        return make_columns(_format_points(kept)), len(readings), readings
    begin = max(low, extremes.find_nth_newest(c, parts[0][0].id, high, NEWEST) or low) - TICK
    newest = load_exact(c, parts, begin, high, now)
    offsets = [load_offsets(c, s.id, now) for s, _ in parts]
    edges = spread(low, begin, most // 2)
    edges += [parse_time(at) - TICK for some in offsets for at, _ in some if low < parse_time(at) - TICK < begin]
    edges = sorted(set(edges))
    rows: list[tuple[float, float, str]] = []
    total = len(newest)
    for one in extremes.load_spans(c, [(s.id, weight) for s, weight in parts], edges, now):
        total += one.count
        shift = sum(
            weight * size
            for some, (_, weight) in zip(offsets, parts, strict=True)
            for at, size in some
            if at <= one.last_at
        )
        ends = [one.low - shift, one.high - shift]
        if rows and abs(ends[1] - rows[-1][1]) < abs(ends[0] - rows[-1][1]):
            ends.reverse()
        first, last = (parse_time(at).timestamp() for at in (one.first_at, one.last_at))
        rows += [(first, ends[0], "")] + ([(last, ends[1], "")] if one.count > 1 else [])
    if len(parts) == 1:
        for at in extremes.list_flagged_epochs(c, parts[0][0].id, low, begin, FLAGGED):
            rows += _format_points(load_exact(c, parts, at - TICK, at, now))
    rows += _format_points(newest)
    return make_columns(sorted(rows, key=lambda row: row[0])), total, newest


def _format_points(readings: Iterable[Reading]) -> list[tuple[float, float, str]]:
    return [(r.observed_at.timestamp(), r.value, ",".join(r.flags)) for r in readings]


def load_exact(c: Connection, parts: Parts, low: datetime, high: datetime, now: datetime) -> list[Reading]:
    """Readings of a curve one by one, flagged ones with their flags."""
    found = [load_readings(c, s.id, low, high, now) for s, _ in parts]
    return found[0] if len(parts) == 1 else project_downslope(found, [weight for _, weight in parts])


def load_curves(
    c: Connection, found: dict[str, Parts], low: datetime, high: datetime, now: datetime
) -> tuple[dict[str, list[tuple[float, float]]], bool]:
    """Epoch seconds and values by station; and whether the range was so long that a seek stands for each stretch."""
    ids = [s.id for parts in found.values() for s, _ in parts]
    each = max(COMPARE_POINTS // len(ids), LEAST_POINTS)
    thinned = extremes.count_revisions(c, ids, low, high, COMPARED + 1) > COMPARED
    values = (
        extremes.load_first_usable(c, ids, spread(low, high, each), now)
        if thinned
        else extremes.load_usable(c, ids, low, high, now)
    )
    for series_id in extremes.list_offset_series(c, ids):
        steps = load_offsets(c, series_id, now)
        at = [step[0] for step in steps]
        sums = [0.0, *accumulate(size for _, size in steps)]
        values[series_id] = [(t, value - sums[bisect_right(at, t)]) for t, value in values.get(series_id, [])]
    curves: dict[str, list[tuple[float, float]]] = {}
    read = cache(lambda at: parse_time(at).timestamp())  # stations share most of their epochs
    for station, parts in found.items():
        first, *others = (dict(values.get(s.id, [])) for s, _ in parts)
        common = [at for at in first if all(at in one for one in others)] if others else list(first)
        total = [0.0 + first[at] * parts[0][1] for at in common]
        for one, (_, weight) in zip(others, parts[1:], strict=True):
            total = [value + one[at] * weight for at, value in zip(common, total, strict=True)]
        curves[station] = [(read(common[k]), total[k]) for k in choose_plot_points(total, each)]
    return curves, thinned


def spread(low: datetime, high: datetime, count: int) -> list[datetime]:
    """`count` + 1 instants at even distances."""
    return [low + (high - low) * k / count for k in range(count + 1)]


def make_columns(rows: Iterable[tuple[float, float, str]]) -> dict[str, Any]:
    """The columns of rows of epoch seconds, value and flags."""
    found = list(rows)
    return {
        "at": encode_instants(at for at, _, _ in found),
        "value": [shorten(value) for _, value, _ in found],
        "flags": {str(k): flags for k, (_, _, flags) in enumerate(found) if flags},
    }


def shorten(value: float) -> float:
    """Six digits: what no screen shows finer.

    >>> shorten(1234.56789), shorten(-0.1234567891)
    (1234.57, -0.123457)
    """
    return float(f"{value:.6g}")


def encode_instants(instants: Iterable[float | str | datetime]) -> list[float]:
    """Instants as epoch seconds: the first, then the step to each next one; equal steps pack to nearly nothing.

    >>> encode_instants([1000.0, 1600.0, 2200.5])
    [1000, 600, 600.5]
    """
    before, steps = 0.0, list[float]()
    passed, step = 0.0, 0.0
    for value in instants:
        instant = parse_time(value) if isinstance(value, str) else value
        at = instant.timestamp() if isinstance(instant, datetime) else instant
        if at - before != passed:  # most are one interval apart
            passed = at - before
            step = round(passed, 3)
            step = int(step) if step.is_integer() else step
        steps.append(step)
        before += step
    return steps


def unfold(steps: Iterable[float]) -> list[float]:
    """What `encode_instants` encoded.

    >>> unfold([1000, 600, 600.5])
    [1000.0, 1600.0, 2200.5]
    """
    return [float(at) for at in accumulate(steps)]


def choose_plot_points(values: Sequence[float], most: int) -> list[int]:
    """Which of some values a picture of about `most` points needs, by rising position.

    Buckets hold equal numbers of values; of each the M4 points are kept (Jugel et al. 2014,
    doi:10.14778/2732951.2732953).
    """
    if len(values) <= most:
        return list(range(len(values)))
    buckets = max(most // 4, 1)
    keep: set[int] = set()
    for k in range(buckets):
        low, high = k * len(values) // buckets, (k + 1) * len(values) // buckets
        if low < high:
            inside = range(low, high)
            keep |= {low, high - 1, min(inside, key=values.__getitem__), max(inside, key=values.__getitem__)}
    return sorted(keep)


def sample(readings: Sequence[Reading], most: int) -> list[Reading]:
    """At most about `most` readings in their order; extremes survive, and flagged ones up to a quarter of the bound."""
    if len(readings) <= most:
        return list(readings)
    flagged = [i for i, reading in enumerate(readings) if reading.flags]
    keep = {*choose_plot_points([r.value for r in readings], most), *flagged[-max(most // 4, 1) :]}
    return [readings[i] for i in sorted(keep)]


def component_weights(azimuth_deg: float, plunge_deg: float) -> tuple[float, float, float]:
    """East, north and up of one unit of movement along azimuth (clockwise from north) and plunge (below the horizon).

    >>> [round(w, 3) + 0.0 for w in component_weights(90.0, 30.0)]
    [0.866, 0.0, -0.5]
    """
    azimuth, plunge = radians(azimuth_deg), radians(plunge_deg)
    return sin(azimuth) * cos(plunge), cos(azimuth) * cos(plunge), -sin(plunge)


def project_downslope(components: Sequence[Sequence[Reading]], weights: Sequence[float]) -> list[Reading]:
    """Displacement along the direction of movement, where all three components (east, north, up) have the epoch.

    d = (e sin A + n cos A) cos P - u sin P, with azimuth A clockwise from north and plunge P below the horizon: the
    weights are those of `component_weights`.
    """
    by_epoch = [{r.observed_at: r for r in part} for part in components]
    found = []
    for at in by_epoch[0]:
        parts = [part.get(at) for part in by_epoch]
        three = [p for p in parts if p is not None]
        if len(three) < 3:
            continue
        sigmas = [p.sigma for p in three]
        sigma = None if None in sigmas else hypot(*(w * (s or 0.0) for w, s in zip(weights, sigmas, strict=True)))
        total = [
            sum(w * getattr(p, name) for w, p in zip(weights, three, strict=True))
            for name in ("value_raw", "offset_applied")
        ]
        found.append(
            Reading(
                at,
                max(p.received_at for p in three),
                max(p.revision for p in three),
                total[0],
                total[1],
                total[0] - total[1],
                sigma,
                tuple(sorted({f for p in three for f in p.flags})),
            )
        )
    return found


COMPUTED: Final = "displacement_downslope"
COMPONENTS: Final = ("displacement_east", "displacement_north", "displacement_up")
PANES: Final = 4  # beside curve and velocity
# what drives a slope, in the order in which it is shown
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
    """The curve that a station opens with, and its choices."""

    order: int  # movement first
    is_control: bool
    station: str
    first: str
    choices: list[str]


def plan_page(
    stations: list[StationCard],
    landslides: list[StationCard],
    forecast: set[tuple[str, str]],
    series: Sequence[SeriesRow],
    asking: Sequence[str] = (),
) -> Mapping[str, Any]:
    """What the chart of a site page needs before any answer: stations with their quantities, and room for panes.

    It opens on the first station of `asking` that has a curve.
    """
    charts = plan_charts(stations, forecast)
    counts = Counter(q for k in charts for q in k.choices)
    by_station = {k.station: k for k in charts}
    first = next((by_station[name] for name in asking if name in by_station), charts[0] if charts else None)
    below = [] if first is None else plan_panes(series, first.station, first.first)
    moves = first is not None and first.first.startswith("displacement")
    return {
        "charts": charts,
        "opens": first,
        "landslide_charts": plan_charts(landslides, forecast),
        "shared": [quantity for quantity, count in counts.most_common() if count > 1],
        "has_velocity": moves,
        "panes": [f"{s.station}.{s.quantity}" for s in below],
    }


def list_quantities(station: StationCard) -> list[str]:
    """What can be drawn for a station; the computed downslope movement first where it can be computed."""
    found = sorted((row["quantity"] for row in station.latest), key=lambda name: name.startswith(DEPTH_PREFIX))
    if COMPUTED not in found and station.azimuth_deg is not None and set(COMPONENTS) <= set(found):
        return [COMPUTED, *found]
    return found


def plan_charts(stations: list[StationCard], forecast: set[tuple[str, str]]) -> list[ChartPlan]:
    """Which curves a site page shows: movement first, then pressure and water, then rain; each with its choices.

    A station opens with a quantity that has a shown forecast, of several the one its azimuth points along.
    """
    rank = {"displacement": 0, "crack": 1, "tilt": 1, "strain": 1, "velocity": 1, "reservoir": 3, "rain": 4}
    charts = []
    for station in stations:
        choices = list_quantities(station)
        if not choices:
            continue
        azimuth = radians(station.azimuth_deg or 0.0)
        weight = {"displacement_north": abs(cos(azimuth)), "displacement_east": abs(sin(azimuth))}
        shown = [q for q in choices if (station.id, q) in forecast] or choices[:1]
        first = shown[0] if station.azimuth_deg is None else max(shown, key=lambda q: weight.get(q, 1.0))
        order = rank.get(first.split("_")[0], 2)
        charts.append(ChartPlan(order, not station.on_slope, station.id, first, choices))
    return sorted(charts, key=lambda k: k[:3])


def plan_panes(series: Sequence[SeriesRow], station: str, quantity: str) -> list[SeriesRow]:
    """What is drawn below a curve: what else its station measures, then what drives the slope, one series of a kind."""
    family = quantity.partition("_")[0]
    own = [
        s
        for s in series
        if s.station == station
        and s.quantity.partition("_")[0] != family
        and not s.quantity.startswith(MOTION)
        and s.quantity not in {BATTERY_VOLTAGE, SIGNAL_STRENGTH, *SCENE_QUANTITIES}
        and s.unit != "index"
    ]
    rank = {name: k for k, name in enumerate(DRIVERS)}
    drivers = sorted(
        (s for s in series if s.quantity in rank and s.station != station and s.quantity != quantity),
        key=lambda s: (rank[s.quantity], s.station),
    )
    found: dict[str, SeriesRow] = {}
    for one in [*sorted(own, key=lambda s: rank.get(s.quantity, len(rank))), *drivers]:
        found.setdefault(one.quantity, one)
    chosen = sorted(found.values(), key=lambda s: (s.station != station, rank.get(s.quantity, len(rank))))[:PANES]
    return sorted(chosen, key=lambda s: rank.get(s.quantity, len(rank)))
