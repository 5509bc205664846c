"""Parts of a site file: trees of criteria, the check of neighbours, and what networks learn from."""

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


def find_unfit(table: Table, site: str) -> Iterator[str]:
    """Keys that nothing would use, or that contradict each other: one line each, without the name of the file."""
    networks = [m for m in table.models if is_network(m)]
    keys = {"start_from": table.start_from, "replay": table.replay}
    for key, value in keys.items():
        if value and not networks:
            yield f"forecast.{key}: no network is chosen that could use it; add one to forecast.models, or take it out"
    if not networks:
        return
    if table.start_from:
        anew = [m for m in networks if m not in PRETRAINED]
        if not anew:
            yield f"forecast.start_from: {networks[0]} begins with shipped weights; take it out"
        if together := [m for m in anew if reads_stations_together(m)]:
            yield (
                f"forecast.start_from: {', '.join(together)} reads the stations of one site together and cannot begin "
                "with the weights of another network; expected networks such as lstm, gru"
            )
    if table.replay and not (table.start_from or set(networks) & set(PRETRAINED)):
        yield (
            "forecast.replay: a network that begins anew has nothing to forget; expected start_from beside it, or "
            f"{PRETRAINED[0]} in forecast.models"
        )
    if site in table.replay:
        yield f"forecast.replay: the record of {site} itself is learnt from in any case; expected other sites"


NODES: Final = ("all", "any", "not", "at_least", "criterion")
LEAF_KEYS: Final = ("criterion", "level", "stations", "area", "areas", "k")
DEPTH: Final = 16


def read_fusion(
    table: Table, criteria: Sequence[Criterion], stations: Sequence[Station], levels: Sequence[Level], name: str
) -> Fusion:
    """Turn [fusion] into its records.

    Raises:
        ConfigError: one line with the file, the key and what was expected.
    """
    place = _Place(criteria, stations, levels, name)
    rules = tuple(place.read_rule(rule, index) for index, rule in enumerate(table.rule))
    ids = [rule.id for rule in rules]
    for rule_id in ids:
        if ids.count(rule_id) > 1:
            raise ConfigError(f"{name}: fusion.rule: id {rule_id!r} appears twice; expected different ones")
    named = {leaf.criterion for rule in rules for leaf in list_leaves(rule.when)}
    for criterion in criteria:
        if criterion.role == "part" and criterion.id not in named:
            raise ConfigError(
                f"{name}: criterion {criterion.id!r} has role 'part', which counts only inside rules, and no "
                "fusion.rule names it; expected a [[fusion.rule]] that does, or another role"
            )
    near = None if table.neighbours is None else place.read_neighbours(table.neighbours)
    return make_record(Fusion, table, rules=rules, neighbours=near)


class _Place:
    def __init__(
        self, criteria: Sequence[Criterion], stations: Sequence[Station], levels: Sequence[Level], name: str
    ) -> None:
        self._criteria = {c.id: c for c in criteria}
        self._stations, self._levels, self._name = stations, levels, name

    def read_rule(self, table: Table, index: int) -> FusionRule:
        where = f"{self._name}: fusion.rule[{index}]"
        level = self._level(table.level, f"{where}.level")
        return make_record(FusionRule, table, level=level, when=self._read(table.when, f"{where}.when", 1))

    def read_neighbours(self, table: Table) -> Neighbours:
        where = f"{self._name}: fusion.neighbours"
        for known in table.criteria:
            self._criterion(known, f"{where}.criteria")
        above = self._level(table.above, f"{where}.above", lowest=True)
        return make_record(Neighbours, table, above=above)

    def _level(self, text: str, where: str, *, lowest: bool = False) -> int:
        allowed = self._levels if lowest else self._levels[1:]
        for known in allowed:
            if known.name == text:
                return known.number
        raise ConfigError(f"{where}: {text!r}: expected one of: {', '.join(k.name for k in allowed)}")

    def _criterion(self, text: str, where: str) -> Criterion:
        if text not in self._criteria:
            raise ConfigError(f"{where}: {describe_unknown(text, list(self._criteria)).replace('key', 'criterion', 1)}")
        return self._criteria[text]

    def _read(self, node: Any, where: str, depth: int) -> Clause:
        if depth > DEPTH:
            raise ConfigError(f"{where}: expected at most {DEPTH} clauses within each other")
        if not isinstance(node, Mapping):
            raise ConfigError(f"{where}: expected a table with one of: {', '.join(NODES)}, got {node!r}")
        heads = [key for key in NODES if key in node]
        if len(heads) != 1:
            raise ConfigError(f"{where}: expected exactly one of: {', '.join(NODES)}, got {', '.join(node) or 'none'}")
        head = heads[0]
        allowed = LEAF_KEYS if head == "criterion" else ("at_least", "of") if head == "at_least" else (head,)
        for key in node:
            if key not in allowed:
                raise ConfigError(f"{where}: {describe_unknown(key, list(allowed))}")
        if head == "criterion":
            return self._read_leaf(node, where)
        if head == "not":
            return Clause("not", (self._read(node["not"], f"{where}.not", depth + 1),))
        listed = node.get("of" if head == "at_least" else head)
        key = f"{where}.{'of' if head == 'at_least' else head}"
        if not isinstance(listed, list) or not listed:
            raise ConfigError(f"{key}: expected a list of clauses")
        parts = tuple(self._read(part, f"{key}[{i}]", depth + 1) for i, part in enumerate(listed))
        k = _count(node["at_least"], f"{where}.at_least", len(parts)) if head == "at_least" else 1
        return Clause(head, parts, k)

    def _read_leaf(self, node: Mapping[str, Any], where: str) -> Clause:
        criterion = self._criterion(str(node["criterion"]), f"{where}.criterion")
        if criterion.role not in {"witness", "part"}:
            raise ConfigError(
                f"{where}.criterion: {criterion.id!r} is advice and moves no level; expected role 'witness' or 'part'"
            )
        bounds = [t.level for t in criterion.thresholds]
        level = self._level(str(node["level"]), f"{where}.level") if "level" in node else min(bounds)
        if level > max(bounds):
            names = ", ".join(self._levels[n].name for n in bounds)
            raise ConfigError(f"{where}.level: {criterion.id!r} never asks for that much; it has bounds for: {names}")
        chosen = self._choose(criterion, node, where)
        areas = _count(node.get("areas", 1), f"{where}.areas", len({s.area for s in self._stations if s.area}) or 1)
        k = _count(node.get("k", 1), f"{where}.k", len(chosen))
        return Clause(op="votes", parts=(), k=k, criterion=criterion.id, level=level, witnesses=chosen, areas=areas)

    def _choose(self, criterion: Criterion, node: Mapping[str, Any], where: str) -> tuple[str, ...]:
        kind = criterion.kind
        if kind.witness is not None:
            for key in ("stations", "area", "areas", "k"):
                if key in node:
                    raise ConfigError(f"{where}.{key}: {criterion.id!r} is one witness; expected no {key}")
            return (kind.witness,)
        written = {one.corrected_as: s.id for s in self._stations for one in s.series if one.corrected_as}
        named = _match_stations(node.get("stations", ["*"]), criterion, written, f"{where}.stations")
        area = node.get("area")
        if area is not None and area not in {s.area for s in self._stations}:
            known = sorted({s.area for s in self._stations if s.area})
            raise ConfigError(f"{where}.area: {area!r}: expected one of: {', '.join(known) or 'none is declared'}")
        of_area = (s for s in self._stations if area is None or s.area == area)
        found = [s.id for s in of_area if (s.on_slope or kind.trigger) and s.id in named]
        if not found:
            raise ConfigError(f"{where}: no station that may vote is left")
        return tuple(found) if kind.zone is None else tuple(name_zone(s, kind.zone) for s in found)


def _match_stations(patterns: Any, criterion: Criterion, written: Mapping[str, str], where: str) -> set[str]:
    """The stations of a criterion; `written`: by which id a file names those that stand for another."""
    if not isinstance(patterns, list) or not all(isinstance(p, str) for p in patterns):
        raise ConfigError(f"{where}: expected a list of names or globs, got {patterns!r}")
    found: set[str] = set()
    for pattern in patterns:
        matched = [s for s in criterion.stations if any(fnmatchcase(n, pattern) for n in (s, written.get(s, s)))]
        if not matched:
            raise ConfigError(f"{where}: {pattern!r} matches no station of {criterion.id!r}")
        found.update(matched)
    return found


def _count(value: Any, where: str, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ConfigError(f"{where}: expected a whole number from 1 to {most}, got {value!r}")
    return value
