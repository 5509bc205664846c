"""[[profile]] of a site file: the series of an instrument by depth, and those that are made of them."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
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

FACES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {  # by axis
    "probe": (("a0", "a180"), ("b0", "b180")),
    "in_place": (("a",), ("b",)),
    "shape_array": (("a",), ("b",)),
    "strain": (("fibre",),),
    "extensometer": (("anchor",),),
    "piezometer": (("pressure",),),
    "thermistor": (("temperature",),),
}
OF_STATE: Final = frozenset({"piezometer", "thermistor"})  # their readings are no displacement
DEPTHS: Final = "depth_count"  # how many came; with each value stands the whole profile
DISPLACEMENT: Final = "displacement"  # of the end that is not fixed
SLIP_RATE: Final = "slip_rate"  # across the depth of slip
MADE: Final = {DEPTHS: "1", DISPLACEMENT: "mm", SLIP_RATE: "mm/day"}
MOST: Final = 500  # depths
NEAR_M: Final = 0.006  # so near are depths that are the same: 2 ft are declared as 0.61 m
MOST_READ: Final = 200_000  # readings in the window of one profile; they are held in memory
USUAL_WITHIN_S: Final = 43_200.0
USUAL_READINGS: Final = {"probe": 3.5}  # in a line of the rate
OFTEN: Final = 24.0  # the same of what reads by itself
Depth = Annotated[float, Field(ge=0.0, le=3000.0)]
Kind: TypeAlias = Literal["probe", "in_place", "shape_array", "strain", "extensometer", "piezometer", "thermistor"]


@dataclass(frozen=True, slots=True)
class Profile:
    """One instrument by depth, as its site file declares it; a length reaches from a depth to the fixed end."""

    station: str
    kind: str
    depths_m: tuple[float, ...]  # downwards
    lengths_m: tuple[float, ...]
    unit: str
    axes: int = 1
    constant: float = 0.0  # what it reads at 90 deg; 0: `unit` is one of length, angle or strain
    fixed: str = "bottom"
    zero: dt.datetime | None = None
    stable_m: tuple[float, float] | None = None
    twist_deg: tuple[tuple[float, float], ...] = ()  # depth, and azimuth of its groove from that of the reference
    within_s: float = 0.0
    window_s: float = 0.0
    interval_s: float = 0.0

    @property
    def faces(self) -> list[str]:
        """What is read at each depth."""
        return [face for axis in FACES[self.kind][: self.axes] for face in axis]

    @property
    def is_paired(self) -> bool:
        """Whether each axis is read twice, the second time turned by 180 deg."""
        return self.kind == "probe"

    @property
    def outwards(self) -> Sequence[int]:
        """Places of depths, from the fixed end on."""
        places = range(len(self.depths_m))
        return places[::-1] if self.fixed == "bottom" else places

    def name(self, face: str, place: int) -> str:
        """The quantity that is read at a depth.

        >>> Profile("I1", "probe", (0.5, 1.0), (0.5, 0.5), "mm").name("a180", 0)
        'depth_a180_0m5'
        """
        return (
            f"{DEPTH_PREFIX}{face}_{self.depths_m[place]:g}".replace(".", "m") + "m" * self.depths_m[place].is_integer()
        )

    def bounds_m(self, place: int) -> tuple[float, float]:
        """From where to where a step reaches, by depth."""
        depth, length = self.depths_m[place], self.lengths_m[place]
        return (depth, depth + length) if self.fixed == "bottom" else (depth - length, depth)


@lru_cache(maxsize=256)
def list_names(profile: Profile) -> tuple[str, ...]:
    """The quantities that are read at all depths, face by face."""
    return tuple(profile.name(face, place) for face in profile.faces for place in range(len(profile.depths_m)))


@lru_cache(maxsize=256)
def _set_names(profile: Profile) -> frozenset[str]:
    return frozenset(list_names(profile))


def is_read(profile: Profile, quantity: str) -> bool:
    """Return whether a quantity is read at one of the depths."""
    return quantity in _set_names(profile)


class DerivedValue(NamedTuple):
    """A value computed from a profile; None if it is unknown.

    A value with flags is stored and used by no criterion: the site sees that the newest survey says nothing about it.
    """

    quantity: str
    value: float | None
    sigma: float | None = None
    extra: str | None = None
    flags: tuple[str, ...] = ()


class ProfileTable(Section):
    """[[profile]]: one instrument by depth in a borehole, whose series it declares."""

    station: StationId = Field(description="the borehole, a [[station]]")
    kind: Kind = Field(description="the instrument")
    unit: str = Field(min_length=1, max_length=32, description="of what is read: mm, mrad, deg, digit, kPa, ...")
    constant: float = Field(0.0, ge=0.0, description="what the instrument reads at 90 deg, where `unit` is no angle")
    axes: Literal[1, 2] = Field(1, description="A alone, or A and B, which lies 90 deg clockwise of A")
    depths_m: tuple[Depth, ...] = Field((), description="depths that are read; or the next three keys")
    first_m: Depth = Field(0.0, description="the first depth")
    last_m: Depth = Field(0.0, description="the last depth")
    every_m: float = Field(0.5, gt=0.0, description="from depth to depth")
    length_m: float | None = Field(None, gt=0.0, description="of a sensor or probe; default to the next depth")
    fixed: Literal["bottom", "top"] = Field("bottom", description="the end that does not move")
    zero: dt.date | None = Field(None, description="the first profile from this day on (UTC) is 0; default the first")
    stable_m: tuple[Depth, Depth] | None = Field(None, description="depths that do not move: they show a bias")
    twist_deg: tuple[tuple[Depth, float], ...] = Field((), description="azimuth of the groove A by depth, clockwise")
    interval_s: Duration = Field(alias="interval", description="from profile to profile")
    within_s: Duration | None = Field(
        None, alias="within", description="how near its readings lie, at most half of `interval`"
    )
    window_s: Duration | None = Field(None, alias="window", description="the time whose readings make a rate")


_ProfileSeriesTable: Final = create_model("_ProfileSeriesTable", __base__=SeriesTable, is_calculated=(bool, False))


def expand(file: Table, name: str) -> Table:
    """The tables of a site file with the quantities and series of each profile; raises ConfigError."""
    faults = Faults()
    added: dict[str, list[Table]] = {}
    quantities: dict[str, Table] = {}
    stations = {s.id: s for s in file.station}
    for index, table in enumerate(file.profile):
        where = f"{name}: profile[{index}]"
        with faults.gathered():
            if table.station not in stations or table.station in added:
                raise ConfigError(f"{where}.station: expected a [[station]] of this file with one profile")
            profile = make_profile(table, where)
            series = [*_list_series(table, profile)]
            if doubles := {one.quantity for one in stations[table.station].series} & {one.quantity for one in series}:
                raise ConfigError(f"{where}: the station declares {min(doubles)} itself: leave it out there")
            added[table.station] = series
            for one in series:
                if one.quantity not in QUANTITIES:
                    same = quantities.setdefault(
                        one.quantity, QuantityTable.model_validate({"name": one.quantity, "unit": one.unit})
                    )
                    if same.unit != one.unit:
                        raise ConfigError(f"{where}.unit: expected {same.unit}, as the other profiles have it")
    faults.raise_any()
    updated = [s.model_copy(update={"series": (*s.series, *added.get(s.id, ()))}) for s in file.station]
    return file.model_copy(
        update={"station": tuple(updated), "quantity": (*file.quantity, *quantities.values())} if added else {}
    )


def _list_series(table: Table, profile: Profile) -> Iterator[Table]:
    made = {DEPTHS: MADE[DEPTHS]} if profile.kind in OF_STATE else MADE
    for quantity, unit in (dict.fromkeys(list_names(profile), table.unit) | made).items():
        yield _ProfileSeriesTable.model_construct(
            **{key: field.get_default() for key, field in _ProfileSeriesTable.model_fields.items()}
            | {"quantity": quantity, "unit": unit, "interval_s": table.interval_s, "is_calculated": quantity in made}
        )


def make_profile(table: Table, where: str) -> Profile:
    """The profile of a table; raises ConfigError."""
    depths = _list_depths(table, where)
    canonical = UNITS.get(table.unit, (table.unit,))[0]
    fits = {"extensometer": {"mm"}, "strain": {"mm", "microstrain"}}.get(table.kind, {"mm", "mrad"})
    if table.kind not in OF_STATE and not table.constant and canonical not in fits:
        raise ConfigError(f"{where}.unit: expected one of {', '.join(sorted(fits))}, or constant, got {table.unit!r}")
    if table.axes > len(FACES[table.kind]) or (table.twist_deg and table.axes == 1):
        raise ConfigError(f"{where}.axes: {table.kind} has one axis; twist_deg needs both")
    if any(one[0] >= other[0] for one, other in pairwise(table.twist_deg)):
        raise ConfigError(f"{where}.twist_deg: expected depths downwards")
    if table.stable_m and not any(table.stable_m[0] <= one <= table.stable_m[1] for one in depths):
        raise ConfigError(f"{where}.stable_m: expected a range with depths that are read")
    gaps = [lower - upper for upper, lower in pairwise(depths)]
    gaps = [*gaps, gaps[-1]] if table.fixed == "bottom" else [gaps[0], *gaps]
    window_s = table.window_s or USUAL_READINGS.get(table.kind, OFTEN) * table.interval_s
    profile = make_record(
        Profile,
        table,
        depths_m=depths,
        lengths_m=tuple(gaps if table.length_m is None else [table.length_m] * len(depths)),
        zero=None if table.zero is None else dt.datetime.combine(table.zero, dt.time(), dt.UTC),
        within_s=min(table.within_s or USUAL_WITHIN_S, table.interval_s / 2.0),
        window_s=window_s,
    )
    if len(depths) * len(profile.faces) * window_s / table.interval_s > MOST_READ:
        raise ConfigError(f"{where}.window: {format_duration(window_s)} reads more than {MOST_READ} readings each time")
    return profile


def _list_depths(table: Table, where: str) -> tuple[float, ...]:
    depths: tuple[float, ...] = table.depths_m
    if not depths:
        count = round((table.last_m - table.first_m) / table.every_m)
        depths = tuple(round(table.first_m + i * table.every_m, 3) for i in range(min(count, MOST) + 1))
        if 0 < count < MOST and abs(depths[-1] - table.last_m) > NEAR_M:
            raise ConfigError(f"{where}.last_m: by {table.every_m:g} m it would be {depths[-1]:g}")
    if not 2 <= len(depths) <= MOST or any(upper >= lower for upper, lower in pairwise(depths)):
        raise ConfigError(f"{where}.depths_m: expected 2 to {MOST} depths downwards, or first_m, last_m and every_m")
    return depths


def list_profiles(site: Site) -> Sequence[Profile]:
    """Return the profiles of a site."""
    return read_profiles(site.source, site.id)


def map_profiles(site: Site) -> Mapping[str, Profile]:
    """Return the profiles of a site by their station."""
    return {profile.station: profile for profile in list_profiles(site)}


@lru_cache(maxsize=64)
def read_profiles(text: str, name: str) -> tuple[Profile, ...]:
    """Return the profiles of a site file that is in force.

    Ingest calls this function for each message, so the result is cached.

    Args:
        text: text of the site file.
        name: name of the site, for error messages.
    """
    if "profile" not in text:
        return ()
    tables = read_toml(text, name).get("profile", ())
    return tuple(make_profile(ProfileTable.model_validate(table), name) for table in tables)
