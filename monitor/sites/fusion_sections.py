"""Read [fusion] of a site file, and check the keys of [forecast] that belong to networks."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from forecasting.registry import PRETRAINED, is_network, reads_stations_together
from monitor.errors import ConfigError
from monitor.sections import describe_unknown, make_record
from monitor.sites.fusion import Clause, Fusion, FusionRule, Neighbours, list_leaves
from monitor.sites.records import Criterion, Level, Station
from monitor.sites.schema import Table
from monitor.sites.witnesses import name_zone


def find_forecast_faults(table: Table, site: str) -> Iterator[str]:
    """Return keys of [forecast] that have no effect or contradict each other, one line each.

    Args:
        table: the table [forecast].
        site: id of the site.
    """
    networks = [model for model in table.models if is_network(model)]
    keys = {"start_from": table.start_from, "replay": table.replay}
    for key, value in keys.items():
        if value and not networks:
            yield f"forecast.{key}: only networks use this key; add a network to forecast.models, or delete the key"
    if not networks:
        return
    if table.start_from:
        untrained = [model for model in networks if model not in PRETRAINED]
        if not untrained:
            yield f"forecast.start_from: {networks[0]} starts with shipped weights; delete the key"
        joint = [model for model in untrained if reads_stations_together(model)]
        if joint:
            yield (
                f"forecast.start_from: {', '.join(joint)} reads all stations of one site together and cannot start "
                "with the weights of another site; use a network such as lstm or gru, or delete the key"
            )
    if table.replay and not (table.start_from or set(networks) & set(PRETRAINED)):
        yield (
            "forecast.replay: only a network that starts with trained weights uses records of other sites; set "
            f"start_from, or add {PRETRAINED[0]} to forecast.models"
        )
    if site in table.replay:
        yield f"forecast.replay: {site} is this site, whose record is always used; list other sites only"


CLAUSE_KEYS: Final = ("all", "any", "not", "at_least", "criterion")
LEAF_KEYS: Final = ("criterion", "level", "stations", "area", "areas", "k")
LARGEST_DEPTH: Final = 16


def read_fusion(
    table: Table, criteria: Sequence[Criterion], stations: Sequence[Station], levels: Sequence[Level], name: str
) -> Fusion:
    """Read [fusion].

    Raises:
        ConfigError: the section is wrong. The text has file, key and remedy.
    """
    reader = _FusionReader(criteria, stations, levels, name)
    rules = tuple(reader.read_rule(rule, index) for index, rule in enumerate(table.rule))
    ids = [rule.id for rule in rules]
    for rule_id in ids:
        if ids.count(rule_id) > 1:
            raise ConfigError(f"{name}: fusion.rule: id {rule_id!r} appears twice; use each id once")
    criteria_in_rules = {leaf.criterion for rule in rules for leaf in list_leaves(rule.when)}
    for criterion in criteria:
        if criterion.role == "part" and criterion.id not in criteria_in_rules:
            raise ConfigError(
                f"{name}: criterion {criterion.id!r} has role 'part', but no [[fusion.rule]] contains it, so it has no "
                "effect; add it to a rule, or change its role"
            )
    neighbours = None if table.neighbours is None else reader.read_neighbours(table.neighbours)
    return make_record(Fusion, table, rules=rules, neighbours=neighbours)


class _FusionReader:
    """Reads tables of [fusion], with the criteria, stations and levels that they may name."""

    def __init__(
        self, criteria: Sequence[Criterion], stations: Sequence[Station], levels: Sequence[Level], name: str
    ) -> None:
        self._criteria = {criterion.id: criterion for criterion in criteria}
        self._stations = stations
        self._levels = levels
        self._name = name

    def read_rule(self, table: Table, index: int) -> FusionRule:
        where = f"{self._name}: fusion.rule[{index}]"
        level = self._find_level(table.level, f"{where}.level")
        return make_record(FusionRule, table, level=level, when=self._read_clause(table.when, f"{where}.when", 1))

    def read_neighbours(self, table: Table) -> Neighbours:
        where = f"{self._name}: fusion.neighbours"
        for criterion in table.criteria:
            self._find_criterion(criterion, f"{where}.criteria")
        above = self._find_level(table.above, f"{where}.above", with_lowest=True)
        return make_record(Neighbours, table, above=above)

    def _find_level(self, name: str, where: str, *, with_lowest: bool = False) -> int:
        allowed = self._levels if with_lowest else self._levels[1:]
        for level in allowed:
            if level.name == name:
                return level.number
        names = ", ".join(level.name for level in allowed)
        raise ConfigError(f"{where}: expected one of: {names}, got {name!r}")

    def _find_criterion(self, criterion_id: str, where: str) -> Criterion:
        if criterion_id not in self._criteria:
            text = describe_unknown(criterion_id, list(self._criteria)).replace("key", "criterion", 1)
            raise ConfigError(f"{where}: {text}")
        return self._criteria[criterion_id]

    def _read_clause(self, table: Any, where: str, depth: int) -> Clause:
        if depth > LARGEST_DEPTH:
            raise ConfigError(f"{where}: expected at most {LARGEST_DEPTH} nested clauses")
        expected = ", ".join(CLAUSE_KEYS)
        if not isinstance(table, Mapping):
            raise ConfigError(f"{where}: expected a table with one of: {expected}, got {table!r}")
        operators = [key for key in CLAUSE_KEYS if key in table]
        if len(operators) != 1:
            raise ConfigError(f"{where}: expected exactly one of: {expected}, got {', '.join(table) or 'none'}")
        operator = operators[0]
        allowed_keys: Sequence[str] = (operator,)
        if operator == "criterion":
            allowed_keys = LEAF_KEYS
        elif operator == "at_least":
            allowed_keys = ("at_least", "of")
        for key in table:
            if key not in allowed_keys:
                raise ConfigError(f"{where}: {describe_unknown(key, list(allowed_keys))}")
        if operator == "criterion":
            return self._read_leaf(table, where)
        if operator == "not":
            return Clause("not", (self._read_clause(table["not"], f"{where}.not", depth + 1),))
        list_key = "of" if operator == "at_least" else operator
        where_list = f"{where}.{list_key}"
        clauses = table.get(list_key)
        if not isinstance(clauses, list) or not clauses:
            raise ConfigError(f"{where_list}: expected a list of clauses")
        parts = tuple(
            self._read_clause(clause, f"{where_list}[{index}]", depth + 1) for index, clause in enumerate(clauses)
        )
        k = 1
        if operator == "at_least":
            k = _check_count(table["at_least"], f"{where}.at_least", len(parts))
        return Clause(operator, parts, k)

    def _read_leaf(self, table: Mapping[str, Any], where: str) -> Clause:
        criterion = self._find_criterion(str(table["criterion"]), f"{where}.criterion")
        if criterion.role not in {"witness", "part"}:
            raise ConfigError(
                f"{where}.criterion: {criterion.id!r} is advice, which changes no level; set its role to 'witness' or "
                "'part'"
            )
        levels = [threshold.level for threshold in criterion.thresholds]
        level = min(levels)
        if "level" in table:
            level = self._find_level(str(table["level"]), f"{where}.level")
        if level > max(levels):
            names = ", ".join(self._levels[number].name for number in levels)
            raise ConfigError(
                f"{where}.level: {criterion.id!r} has no bound for {self._levels[level].name!r} or higher; it has "
                f"bounds for: {names}"
            )
        witnesses = self._find_witnesses(criterion, table, where)
        area_count = len({station.area for station in self._stations if station.area})
        areas = _check_count(table.get("areas", 1), f"{where}.areas", max(area_count, 1))
        k = _check_count(table.get("k", 1), f"{where}.k", len(witnesses))
        return Clause("votes", k=k, criterion=criterion.id, level=level, witnesses=witnesses, areas=areas)

    def _find_witnesses(self, criterion: Criterion, table: Mapping[str, Any], where: str) -> tuple[str, ...]:
        kind = criterion.kind
        if kind.witness is not None:
            for key in ("stations", "area", "areas", "k"):
                if key in table:
                    raise ConfigError(f"{where}.{key}: {criterion.id!r} is a single witness; delete {key}")
            return (kind.witness,)
        measured_ids = {
            spec.corrected_as: station.id for station in self._stations for spec in station.series if spec.corrected_as
        }
        matches = _match_stations(table.get("stations", ["*"]), criterion, measured_ids, f"{where}.stations")
        area = table.get("area")
        areas = sorted({station.area for station in self._stations if station.area})
        if area is not None and area not in areas:
            raise ConfigError(f"{where}.area: expected one of: {', '.join(areas) or 'none is declared'}, got {area!r}")
        voting = [
            station.id
            for station in self._stations
            if station.id in matches and (area is None or station.area == area) and (station.on_slope or kind.trigger)
        ]
        if not voting:
            raise ConfigError(f"{where}: no station matches stations and area and may vote; change them")
        if kind.zone is not None:
            return tuple(name_zone(station, kind.zone) for station in voting)
        return tuple(voting)


def _match_stations(patterns: Any, criterion: Criterion, measured_ids: Mapping[str, str], where: str) -> set[str]:
    """Return the stations of a criterion that match names or globs.

    Args:
        patterns: value of `stations`.
        criterion: the criterion of the clause.
        measured_ids: station in the site file by the id of its reference-corrected copy. A pattern may match either.
        where: file and key, for errors.
    """
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise ConfigError(f"{where}: expected a list of names or globs, got {patterns!r}")
    matches: set[str] = set()
    for pattern in patterns:
        matched = [
            station
            for station in criterion.stations
            if fnmatchcase(station, pattern) or fnmatchcase(measured_ids.get(station, station), pattern)
        ]
        if not matched:
            stations = ", ".join(criterion.stations)
            raise ConfigError(f"{where}: {pattern!r} matches no station of {criterion.id!r}, which has: {stations}")
        matches.update(matched)
    return matches


def _check_count(value: Any, where: str, largest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
        raise ConfigError(f"{where}: expected a whole number from 1 to {largest}, got {value!r}")
    return value
