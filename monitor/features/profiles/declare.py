"""Section [[profile]] of a site file: an instrument with readings at many depths of a borehole.

Each depth is a series of the station. Further series are calculated from all depths, such as the slip rate.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

from pydantic import Field, create_model

from monitor.api.errors import ConfigError
from monitor.api.settings import Duration, Faults, Section, make_record, read_toml
from monitor.api.sites import (
    DEPTH_PREFIX,
    QUANTITIES,
    UNITS,
    QuantityTable,
    SeriesTable,
    Site,
    StationId,
    Table,
)
from monitor.api.text import format_duration

# What an instrument reads at each depth, for its axis A and its axis B. Both faces of a probe are read, 180 deg apart.
FACES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "probe": (("a0", "a180"), ("b0", "b180")),
    "in_place": (("a",), ("b",)),
    "shape_array": (("a",), ("b",)),
    "strain": (("fibre",),),
    "extensometer": (("anchor",),),
    "piezometer": (("pressure",),),
    "thermistor": (("temperature",),),
}
# Instruments whose readings are no displacement.
STATE_KINDS: Final = frozenset({"piezometer", "thermistor"})

# Quantities that are calculated from the readings of a profile, with their units.
DEPTH_COUNT: Final = "depth_count"  # number of depths with a reading; its `extra` contains the whole profile
DISPLACEMENT: Final = "displacement"  # of the end that is not fixed
SLIP_RATE: Final = "slip_rate"  # across the depth of slip
CALCULATED_UNITS: Final = {DEPTH_COUNT: "1", DISPLACEMENT: "mm", SLIP_RATE: "mm/day"}

MAX_DEPTHS: Final = 500
# Readings in the window of one profile. They are held in memory.
MAX_READINGS: Final = 200_000
# Depths that differ by less are the same: 2 ft are declared as 0.61 m.
SAME_DEPTH_M: Final = 0.006
DEFAULT_WITHIN_S: Final = 43_200.0
# Default length of `window`, in intervals: for probes, which people read, and for instruments that read by themselves.
PROBE_WINDOW_INTERVALS: Final = 3.5
AUTOMATIC_WINDOW_INTERVALS: Final = 24.0

Depth = Annotated[float, Field(ge=0.0, le=3000.0)]
Kind: TypeAlias = Literal["probe", "in_place", "shape_array", "strain", "extensometer", "piezometer", "thermistor"]


@dataclass(frozen=True, slots=True)
class Profile:
    """A [[profile]] of a site file, with its defaults filled in.

    A *place* is the position of a depth in `depths_m`.
    """

    station: str
    kind: str
    depths_m: tuple[float, ...]  # downwards
    lengths_m: tuple[float, ...]  # by place: length of the interval that is measured, towards the fixed end
    unit: str
    axes: int = 1
    constant: float = 0.0  # reading at 90 deg; 0 if `unit` is a unit of length, angle or strain
    fixed: str = "bottom"
    zero: dt.datetime | None = None
    stable_m: tuple[float, float] | None = None
    # Pairs of depth in m, and azimuth of the groove at this depth against that of the reference.
    twist_deg: tuple[tuple[float, float], ...] = ()
    within_s: float = 0.0
    window_s: float = 0.0
    interval_s: float = 0.0

    @property
    def faces(self) -> list[str]:
        """Names of the readings at each depth, such as a0 and a180."""
        return [face for axis in FACES[self.kind][: self.axes] for face in axis]

    @property
    def is_paired(self) -> bool:
        """Whether each axis is read twice, the second time turned by 180 deg."""
        return self.kind == "probe"

    @property
    def places_from_fixed_end(self) -> Sequence[int]:
        """Places of the depths, starting at the fixed end."""
        places = range(len(self.depths_m))
        return places[::-1] if self.fixed == "bottom" else places

    def name_quantity(self, face: str, place: int) -> str:
        """Return the name of the quantity of a reading at a depth.

        >>> profile = Profile("I1", "probe", (0.5, 1.0), (0.5, 0.5), "mm")
        >>> profile.name_quantity("a180", 0), profile.name_quantity("a180", 1)
        ('depth_a180_0m5', 'depth_a180_1m')
        """
        depth_m = self.depths_m[place]
        depth = f"{depth_m:g}m" if depth_m.is_integer() else f"{depth_m:g}".replace(".", "m")
        return f"{DEPTH_PREFIX}{face}_{depth}"

    def bounds_m(self, place: int) -> tuple[float, float]:
        """Return the upper and the lower end of the interval that is measured at a place."""
        depth_m = self.depths_m[place]
        length_m = self.lengths_m[place]
        return (depth_m, depth_m + length_m) if self.fixed == "bottom" else (depth_m - length_m, depth_m)


@lru_cache(maxsize=256)
def list_quantities(profile: Profile) -> tuple[str, ...]:
    """Return the quantities of the readings at all depths, face by face."""
    return tuple(profile.name_quantity(face, place) for face in profile.faces for place in range(len(profile.depths_m)))


@lru_cache(maxsize=256)
def _collect_quantities(profile: Profile) -> frozenset[str]:
    return frozenset(list_quantities(profile))


def is_read(profile: Profile, quantity: str) -> bool:
    """Return whether a quantity is a reading at one of the depths."""
    return quantity in _collect_quantities(profile)


class DerivedValue(NamedTuple):
    """A value computed from a profile; None if it is unknown.

    A value with flags is stored, and no criterion uses it. It lowers the coverage of the site, because the newest
    survey gives no usable value.
    """

    quantity: str
    value: float | None
    sigma: float | None = None
    extra: str | None = None
    flags: tuple[str, ...] = ()


class ProfileTable(Section):
    """Section [[profile]]. It declares an instrument in a borehole and the series of its depths."""

    station: StationId = Field(description="id of the borehole, which is a [[station]]")
    kind: Kind = Field(description="kind of instrument")
    unit: str = Field(min_length=1, max_length=32, description="unit of the readings: mm, mrad, deg, digit, kPa, ...")
    constant: float = Field(
        0.0, ge=0.0, description="reading at 90 deg, if `unit` is not a unit of length, angle or strain"
    )
    axes: Literal[1, 2] = Field(1, description="1: axis A; 2: also axis B, 90 deg clockwise of A")
    depths_m: tuple[Depth, ...] = Field(
        (), description="depths that are read; alternative to first_m, last_m and every_m"
    )
    first_m: Depth = Field(0.0, description="uppermost depth")
    last_m: Depth = Field(0.0, description="lowest depth")
    every_m: float = Field(0.5, gt=0.0, description="distance between depths")
    length_m: float | None = Field(
        None, gt=0.0, description="length of the sensor or probe; default: distance to the next depth"
    )
    fixed: Literal["bottom", "top"] = Field("bottom", description="end that does not move")
    zero: dt.date | None = Field(
        None, description="the first survey on or after this day (UTC) is the zero reading; default: the first"
    )
    stable_m: tuple[Depth, Depth] | None = Field(
        None, description="range of depths that do not move; a shift there is subtracted"
    )
    twist_deg: tuple[tuple[Depth, float], ...] = Field(
        (), description="pairs of depth and azimuth of groove A, clockwise"
    )
    interval_s: Duration = Field(alias="interval", description="time between surveys")
    within_s: Duration | None = Field(
        None, alias="within", description="the readings of a survey lie within this time; at most half of `interval`"
    )
    window_s: Duration | None = Field(None, alias="window", description="time over which a rate is computed")


_ProfileSeriesTable: Final = create_model("_ProfileSeriesTable", __base__=SeriesTable, is_calculated=(bool, False))


def expand(file: Table, name: str) -> Table:
    """Return the tables of a site file with the quantities and series of its profiles added.

    Args:
        file: All tables of the site file.
        name: Name of the file, for error messages.

    Raises:
        ConfigError: A profile is invalid, or contradicts its station or another profile.
    """
    faults = Faults()
    added: dict[str, list[Table]] = {}
    quantities: dict[str, Table] = {}
    stations = {s.id: s for s in file.station}
    for index, table in enumerate(file.profile):
        where = f"{name}: profile[{index}]"
        with faults.gathered():
            if table.station not in stations or table.station in added:
                raise ConfigError(f"{where}.station: expected a [[station]] of this file with one profile")
            series = _list_series(table, make_profile(table, where))
            declared = {spec.quantity for spec in stations[table.station].series}
            duplicates = declared & {spec.quantity for spec in series}
            if duplicates:
                raise ConfigError(
                    f"{where}: the station also declares the series {min(duplicates)}: remove it from the [[station]]"
                )
            added[table.station] = series
            for spec in series:
                if spec.quantity in QUANTITIES:
                    continue
                quantity = quantities.setdefault(
                    spec.quantity, QuantityTable.model_validate({"name": spec.quantity, "unit": spec.unit})
                )
                if quantity.unit != spec.unit:
                    raise ConfigError(f"{where}.unit: expected {quantity.unit}, the unit of the other profiles")
    faults.raise_any()
    if not added:
        return file
    updated = [
        station.model_copy(update={"series": (*station.series, *added.get(station.id, ()))}) for station in file.station
    ]
    return file.model_copy(update={"station": tuple(updated), "quantity": (*file.quantity, *quantities.values())})


def _list_series(table: Table, profile: Profile) -> list[Table]:
    """Return the series of a profile: the readings at all depths, and the calculated series."""
    calculated = CALCULATED_UNITS
    if profile.kind in STATE_KINDS:
        calculated = {DEPTH_COUNT: CALCULATED_UNITS[DEPTH_COUNT]}
    units = dict.fromkeys(list_quantities(profile), table.unit) | calculated
    defaults = {key: field.get_default() for key, field in _ProfileSeriesTable.model_fields.items()}
    return [
        _ProfileSeriesTable.model_construct(
            **{
                **defaults,
                "quantity": quantity,
                "unit": unit,
                "interval_s": table.interval_s,
                "is_calculated": quantity in calculated,
            }
        )
        for quantity, unit in units.items()
    ]


def make_profile(table: Table, where: str) -> Profile:
    """Return the profile that a table declares.

    Args:
        table: The table.
        where: File and position of the table, for error messages.

    Raises:
        ConfigError: A value is invalid.
    """
    depths = _list_depths(table, where)
    canonical = UNITS.get(table.unit, (table.unit,))[0]
    fits = {"extensometer": {"mm"}, "strain": {"mm", "microstrain"}}.get(table.kind, {"mm", "mrad"})
    if table.kind not in STATE_KINDS and not table.constant and canonical not in fits:
        raise ConfigError(f"{where}.unit: expected one of {', '.join(sorted(fits))}, or constant, got {table.unit!r}")
    if table.axes > len(FACES[table.kind]) or (table.twist_deg and table.axes == 1):
        raise ConfigError(f"{where}.axes: {table.kind} has one axis; twist_deg needs both")
    if any(upper[0] >= lower[0] for upper, lower in pairwise(table.twist_deg)):
        raise ConfigError(f"{where}.twist_deg: expected depths downwards")
    if table.stable_m and not any(table.stable_m[0] <= depth_m <= table.stable_m[1] for depth_m in depths):
        raise ConfigError(f"{where}.stable_m: expected a range with depths that are read")
    gaps = [lower - upper for upper, lower in pairwise(depths)]
    gaps = [*gaps, gaps[-1]] if table.fixed == "bottom" else [gaps[0], *gaps]
    intervals = PROBE_WINDOW_INTERVALS if table.kind == "probe" else AUTOMATIC_WINDOW_INTERVALS
    window_s = table.window_s or intervals * table.interval_s
    profile = make_record(
        Profile,
        table,
        depths_m=depths,
        lengths_m=tuple(gaps if table.length_m is None else [table.length_m] * len(depths)),
        zero=None if table.zero is None else dt.datetime.combine(table.zero, dt.time(), dt.UTC),
        within_s=min(table.within_s or DEFAULT_WITHIN_S, table.interval_s / 2.0),
        window_s=window_s,
    )
    if len(depths) * len(profile.faces) * window_s / table.interval_s > MAX_READINGS:
        raise ConfigError(
            f"{where}.window: expected a shorter time, {format_duration(window_s)} contains more than {MAX_READINGS} "
            "readings"
        )
    return profile


def _list_depths(table: Table, where: str) -> tuple[float, ...]:
    depths: tuple[float, ...] = table.depths_m
    if not depths:
        count = round((table.last_m - table.first_m) / table.every_m)
        depths = tuple(round(table.first_m + i * table.every_m, 3) for i in range(min(count, MAX_DEPTHS) + 1))
        if 0 < count < MAX_DEPTHS and abs(depths[-1] - table.last_m) > SAME_DEPTH_M:
            raise ConfigError(f"{where}.last_m: expected {depths[-1]:g}, as every_m is {table.every_m:g} m")
    if not 2 <= len(depths) <= MAX_DEPTHS or any(upper >= lower for upper, lower in pairwise(depths)):
        raise ConfigError(
            f"{where}.depths_m: expected 2 to {MAX_DEPTHS} depths downwards, or first_m, last_m and every_m"
        )
    return depths


def list_profiles(site: Site) -> Sequence[Profile]:
    """Return the profiles of a site."""
    return read_profiles(site.source, site.id)


def map_profiles(site: Site) -> Mapping[str, Profile]:
    """Return the profiles of a site by their station."""
    return {profile.station: profile for profile in list_profiles(site)}


@lru_cache(maxsize=64)
def read_profiles(text: str, name: str) -> tuple[Profile, ...]:
    """Return the profiles of a site file that was checked before.

    Ingest calls this function for each message, so the result is cached.

    Args:
        text: text of the site file.
        name: name of the site, for error messages.
    """
    if "profile" not in text:
        return ()
    tables = read_toml(text, name).get("profile", ())
    return tuple(make_profile(ProfileTable.model_validate(table), name) for table in tables)
