"""Load the samples of series for forecasters and anomaly detectors, as known at an instant.

Displacement and `crack_opening` are cleaned by the `Tracker` that the evaluation and the movement page use: offsets are
subtracted, flagged readings, unsigned corrections and spikes are left out, and jumps are removed, whether or not a
person has answered the question about their cause. A track moves the values after a jump to the level before it. Here
the values before a jump are moved to the level after it, so that the newest sample is as measured. In all other series
(tilt, strain, levels, pressures) jumps and spikes remain.
"""

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from sqlalchemy import Connection

from forecasting.data.cadence import Cadence, list_cadences
from forecasting.hydrology.rain_counters import count_up
from forecasting.hydrology.rain_sums import drop_totals, resolve_sums
from monitor.models.queries.registry import ModelRow
from monitor.readings.cleaned.step_detector import Jump
from monitor.readings.cleaned.tracks import COMPONENTS, Track, make_motion_tracker
from monitor.readings.queries.observations import load_ids, stream_readings
from monitor.readings.records import HARMLESS, Reading, Timed, is_fit
from monitor.sites.records import SeriesSpec, Site, Station
from monitor.sites.watched import (
    MOTION_GROUP,
    SCALARS,
    WatchedSeries,
    find_watched_motion,
    group_forecast_series,
    number_declared_series,
)
from monitor.text.instants import epoch_s, from_epoch_s

EARTH_M_PER_DEG = 111_320.0
# On a grid, the readings of each 36th of a cell are averaged. With cells of six hours, readings every ten minutes are
# therefore not averaged.
GRID_PARTS: Final = 36


@dataclass(frozen=True, slots=True)
class SitePanel:
    """Series of a site that are forecast together.

    Attributes:
        group: Name of a `ForecastGroup`.
        unit: Unit of all series.
    """

    group: str
    unit: str
    series: tuple[WatchedSeries, ...]
    cadence: Cadence

    @property
    def is_motion(self) -> bool:
        """Whether the series are the motion of their stations. Networks and failure windows are for motion only."""
        return self.group == MOTION_GROUP

    @property
    def quantity(self) -> str:
        """The quantity of the series in texts: `displacement` for all motion."""
        return "displacement" if self.is_motion else self.group

    def may_use(self, model: ModelRow, panels: Iterable["SitePanel"]) -> bool:
        """Return whether a checkpoint may forecast this panel.

        The panel must be motion. The checkpoint must have been trained on a series of this panel, or on no series of
        this site.

        Args:
            panels: All panels of the site.
        """
        if not self.is_motion:
            return False
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
        jumps: Time, in epoch seconds, and size of each jump that was removed, oldest first.
    """

    label: str
    station: Station
    spec: SeriesSpec
    series_id: int
    quantity: str
    # Arrays, because a site has hundreds of thousands of samples.
    times_s: "array[float]"
    values: "array[float]"
    newest_received_at: datetime
    jumps: tuple[tuple[float, float], ...] = ()

    @property
    def timed(self) -> Timed:
        """Times and values, in the form that forecasters and detectors expect."""
        return self.times_s, self.values


def load_watched(connection: Connection, site: Site, since: datetime, now: datetime) -> list[SeriesSamples]:
    """Load the displacement series that detectors compare with each other, in (since, now] as known at `now`."""
    series = find_watched_motion(site, load_ids(connection, site.id))
    return load_samples(connection, site, series, since, now, keep_spikes=True)


def load_samples(
    connection: Connection,
    site: Site,
    series: Iterable[WatchedSeries],
    since: datetime,
    now: datetime,
    grid_s: float = 0.0,
    *,
    keep_spikes: bool = False,
) -> list[SeriesSamples]:
    """Load the cleaned samples of several series in (since, now] as known at `now`, except series without samples.

    Args:
        grid_s: Length of the cells of the grid on which the samples will be used, seconds. The readings of each 36th
            of a cell are averaged, which bounds memory. 0: no averages.
        keep_spikes: Whether readings that the track sets aside, such as spikes, are kept. Detectors have to find them.
    """
    ids = load_ids(connection, site.id)
    samples: list[SeriesSamples] = []
    grouped = groupby(series, lambda watched: (watched.station, _list_quantities(watched, ids)))
    for (station, quantities), members in grouped:
        readings: dict[str, tuple[Reading, ...]] = {}
        for quantity in quantities:
            stored = stream_readings(connection, ids[station.id, quantity], since, now, now)
            readings[quantity] = tuple(average_cells(stored, grid_s / GRID_PARTS))
        samples += _clean(site, station, list(members), readings, now, keep_spikes=keep_spikes)
    return samples


def load_series_samples(
    connection: Connection, site: Site, series: WatchedSeries, since: datetime, now: datetime
) -> SeriesSamples | None:
    """Load the samples of one series in (since, now] as known at `now`, spikes included; None if there are none."""
    samples = load_samples(connection, site, [series], since, now, keep_spikes=True)
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
        for watched in series:
            usable = readings[watched.quantity]
            times_s = array("d", [epoch_s(reading.observed_at) for reading in usable])
            values = array("d", [reading.value for reading in usable])
            yield from _make_samples(watched, times_s, values, usable)
        return
    quantity = "displacement" if len(quantities) > 1 else quantities[0]
    named = {f"{station.id}.{name}": rows for name, rows in readings.items() if rows}
    track = make_motion_tracker(site, station, quantity).track(named, epoch_s(now))
    cleaned = track.quantity.split("+")
    for watched in series:
        if watched.quantity not in cleaned:
            continue
        component = cleaned.index(watched.quantity)
        jumps = tuple((jump.at_s, jump.size[component]) for jump in list_lasting_jumps(track))
        samples = dict(zip(track.times_s, move_to_newest_level(track, component), strict=True))
        if keep_spikes:
            for reading in readings[watched.quantity]:
                at_s = epoch_s(reading.observed_at)
                later_jumps = math.fsum(size for jump_s, size in jumps if jump_s > at_s)
                samples.setdefault(at_s, reading.value + later_jumps)
        epochs_s = sorted(samples)
        values = array("d", [samples[at_s] for at_s in epochs_s])
        yield from _make_samples(watched, array("d", epochs_s), values, readings[watched.quantity], jumps)


def is_cleaned(quantity: str) -> bool:
    """Return whether jumps are removed from a series: displacement and `crack_opening`, but not tilt or strain."""
    return quantity in COMPONENTS or quantity in SCALARS


def list_lasting_jumps(track: Track) -> list[Jump]:
    """Return the jumps of a track except one at its newest epoch, which may still be a spike."""
    return [jump for jump in track.jumps if track.times_s and jump.at_s < track.times_s[-1]]


def move_to_newest_level(track: Track, component: int) -> "array[float]":
    """Return one component of a track at the level of its newest epoch, shape (n,).

    A track has every jump subtracted from the values after it. Here it is added to the values before it instead, which
    leaves the newest value as it was measured.
    """
    level = math.fsum(jump.size[component] for jump in list_lasting_jumps(track))
    return array("d", [value[component] + level if level else value[component] for value in track.values])


def _make_samples(
    series: WatchedSeries,
    times_s: "array[float]",
    values: "array[float]",
    readings: Sequence[Reading],
    jumps: tuple[tuple[float, float], ...] = (),
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
            jumps=jumps,
        )


def load_driver(connection: Connection, series_id: int, spec: SeriesSpec, since: datetime, now: datetime) -> Timed:
    """Load the usable readings in (since, now] of a series that drives motion, such as rain or a water level.

    For rain, the values are the amounts since the reading before, also if the gauge sends the state of a counter.

    Returns:
        Epoch seconds and values, as known at `now`.
    """
    usable = filter(is_fit, stream_readings(connection, series_id, since, now, now))
    samples: Iterable[tuple[float, float]]
    if spec.quantity == "rain" and spec.stamp == "interval_end":
        rows = [(epoch_s(r.observed_at), r.value, None if r.first is None else r.first.value) for r in usable]
        samples = resolve_sums(drop_totals(rows, spec.interval_s), spec.interval_s).rows
    else:
        samples = ((epoch_s(r.observed_at), r.value) for r in usable)
        if spec.stamp == "counter":
            samples = count_up(list(samples), spec.interval_s).known
    times, values = array("d"), array("d")
    for at_s, value in samples:
        times.append(at_s)
        values.append(value)
    return times, values


def average_cells(readings: Iterable[Reading], cell_s: float) -> Iterator[Reading]:
    """Yield the usable readings, averaged to one reading in each cell of time.

    Readings with a flag that makes a value unusable, such as `no_fix`, are not mixed with other readings: they are left
    out, or if a cell contains no other readings, their average has their flags.

    Args:
        cell_s: Length of a cell, seconds; 0 yields every reading. A reading that is alone in its cell is not changed.
    """
    usable = filter(is_fit, readings)
    if not cell_s:
        yield from usable
        return
    for _, group in groupby(usable, lambda reading: epoch_s(reading.observed_at) // cell_s):
        cell = list(group)
        sound = [reading for reading in cell if HARMLESS.issuperset(reading.flags)]
        averaged = sound or cell
        yield averaged[0] if len(averaged) == 1 else _average(averaged)


def _average(cell: Sequence[Reading]) -> Reading:
    """Return the mean of readings at their mean time.

    It has the largest of their standard deviations, and all flags that make a value unusable.
    """
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
        flags=tuple(sorted({flag for reading in cell for flag in reading.flags} - HARMLESS)),
        extra=None,
    )


def list_panels(site: Site, ids: Mapping[tuple[str, str], int]) -> list[SitePanel]:
    """Return the panels of a site. Panels of motion are first, and in each group those with the shortest interval.

    Args:
        ids: Ids of the stored series by station and quantity, or `number_declared_series`.
    """
    panels = []
    for group in group_forecast_series(site, ids):
        intervals_s = {series.label: series.spec.interval_s for series in group.series}
        for cadence in list_cadences(intervals_s, site.forecast.horizons_s):
            members = tuple(series for series in group.series if series.label in cadence.names)
            panels.append(SitePanel(group.name, group.unit, members, cadence))
    return panels


def list_horizons(site: Site) -> list[float]:
    """Return all horizons at which declared series of a site are forecast, seconds, ascending."""
    panels = list_panels(site, number_declared_series(site))
    return sorted({h for panel in panels for h in panel.cadence.horizons_s} or {*site.forecast.horizons_s})


def plan_xy_m(site: Site, samples: list[SeriesSamples]) -> dict[str, tuple[float, float]] | None:
    """Return the position of the station of each series as metres east and north of the centre of the site.

    Returns:
        Positions by label of the series; None if the position of a station is unknown.
    """
    positions: dict[str, tuple[float, float]] = {}
    for series in samples:
        latitude, longitude = series.station.latitude, series.station.longitude
        if latitude is None or longitude is None:
            return None
        east_m = (longitude - site.longitude) * EARTH_M_PER_DEG * math.cos(math.radians(site.latitude))
        positions[series.label] = east_m, (latitude - site.latitude) * EARTH_M_PER_DEG
    return positions


def find_history_start(now: datetime, cell_s: float, cells: int) -> datetime:
    """Return the instant that is a number of grid cells before now.

    Args:
        cell_s: Length of a cell, seconds.
    """
    return now - timedelta(seconds=cell_s * cells)
