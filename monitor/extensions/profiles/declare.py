"""[[profile]] of a site file: the series of an instrument by depth, and those that are made of them."""

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from monitor.config.site_schema import QuantityTable, SeriesTable, Table
from monitor.domain.errors import ConfigError
from monitor.domain.instants import format_duration
from monitor.domain.quantities import QUANTITIES, UNITS
from monitor.domain.site import Site, StationId, once_per_record
from monitor.domain.terms import Duration, Faults, Section, read_toml
from monitor.extensions.profiles.reduction import FACES, OF_STATE, Profile, list_names

DEPTHS: Final = "depth_count"  # how many came; with each value stands the whole profile
DISPLACEMENT: Final = "displacement"  # of the end that is not fixed
SLIP_RATE: Final = "slip_rate"  # across the depth of slip
MOST: Final = 500  # depths
NEAR_M: Final = 0.006  # so near are depths that are the same: 2 ft are declared as 0.61 m
MOST_READ: Final = 20_000  # readings for one profile
USUAL_WITHIN_S: Final = 43_200.0
USUAL_READINGS: Final = {"probe": 3.5}  # in a line of the rate
OFTEN: Final = 24.0  # the same of what reads by itself
Depth = Annotated[float, Field(ge=0.0, le=3000.0)]
Kind: TypeAlias = Literal["probe", "in_place", "shape_array", "strain", "extensometer", "piezometer", "thermistor"]


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
    within_s: Duration | None = Field(None, alias="within", description="how near the readings of one profile lie")
    window_s: Duration | None = Field(None, alias="window", description="the time whose readings make a rate")


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
    made = {DEPTHS: "1"} | ({} if profile.kind in OF_STATE else {DISPLACEMENT: "mm", SLIP_RATE: "mm/day"})
    for quantity, unit in (dict.fromkeys(list_names(profile), table.unit) | made).items():
        yield SeriesTable.model_construct(
            **{key: field.get_default() for key, field in SeriesTable.model_fields.items()}
            | {"quantity": quantity, "unit": unit, "interval_s": table.interval_s}
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
    profile = Profile(
        table.station,
        table.kind,
        depths,
        tuple(gaps if table.length_m is None else [table.length_m] * len(depths)),
        table.unit,
        axes=table.axes,
        constant=table.constant,
        fixed=table.fixed,
        zero=None if table.zero is None else dt.datetime.combine(table.zero, dt.time(), dt.UTC),
        stable_m=table.stable_m,
        twist_deg=table.twist_deg,
        within_s=table.within_s or min(table.interval_s / 2.0, USUAL_WITHIN_S),
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
            raise ConfigError(
                f"{where}.last_m: by {table.every_m:g} m it would be {depths[-1]:g}; got {table.last_m:g}"
            )
    if not 2 <= len(depths) <= MOST or any(upper >= lower for upper, lower in pairwise(depths)):
        raise ConfigError(f"{where}.depths_m: expected 2 to {MOST} depths downwards, or first_m, last_m and every_m")
    return depths


@once_per_record
def list_profiles(site: Site) -> Sequence[Profile]:
    """The profiles of a site."""
    return read_profiles(site.source, site.id)


def read_profiles(text: str, name: str) -> Sequence[Profile]:
    """The profiles of the text of a site file that is in force."""
    if "profile" not in text:
        return ()
    return [make_profile(ProfileTable.model_validate(one), name) for one in read_toml(text, name).get("profile", ())]
