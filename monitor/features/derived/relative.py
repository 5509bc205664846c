"""[[relative]] of a site file: stations less the motion of a reference, as stations whose series are calculated."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Final

from pydantic import Field

from monitor.api.errors import ConfigError
from monitor.api.settings import Duration, Faults, Section, describe_unknown
from monitor.api.sites import GROUND_MOTION_PREFIXES, SeriesSpec, StationId, Table
from monitor.features.derived.samples import Series

ENDING: Final = "-rel"  # of the id of what stands for a station
WHOLE, EACH = ".displacement'", ".displacement*'"  # of an expression: by component
COMPONENTS: Final = ("", "_east", "_north", "_up", "_los")
OWN: Final = ("noise_floor", "verify_step")  # of a series, kept by what is calculated from it
OWN_WAY: Final = ("displacement_downslope", "displacement_distance")  # every station has a direction of its own


class RelativeTable(Section):
    """[[relative]]: stations from which the motion of a reference is taken off."""

    to: StationId | tuple[StationId, ...] = Field(description="the reference, a [[station]]; of several their mean")
    stations: tuple[str, ...] = Field(min_length=1, description="from which it is taken off: ids, or such as `G*`")
    within_s: Duration | None = Field(None, alias="within", description="how near readings of the reference lie")
    hold_s: Duration | None = Field(None, alias="hold", description="instead: how old its last reading may be")
    every_s: Duration | None = Field(None, alias="every", description="a value at each multiple of it, in UTC")


def add_relative(file: Table, name: str, make: type[Section]) -> tuple[Table, Mapping[Series, str]]:
    """The file with a station for each less its reference, and by series which station stands for it.

    `make`: the table of a calculated series that is made by component. Raises ConfigError: all that is wrong.
    """
    faults, stations = Faults(), {s.id: s for s in file.station}
    instead: dict[Series, str] = {}
    added: dict[str, Table] = {}
    rows: list[Table] = []
    motions: dict[str, dict[str, Table]] = {}
    for of, one in [(s.id, one) for s in file.station for one in s.series] + [
        (one.station, one) for one in file.derived
    ]:
        if one.quantity.startswith(GROUND_MOTION_PREFIXES) and one.quantity not in OWN_WAY and one.unit != "index":
            motions.setdefault(of, {})[one.quantity] = one
    references = {to for table in file.relative for to in _list_references(table)}
    for index, table in enumerate(file.relative):
        where, to = f"{name}: relative[{index}]", _list_references(table)
        for station in _match(table, stations, references, where, faults):
            new = f"{station.id}{ENDING}"
            with faults.gathered():
                if station.id in references:
                    wanted = "expected references that stand for themselves"
                    raise ConfigError(f"{where}: {station.id} is a reference itself: {wanted}")
                if new in stations or new in added:
                    raise ConfigError(f"{where}: {new} is there already: expected each station in one [[relative]]")
                common = _find_common(motions, station.id, to, where)
                label = f"{station.name or station.id} - {', '.join(to)}"
                facts = {"id": new, "name": label, "reference": " + ".join(to), "series": (), "origin": None}
                was = tuple(f"{one}{ENDING}" for one in station.was)
                added[new] = station.model_copy(update=facts | {"was": was, "calibrated_on": None})
                for quantity in common:
                    instead[station.id, quantity] = new
                    rows.append(_make_row(make, motions[station.id][quantity], table, station.id, to, where))
    faults.raise_any()
    measured = [s.model_copy(update={"on_slope": False}) if s.id in references else s for s in file.station]
    update = {"station": (*measured, *added.values()), "derived": (*file.derived, *rows)}
    return (file.model_copy(update=update) if added else file), instead


def _find_common(motions: Mapping[str, Mapping[str, Table]], station: str, to: Sequence[str], where: str) -> list[str]:
    """Motion that a station and its references all measure; `motions`: by station and quantity."""
    common = [q for q in motions.get(station, ()) if all(q in motions.get(one, ()) for one in to)]
    if not common:
        what = "have no displacement, tilt, crack or strain alike"
        raise ConfigError(f"{where}: {station} and {', '.join(to)} {what}")
    return common


def list_components(spec: SeriesSpec) -> Iterator[SeriesSpec]:
    """The series that are computed for a declared one: displacement less that of a reference is so by component."""
    how = spec.calculation
    if how is None:
        return
    for end in COMPONENTS if EACH in how.expression else ("",):
        expression = how.expression.replace(EACH, f"{WHOLE[:-1]}{end}'")
        inputs = tuple(f"{one}{end}" for one in how.inputs)
        made = replace(how, expression=expression, inputs=inputs)
        yield replace(spec, quantity=spec.quantity + end, calculation=made)


def _list_references(table: Table) -> tuple[str, ...]:
    return (table.to,) if isinstance(table.to, str) else tuple(dict.fromkeys(table.to))


def _match(
    table: Table, stations: Mapping[str, Table], references: set[str], where: str, faults: Faults
) -> Iterator[Table]:
    """The stations that a table names; a pattern takes no reference."""
    for name in (*_list_references(table), *table.stations):
        with faults.gathered():
            if not any(fnmatchcase(one, name) for one in stations):
                raise ConfigError(f"{where}: {describe_unknown(name, stations).replace('key', 'station', 1)}")
    for one in stations:
        if one in table.stations or (one not in references and any(fnmatchcase(one, p) for p in table.stations)):
            yield stations[one]


def _make_row(make: type[Section], raw: Table, table: Table, station: str, to: Sequence[str], where: str) -> Table:
    names = [f"'{one}.{raw.quantity}'" for one in to]
    taken = names[0] if len(to) == 1 else f"mean({', '.join(names)})"
    kept = ("quantity", "unit", "max_silence_s", "by_hand", *(f"{a}{b}" for a in OWN for b in ("", "_mm")))
    return make.model_construct(
        **{key: field.get_default() for key, field in make.model_fields.items()}
        | {key: getattr(raw, key) for key in kept}
        | {"station": f"{station}{ENDING}", "expression": f"'{station}.{raw.quantity}' - {taken}"}
        | {key: getattr(table, key) for key in ("within_s", "hold_s", "every_s")}
        | {"interval_s": None, "where": where}
    )
