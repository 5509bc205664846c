"""Series that anomaly detectors process, and the checks that suit each quantity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from monitor.sites.quantities import (
    BATTERY_LEVEL,
    BATTERY_VOLTAGE,
    QUANTITIES,
    SCENE_QUANTITIES,
    SIGNAL_STRENGTH,
    VELOCITY_MAP_QUANTITIES,
)
from monitor.sites.records import SeriesSpec, Site, Station
from monitor.text.names import split_table

# Last parts of the keys of health alerts that explain an anomaly as a fault of the instrument.
INSTRUMENT_FAULTS: Final = frozenset(
    {"stale", "flagged", "out_of_range", "stuck", "clock", "battery", "snow_ice", "fix", "satellites"}
)
CONFIRMED, DISMISSED, WITHDRAWN = "confirmed", "dismissed", "withdrawn"
VERDICTS: Final = (CONFIRMED, DISMISSED, WITHDRAWN)
ANOMALY_CAUSES: Final = split_table("""
    unknown; movement; spike; step; drift; stuck; noise; gap; clock; unit; battery; snow_ice; weather; work;
    maintenance; common_mode
""")


# Quantities of motion as a single value, in order of preference.
SCALARS: Final = (
    "displacement_downslope",
    "displacement_los",
    "displacement_distance",
    "displacement",
    "crack_opening",
)
COMPONENTS: Final = ("displacement_east", "displacement_north")
# Name of the group of motion series. Their thresholds are calibrated on the record of the site.
MOTION_GROUP: Final = "motion"
# Groups of other quantities that describe the state of the slope. The series of a group are forecast together.
STATE_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "crack_opening": ("crack_opening",),
    "tilt": ("tilt", "tilt_x", "tilt_y"),
    "strain": ("strain",),
    "pore_pressure": ("pore_pressure",),
    "earth_pressure": ("earth_pressure",),
    "water_level": ("water_level",),
    "groundwater_level": ("groundwater_level",),
    "reservoir_level": ("reservoir_level",),
}


@dataclass(frozen=True, slots=True)
class QuantityCheck:
    """Anomaly checks of a quantity.

    Attributes:
        checks: ids of the checks.
        units: dimension of its units, for the check `unit-jump`. Empty if units are not checked.
        parts: parts of the detector `rules`.
        factor: factor on the thresholds of these parts, which are those of the motion of the site.
        moves: True for ground motion. Simultaneous anomalies of such series are called movement.
    """

    checks: tuple[str, ...] = ()
    units: str = ""
    parts: tuple[str, ...] = ()
    factor: float = 2.0
    moves: bool = False


# Parts of `rules` for other quantities. The cumulative parts (`creep`, `drift`) are left out, because water and sun
# cause natural drifts.
PARTS: Final = ("level", "trend", "bend", "noise")
_ALL: Final = ("flatline", "replay", "unit-jump", "timing")
# Without `replay`: a sensor with few distinct readings repeats sequences by chance.
_SLOW: Final = ("flatline", "unit-jump", "timing")
# Heights of 30 GNSS stations raised 0.02 false alarms per sensor-month at a factor of 1.
MOTION_CHECKS: Final = QuantityCheck(_ALL, "length", PARTS, factor=1.0, moves=True)
NO_CHECKS: Final = QuantityCheck()
# A check is off if it raised 0.1 or more alarms per sensor-month on measured records. The factor is the smallest with
# which the parts raised fewer on the records of levels and pressures together
# (packages/lab/benchmarks/results/anomalies-quantities.json). There is no measured record of cracks, tilt, strain or
# earth pressure.
CHECKS_BY_QUANTITY: Final[Mapping[str, QuantityCheck]] = {
    **dict.fromkeys((name for name in QUANTITIES if name.startswith("displacement")), MOTION_CHECKS),
    **dict.fromkeys(
        (name for name in QUANTITIES if name.startswith("crack")), QuantityCheck(_ALL, "length", PARTS, moves=True)
    ),
    **dict.fromkeys(("tilt", "tilt_x", "tilt_y"), QuantityCheck(_ALL, "angle", PARTS, moves=True)),
    "strain": QuantityCheck(_ALL, "share", PARTS, moves=True),
    "pore_pressure": QuantityCheck(_SLOW, "pressure", PARTS),
    "groundwater_level": QuantityCheck(_SLOW, "length", PARTS),
    "reservoir_level": QuantityCheck(_SLOW, "length", PARTS),
    "water_level": QuantityCheck(_SLOW, "length", PARTS),
    "earth_pressure": QuantityCheck(_SLOW, "pressure", PARTS),
    "air_pressure": QuantityCheck(_SLOW, "pressure", PARTS),
    # No parts of `rules`, because rain causes jumps.
    "soil_moisture": QuantityCheck(_SLOW, "share"),
    # Without `unit-jump` and `flatline`: its units have different zeros, and it is often constant within the
    # resolution of the sensor.
    "temperature": QuantityCheck(("timing",), parts=PARTS),
    # Irregular quantities, and quantities that other checks process.
    **dict.fromkeys(("rain", "snow_depth", "acceleration", BATTERY_VOLTAGE, BATTERY_LEVEL, SIGNAL_STRENGTH), NO_CHECKS),
    **dict.fromkeys((*SCENE_QUANTITIES, *VELOCITY_MAP_QUANTITIES), NO_CHECKS),
}
# Checks of the quantities that a site file declares.
DECLARED_QUANTITY_CHECKS: Final = QuantityCheck(("timing",))


@dataclass(frozen=True, slots=True)
class WatchedSeries:
    """A stored series that anomaly detectors process."""

    series_id: int
    station: Station
    spec: SeriesSpec
    quantity: str

    @property
    def is_regular(self) -> bool:
        """Whether gaps are anomalies: the quantity is built in, and an instrument measures at an interval."""
        is_known = CHECKS_BY_QUANTITY.get(self.quantity, NO_CHECKS) is not NO_CHECKS
        return is_known and not self.spec.by_hand and not self.spec.source

    @property
    def label(self) -> str:
        """`STATION.quantity`."""
        return f"{self.station.id}.{self.quantity}"


@dataclass(frozen=True, slots=True)
class ForecastGroup:
    """Series of one kind and one unit that are forecast.

    Attributes:
        name: `MOTION_GROUP` or a key of `STATE_GROUPS`.
        unit: the unit of the series.
        series: at least one series.
    """

    name: str
    unit: str
    series: tuple[WatchedSeries, ...]


@dataclass(frozen=True, slots=True)
class SeriesGroup:
    """Series that detectors compare with each other: the motion of all stations, or one quantity at one interval.

    Attributes:
        name: `MOTION_GROUP`, or the quantity and its interval.
        step_s: the interval, in seconds.
        watch: checks of the series.
        series: at least one series.
    """

    name: str
    step_s: float
    watch: QuantityCheck
    series: tuple[WatchedSeries, ...]


def group_forecast_series(site: Site, ids: Mapping[tuple[str, str], int]) -> list[ForecastGroup]:
    """Return the stored series that are forecast: motion first, then the groups of `STATE_GROUPS`.

    A series that is the motion of its station is in the group of motion only. Of a series with a corrected copy, only
    the copy is forecast. The arguments are those of `find_motion`.
    """
    motion = find_motion(site, ids)
    motion_ids = {series.series_id for series in motion}
    groups = {MOTION_GROUP: motion}
    for name, quantities in STATE_GROUPS.items():
        groups[name] = [
            WatchedSeries(ids[station.id, spec.quantity], station, spec, spec.quantity)
            for station in site.stations
            for spec in station.series
            if spec.quantity in quantities
            and not spec.corrected_as
            and ids.get((station.id, spec.quantity)) not in {None, *motion_ids}
        ]
    found = []
    for name, members in groups.items():
        for unit in dict.fromkeys(series.spec.unit for series in members):
            same_unit = tuple(series for series in members if series.spec.unit == unit)
            found.append(ForecastGroup(name, unit, same_unit))
    return found


def number_declared_series(site: Site) -> dict[tuple[str, str], int]:
    """Return a number for each declared series, by station and quantity.

    The functions of this module accept the numbers in place of ids of stored series, and then return what they will
    return once every declared series has readings.
    """
    declared = [(station.id, spec.quantity) for station in site.stations for spec in station.series]
    return {place: number for number, place in enumerate(declared)}


def find_motion(site: Site, ids: Mapping[tuple[str, str], int]) -> list[WatchedSeries]:
    """Return the motion series of each station: one scalar, or else east and north.

    Args:
        site: the site.
        ids: ids of the stored series, by station and quantity.
    """
    motion = []
    for station in site.stations:
        scalars = [quantity for quantity in SCALARS if (station.id, quantity) in ids]
        components = [quantity for quantity in COMPONENTS if (station.id, quantity) in ids]
        for quantity in scalars[:1] or components:
            spec = station.find_series(quantity)
            if spec is not None and not spec.corrected_as:
                motion.append(WatchedSeries(ids[station.id, quantity], station, spec, quantity))
    return motion


def find_watched_motion(site: Site, ids: Mapping[tuple[str, str], int]) -> list[WatchedSeries]:
    """Return the motion series that detectors process together, with the step `Site.watched_step_s`.

    Series with a longer interval are left out, and series that a person types unless there are no others. The
    arguments are those of `find_motion`.
    """
    step_s = site.watched_step_s or 0.0
    has_only_manual_series = all(spec.by_hand for spec in site.modelled_motion_series)
    stations = {station.id: station for station in site.stations}
    watched_ids = {}
    for (name, quantity), series_id in ids.items():
        spec = stations[name].find_series(quantity) if name in stations else None
        if spec is None or spec.interval_s > step_s:
            continue
        if has_only_manual_series or not spec.by_hand:
            watched_ids[name, quantity] = series_id
    return find_motion(site, watched_ids)


def list_groups(site: Site, ids: Mapping[tuple[str, str], int]) -> list[SeriesGroup]:
    """Return the groups of series that detectors process, motion first. The arguments are those of `find_motion`.

    Series from scenes are irregular and left out. Series that a person types have their own check and are left out,
    except motion series. Motion series that a person types, or with an interval above one day, are groups of their own
    next to faster instruments.
    """
    motion = find_watched_motion(site, ids)
    grouped_ids = {watched.series_id for watched in motion}
    motion_ids = {watched.series_id for watched in find_motion(site, ids)}
    stations = {station.id: station for station in site.stations}
    others: dict[tuple[str, float], list[WatchedSeries]] = {}
    for (name, quantity), series_id in sorted(ids.items()):
        station = stations.get(name)
        if station is None or series_id in grouped_ids:
            continue
        spec = station.find_series(quantity)
        if spec is None or spec.source or (spec.by_hand and series_id not in motion_ids):
            continue
        if CHECKS_BY_QUANTITY.get(quantity, DECLARED_QUANTITY_CHECKS).checks:
            watched = WatchedSeries(series_id, station, spec, quantity)
            others.setdefault((quantity, spec.interval_s), []).append(watched)
    groups = []
    if motion and site.watched_step_s is not None:
        groups.append(SeriesGroup(MOTION_GROUP, site.watched_step_s, MOTION_CHECKS, tuple(motion)))
    for (quantity, interval_s), series in others.items():
        name = f"{quantity} every {interval_s:g} s"
        groups.append(
            SeriesGroup(name, interval_s, CHECKS_BY_QUANTITY.get(quantity, DECLARED_QUANTITY_CHECKS), tuple(series))
        )
    return groups
