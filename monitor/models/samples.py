"""Load the samples of series that forecasters and anomaly detectors work on, as known at an instant.

Motion is cleaned by the same `Tracker` that the evaluation and the movement page use: offsets are subtracted; flagged
readings, unsigned corrections and spikes are left out; and steps that nobody has explained are taken out. The values
before a step are moved to the level after it, so that the newest sample is as measured and the step is no motion.
"""

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from sqlalchemy import Connection

from forecasting.data.cadence import Cadence, choose_horizons, list_cadences
from forecasting.hydrology.rain_counters import count_up
from forecasting.hydrology.rain_sums import drop_totals, resolve_sums
from monitor.models.queries.registry import ModelRow
from monitor.readings.cleaned.step_detector import Jump
from monitor.readings.cleaned.tracks import COMPONENTS, SCALARS, Track, make_motion_tracker
from monitor.readings.queries.observations import load_ids, stream_readings
from monitor.readings.records import Reading, Timed, is_fit
from monitor.sites.records import SeriesSpec, Site, Station
from monitor.sites.watched import WatchedSeries, find_watched_motion, is_forecast
from monitor.text.instants import epoch_s, from_epoch_s

EARTH_M_PER_DEG = 111_320.0
# On a grid, the readings of each 36th of a step are averaged. A step of six hours so keeps readings of ten minutes as
# they are.
PARTS_OF_STEP: Final = 36


@dataclass(frozen=True, slots=True)
class SitePanel:
    """Series of a site that are forecast together."""

    series: tuple[WatchedSeries, ...]
    cadence: Cadence

    def knows(self, model: ModelRow, panels: Iterable["SitePanel"]) -> bool:
        """Return whether a checkpoint was trained on a series of this panel, or on none of any of these panels."""
        labels = {series.label for panel in panels for series in panel.series}
        return model.series.isdisjoint(labels) or any(series.label in model.series for series in self.series)


@dataclass(frozen=True, slots=True)
class SeriesSamples:
    """Cleaned samples of one series.

    Attributes:
        label: `STATION.quantity`.
        times_s: Epochs in ascending order, epoch seconds, shape (n,).
        values: Values in the unit of the series, shape (n,).
        newest_received_at: When the newest usable reading was received.
        steps: Epoch, in epoch seconds, and size of each unexplained step that was taken out, oldest first.
    """

    label: str
    station: Station
    spec: SeriesSpec
    series_id: int
    quantity: str
    times_s: "array[float]"  # arrays, because a site has hundreds of thousands of samples
    values: "array[float]"
    newest_received_at: datetime
    steps: tuple[tuple[float, float], ...] = ()

    @property
    def timed(self) -> Timed:
        """Times and values, as libraries take samples."""
        return self.times_s, self.values


def load_watched(c: Connection, site: Site, since: datetime, now: datetime) -> list[SeriesSamples]:
    """Load the displacement series that detectors compare with each other, in (since, now] as known at `now`."""
    return read_all(c, site, find_watched_motion(site, load_ids(c, site.id)), since, now, keep_spikes=True)


def read_all(
    c: Connection,
    site: Site,
    series: Iterable[WatchedSeries],
    since: datetime,
    now: datetime,
    grid_s: float = 0.0,
    *,
    keep_spikes: bool = False,
) -> list[SeriesSamples]:
    """Load the cleaned samples of several series in (since, now] as known at `now`; series without any are left out.

    Args:
        grid_s: Step of the grid on which the samples will be used, seconds; the readings of each 36th of it are
            averaged, which bounds memory. 0: no averages.
        keep_spikes: Whether readings that the track sets aside, such as spikes, are kept. Detectors have to find them.
    """
    ids = load_ids(c, site.id)
    samples: list[SeriesSamples] = []
    for (station, quantities), members in groupby(series, lambda one: (one.station, _list_quantities(one, ids))):
        readings = {
            quantity: tuple(
                average_cells(stream_readings(c, ids[station.id, quantity], since, now, now), grid_s / PARTS_OF_STEP)
            )
            for quantity in quantities
        }
        samples += _clean(site, station, list(members), readings, now, keep_spikes=keep_spikes)
    return samples


def read_samples(
    c: Connection, site: Site, series: WatchedSeries, since: datetime, now: datetime
) -> SeriesSamples | None:
    """Load the samples of one series in (since, now] as known at `now`, spikes included; None if there are none."""
    samples = read_all(c, site, [series], since, now, keep_spikes=True)
    return samples[0] if samples else None


def _list_quantities(series: WatchedSeries, ids: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
    """Return the stored series that are cleaned together: all components of a station, because it moves as a vector."""
    stored = tuple(quantity for quantity in COMPONENTS if (series.station.id, quantity) in ids)
    is_vector = series.quantity in COMPONENTS and stored[:2] == COMPONENTS[:2]
    return stored if is_vector else (series.quantity,)


def _clean(
    site: Site,
    station: Station,
    series: Sequence[WatchedSeries],
    readings: Mapping[str, tuple[Reading, ...]],
    now: datetime,
    *,
    keep_spikes: bool,
) -> Iterator[SeriesSamples]:
    """Yield the cleaned samples of series of one station from its readings by quantity."""
    quantities = tuple(readings)
    if not is_cleaned(quantities[0]):
        for one in series:
            usable = readings[one.quantity]
            times_s = array("d", [epoch_s(reading.observed_at) for reading in usable])
            values = array("d", [reading.value for reading in usable])
            yield from _make_samples(one, times_s, values, usable)
        return
    quantity = "displacement" if len(quantities) > 1 else quantities[0]
    named = {f"{station.id}.{name}": rows for name, rows in readings.items() if rows}
    track = make_motion_tracker(site, station, quantity).track(named, epoch_s(now))
    cleaned = track.quantity.split("+")
    for one in series:
        if one.quantity not in cleaned:
            continue
        component = cleaned.index(one.quantity)
        steps = tuple((jump.at_s, jump.size[component]) for jump in list_confirmed(track))
        samples = dict(zip(track.times_s, move_to_newest_level(track, component), strict=True))
        if keep_spikes:
            for reading in readings[one.quantity]:
                at_s = epoch_s(reading.observed_at)
                later = math.fsum(size for step_s, size in steps if step_s > at_s)
                samples.setdefault(at_s, reading.value + later)
        epochs_s = sorted(samples)
        values = array("d", [samples[at_s] for at_s in epochs_s])
        yield from _make_samples(one, array("d", epochs_s), values, readings[one.quantity], steps)


def is_cleaned(quantity: str) -> bool:
    """Return whether steps are taken out of a series: it measures motion of a station."""
    return quantity in COMPONENTS or quantity in SCALARS or quantity == "crack_opening"


def list_confirmed(track: Track) -> list[Jump]:
    """Return the steps of a track that a later epoch confirms. A jump of the newest epoch may still be a spike."""
    return [jump for jump in track.jumps if track.times_s and jump.at_s < track.times_s[-1]]


def move_to_newest_level(track: Track, component: int) -> "array[float]":
    """Return one component of a track at the level of its newest epoch, shape (n,).

    A track has every step subtracted from the values after it. Here it is added to the values before it instead, which
    leaves the newest value as it was measured.
    """
    level = math.fsum(jump.size[component] for jump in list_confirmed(track))
    return array("d", [value[component] + level if level else value[component] for value in track.values])


def _make_samples(
    series: WatchedSeries,
    times_s: "array[float]",
    values: "array[float]",
    readings: Sequence[Reading],
    steps: tuple[tuple[float, float], ...] = (),
) -> Iterator[SeriesSamples]:
    if times_s:
        newest = max(reading.received_at for reading in readings)
        yield SeriesSamples(
            label=series.label,
            station=series.station,
            spec=series.spec,
            series_id=series.series_id,
            quantity=series.quantity,
            times_s=times_s,
            values=values,
            newest_received_at=newest,
            steps=steps,
        )


def read_driver(c: Connection, series_id: int, spec: SeriesSpec, since: datetime, now: datetime) -> Timed:
    """Load the usable readings of a series in (since, now] as known at `now`; of rain the amounts."""
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
    """Yield epoch seconds, value and reception of usable readings, averaged as by `average_cells`."""
    for reading in average_cells(readings, cell_s):
        yield epoch_s(reading.observed_at), reading.value, reading.received_at


def average_cells(readings: Iterable[Reading], cell_s: float) -> Iterator[Reading]:
    """Yield the usable readings; those that share a cell of time are averaged to one.

    Args:
        cell_s: Width of a cell, seconds; 0 yields every reading. A reading that is alone in its cell is yielded as it
            is.
    """
    usable = filter(is_fit, readings)
    if not cell_s:
        yield from usable
        return
    for _, group in groupby(usable, lambda reading: epoch_s(reading.observed_at) // cell_s):
        cell = list(group)
        yield cell[0] if len(cell) == 1 else _average(cell)


def _average(cell: Sequence[Reading]) -> Reading:
    """Return the mean of readings at their mean time, with the largest of their stated errors."""
    value = math.fsum(reading.value for reading in cell) / len(cell)
    time_s = math.fsum(epoch_s(reading.observed_at) for reading in cell) / len(cell)
    return Reading(
        observed_at=from_epoch_s(time_s),
        received_at=max(reading.received_at for reading in cell),
        revision=0,
        value_raw=value,
        offset_applied=0.0,
        value=value,
        sigma=max((reading.sigma for reading in cell if reading.sigma is not None), default=None),
        flags=(),
        extra=None,
    )


def list_panels(site: Site, motion: Sequence[WatchedSeries]) -> list[SitePanel]:
    """Return the panels of a site, the fastest first: which series are forecast together, how far and on which grid."""
    cadences = list_cadences({one.label: one.spec.interval_s for one in motion}, site.forecast.horizons_s)
    return [SitePanel(tuple(one for one in motion if one.label in cadence.names), cadence) for cadence in cadences]


def list_horizons(site: Site) -> list[float]:
    """Return all horizons at which declared series of a site are forecast, seconds, ascending."""
    horizons = site.forecast.horizons_s
    return sorted(
        {h for spec in site.moving if is_forecast(spec) for h in choose_horizons(spec.interval_s, horizons)}
        or {*horizons}
    )


def plan_xy_m(site: Site, samples: list[SeriesSamples]) -> dict[str, tuple[float, float]] | None:
    """Return east and north of the station of each series from the centre of the site, m; None if one is unknown."""
    out = {}
    for one in samples:
        if one.station.latitude is None or one.station.longitude is None:
            return None
        east = (one.station.longitude - site.longitude) * EARTH_M_PER_DEG * math.cos(math.radians(site.latitude))
        out[one.label] = east, (one.station.latitude - site.latitude) * EARTH_M_PER_DEG
    return out


def history_since(now: datetime, step: float, steps: int) -> datetime:
    """Return the instant that is a number of grid steps before now."""
    return now - timedelta(seconds=step * steps)
