"""Series that come from one instrument: the axes and nodes of a chain, and copies of a series under another name.

Series of one instrument are one witness. The site file says so by a common `logger` of their stations.
"""

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import combinations
from os.path import commonprefix
from typing import Any, Final, NamedTuple

from monitor.api.ingest import DISPLACEMENT_OF, ColumnRule, TableMapping, compile_alternatives, name_station
from monitor.api.sites import GROUND_MOTION_PREFIXES, QUANTITIES, convert
from monitor.api.text import NameList, Template
from monitor.features.table_import.guess.columns import read_column_heading
from monitor.features.table_import.guess.facts import Facts
from monitor.features.table_import.guess.numerals import Numerals, is_empty, list_names, read_number
from monitor.features.table_import.guess.questions import Interview
from monitor.features.table_import.guess.raw_table import RawTable
from monitor.features.table_import.guess.times import Times
from monitor.features.table_import.guess.values import CheckedValue
from monitor.features.table_import.guess.words import load_file, load_words

INSTRUMENT: Final = "instrument"
ONE_INSTRUMENT: Final = "one instrument"
ONE_A_NUMBER: Final = "one for each number"

# A series is a copy of another one if this share of their differences fits into the rounding of the values.
COPIED_SHARE: Final = 0.98
# Common readings and changes, as multiples of the rounding, that show a copy. Fewer agree by chance.
COPIED_READINGS: Final = 20
COPIED_CHANGE: Final = 4.0
# Most instants that are compared.
INSTANTS_MOST: Final = 2000
_EARLY_READINGS: Final = 60
_NAMED: Final = 6

_PRESSURES: Final = ("pore_pressure", "earth_pressure", "groundwater_level", "force")
# Quantities that are measured along several axes of one instrument. Crack meters and strain gauges called A and B are
# two instruments, but X and Y are two axes.
_DIRECTED: Final = frozenset({"displacement", "tilt", "tilt_x", "tilt_y", "acceleration", "velocity"})
_AXIAL: Final = _DIRECTED | {"crack_opening", "strain"}
_LETTERS: Final = frozenset("ab")
_AXES: Final = (frozenset("xyzhu"), frozenset("enuhz"), frozenset("hv"))
_AXIS: Final = re.compile(
    r"(?<![^\W\d_])(?:[dΔ]?([A-Z])(?![^\W_])|[dΔ]?([XY])(?=\d+(?![^\W_]))|[dΔ]([AB])(?=\d+(?![^\W_])))"
    rf"|(?:{compile_alternatives(load_file()['axis_numbers']['words'])})\W*([12])(?!\d)",
    re.IGNORECASE,
)
_UNIT_IN_BRACKETS: Final = re.compile(r"\s*[\[(（［][^\])）］\d]*[\])）］]\s*$")
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)?")
_DEPTH: Final = re.compile(r"\s*(?:m|ft)(?![^\W_])", re.IGNORECASE)

_ONE: Final = Template(
    "guess.one_witness",
    "axes or nodes of one instrument count as one witness: {names}. If they are separate instruments, remove `logger` "
    "from their stations in the site file",
)
_COPIES: Final = Template(
    "guess.one_witness.copy",
    "stations with the same values up to rounding or a constant count as one witness: {names}. If they are separate "
    "instruments, remove `logger` from them in the site file",
)
_WHICH: Final = Template(
    "guess.ask.instrument", "are these columns axes of one instrument, or has each number an instrument: {names}?"
)
_WITNESSES: Final = Template("guess.ask.instrument.means", "witnesses: {names}")


class Instruments(NamedTuple):
    """The stations of a table that share an instrument.

    Attributes:
        names: The name of the instrument of each station. Stations with an instrument of their own are left out.
        facts: What was found, for the owner of the file.
    """

    names: Mapping[str, str]
    facts: Facts


class SampledSeries(NamedTuple):
    """The values of a series in its canonical unit, by the instant or row, and the step of its last digit."""

    station: str
    unit: str
    values: Mapping[Any, float]
    step: float


class _Label(NamedTuple):
    """A heading or the name of a station with one letter for an axis cut out."""

    rest: str
    axis: str


class _Groups:
    """Stations that are joined to instruments."""

    def __init__(self) -> None:
        self._members: dict[str, dict[str, None]] = {}

    def join(self, stations: Iterable[str]) -> None:
        """Join stations, with those that were joined to one of them before."""
        together: dict[str, None] = {}
        for station in stations:
            together |= self._members.get(station, {station: None})
        for station in together:
            self._members[station] = together

    def are_joined(self, one: str, other: str) -> bool:
        """Return whether two stations share an instrument."""
        return other in self._members.get(one, {})

    def list_groups(self) -> list[list[str]]:
        """Return the stations of each instrument that has several."""
        groups = {id(members): [*members] for members in self._members.values() if len(members) > 1}
        return list(groups.values())


def find_instruments(
    table: RawTable, rules: Sequence[ColumnRule], mapping: TableMapping, times: Times, interview: Interview
) -> Instruments:
    """Find the stations that share an instrument, by headings, names of stations and equal values.

    Args:
        table: The table.
        rules: The rules of its columns of values.
        mapping: The mapping with these rules.
        times: The times of the rows.
        interview: The answers and open questions.
    """
    groups = _Groups()
    names: dict[str, str] = {}
    labels = _list_labels(table, rules, mapping.station)
    for name, stations in [*_find_axes(labels), *_find_nodes(labels, interview)]:
        groups.join(stations)
        names |= dict.fromkeys(stations, name)
    facts: Facts = []
    if instruments := groups.list_groups():
        facts.append(("instrument", _ONE(names=_name_some([_name_stations(group) for group in instruments]))))
    if not interview.questions:
        facts += _join_copies(groups, _list_series(table, rules, mapping, times))
    return Instruments(_name_groups(groups.list_groups(), names), facts)


def join_instruments(
    known: Mapping[str, str], measured: Iterable[tuple[str, str]], series: Sequence[SampledSeries]
) -> Instruments:
    """Find the stations of several files that share an instrument, by names of stations and equal values.

    Args:
        known: The name of the instrument of each station, as far as its own file shows it; else an empty text.
        measured: Station and quantity of each series.
        series: Values of the series.
    """
    groups = _Groups()
    names = {station: name for station, name in known.items() if name}
    for name in dict.fromkeys(names.values()):
        groups.join(station for station, other in names.items() if other == name)
    before = groups.list_groups()
    labels = [
        _LabelledStation(station, station, is_heading=False, is_named=True, quantity=quantity)
        for station, quantity in measured
        if quantity in _AXIAL
    ]
    for name, stations in [*_find_axes(labels), *_find_nodes(labels, Interview({}))]:
        groups.join(stations)
        names = dict.fromkeys(stations, name) | names
    facts: Facts = []
    if found := [group for group in groups.list_groups() if group not in before]:
        facts.append(("instrument", _ONE(names=_name_some([_name_stations(group) for group in found]))))
    facts += _join_copies(groups, series)
    return Instruments(_name_groups(groups.list_groups(), names), facts)


def _join_copies(groups: _Groups, series: Sequence[SampledSeries]) -> Facts:
    """Join stations with the same values, and return which ones were not joined before."""
    copies = []
    for one, other in _find_copies(series):
        if not groups.are_joined(one, other):
            copies.append(_name_stations([one, other]))
        groups.join((one, other))
    return [("instrument", _COPIES(names=_name_some(copies)))] if copies else []


def _name_groups(groups: Iterable[Sequence[str]], names: Mapping[str, str]) -> dict[str, str]:
    """Return the name of the instrument of each station: of its headings, else the first station with these values."""
    found: dict[str, str] = {}
    for group in groups:
        base = next((names[station] for station in group if names.get(station)), group[0])
        name, number = base, 1
        while name in found.values():
            number += 1
            name = f"{base}-{number}"
        found |= dict.fromkeys(group, name)
    return found


def _name_stations(stations: Sequence[str]) -> str:
    """Return the first and the last stations of an instrument.

    >>> _name_stations(["T1_A", "T1_B"]), _name_stations(["N1", "N2", "N3", "N4"])
    ('T1_A + T1_B', 'N1 + N2 + ... + N4')
    """
    return " + ".join(stations if len(stations) < 4 else [*stations[:2], "...", stations[-1]])


def _name_some(names: Sequence[str]) -> NameList:
    return NameList(tuple(names[:_NAMED]), max(0, len(names) - _NAMED))


# ---- headings --------------------------------------------------------------------------------------------------


class _LabelledStation(NamedTuple):
    """A station with the text that names it.

    Attributes:
        text: The heading of a column, or the name of the station in the rows.
        is_heading: Whether it is the heading of a column.
        is_named: Whether the heading names the quantity.
        quantity: What the station measures.
    """

    station: str
    text: str
    is_heading: bool
    is_named: bool
    quantity: str


def _list_labels(table: RawTable, rules: Sequence[ColumnRule], station_column: str | None) -> list[_LabelledStation]:
    """Return the stations of a table that measure along an axis."""
    axial = [rule for rule in rules if rule.quantity in _AXIAL]
    if station_column is not None:
        written = dict.fromkeys(name for name in list_names(table.columns[station_column]) if name)
        return [
            _LabelledStation(name_station(name), name, is_heading=False, is_named=True, quantity=rule.quantity)
            for rule in axial
            for name in written
        ]
    labels = []
    for rule in axial:
        is_named = read_column_heading(table, rule.name).quantity is not None
        heading = _UNIT_IN_BRACKETS.sub("", table.heading(rule.name)).strip()
        labels.append(_LabelledStation(str(rule.station), heading, True, is_named, rule.quantity))
    return labels


def _find_axes(labels: Sequence[_LabelledStation]) -> list[tuple[str, list[str]]]:
    """Return the name and the stations of instruments whose headings differ in the letter of an axis."""
    found = []
    for rest, axes in _group_by_rest(labels).items():
        stations = list(dict.fromkeys(label.station for own in axes.values() for label in own))
        if len(stations) > 1 and _are_axes(axes, rest):
            found.append((_name_axes(rest, [label.text for own in axes.values() for label in own]), stations))
    return found


def _name_axes(rest: str, headings: list[str]) -> str:
    """Return the name of an instrument: what its headings have in common."""
    start = commonprefix(headings)  # noqa: RUF071 - headings are no paths
    start = re.sub(r"[\W_]+", "-", start).strip("-")
    return name_station(start.removesuffix("-d")) or name_station(rest.replace("@", " "))


def _group_by_rest(labels: Iterable[_LabelledStation]) -> dict[str, dict[str, list[_LabelledStation]]]:
    """Return the labels by their text without the letter of an axis, and by this letter."""
    groups: dict[str, dict[str, list[_LabelledStation]]] = {}
    for label in labels:
        for rest, axis in _cut_axes(label.text):
            groups.setdefault(rest, {}).setdefault(axis, []).append(label)
    return groups


def _cut_axes(text: str) -> list[_Label]:
    """Return a text without each letter that may be an axis.

    >>> [tuple(label) for label in _cut_axes("Ink_[5][1]_dA")]
    [('ink_[5][1]_@', 'a')]
    """
    found = []
    for match in _AXIS.finditer(text):
        axis = next(group for group in match.groups() if group is not None).lower()
        axis = {"1": "a", "2": "b"}.get(axis, axis)
        found.append(_Label(f"{text[: match.start()]}@{text[match.end() :]}".casefold(), axis))
    return found


def _are_axes(axes: Mapping[str, Sequence[_LabelledStation]], rest: str) -> bool:
    """Return whether the letters of headings are axes of one instrument rather than names of instruments."""
    letters = frozenset(axes)
    labels = [label for own in axes.values() for label in own]
    if letters == _LETTERS:
        is_directed = all(label.quantity in _DIRECTED or not label.is_named for label in labels)
        # Rows of stations A and B are two stations; those of 1A and 1B are two axes.
        return is_directed and (labels[0].is_heading or _NUMBER.search(rest) is not None)
    has_both = {"x", "y"} <= letters or {"x", "z"} <= letters or {"e", "n"} <= letters or letters == {"h", "v"}
    return has_both and any(letters <= known for known in _AXES)


def _find_nodes(labels: Sequence[_LabelledStation], interview: Interview) -> list[tuple[str, list[str]]]:
    """Return the name and the stations of chains: their headings differ in the number of the node.

    A chain has axes, or headings that name no quantity and have a number for the chain and one for the node.
    """
    chains: dict[str, list[str]] = {}
    doubtful: dict[str, list[_LabelledStation]] = {}
    with_axes: set[_LabelledStation] = set()
    for rest, axes in _group_by_rest(labels).items():
        if not _are_axes(axes, rest):
            continue
        for label in (label for own in axes.values() for label in own):
            _add_node(rest, label, chains, doubtful)
            with_axes.add(label)
    for label in labels:
        text = label.text.casefold()
        if label.is_heading and not label.is_named and label not in with_axes and len(_NUMBER.findall(text)) > 1:
            _add_node(text, label, chains, {})
    for key, own in doubtful.items():
        stations = list(dict.fromkeys(label.station for label in own))
        if len({label.text for label in own}) <= 2 or len(stations) < 2:
            continue
        headings = list(dict.fromkeys(label.text for label in own))
        by_number = [sensors for _, sensors in _find_axes(own)] or [[station] for station in stations]
        examples = {
            ONE_INSTRUMENT: _WITNESSES(names=_name_some([_name_stations(stations)])),
            ONE_A_NUMBER: _WITNESSES(names=_name_some([_name_stations(sensors) for sensors in by_number])),
        }
        text = _WHICH(names=_name_some(headings))
        answer = interview.request(
            f"{INSTRUMENT}:{key}", text, (ONE_INSTRUMENT, ONE_A_NUMBER), ONE_INSTRUMENT, examples
        )
        if answer != ONE_A_NUMBER:
            chains[key] = stations
    return [(_name_chain(key, labels), stations) for key, stations in chains.items() if len(set(stations)) > 1]


def _add_node(
    text: str, label: _LabelledStation, chains: dict[str, list[str]], doubtful: dict[str, list[_LabelledStation]]
) -> None:
    """Add a label to its chain, or to `doubtful` if its number may be that of a node or that of an instrument."""
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return
    last = numbers[-1]
    key = f"{text[: last.start()]}#{text[last.end() :]}"
    before = text[: last.start()].rstrip(" _-[(.")
    is_node = _DEPTH.match(text, last.end()) is not None or load_words("nodes").is_in(before)
    if len(numbers) > 1 or is_node:
        chains.setdefault(key, []).append(label.station)
    elif not label.is_named:
        doubtful.setdefault(key, []).append(label)


def _name_chain(key: str, labels: Iterable[_LabelledStation]) -> str:
    """Return the name of a chain as its headings write it, up to the number of the node."""
    length = key.index("#")
    written = next((label.text for label in labels if label.text.casefold().startswith(key[:length])), key)
    return name_station(re.sub(r"[\W_]+", "-", written[:length]).strip("-")) or name_station(key.replace("@", " "))


# ---- equal values ----------------------------------------------------------------------------------------------


def _list_series(
    table: RawTable, rules: Sequence[ColumnRule], mapping: TableMapping, times: Times
) -> list[SampledSeries]:
    """Return the series of motion and pressure: rain or temperature may well be equal at two stations."""
    numerals = Numerals(mapping.decimal, mapping.thousands, dict.fromkeys(mapping.missing, 0))
    has_instants = len(times.parsed) == table.rows
    instants: Sequence[object] = times.parsed if has_instants else range(table.rows)
    if mapping.station is not None and not has_instants:
        return []
    stations = [""] * table.rows
    if mapping.station is not None:
        stations = [name_station(name) for name in list_names(table.columns[mapping.station])]
    ordered = list(dict.fromkeys(instants))
    compared = set(ordered[:: math.ceil(len(ordered) / INSTANTS_MOST)]) if ordered else set()
    found = []
    for rule in rules:
        quantity = DISPLACEMENT_OF.get(rule.quantity, rule.quantity)
        if not _is_compared(quantity):
            continue
        unit = QUANTITIES[quantity].unit
        sign = -1.0 if rule.downward else 1.0
        size = abs(convert(1.0, rule.unit, unit) - convert(0.0, rule.unit, unit))
        values: dict[str, dict[object, float]] = {}
        decimals: Counter[str] = Counter()
        for instant, station, cell in zip(instants, stations, table.columns[rule.name], strict=True):
            if instant not in compared or is_empty(cell) or str(cell) in numerals.missing:
                continue
            number = read_number(rule.cut(cell), numerals)
            name = rule.station or station
            if number is None or not name:
                continue
            values.setdefault(name, {})[instant] = sign * convert(number, rule.unit, unit)
            decimals[name] = max(decimals[name], _count_decimals(number))
        for name, own in values.items():
            found.append(SampledSeries(name, unit, own, size * 10.0 ** -decimals[name]))
    return found


class SeriesSampler:
    """Collects values of each series of a file, at the same instants in all files."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], dict[datetime, float]] = {}
        self._steps: dict[tuple[str, str], float] = {}
        # By series: one instant out of this number is kept.
        self._every: dict[tuple[str, str], int] = {}

    def add(self, reading: CheckedValue) -> None:
        """Add a reading of motion or pressure; leave out all others."""
        if reading.error or reading.at is None or not _is_compared(reading.quantity):
            return
        key = reading.station, reading.quantity
        every = self._every.setdefault(key, 1)
        if not _is_sampled(reading.at, every):
            return
        unit = QUANTITIES[reading.quantity].unit
        try:
            number = float(reading.value)
            value = convert(number, reading.unit, unit)
            size = abs(convert(1.0, reading.unit, unit) - convert(0.0, reading.unit, unit))
        except (ValueError, TypeError):
            return
        values = self._values.setdefault(key, {})
        values[reading.at] = value
        step = size * 10.0 ** -_count_decimals(number)
        self._steps[key] = min(step, self._steps.get(key, step))
        if len(values) > INSTANTS_MOST:
            every *= 2
            self._every[key] = every
            self._values[key] = {at: one for at, one in values.items() if _is_sampled(at, every)}

    def list_series(self) -> list[SampledSeries]:
        """Return the collected series."""
        return [
            SampledSeries(station, QUANTITIES[quantity].unit, values, self._steps[station, quantity])
            for (station, quantity), values in self._values.items()
        ]


def _is_sampled(at: datetime, every: int) -> bool:
    """Return whether an instant is kept if one out of `every` instants is kept; the same ones for all series.

    A checksum of the instant decides. A choice by its place in a series would differ from file to file, and one by the
    clock could leave out all readings of a regular series.
    """
    return zlib.crc32(str(at.timestamp()).encode()) % every == 0


def _is_compared(quantity: str) -> bool:
    """Return whether equal values of two stations show a copy, as for motion and pressure."""
    return quantity.startswith((*GROUND_MOTION_PREFIXES, *_PRESSURES)) and quantity in QUANTITIES


def _count_decimals(number: float) -> int:
    return len(f"{number:.9f}".rstrip("0").partition(".")[2])


def _find_copies(series: Sequence[SampledSeries]) -> list[tuple[str, str]]:
    """Return the stations of series with the same values up to rounding or a constant."""
    return [
        (one.station, other.station)
        for one, other in combinations(series, 2)
        if one.station != other.station and one.unit == other.unit and _is_copy(one, other)
    ]


def _is_copy(one: SampledSeries, other: SampledSeries) -> bool:
    """Return whether the differences of two series stay within the rounding, while the series change by much more."""
    coarse, fine = max(one.step, other.step), min(one.step, other.step)
    largest = max(map(abs, (*one.values.values(), *other.values.values())), default=0.0)
    # Two values that are rounded in the same way differ by one step at most. A finer series adds its own step.
    allowed = 1.01 * (coarse + (fine if fine < 0.9 * coarse else 0.0)) + 1e-9 * largest
    common = [instant for instant in one.values if instant in other.values]
    if len(common) < COPIED_READINGS:
        return False
    early = [one.values[instant] - other.values[instant] for instant in common[:_EARLY_READINGS]]
    if _find_range(early) > allowed:
        return False
    if _find_range([one.values[instant] for instant in common]) < COPIED_CHANGE * allowed:
        return False
    return _find_range([one.values[instant] - other.values[instant] for instant in common]) <= allowed


def _find_range(values: Iterable[float]) -> float:
    """Return the length of the shortest interval that contains the share `COPIED_SHARE` of the values."""
    ordered = sorted(values)
    kept = math.ceil(COPIED_SHARE * len(ordered))
    return min(ordered[begin + kept - 1] - ordered[begin] for begin in range(len(ordered) - kept + 1))
