"""What a name and a unit mean at a site, and the flags that stand beside a value; no value is altered."""

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

_MEMORY_LIMIT: Final = 50_000
SUSPECT: Final = frozenset({FILL, AT_STOP})
# a value under one of these is a measurement: it says what the series says
_EXPLAINED: Final = HARMLESS | {"undeclared", AT_STOP}
_CORRECTED: Final = "corrected"
_COUNTED: Final = "rain"  # a counter stands still where it is when the rain ends, and wraps at the end of its scale
Key = tuple[str, str, str]  # site, station, quantity
Dated = tuple[datetime, float]
DAY_S: Final = 86400.0
NOTED: Final = 0.1  # of the way that a motion at a bound goes in its window: a smaller step hides nothing
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
DEPTHS_NAMED: Final = 6  # depths of a profile that a message lists in full
_TOO_LARGE: Final = Template("value.large", "{quantity}: {value} {unit} is too large")


@dataclass(frozen=True, slots=True)
class StationField:
    """A named value of a station: its quantity, the canonical unit and what is usual."""

    quantity: str
    given_unit: str
    unit: str
    low: float
    high: float
    declared: bool
    coarse: float = inf  # one step of the last digit, beyond which it may hide a motion over a bound

    def to_canonical(self, value: float) -> float:
        """The value in the canonical unit."""
        return value if self.given_unit == self.unit else convert(value, self.given_unit, self.unit)

    def spread_to_canonical(self, sigma: float) -> float:
        """A standard deviation in the canonical unit: the zero of the scale does not matter."""
        return convert_difference(sigma, self.given_unit, self.unit)


class Vocabulary:
    """The names that the sites' stations may use; answers are remembered, site files do not change while running."""

    def __init__(self, sites: Mapping[str, Site]) -> None:
        self.sites = sites
        self.births = Births()  # what aliases stand for
        self._known: dict[tuple[str, str, str, str | None], StationField] = {}

    def field(self, site: Site, station: str, name: str, unit: str | None = None) -> StationField:
        """Find what a name means: `rain_mm`, or `rain` with its unit apart.

        Raises:
            PayloadError: no_unit, unknown_quantity, unit_mismatch.
        """
        key = (site.id, station, name, unit)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MEMORY_LIMIT:
                self._known.clear()
            found = self._known[key] = _describe(site, station, name, unit)
        return found


def _describe(site: Site, station: str, name: str, unit: str | None) -> StationField:
    own = dict(site.quantities)
    if unit is None:
        parts = split_suffix(name)
        if parts is None:
            if name in QUANTITIES or name in own:
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
    ways = [
        abs(t.bound) * t.effective_window_s / DAY_S
        for c in site.criteria
        if c.kind.rate and declared is not None and station in c.stations and c.quantity == declared.quantity
        for t in c.thresholds
        if t.bound is not None
    ]
    coarse = NOTED * min(ways, default=inf)
    return StationField(quantity, unit, expected.unit, expected.low, expected.high, expected.declared, coarse)


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
    names = [one.quantity for one in declared.series if one.quantity.startswith(DEPTH_PREFIX)] if declared else []
    names = [name for name in names if _DEPTH_NAME.fullmatch(name)]
    if not names:
        return _NO_PROFILE(quantity=quantity, station=station)
    listed = names if len(names) <= DEPTHS_NAMED else [*names[:2], "...", names[-1]]
    nearest = _find_nearest_depth(quantity, names)
    return _NO_DEPTH(station=station, quantity=quantity, names=NameList(tuple(listed)), nearest=nearest)


def _find_nearest_depth(quantity: str, names: Sequence[str]) -> str:
    """Return the declared name with the nearest depth, of the same face where it has one.

    >>> _find_nearest_depth("depth_a_1m0", ["depth_a_0m5", "depth_a_1m", "depth_b_1m"])
    'depth_a_1m'
    """
    given = _DEPTH_NAME.fullmatch(quantity)
    if given is None:
        return names[0]
    faces = [name for name in names if (found := _DEPTH_NAME.fullmatch(name)) and found[1] == given[1]]
    return min(faces or names, key=lambda name: abs(_read_depth_m(name) - _read_depth_m(quantity)))


def _read_depth_m(quantity: str) -> float:
    """Return the depth in metres that a name such as `depth_a0_12m5` means."""
    found = _DEPTH_NAME.fullmatch(quantity)
    return float(f"{found[2]}.{found[3] or 0}") if found else inf


_LEAST_RAW: Final = 6999.0  # of counts of a sensor: -99 and 999 are among them as often as any other


def flag(
    field: StationField, value: float, observed_at: datetime, received_at: datetime, given: float
) -> tuple[str, ...]:
    """Flags of a value in its canonical unit: out_of_range, future, undeclared.

    What is `fill` or `at_stop` by the number as it was given may be a reading: `flag_fills` asks its series.
    """
    is_out, is_future = not field.low <= value <= field.high, observed_at - received_at > FUTURE_TOLERANCE
    flags = (
        ("out_of_range", is_out),
        ("future", is_future),
        ("undeclared", not field.declared),
        (FILL, is_fill_number(given) and not (abs(given) < _LEAST_RAW and is_raw(field.given_unit))),
        (AT_STOP, is_full_scale(given)),
    )
    return tuple(name for name, holds in flags if holds)


@dataclass(frozen=True, slots=True)
class ReadingDetails:
    """What is stated beside a value."""

    sigma: float | None = None  # one standard deviation, in the unit of the value
    solution: str | None = None
    extra: str | None = None  # canonical JSON of what belongs to the epoch
    digit: float | None = None  # one step of the last digit, of a value that came as text


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
    """Make the record of one value given in the field's unit.

    A stated error is never smaller than that of rounding to the last digit, where the value came as text.
    """
    canonical, extra = field.to_canonical(value), details.extra
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
    """One standard deviation of what rounding to steps leaves out: it lies anywhere within half a step."""
    return step / sqrt(12.0)


def read_digit(value: object) -> float | None:
    """One step of the last digit of a number that came as text; None of one that did not, or that is none.

    >>> read_digit("12.40"), read_digit(" -3 "), read_digit("1.5e2"), read_digit(12.4)
    (0.01, 1.0, 10.0, None)
    """
    found = _NUMERAL.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else float(10.0 ** (int(found[2] or 0) - len(found[1] or "")))


# ---- by what the series says -----------------------------------------------------------------------------------------
def is_suspect(item: Observation) -> bool:
    """Whether a reading may be a fill, by its number alone."""
    return not SUSPECT.isdisjoint(item.flags)


def flag_fills(
    c: Connection | None, observations: Sequence[Observation], *, is_sure: bool = False
) -> Sequence[Observation]:
    """The same observations in the same order; of those that may be fills, the flag holds or is taken away.

    What somebody sends as corrected is not judged: a person stands behind it. Judged twice, they stay as they are.

    Args:
        c: what was stored before; None where nothing was.
        observations: with the flags that `quality.flag` gives by the number.
        is_sure: a person says that each is a reading.
    """
    suspects = [n for n, o in enumerate(observations) if is_suspect(o)]
    if not suspects:
        return observations
    out = list(observations)
    dated = _group_explained(observations, {_key(observations[n]) for n in suspects})
    stored: set[Key] = set()
    for n in sorted(suspects, key=lambda n: observations[n].observed_at):
        item, key = observations[n], _key(observations[n])
        series = dated.setdefault(key, [])
        if key not in stored and not is_sure:
            stored.add(key)
            there = {at for at, _ in series}
            for one in _load(c, key, item.observed_at):
                if one[0] not in there:
                    insort(series, one)
        found = None if item.solution == _CORRECTED or is_sure else _classify(item, series)
        kept = tuple(flag for flag in item.flags if flag not in SUSPECT)
        out[n] = replace(item, flags=kept if found is None else (*kept, found))
        if found != FILL and _EXPLAINED.issuperset(out[n].flags):
            insort(series, (item.observed_at, item.value))
    return out


def _group_explained(observations: Iterable[Observation], keys: Container[Key]) -> dict[Key, list[Dated]]:
    dated: dict[Key, list[Dated]] = {}
    for item in observations:
        if (key := _key(item)) in keys and not is_suspect(item) and _EXPLAINED.issuperset(item.flags):
            insort(dated.setdefault(key, []), (item.observed_at, item.value))
    return dated


def _classify(item: Observation, series: Sequence[Dated]) -> str | None:
    place = bisect_left(series, item.observed_at, key=itemgetter(0))
    before = [value for _, value in series[max(0, place - RECORD_READINGS) : place]]
    after = [value for at, value in series[place : place + RECORD_READINGS] if at != item.observed_at]
    is_end = AT_STOP in item.flags and item.quantity != _COUNTED
    return classify_number(item.value, before, after, is_end=is_end)


def _load(c: Connection | None, key: Key, at: datetime) -> list[Dated]:
    series_id = None if c is None else find_series_id(c, *key)
    if c is None or series_id is None:
        return []
    found = load_neighbours(c, series_id, at, RECORD_READINGS)
    if len(found) < MIN_RECORD_READINGS:
        found += load_neighbours(c, series_id, at, RECORD_READINGS, later=True)
    return sorted(
        (at, float(row.value_raw)) for at, row in found if _EXPLAINED.issuperset(filter(None, row.flags.split(",")))
    )


def _key(item: Observation) -> Key:
    return item.site, item.station, item.quantity
