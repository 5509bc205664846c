"""Resolve names and units of values at a site, make observations, and flag doubtful values.

Values are converted to the canonical unit and not corrected.
"""

import json
import re
from bisect import bisect_left, insort
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf, sqrt
from operator import itemgetter
from typing import Final

from sqlalchemy import Connection

from monitor.canonical import canonical_json
from monitor.decision.alert_texts import name_series
from monitor.errors import PayloadError
from monitor.ingest.births import Births
from monitor.ingest.total_stations import POSITION_UNITS, is_position
from monitor.readings.no_value import (
    AT_STOP,
    FILL,
    LARGEST,
    MIN_RECORD_READINGS,
    RECORD_READINGS,
    classify_number,
    is_fill_number,
    is_full_scale,
)
from monitor.readings.queries.flags import load_neighbours
from monitor.readings.queries.observations import find_series_id
from monitor.readings.records import DIGIT, HARMLESS, Observation
from monitor.sites.quantities import DEPTH_PREFIX, QUANTITIES, convert, convert_difference, is_raw, split_suffix
from monitor.sites.records import Site
from monitor.text.instants import FUTURE_TOLERANCE
from monitor.text.message import Message, NameList, Template

# Names that a `Vocabulary` caches.
_MEMORY_LIMIT: Final = 50_000
# Flags of values that may be no measurement.
SUSPECT: Final = frozenset({FILL, AT_STOP})
# A value with only these flags is a measurement, and shows which values are usual in its series.
_EXPLAINED: Final = HARMLESS | {"undeclared", AT_STOP}
_CORRECTED: Final = "corrected"
# A rain counter repeats its value while it does not rain, and starts again after the end of its scale.
_COUNTED: Final = "rain"
Key = tuple[str, str, str]  # site, station, quantity
Dated = tuple[datetime, float]
DAY_S: Final = 86400.0
# The rounding step of a reading is stored if it exceeds this share of the motion that reaches a threshold within its
# window.
STEP_SHARE: Final = 0.1
_NUMERAL: Final = re.compile(r"\s*[+-]?\d*(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?\s*")
_NO_UNIT: Final = Template("value.unit.missing", "'{name}' has no unit; write {name}_<unit> or give value and unit")
_NO_KEY: Final = Template("value.key", "'{name}' is neither a quantity with its unit nor a known key")
_NO_QUANTITY: Final = Template(
    "value.quantity", "quantity '{quantity}' is unknown; declare it in the site file under [[quantity]]"
)
_NO_DEPTH: Final = Template(
    "value.depth",
    "{station} has no depth '{quantity}': its [[profile]] in the site file declares {names}; send {nearest} instead, "
    "or correct the depths of the [[profile]]",
)
_NO_PROFILE: Final = Template(
    "value.depth.no_profile",
    "'{quantity}' is a reading of a depth, and {station} has no [[profile]]: declare one in the site file, or correct "
    "the station",
)
_ODD_UNIT: Final = Template("value.unit", "{name}: {problem}")
_CALCULATED: Final = Template(
    "admission.calculated",
    "{series} is calculated by the site file; give what an instrument measures a quantity or a station of its own",
)
_DEPTH_NAME: Final = re.compile(rf"{DEPTH_PREFIX}([a-z0-9]+)_(\d+)(?:[m._](\d*))?m?")
# Depths of a profile that a message lists in full.
DEPTHS_NAMED: Final = 6
_TOO_LARGE: Final = Template("value.large", "{quantity}: {value} {unit} is too large")


@dataclass(frozen=True, slots=True)
class StationField:
    """A named value of a station: its quantity, units and expected range.

    Attributes:
        quantity: the quantity.
        given_unit: unit of the received value.
        unit: canonical unit, in which values are stored.
        low: lower end of the expected range.
        high: upper end of the expected range.
        declared: whether the site file declares the series.
        coarse: a last digit that is worth more than this may hide motion over a bound.
    """

    quantity: str
    given_unit: str
    unit: str
    low: float
    high: float
    declared: bool
    coarse: float = inf

    def to_canonical(self, value: float) -> float:
        """Convert a value to the canonical unit."""
        return value if self.given_unit == self.unit else convert(value, self.given_unit, self.unit)

    def spread_to_canonical(self, sigma: float) -> float:
        """Convert a standard deviation to the canonical unit. The zero of the scale has no effect."""
        return convert_difference(sigma, self.given_unit, self.unit)


class Vocabulary:
    """The names of values that the stations of all sites may use, and the state of Sparkplug nodes (`births`).

    Names are cached, because sites do not change.
    """

    def __init__(self, sites: Mapping[str, Site]) -> None:
        self.sites = sites
        # Metrics of Sparkplug nodes by alias.
        self.births = Births()
        self._known: dict[tuple[str, str, str, str | None], StationField] = {}

    def field(self, site: Site, station: str, name: str, unit: str | None = None) -> StationField:
        """Return the field of a name: `rain_mm`, or `rain` with a separate unit.

        Raises:
            PayloadError: no_unit, unknown_quantity, unit_mismatch.
        """
        key = (site.id, station, name, unit)
        field = self._known.get(key)
        if field is None:
            if len(self._known) >= _MEMORY_LIMIT:
                self._known.clear()
            field = _describe(site, station, name, unit)
            self._known[key] = field
        return field


def _describe(site: Site, station: str, name: str, unit: str | None) -> StationField:
    site_quantities = dict(site.quantities)
    if unit is None:
        parts = split_suffix(name)
        if parts is None:
            if name in QUANTITIES or name in site_quantities:
                raise PayloadError("no_unit", _NO_UNIT(name=name))
            raise PayloadError("unknown_key", _NO_KEY(name=name))
        quantity, unit = parts
    else:
        quantity = name
    if is_position(quantity):
        return _describe_position(name, quantity, unit)
    expected = site.find_expected_range(station, quantity)
    if expected is None:
        is_depth = _DEPTH_NAME.fullmatch(quantity) is not None
        reason = _describe_unknown_depth(site, station, quantity) if is_depth else _NO_QUANTITY(quantity=quantity)
        raise PayloadError("unknown_quantity", reason)
    declared = site.series(station, quantity)
    if declared is not None and declared.is_calculated:
        raise PayloadError("unknown_quantity", _CALCULATED(series=name_series(f"{station}.{quantity}")))
    try:
        convert(1.0, unit, expected.unit)
    except ValueError as error:
        raise PayloadError("unit_mismatch", _ODD_UNIT(name=name, problem=str(error))) from None
    coarse = inf if declared is None else _find_coarse_digit(site, station, declared.quantity)
    return StationField(quantity, unit, expected.unit, expected.low, expected.high, expected.declared, coarse)


def _find_coarse_digit(site: Site, station: str, quantity: str) -> float:
    """Return the value of a last digit that may hide motion over a bound of the site."""
    distances = [
        abs(threshold.bound) * threshold.effective_window_s / DAY_S
        for criterion in site.criteria
        if criterion.kind.rate and station in criterion.stations and criterion.quantity == quantity
        for threshold in criterion.thresholds
        if threshold.bound is not None
    ]
    return STEP_SHARE * min(distances, default=inf)


def _describe_position(name: str, quantity: str, unit: str) -> StationField:
    """Describe a coordinate or polar reading. It is replaced by displacement, which has a range and a last digit."""
    canonical = POSITION_UNITS[quantity]
    try:
        convert(1.0, unit, canonical)
    except ValueError as error:
        raise PayloadError("unit_mismatch", _ODD_UNIT(name=name, problem=str(error))) from None
    return StationField(quantity, unit, canonical, -inf, inf, declared=True, coarse=0.0)


def _describe_unknown_depth(site: Site, station: str, quantity: str) -> Message:
    """Return which depths the profile of a station declares, and which of them a name most likely means."""
    declared = site.station(station)
    quantities = [spec.quantity for spec in declared.series] if declared is not None else []
    names = [name for name in quantities if _DEPTH_NAME.fullmatch(name)]
    if not names:
        return _NO_PROFILE(quantity=quantity, station=station)
    listed = names if len(names) <= DEPTHS_NAMED else [*names[:2], "...", names[-1]]
    nearest = _find_nearest_depth(quantity, names)
    return _NO_DEPTH(station=station, quantity=quantity, names=NameList(tuple(listed)), nearest=nearest)


def _find_nearest_depth(quantity: str, names: Sequence[str]) -> str:
    """Return the declared name with the nearest depth. Names of the same face are preferred.

    >>> _find_nearest_depth("depth_a_1m0", ["depth_a_0m5", "depth_a_1m", "depth_b_1m"])
    'depth_a_1m'
    """
    given = _DEPTH_NAME.fullmatch(quantity)
    if given is None:
        return names[0]
    same_face = []
    for name in names:
        match = _DEPTH_NAME.fullmatch(name)
        if match is not None and match[1] == given[1]:
            same_face.append(name)
    return min(same_face or names, key=lambda name: abs(_read_depth_m(name) - _read_depth_m(quantity)))


def _read_depth_m(quantity: str) -> float:
    """Return the depth in metres that a name such as `depth_a0_12m5` means."""
    match = _DEPTH_NAME.fullmatch(quantity)
    return float(f"{match[2]}.{match[3] or 0}") if match else inf


# Smaller counts of a sensor, such as -99 and 999, are usual values and no codes for a missing measurement.
_LEAST_RAW: Final = 6999.0


def flag(
    field: StationField, value: float, observed_at: datetime, received_at: datetime, given: float
) -> tuple[str, ...]:
    """Return the flags of a value: out_of_range, future, undeclared, fill, at_stop.

    The flags `fill` and `at_stop` depend on the number alone. `flag_fills` compares it with its series and withdraws
    them if the number is a measurement.

    Args:
        field: the field of the value.
        value: the value in the canonical unit.
        observed_at: instant of the measurement.
        received_at: instant of the reception.
        given: the number as it was received.
    """
    flags: list[str] = []
    if not field.low <= value <= field.high:
        flags.append("out_of_range")
    if observed_at - received_at > FUTURE_TOLERANCE:
        flags.append("future")
    if not field.declared:
        flags.append("undeclared")
    if is_fill_number(given):  # the end of a scale is one of these numbers too
        if abs(given) >= _LEAST_RAW or not is_raw(field.given_unit):
            flags.append(FILL)
        if is_full_scale(given):
            flags.append(AT_STOP)
    return tuple(flags)


@dataclass(frozen=True, slots=True)
class ReadingDetails:
    """Facts that a message states beside a value.

    Attributes:
        sigma: one standard deviation, in the unit of the value.
        solution: `rapid`, `final` or `corrected`.
        extra: canonical JSON of facts about the epoch.
        digit: value of the last digit of a value that was received as text, in the unit of the value.
    """

    sigma: float | None = None
    solution: str | None = None
    extra: str | None = None
    digit: float | None = None


NO_DETAILS: Final = ReadingDetails()


def observe(
    site: str,
    station: str,
    field: StationField,
    value: float,
    observed_at: datetime,
    received_at: datetime,
    details: ReadingDetails = NO_DETAILS,
) -> Observation:
    """Return the observation of a value in the unit of its field.

    If the value was received as text, its stated error is at least that of rounding to the last digit.

    Raises:
        PayloadError: not_finite.
    """
    canonical = field.to_canonical(value)
    extra = details.extra
    spread = None if details.sigma is None else field.spread_to_canonical(details.sigma)
    if details.digit is not None:
        step = abs(field.spread_to_canonical(details.digit))
        spread = None if spread is None else max(spread, error_of_step(step))
        if step > field.coarse:
            extra = canonical_json({**(json.loads(extra) if extra else {}), DIGIT: [step]})
    if not (abs(canonical) < LARGEST and (spread is None or spread < LARGEST)):
        problem = _TOO_LARGE(quantity=field.quantity, value=str(value), unit=field.given_unit)
        raise PayloadError("not_finite", problem)
    return Observation(
        site,
        station,
        field.quantity,
        field.unit,
        observed_at,
        received_at,
        canonical,
        spread,
        details.solution,
        flag(field, canonical, observed_at, received_at, value),
        extra=extra,
    )


def error_of_step(step: float) -> float:
    """Return the standard deviation of the error of rounding to multiples of a step."""
    return step / sqrt(12.0)


def read_digit(value: object) -> float | None:
    """Return the value of the last digit of a number that was received as text; None for any other value.

    >>> read_digit("12.40"), read_digit(" -3 "), read_digit("1.5e2"), read_digit(12.4)
    (0.01, 1.0, 10.0, None)
    """
    match = _NUMERAL.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    decimals = len(match[1] or "")
    exponent = int(match[2] or 0)
    return float(10.0 ** (exponent - decimals))


# ---- codes for a missing measurement -----------------------------------------------------------------------------
def is_suspect(item: Observation) -> bool:
    """Return whether a reading may be no measurement, judged by its number alone."""
    return not SUSPECT.isdisjoint(item.flags)


def flag_fills(
    c: Connection | None, observations: Sequence[Observation], *, is_sure: bool = False
) -> Sequence[Observation]:
    """Return the observations in the same order, with final flags of suspect readings.

    A suspect reading keeps its flag, or loses it if its series shows that it is a measurement. Corrected values are
    always measurements, because a person sends them. A second call changes nothing.

    Args:
        c: connection to the stored readings. None if there are none.
        observations: observations with the flags of `flag`.
        is_sure: whether a person confirms that all of them are measurements.
    """
    suspects = [index for index, observation in enumerate(observations) if is_suspect(observation)]
    if not suspects:
        return observations
    flagged = list(observations)
    readings = _group_explained(observations, {_key(observations[index]) for index in suspects})
    loaded: set[Key] = set()
    for index in sorted(suspects, key=lambda index: observations[index].observed_at):
        observation = observations[index]
        key = _key(observation)
        series = readings.setdefault(key, [])
        if key not in loaded and not is_sure:
            loaded.add(key)
            known_at = {at for at, _ in series}
            for reading in _load(c, key, observation.observed_at):
                if reading[0] not in known_at:
                    insort(series, reading)
        is_measured = observation.solution == _CORRECTED or is_sure
        suspicion = None if is_measured else _classify(observation, series)
        flags = tuple(name for name in observation.flags if name not in SUSPECT)
        flagged[index] = replace(observation, flags=flags if suspicion is None else (*flags, suspicion))
        if suspicion != FILL and _EXPLAINED.issuperset(flagged[index].flags):
            insort(series, (observation.observed_at, observation.value))
    return flagged


def _group_explained(observations: Iterable[Observation], keys: Container[Key]) -> dict[Key, list[Dated]]:
    """Return instant and value of the measurements among observations, by series, in order of time."""
    readings: dict[Key, list[Dated]] = {}
    for observation in observations:
        key = _key(observation)
        if key in keys and not is_suspect(observation) and _EXPLAINED.issuperset(observation.flags):
            insort(readings.setdefault(key, []), (observation.observed_at, observation.value))
    return readings


def _classify(item: Observation, series: Sequence[Dated]) -> str | None:
    """Return `fill` or `at_stop` if a suspect reading is no measurement, judged by its series; None otherwise."""
    place = bisect_left(series, item.observed_at, key=itemgetter(0))
    before = [value for _, value in series[max(0, place - RECORD_READINGS) : place]]
    after = [value for at, value in series[place : place + RECORD_READINGS] if at != item.observed_at]
    is_end = AT_STOP in item.flags and item.quantity != _COUNTED
    return classify_number(item.value, before, after, is_end=is_end)


def _load(c: Connection | None, key: Key, at: datetime) -> list[Dated]:
    """Return instant and value of stored measurements around an instant, in order of time."""
    series_id = None if c is None else find_series_id(c, *key)
    if c is None or series_id is None:
        return []
    neighbours = load_neighbours(c, series_id, at, RECORD_READINGS)
    if len(neighbours) < MIN_RECORD_READINGS:
        neighbours += load_neighbours(c, series_id, at, RECORD_READINGS, later=True)
    readings = []
    for observed_at, row in neighbours:
        if _EXPLAINED.issuperset(filter(None, row.flags.split(","))):
            readings.append((observed_at, float(row.value_raw)))
    return sorted(readings)


def _key(item: Observation) -> Key:
    return item.site, item.station, item.quantity
