"""What the heading of a column means: quantity, unit, station, component, and whose error it is.

`list_candidates` scores each quantity that a heading may name. `read_heading` takes the best one if it leads clearly;
else the quantity is None and the owner of the file is asked.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from monitor.api.ingest import (
    compile_alternatives,
    is_sure_unit,
    join_depths,
    name_station,
    read_unit,
    unit_of_header,
)
from monitor.api.sites import QUANTITIES, is_raw, is_unit_of, split_suffix
from monitor.features.table_import.guess.words import (
    Heading,
    WordMatch,
    load_file,
    load_quantities,
    load_special_quantities,
    load_words,
    remove_words,
    split_heading,
)

COMPONENTS: Final = {"e": "displacement_east", "n": "displacement_north", "u": "displacement_up"}

# Scores of candidates. Words alone do not decide between two quantities; a unit that fits only one of them does.
WORD_SCORE: Final = 2.0
WHOLE_WORD_SCORE: Final = 0.5
UNIT_SCORE: Final = 2.0
LEAD: Final = 1.0

_COMPUTED: Final = frozenset({"moving_share", "ndvi", "scene_probability", "velocity_p95"})
_FROM_ABOVE: Final = ("displacement_up", "groundwater_level", "water_level", "reservoir_level")
_OTHER_UNITS: Final = {("battery_voltage", "%"): "battery_level", ("crack_opening", "microstrain"): "strain"}
_BRACKETS: Final = re.compile(r"[\[(（［][^\])）］]*[\])）］]?")
_BRACKETED_NUMBER: Final = re.compile(r"[\[(](\d+)[\])](?=\s*\S)")  # an index inside a heading
_REPEATED: Final = re.compile(r"#\d+$")  # a second column of the same name
_DOUBTFUL_ERROR: Final = re.compile(
    rf"(?<![^\W_])(?:{compile_alternatives(load_file()['errors']['doubtful'])})(?![^\W_])", re.IGNORECASE
)
_DOUBTFUL_ERROR_OF_COMPONENT: Final = re.compile(r"(?<![^\W_])sd?[_]?(?=[enuhxyz]\d*(?![^\W_]))", re.IGNORECASE)
_COMPONENT: Final = re.compile(r"(?:[dΔ]|delta)?([enuhzxy])(\d*)", re.IGNORECASE)
_AXIS: Final = re.compile(r"(?:([xy])(\d*)|([ab]))[+]?", re.IGNORECASE)
_ID_COLUMN: Final = re.compile(r"\w+[ _]id", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A quantity that a heading may name.

    Attributes:
        quantity: Name of the quantity.
        score: How well words and unit of the heading support it.
    """

    quantity: str
    score: float


@dataclass(frozen=True, slots=True)
class ColumnMeaning:
    """What the heading of a column means.

    Attributes:
        quantity: What the column measures. None if the heading does not settle it.
        unit: The unit. None if the heading names none.
        station: The name of the station. Empty if no word is left for it.
        foreign: The text in the place of a unit that is not known.
        component: The letter of the component (e, n, u, x or y), if other columns contain the other components.
        base: The name of the station without that letter.
        is_side: Whether the component is a word such as North instead of a letter.
        error_of: Columns whose standard deviation this may be, as read from its heading; the likeliest first.
        is_error: Whether the heading calls the column a standard deviation.
        is_part: Whether the column is a part of a motion: along an axis that only the owner knows, or since the last
            reading.
        rivals: Quantities that the heading may name, the likeliest first, if none leads.
    """

    quantity: str | None
    unit: str | None
    station: str
    foreign: str = ""
    component: str = field(default="", repr=False)
    base: str = field(default="", repr=False)
    is_side: bool = field(default=False, repr=False)
    error_of: "tuple[ColumnMeaning, ...]" = field(default=(), repr=False)
    is_error: bool = field(default=False, repr=False)
    is_part: bool = field(default=False, repr=False)
    rivals: tuple[str, ...] = field(default=(), repr=False)


@lru_cache(maxsize=4096)
def read_heading(header: str, unit: str | None = None) -> ColumnMeaning:
    """Read a heading; `unit` is the unit in a row below it.

    >>> read_heading("Crack 3 [mm]")
    ColumnMeaning(quantity='crack_opening', unit='mm', station='Crack-3', foreign='')
    >>> read_heading("GNSS1_displacement_east_mm")
    ColumnMeaning(quantity='displacement_east', unit='mm', station='GNSS1', foreign='')
    >>> read_heading("Niederschlag (mm)"), read_heading("ATU1/mm").station
    (ColumnMeaning(quantity='rain', unit='mm', station='', foreign=''), 'ATU1')
    >>> read_heading("Sigma R1 [mm]").error_of, read_heading("Crack S1 [mm]").error_of
    ((ColumnMeaning(quantity=None, unit='mm', station='R1', foreign=''),), ())
    """
    plain = _read_plain(header, unit)
    first = _REPEATED.sub("", header)
    errors = load_words("errors")
    if errors.is_in(first):
        return replace(plain, error_of=(_read_plain(errors.remove(first), unit),), is_error=True)
    bare = _BRACKETS.sub(" ", first)
    doubtful = [
        pattern for pattern in (_DOUBTFUL_ERROR_OF_COMPONENT, _DOUBTFUL_ERROR) if pattern.search(bare) is not None
    ]
    error_of = tuple(_read_plain(pattern.sub(" ", bare, count=1), plain.unit) for pattern in doubtful)
    return replace(plain, error_of=error_of)


def list_candidates(heading: str, unit: str | None) -> tuple[Candidate, ...]:
    """Return the quantities that a heading without its unit may name, the best one first.

    A unit that does not fit a quantity excludes it. A quantity whose words are a part of the words of another one is
    no candidate: in "groundwater level" the words "water level" do not count.

    >>> [candidate.quantity for candidate in list_candidates("Crack gauge temperature", "degC")]
    ['temperature']
    >>> [candidate.quantity for candidate in list_candidates("Lake road crack", "mm")]
    ['reservoir_level', 'crack_opening']
    """
    found = []
    for quantity, matches in _find_words(split_heading(heading)).items():
        best = max(matches, key=lambda match: match.letters)
        score = WORD_SCORE + WHOLE_WORD_SCORE * best.is_whole
        fitting = _OTHER_UNITS.get((quantity, unit or ""), quantity)
        if unit is not None:
            if not is_unit_of(unit, fitting):
                continue
            score += UNIT_SCORE
        found.append(Candidate(fitting, score))
    named = {candidate.quantity for candidate in found}
    general = {name for name, special in load_special_quantities().items() if named.intersection(special)}
    special = [candidate for candidate in found if candidate.quantity not in general]
    return tuple(sorted(special, key=lambda candidate: -candidate.score))


def list_measured_quantities() -> list[str]:
    """Return the quantities that instruments measure, without those that are computed from images and maps."""
    return sorted(quantity for quantity in QUANTITIES if quantity not in _COMPUTED)


def choose_candidate(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the best candidate if its score leads by `LEAD`."""
    if not candidates:
        return None
    if len(candidates) > 1 and candidates[0].score - candidates[1].score < LEAD:
        return None
    return candidates[0]


def _find_words(heading: Heading) -> dict[str, list[WordMatch]]:
    """Return the words of each quantity in a heading, without those that longer words of other quantities cover."""
    found = {quantity: words.find_all(heading) for quantity, words in load_quantities().items()}
    matches = [match for own in found.values() for match in own]
    uncovered = {
        quantity: [match for match in own if not any(other.covers(match) for other in matches)]
        for quantity, own in found.items()
    }
    return {quantity: own for quantity, own in uncovered.items() if own}


def _remove_quantity(text: str, quantity: str) -> str:
    """Return a heading without the words of a quantity and of the general quantity that it belongs to."""
    heading = split_heading(text)
    general = [name for name, special in load_special_quantities().items() if quantity in special]
    words = load_quantities()
    matches = [match for name in (quantity, *general) if name in words for match in words[name].find_all(heading)]
    return remove_words(heading, matches)


def _read_plain(header: str, unit: str | None) -> ColumnMeaning:
    """Read a heading without regard to words for errors."""
    if (own := _read_own_name(header)) is not None:
        return own
    header = join_depths(_BRACKETED_NUMBER.sub(r" \1 ", header))
    brackets = _BRACKETS.findall(header)
    known, foreign = _read_written_unit(header, unit, brackets)
    bare = _strip_unit(header, known)
    named = _find_words(split_heading(bare))
    quantity: str | None
    rivals: tuple[str, ...]
    if "pore_pressure" in named and any(map(load_words("above_sea").is_in, brackets)):
        quantity, rivals = "groundwater_level", ()
        rest = _remove_quantity(_remove_quantity(bare, "pore_pressure"), "groundwater_level")
    else:
        quantity, rivals, rest = _choose_quantity(bare, known)
    if quantity == "rain" and known is None and load_words("tips").is_in(bare):
        foreign = "counts"
    if quantity == "pore_pressure" and load_words("absolute").is_in(bare):
        quantity = None
    tokens = [token for token in re.split(r"[\s_]+", rest) if token]
    if known is None:
        known, tokens = _take_unit_token(tokens, quantity, foreign)
        if known is not None:
            quantity, rivals, rest = _choose_quantity(bare, known)
            tokens = [token for token in re.split(r"[\s_]+", rest) if token and read_unit(token) != known]
    else:
        _, tokens = _take_unit_token(tokens, quantity, foreign)
    quantity, tokens = _fit_quantity(quantity, known, tokens, is_named=bool(named))
    is_part = _is_part(quantity, bare)
    if is_part:
        across = load_words("components", "across")
        quantity, tokens = None, [token for token in tokens if not across.is_in(token)]
    if quantity is not None and QUANTITIES[quantity].unit == "1":
        known = known or "1"
    if quantity == "tilt":
        quantity, tokens, bare = _find_axis(tokens, bare)
    component, base, is_side = _find_component(tokens)
    if quantity == "displacement" and is_side and component in COMPONENTS:
        quantity, tokens = COMPONENTS[component], base
    if known is not None and not (unit and is_raw(unit)):
        foreign = ""
    return ColumnMeaning(
        quantity,
        known,
        _name(tokens, bare),
        foreign,
        component,
        _name(base, ""),
        is_side,
        is_part=is_part,
        rivals=rivals,
    )


def _choose_quantity(bare: str, unit: str | None) -> tuple[str | None, tuple[str, ...], str]:
    """Return the quantity of a heading, the rivals if none leads, and the heading without the words of the quantity."""
    candidates = list_candidates(bare, unit)
    best = choose_candidate(candidates)
    if best is not None:
        return best.quantity, (), _remove_quantity(bare, best.quantity)
    if candidates:
        return None, tuple(candidate.quantity for candidate in candidates), bare
    # The unit fits no quantity that the words name. These words are no part of the name of the station.
    rest = bare
    for quantity in _find_words(split_heading(bare)):
        rest = _remove_quantity(rest, quantity)
    return None, (), rest


def _read_own_name(header: str) -> ColumnMeaning | None:
    """Read a heading such as `G1_displacement_east_mm`, which is written as this service names quantities and units."""
    if (suffixed := split_suffix(header)) is None:
        return None
    for quantity in sorted(QUANTITIES, key=len, reverse=True):
        if suffixed[0] == quantity or suffixed[0].endswith("_" + quantity):
            rest = load_words("filler").remove(suffixed[0].removesuffix(quantity)).strip(" _-")
            return ColumnMeaning(quantity, suffixed[1], name_station(rest))
    return None


def _read_written_unit(header: str, unit: str | None, brackets: Sequence[str]) -> tuple[str | None, str]:
    """Return the unit in a row of units, at the end of a heading or in its brackets, and a text that is no unit."""
    if unit is not None and is_raw(unit):
        known, foreign = None, unit
    else:
        known, foreign = unit or unit_of_header(header), ""
    known = known or next((inside for text in brackets if (inside := read_unit(text)) is not None), None)
    if not foreign and brackets and known is None:
        foreign = brackets[-1].strip("[]()（）［］ ")
    return known, foreign


def _fit_quantity(
    quantity: str | None, unit: str | None, tokens: list[str], *, is_named: bool
) -> tuple[str | None, list[str]]:
    """Return the quantity that words and unit allow, and the words that are left."""
    if quantity is None and not is_named:
        implied = load_file()["units_of_one_quantity"].get(unit or "")
        is_supply = all(map(load_words("supply").is_whole, split_heading(" ".join(tokens)).words.split()))
        if implied is not None and (implied != "battery_voltage" or is_supply):
            quantity = str(implied)
    if quantity == "temperature":
        tokens = [token for token in tokens if token.lower() != "t"]
    fits = quantity is None or unit is None or is_unit_of(unit, quantity)
    return quantity if fits else None, tokens


def _is_part(quantity: str | None, bare: str) -> bool:
    """Return whether a heading names motion along or across an axis, or since the last reading."""
    if quantity not in {None, "displacement"}:
        return False
    if load_words("components", "across").is_in(bare):
        return True
    return quantity is not None and load_words("components", "since_last").is_in(bare)


def _strip_unit(header: str, unit: str | None) -> str:
    """Return a heading without brackets and without a unit behind a slash."""
    bare = _BRACKETS.sub(" ", header)
    before, slash, behind = bare.rpartition("/")
    return before if unit is not None and slash and read_unit(behind) is not None else bare


def _take_unit_token(tokens: list[str], quantity: str | None, foreign: str) -> tuple[str | None, list[str]]:
    """Return the unit that a word of a heading names, and the words without it.

    The unit is the last word, or a word that has no other meaning, such as kPa. "in" within a heading is no inch, and a
    single letter is a unit only if the quantity has this unit.
    """
    if foreign.lstrip("x× ")[:1].isdigit() and not foreign.isdigit():
        return None, tokens  # "in 1/10 mm" is no inch
    filler = load_words("filler")
    ends = [token for token in tokens if not token.isdigit() and (token.lower() == "in" or not filler.is_whole(token))]
    for token in tokens:
        known = read_unit(token)
        if known is None or token.isdigit() or (token != ends[-1] and not is_sure_unit(token)):
            continue
        if len(token) > 1 or (quantity is not None and is_unit_of(known, quantity)):
            return known, [other for other in tokens if other != token]
    return None, tokens


def is_term_of_field(text: str) -> bool:
    """Return whether a text is a quantity or a unit and nothing else, and so no name of a station.

    >>> [is_term_of_field(text) for text in ("Rain", "mm", "pore pressure", "Crack 3", "Upper")]
    [True, True, True, False, False]
    """
    plain = " ".join(re.split(r"[\s_-]+", text)).strip()
    if len(plain) < 2 or plain.isdigit():
        return False
    if read_unit(plain) is not None or plain.lower().replace(" ", "_") in QUANTITIES:
        return True
    candidates = list_candidates(plain, None)
    if not candidates:
        return False
    rest = load_words("filler").remove(_remove_quantity(plain, candidates[0].quantity))
    return not any(character.isalnum() for character in rest)


def _name(tokens: Sequence[str], bare: str) -> str:
    """Return the name of a station; `bare` is the whole heading, which is used if only a number is left."""
    station = name_station(load_words("filler").remove(" ".join(tokens)).strip(" _-.:"))
    station = "" if is_term_of_field(station) else station
    if station.isdigit() and bare:
        words = " ".join(token for token in re.split(r"[\s_]+", bare) if token.isdigit() or read_unit(token) is None)
        station = name_station(words) or station
        station = f"S{station}" if station.isdigit() else station
    return station


def _find_axis(tokens: Sequence[str], bare: str) -> tuple[str, list[str], str]:
    """Return the axis of a tiltmeter, and its heading without the axis.

    A and B may also be two instruments of one axis each.
    """
    parts = [part for token in tokens for part in token.split("-") if part]
    for k, part in enumerate(parts):
        axis = _AXIS.fullmatch(part)
        if axis is None:
            continue
        number = axis[2] or ""
        rest = [*parts[:k], *([number] if number else []), *parts[k + 1 :]]
        if axis[1] or _name(rest, "") or load_words("components", "axis").is_in(bare):
            plain = re.sub(rf"(?<![^\W_]){re.escape(part)}(?![^\W_])", f" {number}", bare)
            return "tilt_x" if part[0].lower() in "xa" else "tilt_y", rest, plain
    return "tilt", list(tokens), bare


def _find_component(tokens: Sequence[str]) -> tuple[str, list[str], bool]:
    """Return the component that a word names, the other words, and whether the word is a side of the compass."""
    for k, token in enumerate(tokens):
        lower = token.lower().strip(".-")
        for component, side in (("e", "east"), ("n", "north")):
            if load_words("components", side).is_whole(lower):
                return component, [*tokens[:k], *tokens[k + 1 :]], True
        letter = _COMPONENT.fullmatch(lower)
        if letter is not None:
            component = "u" if letter[1] in "hz" else letter[1]
            number = [letter[2]] if letter[2] else []
            return component, [*tokens[:k], *number, *tokens[k + 1 :]], False
    return "", list(tokens), False


def strip_treatment(station: str) -> tuple[str, bool]:
    """Return a name without words for the treatment of values, and whether it has such words.

    >>> strip_treatment("C1-corrected"), strip_treatment("median"), strip_treatment("Upper")
    (('C1', True), ('', True), ('Upper', False))
    """
    bare = load_words("treatment").remove(station)
    candidates = list_candidates(bare, None)
    rest = _remove_quantity(bare, candidates[0].quantity) if candidates else bare  # "Crack-3" is station 3
    return rest.strip("-_ "), bare != station


def is_station_column(header: str) -> bool:
    """Return whether a column of texts names the station of each row.

    >>> [is_station_column(text) for text in ("Point ID", "Punkt-Nr.", "sensor_id", "gauge id", "Crack")]
    [True, True, True, True, False]
    """
    bare = _BRACKETS.sub("", header).strip()
    *before, last = split_heading(bare).words.split(" ")
    stations = load_words("stations")
    has_suffix = bool(before) and last in load_file()["stations"]["suffixes"]
    is_name = stations.is_whole(bare) or (has_suffix and stations.is_whole(" ".join(before)))
    return is_name or _ID_COLUMN.fullmatch(bare) is not None


def may_count_downward(header: str, quantity: str) -> bool:
    """Return whether larger values of a column may be lower ground or lower water.

    >>> may_count_downward("Depth to water", "groundwater_level"), may_count_downward("Setzung 3", "displacement_up")
    (True, True)
    >>> may_count_downward("Water level (m)", "water_level"), may_count_downward("Depth to water (m)", "temperature")
    (False, False)
    """
    return quantity in _FROM_ABOVE and load_words("downward").is_in(header)


def is_no_measurement(header: str) -> bool:
    """Return whether a column of numbers is a counter, a place, part of a date, or no quantity of this service."""
    bare = _BRACKETS.sub("", header).strip()
    if load_words("unsupported").is_in(bare) or load_words("not_measured").is_in(bare) or is_serial(header):
        return True
    is_part_of_date = load_words("calendar").is_whole(bare)
    return load_words("counters").is_whole(bare) or load_words("places").starts(bare) or is_part_of_date


def is_serial(header: str) -> bool:
    """Return whether a column holds the serial numbers of instruments."""
    return load_words("serial_numbers").is_in(_BRACKETS.sub("", header))
