"""What jobs read from the store: plain samples of the series that models work on, as known at an instant."""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from sqlalchemy import Connection

from forecasting.data.cadence import Cadence, choose_horizons, list_cadences
from forecasting.hydrology.rain_counters import count_up
from forecasting.hydrology.rain_sums import drop_totals, resolve_sums
from monitor.models.queries.registry import ModelRow
from monitor.readings.queries.observations import load_ids, stream_readings
from monitor.readings.records import Reading, Timed, is_fit
from monitor.sites.records import SeriesSpec, Site, Station
from monitor.sites.watched import WatchedSeries, find_watched_motion, is_forecast
from monitor.text.instants import epoch_s

EARTH_M_PER_DEG = 111_320.0
# of a grid step: a step of six hours keeps readings of ten minutes as they are, and takes means of those of a second
PARTS_OF_STEP: Final = 36


@dataclass(frozen=True, slots=True)
class SitePanel:
    """Series of a site that are forecast together."""

    series: tuple[WatchedSeries, ...]
    cadence: Cadence

    def knows(self, model: ModelRow, panels: Iterable["SitePanel"]) -> bool:
        """Whether a checkpoint speaks of this one of these panels: it learnt one of its series, or none of any."""
        every = {one.label for panel in panels for one in panel.series}
        return model.series.isdisjoint(every) or any(one.label in model.series for one in self.series)


@dataclass(frozen=True, slots=True)
class SeriesSamples:
    """One series: `times_s` and `values` in order of time, in the series' unit, offsets subtracted."""

    label: str  # station.quantity
    station: Station
    spec: SeriesSpec
    series_id: int
    quantity: str
    times_s: "array[float]"  # eight bytes each: a site has hundreds of thousands
    values: "array[float]"
    newest_received_at: datetime

    @property
    def timed(self) -> Timed:
        """The shape in which libraries take samples."""
        return self.times_s, self.values


def load_watched(c: Connection, site: Site, since: datetime, now: datetime) -> list[SeriesSamples]:
    """Of the displacement series those that detectors look at together, in (since, now] as known at `now`."""
    return read_all(c, find_watched_motion(site, load_ids(c, site.id)), since, now)


def read_all(
    c: Connection, series: Iterable[WatchedSeries], since: datetime, now: datetime, grid_s: float = 0.0
) -> list[SeriesSamples]:
    """The fit readings of those series that have any, in (since, now] as known at `now`.

    On a grid of `grid_s` seconds each sample is the mean of a 36th of a step, which bounds memory. 0: all count.
    """
    found = (read_samples(c, one, since, now, grid_s) for one in series)
    return [one for one in found if one is not None]


def read_samples(
    c: Connection, series: WatchedSeries, since: datetime, now: datetime, grid_s: float = 0.0
) -> SeriesSamples | None:
    """The fit readings of one series in (since, now] as known at `now`; None where there is none."""
    times, values = array("d"), array("d")
    newest = None
    readings = stream_readings(c, series.series_id, since, now, now)
    for at_s, value, received_at in thin(readings, grid_s / PARTS_OF_STEP):
        times.append(at_s)
        values.append(value)
        newest = received_at if newest is None else max(newest, received_at)
    if newest is None:
        return None
    return SeriesSamples(
        series.label, series.station, series.spec, series.series_id, series.quantity, times, values, newest
    )


def read_driver(c: Connection, series_id: int, spec: SeriesSpec, since: datetime, now: datetime) -> Timed:
    """The fit readings of a series in (since, now] as known at `now`; of rain what fell, as criteria count it."""
    readings = stream_readings(c, series_id, since, now, now)
    sound = (r for r in readings if is_fit(r))
    fit: Iterable[tuple[float, float]]
    if spec.quantity == "rain" and spec.stamp == "interval_end":
        rows = [(epoch_s(r.observed_at), r.value, None if r.first is None else r.first.value) for r in sound]
        fit = resolve_sums(drop_totals(rows, spec.interval_s), spec.interval_s).rows
    else:
        fit = ((epoch_s(r.observed_at), r.value) for r in sound)
        fit = count_up(list(fit), spec.interval_s).known if spec.stamp == "counter" else fit
    times, values = array("d"), array("d")
    for at_s, value in fit:
        times.append(at_s)
        values.append(value)
    return times, values


def thin(readings: Iterable[Reading], cell_s: float) -> Iterator[tuple[float, float, datetime]]:
    """Time, value and newest reception of fit readings, or of the mean of those in each cell of time."""
    fit = filter(is_fit, readings)
    if not cell_s:
        yield from ((epoch_s(r.observed_at), r.value, r.received_at) for r in fit)
        return
    for _, group in groupby(fit, lambda r: epoch_s(r.observed_at) // cell_s):
        time_s, value, newest = 0.0, 0.0, None
        for count, r in enumerate(group, 1):
            # running means: one reading of a cell stays what it is, to the last bit
            time_s += (epoch_s(r.observed_at) - time_s) / count
            value += (r.value - value) / count
            newest = r.received_at if newest is None else max(newest, r.received_at)
        assert newest is not None
        yield time_s, value, newest


def list_panels(site: Site, motion: Sequence[WatchedSeries]) -> list[SitePanel]:
    """The panels of a site, the fastest first: which series are forecast together, how far ahead, on which grid."""
    cadences = list_cadences({one.label: one.spec.interval_s for one in motion}, site.forecast.horizons_s)
    return [SitePanel(tuple(one for one in motion if one.label in cadence.names), cadence) for cadence in cadences]


def list_horizons(site: Site) -> list[float]:
    """Every horizon at which a declared series of a site is forecast, in seconds, rising."""
    horizons = site.forecast.horizons_s
    return sorted(
        {h for spec in site.moving if is_forecast(spec) for h in choose_horizons(spec.interval_s, horizons)}
        or {*horizons}
    )


def plan_xy_m(site: Site, samples: list[SeriesSamples]) -> dict[str, tuple[float, float]] | None:
    """Plan coordinates of each series' station in metres around the site, or None when one is unknown."""
    out = {}
    for one in samples:
        if one.station.latitude is None or one.station.longitude is None:
            return None
        east = (one.station.longitude - site.longitude) * EARTH_M_PER_DEG * math.cos(math.radians(site.latitude))
        out[one.label] = east, (one.station.latitude - site.latitude) * EARTH_M_PER_DEG
    return out


def history_since(now: datetime, step: float, steps: int) -> datetime:
    """The instant `steps` grid steps before now."""
    return now - timedelta(seconds=step * steps)
