"""What detectors of anomalies look at: which checks and which parts of `rules` make sense for which quantity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from monitor.sites.quantities import (
    BATTERY_LEVEL,
    BATTERY_VOLTAGE,
    MODELLED_MOTION_PREFIXES,
    QUANTITIES,
    SCENE_QUANTITIES,
    SIGNAL_STRENGTH,
    VELOCITY_MAP_QUANTITIES,
)
from monitor.sites.records import SeriesSpec, Site, Station
from monitor.text.names import split_table

# endings of the keys of notices while which an anomaly of the instrument is explained: it is no movement
NOT_WELL: Final = frozenset({"stale", "flagged", "stuck", "clock", "battery", "snow_ice", "fix", "satellites"})
CONFIRMED, DISMISSED, WITHDRAWN = "confirmed", "dismissed", "withdrawn"
VERDICTS: Final = (CONFIRMED, DISMISSED, WITHDRAWN)  # who withdraws a word says nothing any more
ANOMALY_CAUSES: Final = split_table("""
    unknown; movement; spike; step; drift; stuck; noise; gap; clock; unit; battery; snow_ice; weather; work;
    maintenance; common_mode
""")


SCALARS: Final = (
    "displacement_downslope",
    "displacement_los",
    "displacement_distance",
    "displacement",
    "crack_opening",
)
COMPONENTS: Final = ("displacement_east", "displacement_north")
MOTION_GROUP: Final = (
    "motion"  # the group of what stations are there for: thresholds are counted on the site's own record
)


@dataclass(frozen=True, slots=True)
class QuantityCheck:
    """What looks at a quantity."""

    checks: tuple[str, ...] = ()  # ids of certain checks
    units: str = ""  # what its units are of, for `unit-jump`; empty: they are not judged
    parts: tuple[
        str, ...
    ] = ()  # of `rules`, at `OTHER_QUANTITIES_FACTOR` its thresholds; with `level`, `persistence-z` too
    moves: bool = False  # it is motion of the ground: what its series do together is called movement


# thresholds of displacement are so many times as high for what is no motion of the site: nobody counts there
OTHER_QUANTITIES_FACTOR: Final = 3.0
# of `rules`; sums (`creep`, `drift`) take for a drift what water and sun do by themselves
PARTS: Final = ("level", "trend", "bend", "noise")
_ALL: Final = ("flatline", "replay", "unit-jump", "timing")
# a sensor of few different readings repeats whole stretches by chance
_SLOW: Final = ("flatline", "unit-jump", "timing")
MOVES: Final = QuantityCheck(_ALL, "length", PARTS, moves=True)
NOTHING: Final = QuantityCheck()
# A check or a part is off where it said 0.1 or more per sensor-month of measured records at `OTHER_QUANTITIES_FACTOR`
# (packages/lab/benchmarks/results/anomalies-quantities.json). No record of tilt, strain or earth pressure is at hand.
WATCHED: Final[Mapping[str, QuantityCheck]] = {
    **dict.fromkeys((name for name in QUANTITIES if name.startswith(MODELLED_MOTION_PREFIXES)), MOVES),
    **dict.fromkeys(("tilt", "tilt_x", "tilt_y"), QuantityCheck(_ALL, "angle", PARTS, moves=True)),
    "strain": QuantityCheck(_ALL, "share", PARTS, moves=True),
    "pore_pressure": QuantityCheck(_SLOW, "pressure", PARTS),
    "groundwater_level": QuantityCheck(_SLOW, "length", PARTS),
    "reservoir_level": QuantityCheck(_SLOW, "length", PARTS),
    "water_level": QuantityCheck(_SLOW, "length", PARTS),
    "earth_pressure": QuantityCheck(_SLOW, "pressure", PARTS),
    "air_pressure": QuantityCheck(_SLOW, "pressure", PARTS),
    "soil_moisture": QuantityCheck(_SLOW, "share"),  # rain makes it jump
    # its scales have another zero, and it stands still within the resolution of its sensor
    "temperature": QuantityCheck(("timing",), parts=PARTS),
    # now and then, or judged by what reads them
    **dict.fromkeys(("rain", "snow_depth", "acceleration", BATTERY_VOLTAGE, BATTERY_LEVEL, SIGNAL_STRENGTH), NOTHING),
    **dict.fromkeys((*SCENE_QUANTITIES, *VELOCITY_MAP_QUANTITIES), NOTHING),
}
OWN: Final = QuantityCheck(("timing",))  # quantities that a site file names itself


@dataclass(frozen=True, slots=True)
class WatchedSeries:
    """A series that is looked at."""

    series_id: int
    station: Station
    spec: SeriesSpec
    quantity: str

    @property
    def is_regular(self) -> bool:
        """Whether a hole in it is named: its quantity is known, and an instrument measures it at an interval."""
        is_known = WATCHED.get(self.quantity, NOTHING) is not NOTHING
        return is_known and not self.spec.by_hand and not self.spec.source

    @property
    def label(self) -> str:
        """As it is named among the others."""
        return f"{self.station.id}.{self.quantity}"


@dataclass(frozen=True, slots=True)
class SeriesGroup:
    """Series that are neighbours of each other: on one interval, and of one quantity or the motion of all stations."""

    name: str  # `MOTION_GROUP`, or the quantity and its interval
    step_s: float  # the interval
    watch: QuantityCheck  # what looks at them
    series: tuple[WatchedSeries, ...]  # at least one


def is_forecast(spec: SeriesSpec) -> bool:
    """Whether a declared series can be one in which a station moves, as `find_motion` finds it."""
    return spec.quantity in (*SCALARS, *COMPONENTS)


def find_motion(site: Site, ids: Mapping[tuple[str, str], int]) -> list[WatchedSeries]:
    """The series in which the stations move: of each one scalar, or east and north.

    `site`: the declaration; `ids`: of the series that have readings, by station and quantity.
    """
    found = []
    for station in site.stations:
        scalar = next(((q,) for q in SCALARS if (station.id, q) in ids), ())
        for quantity in scalar or (q for q in COMPONENTS if (station.id, q) in ids):
            spec = station.find_series(quantity)
            if spec is not None and not spec.corrected_as:
                found.append(WatchedSeries(ids[station.id, quantity], station, spec, quantity))
    return found


def find_watched_motion(site: Site, ids: Mapping[tuple[str, str], int]) -> list[WatchedSeries]:
    """The motion that detectors look at together, each `watched_step_s`; arguments as those of `find_motion`."""
    step_s = site.watched_step_s or 0.0
    all_typed = all(spec.by_hand for spec in site.moving)
    stations = {station.id: station for station in site.stations}

    def belongs(name: str, quantity: str) -> bool:
        spec = stations[name].find_series(quantity) if name in stations else None
        return spec is not None and spec.interval_s <= step_s and (all_typed or not spec.by_hand)

    return find_motion(site, {key: series_id for key, series_id in ids.items() if belongs(*key)})


def list_groups(site: Site, ids: Mapping[tuple[str, str], int]) -> list[SeriesGroup]:
    """What is looked at of a site, its motion first; arguments as those of `find_motion`.

    What people type by hand has a check of its own, and what comes from scenes is not regular. Motion that a person
    types, or that comes more rarely than once a day, is a group of its own beside instruments that measure more often.
    """
    motion = find_watched_motion(site, ids)
    step_s, done = site.watched_step_s, {one.series_id for one in motion}
    moving = {one.series_id for one in find_motion(site, ids)}
    others: dict[tuple[str, float], list[WatchedSeries]] = {}
    stations = {station.id: station for station in site.stations}
    for (name, quantity), series_id in sorted(ids.items()):
        if series_id in done or (station := stations.get(name)) is None:
            continue
        spec = station.find_series(quantity)
        if spec is None or spec.source or (spec.by_hand and series_id not in moving):
            continue
        if WATCHED.get(quantity, OWN).checks:
            key = quantity, spec.interval_s
            others.setdefault(key, []).append(WatchedSeries(series_id, station, spec, quantity))
    groups = [] if step_s is None or not motion else [SeriesGroup(MOTION_GROUP, step_s, MOVES, tuple(motion))]
    return groups + [
        SeriesGroup(f"{quantity} every {interval_s:g} s", interval_s, WATCHED.get(quantity, OWN), tuple(series))
        for (quantity, interval_s), series in others.items()
    ]
