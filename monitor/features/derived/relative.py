"""Add stations for [[relative]] of a site file: their calculated series are the motion relative to a reference."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final

from pydantic import Field

from monitor.api.errors import ConfigError
from monitor.api.settings import Duration, Faults, Section, describe_unknown
from monitor.api.sites import GROUND_MOTION_PREFIXES, SeriesSpec, StationId, Table
from monitor.features.derived.samples import Series

# Ending of the id of the station with the relative motion.
ENDING: Final = "-rel"
# End of a series in an expression, and the form in which it stands for each component.
WHOLE: Final = ".displacement'"
EACH: Final = ".displacement*'"
COMPONENTS: Final = ("", "_east", "_north", "_up", "_los")
# Keys that a calculated series takes from the measured one, also with the ending `_mm`.
INHERITED_KEYS: Final = ("noise_floor", "verify_step")
# The direction of these quantities differs from station to station, so they cannot be subtracted.
DIRECTED_QUANTITIES: Final = ("displacement_downslope", "displacement_distance")


class RelativeTable(Section):
    """[[relative]]: stations from which the motion of a reference is subtracted."""

    to: StationId | tuple[StationId, ...] = Field(
        description="the reference, a [[station]]; of several references the mean"
    )
    stations: tuple[str, ...] = Field(
        min_length=1, description="stations from which it is subtracted: ids, or patterns such as `G*`"
    )
    within_s: Duration | None = Field(
        None, alias="within", description="greatest distance in time to the readings of the reference"
    )
    hold_s: Duration | None = Field(
        None, alias="hold", description="instead of `within`: greatest age of the last reading of the reference"
    )
    every_s: Duration | None = Field(
        None, alias="every", description="compute a value only at each multiple of this interval, in UTC"
    )


def add_relative(file: Table, name: str, make: type[Section]) -> tuple[Table, Mapping[Series, str]]:
    """Return the file with a relative station beside each station of [[relative]], and the id of it by series.

    Args:
        file: Tables of the site file.
        name: Name of the file in error messages.
        make: Table of a calculated series with components.

    Raises:
        ConfigError: All faults of [[relative]].
    """
    faults = Faults()
    stations = {station.id: station for station in file.station}
    replacements: dict[Series, str] = {}
    added: dict[str, Table] = {}
    rows: list[Table] = []
    motions = _list_motions(file)
    references = {reference for table in file.relative for reference in _list_references(table)}
    for index, table in enumerate(file.relative):
        where = f"{name}: relative[{index}]"
        to = _list_references(table)
        for station in _match(table, stations, references, where, faults):
            new_id = f"{station.id}{ENDING}"
            with faults.gathered():
                if station.id in references:
                    raise ConfigError(
                        f"{where}: {station.id} is a reference itself; a reference cannot be relative to another one"
                    )
                if new_id in stations or new_id in added:
                    raise ConfigError(f"{where}: {new_id} exists already; name each station in one [[relative]] only")
                common = _find_common(motions, station.id, to, where)
                added[new_id] = _make_station(station, new_id, to)
                for quantity in common:
                    replacements[station.id, quantity] = new_id
                    rows.append(_make_row(make, motions[station.id][quantity], table, station.id, to, where))
    faults.raise_any()
    if not added:
        return file, replacements
    measured = [
        station.model_copy(update={"on_slope": False}) if station.id in references else station
        for station in file.station
    ]
    update = {"station": (*measured, *added.values()), "derived": (*file.derived, *rows)}
    return file.model_copy(update=update), replacements


def _list_motions(file: Table) -> dict[str, dict[str, Table]]:
    """Return the tables of motion series that can be subtracted, by station and quantity."""
    tables = [(station.id, table) for station in file.station for table in station.series]
    tables += [(table.station, table) for table in file.derived]
    motions: dict[str, dict[str, Table]] = {}
    for station_id, table in tables:
        is_motion = table.quantity.startswith(GROUND_MOTION_PREFIXES) and table.unit != "index"
        if is_motion and table.quantity not in DIRECTED_QUANTITIES:
            motions.setdefault(station_id, {})[table.quantity] = table
    return motions


def _find_common(motions: Mapping[str, Mapping[str, Table]], station: str, to: Sequence[str], where: str) -> list[str]:
    """Return the motion quantities that a station and all its references measure.

    Args:
        motions: Tables of motion series by station and quantity.
        to: Ids of the references.
        where: Place of the table in error messages.
    """
    common = [
        quantity for quantity in motions.get(station, ()) if all(quantity in motions.get(other, ()) for other in to)
    ]
    if not common:
        raise ConfigError(
            f"{where}: {station} and {', '.join(to)} have no series of displacement, tilt, crack or strain in common"
        )
    return common


def list_components(spec: SeriesSpec) -> Iterator[SeriesSpec]:
    """Yield the series that are computed for a declared one: relative displacement is computed for each component."""
    calculation = spec.calculation
    if calculation is None:
        return
    for ending in COMPONENTS if EACH in calculation.expression else ("",):
        expression = calculation.expression.replace(EACH, f"{WHOLE[:-1]}{ending}'")
        inputs = tuple(f"{series}{ending}" for series in calculation.inputs)
        yield replace(
            spec,
            quantity=spec.quantity + ending,
            calculation=replace(calculation, expression=expression, inputs=inputs),
        )


def _list_references(table: Table) -> tuple[str, ...]:
    return (table.to,) if isinstance(table.to, str) else tuple(dict.fromkeys(table.to))


def _match(
    table: Table, stations: Mapping[str, Table], references: set[str], where: str, faults: Faults
) -> Iterator[Table]:
    """Yield the stations that a table names by their id, or by a pattern. A pattern matches no reference."""
    for name in (*_list_references(table), *table.stations):
        with faults.gathered():
            if not any(fnmatchcase(station_id, name) for station_id in stations):
                raise ConfigError(f"{where}: {describe_unknown(name, stations).replace('key', 'station', 1)}")
    for station_id, station in stations.items():
        is_matched = any(fnmatchcase(station_id, pattern) for pattern in table.stations)
        if station_id in table.stations or (is_matched and station_id not in references):
            yield station


def _make_station(station: Table, new_id: str, to: Sequence[str]) -> Table:
    """Return the station with the motion of a station relative to its references."""
    return station.model_copy(
        update={
            "id": new_id,
            "name": f"{station.name or station.id} - {', '.join(to)}",
            "reference": " + ".join(to),
            "series": (),
            "origin": None,
            "was": tuple(f"{former}{ENDING}" for former in station.was),
            "calibrated_on": None,
        }
    )


def _make_row(make: type[Section], measured: Table, table: Table, station: str, to: Sequence[str], where: str) -> Table:
    """Return the table of a relative series.

    Args:
        make: Table of a calculated series with components.
        measured: Table of the series of the station.
        table: The table [[relative]].
        station: Id of the station.
        to: Ids of its references.
        where: Place of the table in error messages.
    """
    names = [f"'{reference}.{measured.quantity}'" for reference in to]
    subtrahend = names[0] if len(to) == 1 else f"mean({', '.join(names)})"
    inherited_keys = (f"{key}{ending}" for key in INHERITED_KEYS for ending in ("", "_mm"))
    values = {key: field.get_default() for key, field in make.model_fields.items()}
    for key in ("quantity", "unit", "max_silence_s", "by_hand", *inherited_keys):
        values[key] = getattr(measured, key)
    for key in ("within_s", "hold_s", "every_s"):
        values[key] = getattr(table, key)
    values["station"] = f"{station}{ENDING}"
    values["expression"] = f"'{station}.{measured.quantity}' - {subtrahend}"
    values["interval_s"] = None
    values["where"] = where
    return make.model_construct(**values)
