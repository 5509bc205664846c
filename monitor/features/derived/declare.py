"""Check the tables [[derived]] and [[relative]] of a site file, and add their calculated series to the stations."""

import math
from collections.abc import Callable, Collection, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from pydantic import Field, create_model

from monitor.api.errors import ConfigError
from monitor.api.settings import Duration, Faults
from monitor.api.sites import QUANTITIES, Calculation, SeriesTable, StationId, Table, convert_difference
from monitor.api.text import format_duration
from monitor.features.derived.expression import MAX_LENGTH, Expression, parse_expression
from monitor.features.derived.prisms import add_corrected
from monitor.features.derived.relative import EACH, WHOLE, add_relative
from monitor.features.derived.samples import Series
from monitor.features.derived.units import parse_unit

# If the longest interval of the inputs is more than this many times the shortest one, the table needs `within` or
# `hold`, because a reading near each instant cannot be expected.
MAX_INTERVAL_RATIO: Final = 1.5
MAX_READINGS: Final = 2000  # that one value is computed from
DerivedTable: Final = create_model(
    "DerivedTable",
    __base__=SeriesTable,
    __doc__="[[derived]]: a series that is computed from other series; it has all keys of a series.",
    station=(StationId, Field(description="station of the calculated series")),
    expression=(str, Field(max_length=MAX_LENGTH, description="such as G1.displacement_up - G2.displacement_up")),
    at=(str, Field("", description="series at whose instants values are computed; default: the first one named")),
    within_s=(
        Duration | None,
        Field(None, alias="within", description="greatest distance in time to the readings of other inputs"),
    ),
    hold_s=(
        Duration | None,
        Field(None, alias="hold", description="instead of `within`: greatest age of the last readings of other inputs"),
    ),
    every_s=(
        Duration | None,
        Field(None, alias="every", description="compute a value only at each multiple of this interval, in UTC"),
    ),
    interval_s=(
        Duration | None,
        Field(None, alias="interval", description="interval of the values; default: `every`, or that of `at`"),
    ),
    agree_within=(
        float,
        Field(0.0, ge=0.0, description="raise a health alarm if the inputs differ by more than this, in `unit`"),
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
    """Return the tables of a site file with each calculated series among the series of its station.

    Args:
        file: Tables of the site file.
        name: Name of the file in error messages.

    Raises:
        ConfigError: All faults of the calculated series.
    """
    file, replacements = add_relative(file, name, _RelativeTable)
    file, replacements = add_corrected(file, name, _RelativeTable, replacements)
    faults = Faults()
    measured = {(station.id, table.quantity): table for station in file.station for table in station.series}
    derived = {(table.station, table.quantity): table for table in file.derived}
    where = {
        place: getattr(table, "where", f"{name}: derived[{index}]")
        for index, (place, table) in enumerate(derived.items())
    }
    declared = measured | derived
    own_units = {quantity.unit for quantity in file.quantity}
    series_of_station = {station.id: [*station.series] for station in file.station}
    units = {quantity.name: quantity.unit for quantity in (*file.quantity, *QUANTITIES.values())}
    hint = "there are: " + ", ".join(sorted(".".join(place) for place in declared))

    def find_unit(place: Series) -> str | None:
        table = declared.get(_find_declared(place, declared))
        if table is None:
            return None
        return "index" if table.unit == "index" else units.get(place[1])

    expressions: dict[Series, Expression] = {}
    for place, table in derived.items():
        with faults.gathered():
            if table.station not in series_of_station:
                raise ConfigError(f"{where[place]}.station: {table.station!r} is no [[station]] of this file")
            if place in measured or len(derived) < len(file.derived):
                raise ConfigError(f"{name}: derived: {'.'.join(place)} is declared twice")
            expressions[place] = _parse_table(table, find_unit, own_units, where[place], hint)
    faults.raise_any()
    intervals_s = {place: table.interval_s for place, table in measured.items()}
    completed: dict[Series, Any] = {}
    inputs = {
        place: [_find_declared(series, declared) for series in expression.inputs]
        for place, expression in expressions.items()
    }
    for place in _sort(inputs, name):
        with faults.gathered():
            unit = units.get(place[1], derived[place].unit)
            completed[place] = _complete(derived[place], expressions[place], intervals_s, unit, where[place])
        is_complete = place in completed
        intervals_s[place] = completed[place].interval_s if is_complete else derived[place].interval_s or 0.0
    faults.raise_any()
    for (station, _), table in completed.items():
        series_of_station[station].append(table)
    for (station, quantity), corrected_as in replacements.items():
        series_of_station[station] = [
            _PlacedTable.model_construct(**dict(table) | {"corrected_as": corrected_as})
            if table.quantity == quantity
            else table
            for table in series_of_station[station]
        ]
    stations = tuple(
        station.model_copy(update={"series": tuple(series_of_station[station.id])}) for station in file.station
    )
    return file.model_copy(update={"station": stations})


def _sort(inputs: Mapping[Series, Collection[Series]], name: str) -> list[Series]:
    """Return the calculated series in an order in which each one follows its inputs.

    Args:
        inputs: Inputs of each calculated series.
        name: Name of the file in error messages.
    """
    try:
        return [place for place in TopologicalSorter(inputs).static_order() if place in inputs]
    except CycleError as error:
        cycle = " <- ".join(".".join(place) for place in error.args[1])
        raise ConfigError(f"{name}: derived: {cycle}: a series cannot depend on itself") from None


def _parse_table(
    table: Table, find_unit: Callable[[Series], str | None], own_units: Collection[str], where: str, hint: str
) -> Expression:
    """Return the expression of a table, whose unit is checked. The arguments are those of `parse_expression`.

    Args:
        where: Place of the table in error messages.
    """
    try:
        expression = parse_expression(table.expression, find_unit, own_units, hint)
        expected = parse_unit(find_unit((table.station, table.quantity)) or table.unit, own_units)
    except ValueError as error:
        raise ConfigError(f"{where}.expression: {error}") from None
    if expression.unit.powers != expected.powers:
        raise ConfigError(
            f"{where}.expression: the result has the unit {expression.unit.name}, but {table.quantity} needs "
            f"{expected.name}"
        )
    if table.agree_within and any(unit.powers != expected.powers for unit in expression.units):
        raise ConfigError(f"{where}.agree_within: expected series of one unit, such as those of a mean")
    return expression


def _find_declared(place: Series, declared: Mapping[Series, Any]) -> Series:
    """Return under which name a series is declared: `displacement` also declares the components of a station."""
    station, quantity = place
    whole = (station, "displacement")
    is_component = quantity.startswith("displacement_") and quantity in QUANTITIES and place not in declared
    table = declared.get(whole) if is_component else None
    # A table [[derived]] declares one series. Measured and relative displacement includes its components.
    return place if table is None or type(table) is DerivedTable else whole


def _complete(
    table: Table, expression: Expression, intervals_s: Mapping[Series, float], unit: str, where: str
) -> Table:
    """Return the table of a calculated series with the series `at`, its interval and its tolerances.

    Args:
        intervals_s: Interval of each declared series, seconds.
        unit: Unit in which the values are stored.
        where: Place of the table in error messages.
    """
    names = [".".join(place) for place in expression.inputs]
    input_intervals_s = [intervals_s[_find_declared(place, intervals_s)] for place in expression.inputs]
    _check_times(table, dict(zip(names, input_intervals_s, strict=True)), expression.reach_s, where)
    first = names.index(table.at) if table.at else 0
    try:
        agree_within = abs(convert_difference(table.agree_within, table.unit, unit))
    except ValueError as error:
        raise ConfigError(f"{where}.unit: {error}") from None
    calculation = Calculation(
        table.expression if type(table) is DerivedTable else table.expression.replace(WHOLE, EACH),
        (names[first], *(series for series in names if series != names[first])),
        within_s=input_intervals_s[first] / 2.0 if table.within_s is None else table.within_s,
        hold_s=table.hold_s or 0.0,
        agree_within=agree_within,
        every_s=table.every_s or 0.0,
    )
    values = {key: getattr(table, key) for key in SeriesTable.model_fields}
    values["interval_s"] = table.interval_s or table.every_s or input_intervals_s[first]
    values["calculation"] = calculation
    values["is_calculated"] = True
    return _PlacedTable.model_construct(**values)


def _check_times(table: Table, intervals_s: Mapping[str, float], reach_s: float, where: str) -> None:
    """Raise ConfigError if `within`, `hold`, `at` or `every` is not valid, or a value needs too many readings.

    Args:
        intervals_s: Interval of each input, seconds.
        reach_s: How far before the instant of a value the expression reads, seconds.
        where: Place of the table in error messages.
    """
    shortest_s = min(intervals_s.values())
    if table.within_s is not None and table.hold_s is not None:
        raise ConfigError(f"{where}: expected within or hold, not both")
    if table.at and table.at not in intervals_s:
        names = ", ".join(intervals_s)
        raise ConfigError(f"{where}.at: expected a series of the expression ({names}), got {table.at!r}")
    has_tolerance = table.within_s is not None or table.hold_s is not None
    if not has_tolerance and max(intervals_s.values()) > MAX_INTERVAL_RATIO * shortest_s:
        intervals = ", ".join(f"{name} every {format_duration(span_s)}" for name, span_s in intervals_s.items())
        raise ConfigError(
            f"{where}: {intervals}: expected within (greatest distance of a reading) or hold (its greatest age)"
        )
    longest_s = table.max_silence_s or math.inf
    if table.every_s is not None and not shortest_s <= table.every_s <= longest_s:
        limits = " to ".join(format_duration(limit_s) for limit_s in (shortest_s, longest_s) if limit_s < math.inf)
        raise ConfigError(f"{where}.every: expected {limits} (interval of its inputs, max_silence)")
    slack_s = table.hold_s or table.within_s or 0.0
    count = round(sum((reach_s + 2.0 * slack_s) / span_s for span_s in intervals_s.values()))
    if count > MAX_READINGS:
        raise ConfigError(
            f"{where}: each value is computed from {count} readings; expected at most {MAX_READINGS}: shorten the "
            "durations in the expression, within or hold"
        )
