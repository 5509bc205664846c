"""References of a [[total_station]]: prisms whose displacement is corrected, as stations with a calculated series."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from monitor.api.errors import ConfigError
from monitor.api.settings import Faults, Section, describe_unknown, make_record
from monitor.api.sites import Table, TotalStation
from monitor.features.derived.relative import INHERITED_KEYS
from monitor.features.derived.samples import Series
from monitor.features.derived.stable_points import MIN_REFERENCES

# Ending of the id of the station that stands for a corrected prism.
ENDING: Final = "-cor"
_QUANTITY: Final = "displacement"


def add_corrected(
    file: Table, name: str, make: type[Section], relative: Mapping[Series, str]
) -> tuple[Table, Mapping[Series, str]]:
    """Return the file with a station for each corrected prism, and by series which station stands for it.

    Args:
        file: tables of the site file.
        name: name of the file in error messages.
        make: table of a calculated series that is made by component.
        relative: series that another station stands for already.

    Raises:
        ConfigError: all faults.
    """
    faults = Faults()
    stations = {station.id: station for station in file.station}
    corrected: dict[Series, str] = {}
    added: list[Table] = []
    rows: list[Table] = []
    references = {reference for table in file.total_station for reference in table.references}
    for index, table in enumerate(file.total_station):
        where = f"{name}: total_station[{index}].references"
        if not table.references:
            continue
        with faults.gathered():
            _check_references(table, stations, where)
            for station in _list_prisms(table, stations):
                new = f"{station.id}{ENDING}"
                if (station.id, _QUANTITY) in relative:
                    raise ConfigError(f"{where}: {station.id} is in [[relative]] already; delete it there")
                if new in stations:
                    raise ConfigError(f"{where}: {new} exists already; choose another id for that station")
                added.append(_make_station(station, new, table))
                rows.append(_make_row(make, station, new, table, stations, where))
                corrected[station.id, _QUANTITY] = new
    faults.raise_any()
    if not added:
        return file, relative
    measured = [
        station.model_copy(update={"on_slope": False}) if station.id in references else station
        for station in file.station
    ]
    update = {"station": (*measured, *added), "derived": (*file.derived, *rows)}
    return file.model_copy(update=update), {**relative, **corrected}


def _list_prisms(table: Table, stations: Mapping[str, Table]) -> Iterator[Table]:
    """List the prisms that the references of a total station correct."""
    total_station = make_record(TotalStation, table)
    for station in stations.values():
        is_measured = station.id not in table.references and total_station.measures(station.id)
        if is_measured and _find_series(station) is not None:
            yield station


def _find_series(station: Table) -> Table | None:
    return next((one for one in station.series if one.quantity == _QUANTITY), None)


def _make_station(station: Table, new: str, table: Table) -> Table:
    label = f"{station.name or station.id}, corrected by {', '.join(table.references)}"
    return station.model_copy(
        update={
            "id": new,
            "name": label[:80],
            # All prisms of an instrument are one witness.
            "logger": station.logger or table.id,
            "series": (),
            "origin": None,
            "was": tuple(f"{former}{ENDING}" for former in station.was),
            "calibrated_on": None,
        }
    )


def _check_references(table: Table, stations: Mapping[str, Table], where: str) -> None:
    if len(set(table.references)) < MIN_REFERENCES:
        raise ConfigError(
            f"{where}: expected at least {MIN_REFERENCES} prisms; one alone cannot show that it is stable"
        )
    for reference in table.references:
        station = stations.get(reference)
        if station is None:
            raise ConfigError(f"{where}: {describe_unknown(reference, stations).replace('key', 'station', 1)}")
        if _find_series(station) is None:
            raise ConfigError(f"{where}: {reference} has no series {_QUANTITY}; add it to the station")


def _format_expression(prisms: Sequence[Table], total_station: TotalStation, where: str) -> str:
    """Return the expression of a corrected series.

    Args:
        prisms: the corrected prism, then its references.
        total_station: their instrument.
        where: key in error messages.
    """
    parts = []
    for prism in prisms:
        parts += [f"'{prism.id}.{_QUANTITY}'", f"'{_format_place(prism, total_station, where)}'"]
    how = f"{' '.join(total_station.corrections)} within {total_station.tolerance_mm:g} mm"
    return f"corrected({', '.join(parts)}, '{how}')"


def _format_place(station: Table, total_station: TotalStation, where: str) -> str:
    """Return the place of a prism relative to the tilting axis of the instrument, in metres."""
    origin = station.origin
    values = (None, None, None) if origin is None else (origin.east_m, origin.north_m, origin.up_m)
    axis = (total_station.east_m, total_station.north_m, total_station.axis_height_m)
    if None in values:
        raise ConfigError(
            f"{where}: the correction needs the place of {station.id}; add east_m, north_m and up_m to its origin, or "
            "list the prisms of this instrument in prisms"
        )
    return " ".join(f"{(value or 0.0) - zero:.3f}" for value, zero in zip(values, axis, strict=True))


def _make_row(
    make: type[Section], station: Table, new: str, table: Table, stations: Mapping[str, Table], where: str
) -> Table:
    """Return the table of the corrected series of a station."""
    prisms = [station, *(stations[reference] for reference in table.references)]
    series = _find_series(station)
    defaults = {key: field.get_default() for key, field in make.model_fields.items()}
    kept = (
        "quantity",
        "unit",
        "max_silence_s",
        "by_hand",
        *(f"{key}{end}" for key in INHERITED_KEYS for end in ("", "_mm")),
    )
    values = {key: getattr(series, key) for key in kept}
    values["station"] = new
    values["expression"] = _format_expression(prisms, make_record(TotalStation, table), where)
    values["within_s"] = table.within_s
    values["interval_s"] = None
    values["where"] = where
    return make.model_construct(**{**defaults, **values})
