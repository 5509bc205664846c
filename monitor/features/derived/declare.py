"""[[derived]] and [[relative]] of a site file: series that are computed, checked when the file is read."""

import math
from collections.abc import Callable, Collection, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from pydantic import Field, create_model

from monitor.api.errors import ConfigError
from monitor.api.settings import Duration, Faults
from monitor.api.sites import QUANTITIES, Calculation, SeriesTable, StationId, Table, convert_difference
from monitor.api.text import format_duration
from monitor.features.derived.expression import LONGEST, Expression, read_expression
from monitor.features.derived.prisms import add_corrected
from monitor.features.derived.relative import EACH, WHOLE, add_relative
from monitor.features.derived.samples import Series
from monitor.features.derived.units import read_unit

ALIKE: Final = 1.5  # longest over shortest interval: beyond it a file says which reading stands for an instant
MOST_READ: Final = 2000  # readings for one value
DerivedTable: Final = create_model(
    "DerivedTable",
    __base__=SeriesTable,
    __doc__="[[derived]]: a series that is computed from others; it has all keys of a series.",
    station=(StationId, Field(description="whose series it is")),
    expression=(str, Field(max_length=LONGEST, description="such as G1.displacement_up - G2.displacement_up")),
    at=(str, Field("", description="the series whose instants it has; default the first one named")),
    within_s=(Duration | None, Field(None, alias="within", description="how near readings of the others lie")),
    hold_s=(Duration | None, Field(None, alias="hold", description="instead: how old their last readings may be")),
    every_s=(Duration | None, Field(None, alias="every", description="a value at each multiple of it, in UTC")),
    interval_s=(Duration | None, Field(None, alias="interval", description="default `every`, or that of `at`")),
    agree_within=(
        float,
        Field(0.0, ge=0.0, description="in `unit`: where what it rests on differs by more is an alarm"),
    ),
)
_RelativeTable: Final = create_model("_RelativeTable", __base__=DerivedTable, where=(str, ...))
_PlacedTable: Final = create_model(
    "_PlacedTable",
    __base__=SeriesTable,
    calculation=(Calculation | None, None),
    is_calculated=(bool, False),
    corrected_as=(str, ""),
)


def expand(file: Table, name: str) -> Table:
    """The tables of a site file with each calculated series among those of its station; raises ConfigError."""
    file, stands_in = add_relative(file, name, _RelativeTable)
    file, stands_in = add_corrected(file, name, _RelativeTable, stands_in)
    faults = Faults()
    measured = {(s.id, one.quantity): one for s in file.station for one in s.series}
    derived = {(one.station, one.quantity): one for one in file.derived}
    where = {place: getattr(one, "where", f"{name}: derived[{k}]") for k, (place, one) in enumerate(derived.items())}
    names, own, series = measured | derived, {q.unit for q in file.quantity}, {s.id: [*s.series] for s in file.station}
    units = {one.name: one.unit for one in (*file.quantity, *QUANTITIES.values())}
    instead = "there are: " + ", ".join(sorted(".".join(place) for place in names))

    def find_unit(place: Series) -> str | None:
        declared = names.get(_find_declared(place, names))
        if declared is None or declared.unit == "index":
            return None if declared is None else "index"
        return units.get(place[1])

    found: dict[Series, Expression] = {}
    for place, table in derived.items():
        with faults.gathered():
            if table.station not in series:
                raise ConfigError(f"{where[place]}.station: {table.station!r} is no [[station]] of this file")
            if place in measured or len(derived) < len(file.derived):
                raise ConfigError(f"{name}: derived: {'.'.join(place)} is declared twice")
            found[place] = _read(table, find_unit, own, where[place], instead)
    faults.raise_any()
    intervals_s = {place: table.interval_s for place, table in measured.items()}
    made: dict[Series, Any] = {}
    rests_on = {place: [_find_declared(each, names) for each in one.inputs] for place, one in found.items()}
    for place in _sort(rests_on, name):
        with faults.gathered():
            unit = units.get(place[1], derived[place].unit)
            made[place] = _complete(derived[place], found[place], intervals_s, unit, where[place])
        intervals_s[place] = made[place].interval_s if place in made else derived[place].interval_s or 0.0
    faults.raise_any()
    for (station, _), one in made.items():
        series[station].append(one)
    for (station, quantity), other in stands_in.items():
        series[station] = [
            _PlacedTable.model_construct(**dict(one) | {"corrected_as": other}) if one.quantity == quantity else one
            for one in series[station]
        ]
    return file.model_copy(
        update={"station": tuple(s.model_copy(update={"series": tuple(series[s.id])}) for s in file.station)}
    )


def _sort(rests_on: Mapping[Series, Collection[Series]], name: str) -> list[Series]:
    """Calculated series, each after those that it rests on."""
    try:
        return [place for place in TopologicalSorter(rests_on).static_order() if place in rests_on]
    except CycleError as error:
        circle = " <- ".join(".".join(place) for place in error.args[1])
        raise ConfigError(f"{name}: derived: {circle}: a series cannot rest on itself") from None


def _read(
    table: Table, find_unit: Callable[[Series], str | None], own: Collection[str], where: str, instead: str
) -> Expression:
    """The expression of a table, of which the unit fits."""
    try:
        found = read_expression(table.expression, find_unit, own, instead)
        wanted = read_unit(find_unit((table.station, table.quantity)) or table.unit, own)
    except ValueError as error:
        raise ConfigError(f"{where}.expression: {error}") from None
    if found.unit.powers != wanted.powers:
        raise ConfigError(f"{where}.expression: it comes to {found.unit.name}, and {table.quantity} is {wanted.name}")
    if table.agree_within and any(one.powers != wanted.powers for one in found.units):
        raise ConfigError(f"{where}.agree_within: expected series of one unit, such as those of a mean")
    return found


def _find_declared(place: Series, names: Mapping[Series, Any]) -> Series:
    """Where a series is declared: `displacement` covers the components that are measured, or less a reference."""
    station, quantity = place
    whole = (station, "displacement")
    covers = quantity.startswith("displacement_") and quantity in QUANTITIES and place not in names
    table = names.get(whole) if covers else None
    return place if table is None or type(table) is DerivedTable else whole


def _complete(table: Table, found: Expression, intervals_s: Mapping[Series, float], unit: str, where: str) -> Table:
    """The table of the calculated series, which is stored in a unit; its instants are those of the series `at`."""
    names = [".".join(place) for place in found.inputs]
    each_s = [intervals_s[_find_declared(place, intervals_s)] for place in found.inputs]
    _check_times(table, dict(zip(names, each_s, strict=True)), found.reach_s, where)
    first = names.index(table.at) if table.at else 0
    try:
        agree_within = abs(convert_difference(table.agree_within, table.unit, unit))
    except ValueError as error:
        raise ConfigError(f"{where}.unit: {error}") from None
    calculation = Calculation(
        table.expression if type(table) is DerivedTable else table.expression.replace(WHOLE, EACH),
        (names[first], *(one for one in names if one != names[first])),
        within_s=each_s[first] / 2.0 if table.within_s is None else table.within_s,
        hold_s=table.hold_s or 0.0,
        agree_within=agree_within,
        every_s=table.every_s or 0.0,
    )
    given = {key: getattr(table, key) for key in SeriesTable.model_fields}
    interval_s = table.interval_s or table.every_s or each_s[first]
    made = {"interval_s": interval_s, "calculation": calculation, "is_calculated": True}
    return _PlacedTable.model_construct(**given | made)


def _check_times(table: Table, intervals_s: Mapping[str, float], reach_s: float, where: str) -> None:
    """Refuse times that leave open which readings stand for an instant, or take too many; `intervals_s`: by input."""
    names, each_s = [*intervals_s], [*intervals_s.values()]
    if table.within_s is not None and table.hold_s is not None:
        raise ConfigError(f"{where}: expected within or hold, not both")
    if table.at and table.at not in names:
        raise ConfigError(f"{where}.at: expected a series of the expression ({', '.join(names)}), got {table.at!r}")
    if table.within_s is None and table.hold_s is None and max(each_s) > ALIKE * min(each_s):
        spans = ", ".join(f"{one} every {format_duration(s)}" for one, s in zip(names, each_s, strict=True))
        raise ConfigError(f"{where}: {spans}: expected within (how near a reading lies) or hold (how old it may be)")
    longest_s = table.max_silence_s or math.inf
    if table.every_s is not None and not min(each_s) <= table.every_s <= longest_s:
        ends = " to ".join(format_duration(s) for s in (min(each_s), longest_s) if s < math.inf)
        raise ConfigError(f"{where}.every: expected {ends} (interval of its inputs, max_silence)")
    slack_s = table.hold_s or table.within_s or 0.0
    if (count := round(sum((reach_s + 2.0 * slack_s) / one_s for one_s in each_s))) > MOST_READ:
        raise ConfigError(
            f"{where}: it reads {count} readings for each value; expected at most {MOST_READ}: a shorter time"
        )
