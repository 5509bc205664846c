"""Check whether the units declared for a file are plausible, by its headers, its scale and the stored readings.

A table in millimetres that is declared in metres gives a motion a thousand times too large, and every single value is
plausible. The file is therefore checked as a whole before anything is stored. A doubt is a question to the user. Values
are never corrected silently.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from math import log
from statistics import median
from typing import Final

from forecasting.hydrology.rain_amounts import adds_up, most_mm, share_instants
from monitor.ingest.files.mapping import ColumnRule
from monitor.ingest.text.units import unit_of_header
from monitor.readings.queries.observations import find_series_id, load_readings
from monitor.readings.records import Observation
from monitor.sites.records import Site
from monitor.sites.units import UNITS
from monitor.storage.engine import Database
from monitor.text.instants import from_epoch_s
from monitor.text.message import LABELLED_TEXT, Figure, Message, Template, Timestamp

DAY_S: Final = 86400.0
HOUR_S: Final = 3600.0
# Median rate, scatter and spread that no record in correct units exceeds. The largest of 200 measured series (GNSS,
# InSAR, crack markers, a reservoir landslide, a glacier) are 1,215 mm/day (glacier), 99 mm (InSAR), 4.4 m (glacier).
RATE_MOST_MM_PER_DAY: Final = 2_000.0
SCATTER_MOST_MM: Final = 500.0
SPREAD_MOST_MM: Final = 20_000.0
NOISE_RATIO: Final = 100.0  # measured scatter divided by the noise that the site file declares
OTHERS_RATIO: Final = 300.0  # scatter divided by that of at least two other stations; receivers differ by ten
EPOCHS_LEAST: Final = 12  # a shorter series has no reliable scale
# A record whose thirds all move faster than this in one direction (18 m a year without a pause) is of a glacier or has
# another unit. A collapse starts slowly, and noise has no direction.
STEADY_MOST_MM_PER_DAY: Final = 50.0
STEADY_LEAST_DAYS: Final = 10.0  # shortest third
# Factors between common units: mm-cm, mm-in, cm-m, mm-ft, mm-m.
FACTORS: Final = (10.0, 25.4, 100.0, 304.8, 1000.0)
FACTOR_ERROR: Final = 0.05
CLEAR: Final = 20.0  # size of a jump divided by the usual difference of successive values
AROUND: Final = 5  # epochs compared on each side of a change of unit
OVERLAP: Final = timedelta(days=90)
_FAR_S: Final = 4e9  # later than all stored readings
# Falls of rain to 0, and their share of all falls, that sums of intervals have. No counter is reset this often.
EMPTIED_LEAST: Final = 5
EMPTIED_SHARE: Final = 0.2
RAIN: Final = "rain"
MOTION: Final = ("displacement", "crack_opening")
LEVELS: Final = ("water_level", "groundwater_level", "reservoir_level", "pore_pressure", "tilt")

_HEADER: Final = Template("unit.header", "the header '{name}' states {unit}, the mapping {mapped}")
_CHANGE: Final = Template("unit.change", "values are {factor} times as large from {at} on: another unit?")
_RATE: Final = Template("unit.rate", "the median rate is {rate}")
_SCATTER: Final = Template("unit.scatter", "values scatter by {scatter} from epoch to epoch")
_STEADY: Final = Template("unit.steady", "it moves at {rate} or more from the first day to the last")
_SPREAD: Final = Template("unit.spread", "values spread over {spread}")
_NOISE: Final = Template("unit.noise", "values scatter by {scatter}, the site file declares a noise of {noise}")
_OTHERS: Final = Template("unit.others", "values scatter by {scatter}, those of other stations by {others}")
_STORED: Final = Template(
    "unit.stored", "values are {factor} times the stored values of the same epochs: another unit?"
)
_BEFORE: Final = Template(
    "unit.before", "values are {factor} times the stored values of the epochs before: another unit?"
)
_COUNTER: Final = Template(
    "sums.counter",
    'the rain of {name} accumulates as that of a counter, and the site file does not declare stamp = "counter"',
)
_SUMS: Final = Template(
    "sums.intervals",
    'the rain of {name} falls to 0 repeatedly, as sums of intervals do, and the site file declares stamp = "counter"',
)
_TIPS: Final = Template(
    "sums.tips",
    "the rain of {name} has several equal rows at one instant, as single tips without seconds have, and the site file "
    'does not declare stamp = "event"; of sums of intervals only one row counts for each instant',
)
_REPEATED: Final = Template(
    "sums.repeated",
    "each tip of {name} is {n} times in the file: rows of one instant are summed, so remove the copies if the file was "
    "joined from others",
)
REPEATED_LEAST: Final = 10  # instants that all occur equally often


@dataclass(slots=True)
class SeriesScale:
    """Values of one series in a file, in the canonical unit, and their scale.

    Attributes:
        rate: Median of the absolute difference per day.
        scatter: Median of the absolute second difference.
        step: Median of the absolute difference.
        spread: Median distance from the median.
    """

    times_s: "array[float]" = field(default_factory=lambda: array("d"))
    values: "array[float]" = field(default_factory=lambda: array("d"))
    unit: str = ""
    rate: float = 0.0
    scatter: float = 0.0
    step: float = 0.0
    spread: float = 0.0

    def measure(self) -> None:
        """Sort the values by time and compute their scale."""
        order = sorted(range(len(self.times_s)), key=self.times_s.__getitem__)
        self.times_s = array("d", (self.times_s[k] for k in order))
        self.values = array("d", (self.values[k] for k in order))
        if len(self.values) < EPOCHS_LEAST:
            return
        pairs = list(zip(self.times_s, self.times_s[1:], self.values, self.values[1:], strict=False))
        steps = [b - a for _, _, a, b in pairs]
        self.step = median(abs(s) for s in steps)
        self.rate = median(abs(b - a) * DAY_S / (t - s) for s, t, a, b in pairs if t > s) if pairs else 0.0
        self.scatter = median(abs(b - a) for a, b in pairwise(steps))
        middle = median(self.values)
        self.spread = median(abs(v - middle) for v in self.values)

    def measure_steady(self) -> float:
        """Return the smallest net rate of the thirds of the record, per day, if all have one direction; else 0."""
        edges = [(len(self.values) - 1) * k // 3 for k in range(4)]
        spans = [(self.times_s[b] - self.times_s[a]) / DAY_S for a, b in pairwise(edges)]
        if len(self.values) < EPOCHS_LEAST or min(spans) < STEADY_LEAST_DAYS:
            return 0.0
        rates = [(self.values[b] - self.values[a]) / d for (a, b), d in zip(pairwise(edges), spans, strict=True)]
        return max(0.0, min(rates), -max(rates))


Series = tuple[str, str, str]
"""Site, station, quantity."""


def find_header_doubts(columns: Iterable[ColumnRule]) -> Iterator[Message]:
    """Yield a message for each column whose header names another unit than the mapping."""
    for column in columns:
        unit = unit_of_header(column.name)
        if unit is not None and unit != column.unit and _factor(unit) != _factor(column.unit):
            yield _HEADER(name=column.name, unit=unit, mapped=column.unit)


def _factor(unit: str) -> tuple[str, float] | str:
    """Return what units with the same meaning have in common."""
    conversion = UNITS.get(unit)
    return unit if conversion is None else conversion[:2]


class ScaleCheck:
    """Collect the readings of a file and find doubts about the scale of its series."""

    def __init__(self) -> None:
        self.series: dict[Series, SeriesScale] = {}
        self.rain: dict[tuple[str, str], list[tuple[float, float]]] = {}  # site and station -> time (s) and amount

    def add(self, observations: Iterable[Observation]) -> None:
        """Add readings of motion, levels and rain. Other quantities have no scale that stations share."""
        for o in observations:
            if o.quantity == RAIN:
                self.rain.setdefault((o.site, o.station), []).append((o.observed_at.timestamp(), o.value))
            elif o.quantity.startswith((*MOTION, *LEVELS)):
                scale = self.series.setdefault((o.site, o.station, o.quantity), SeriesScale(unit=o.unit))
                scale.times_s.append(o.observed_at.timestamp())
                scale.values.append(o.value)

    def find_stamp_doubts(self, sites: Mapping[str, Site]) -> Iterator[tuple[Message, bool]]:
        """Yield messages for rain that is not what the site file declares, and whether this is certain.

        It is certain if the rain would exceed the record of rain for its duration.
        """
        for (site, station), rows in sorted(self.rain.items()):
            spec = sites[site].series(station, RAIN) if site in sites else None
            if spec is None:
                continue
            rows.sort()
            name = f"{station}.{RAIN}"
            if spec.stamp == "event":
                counts = Counter(at_s for at_s, _ in rows)
                usual = max(counts.values())
                if usual > 1 and len(counts) >= REPEATED_LEAST and min(counts.values()) == usual:
                    yield _REPEATED(name=name, n=Figure(usual, "d")), False
                if adds_up(rows):
                    yield _COUNTER(name=name), False
                continue
            if spec.stamp == "interval_end" and share_instants(rows):
                yield _TIPS(name=name), False
            adds = adds_up(rows)
            if adds and spec.stamp == "interval_end":
                days: dict[float, float] = {}
                for at_s, amount in rows:
                    days[at_s // DAY_S] = days.get(at_s // DAY_S, 0.0) + amount
                most, greatest = most_mm(DAY_S), max(amount for _, amount in rows)
                yield _COUNTER(name=name), greatest > most_mm(spec.interval_s) or max(days.values()) > most
            elif adds is False and spec.stamp == "counter":
                falls = [(at_s, after) for (_, before), (at_s, after) in pairwise(rows) if after < before]
                emptied = [at_s % HOUR_S for at_s, after in falls if after == 0.0]
                if len(emptied) >= max(EMPTIED_LEAST, EMPTIED_SHARE * len(falls)):
                    # a counter of the hour is reset at one minute of the hour
                    yield _SUMS(name=name), spec.interval_s >= HOUR_S or len(set(emptied)) > 1

    def find_doubts(self, sites: Mapping[str, Site], database: Database | None) -> Iterator[Message]:
        """Yield the doubts about the scale of each series.

        Args:
            sites: Site files, for the declared noise.
            database: For the comparison with stored readings; None without one.
        """
        for scale in self.series.values():
            scale.measure()
        for key, scale in sorted(self.series.items()):
            name = f"{key[1]}.{key[2]}"
            yield from (LABELLED_TEXT(name=name, text=why) for why in self._find_doubts(key, scale, sites, database))

    def _find_doubts(
        self, key: Series, scale: SeriesScale, sites: Mapping[str, Site], database: Database | None
    ) -> Iterator[Message]:
        if (change := _find_change(scale)) is not None:
            at_s, factor = change
            yield _CHANGE(factor=Figure(factor), at=Timestamp(at_s, "minute"))
        if (stored := _compare_stored(key, scale, database)) is not None:
            yield stored
        if not key[2].startswith(MOTION) or scale.unit != "mm" or len(scale.values) < EPOCHS_LEAST:
            return
        if scale.rate > RATE_MOST_MM_PER_DAY:
            yield _RATE(rate=Figure(scale.rate, ",.0f", "mm/day"))
        elif scale.scatter > SCATTER_MOST_MM:
            yield _SCATTER(scatter=Figure(scale.scatter, ",.0f", "mm"))
        elif (steady := scale.measure_steady()) > STEADY_MOST_MM_PER_DAY:
            yield _STEADY(rate=Figure(steady, ",.0f", "mm/day"))
        elif scale.spread > SPREAD_MOST_MM:
            yield _SPREAD(spread=Figure(scale.spread / 1000, ",.0f", "m"))
        elif (
            key[0] in sites
            and (spec := sites[key[0]].series(key[1], key[2])) is not None
            and scale.scatter > NOISE_RATIO * spec.noise_floor > 0
        ):
            yield _NOISE(scatter=Figure(scale.scatter, ",.1f", "mm"), noise=Figure(spec.noise_floor, "g", "mm"))
        else:
            others = [s.scatter for k, s in self.series.items() if k[2] == key[2] and k[1] != key[1] and s.scatter > 0]
            if len(others) > 1 and scale.scatter > OTHERS_RATIO * median(others):
                yield _OTHERS(scatter=Figure(scale.scatter, ",.1f", "mm"), others=Figure(median(others), ",.2g", "mm"))


def _find_change(scale: SeriesScale) -> tuple[float, float] | None:
    """Return when values become larger or smaller by a factor between units, and the factor; None if they do not."""
    values = scale.values
    for k in range(AROUND, len(values) - AROUND + 1):
        if abs(values[k] - values[k - 1]) <= CLEAR * max(scale.step, 1e-12):
            continue
        if (factor := _ratio(values[k - 1], values[k])) is None:
            continue
        before, after = values[k - AROUND : k], values[k : k + AROUND]
        if _ratio(median(before), median(after)) != factor:
            continue
        # An outlier, or a jump that has this ratio by chance, does not change the scatter by the same factor.
        step_before, step_after = _usual_step(values[max(0, k - 40) : k]), _usual_step(values[k : k + 40])
        if step_before > 0 and step_after > 0 and not 1 / 3 <= step_after / (step_before * factor) <= 3:
            continue
        return scale.times_s[k], factor
    return None


def _usual_step(values: Sequence[float]) -> float:
    return median(abs(b - a) for a, b in pairwise(values)) if len(values) > AROUND else 0.0


def _ratio(before: float, after: float) -> float | None:
    """Return the factor between units that is the ratio of two values; None if their ratio is no such factor."""
    if not before or not after or (before > 0) != (after > 0):
        return None
    ratio = after / before
    for factor in FACTORS:
        for candidate in (factor, 1 / factor):
            if abs(log(ratio / candidate)) < FACTOR_ERROR:
                return candidate
    return None


def _compare_stored(key: Series, scale: SeriesScale, database: Database | None) -> Message | None:
    """Return a message if file and stored values of the same epochs, or of epochs just before, differ by a factor."""
    if database is None or not scale.times_s:
        return None
    first_at = from_epoch_s(scale.times_s[0])
    with database.read() as c:
        series_id = find_series_id(c, *key)
        if series_id is None:
            return None
        stored = load_readings(c, series_id, first_at - OVERLAP, first_at + OVERLAP, from_epoch_s(_FAR_S))
    values = dict(zip(scale.times_s, scale.values, strict=True))
    pairs = [(r.value_raw, values[at]) for r in stored if (at := r.observed_at.timestamp()) in values]
    factors = [factor for old, new in pairs if (factor := _ratio(old, new)) is not None]
    if len(factors) >= AROUND and len(factors) > 0.8 * len(pairs):
        return _STORED(factor=Figure(median(factors)))
    before = [r.value_raw for r in stored if r.observed_at < first_at][-AROUND:]
    if pairs or len(before) < AROUND or len(scale.values) < AROUND:
        return None
    factor = _compare_ends(before, scale.values, _usual_step([r.value_raw for r in stored]))
    return None if factor is None else _BEFORE(factor=Figure(factor))


def _compare_ends(before: Sequence[float], values: Sequence[float], step: float) -> float | None:
    """Return the factor from the newest stored values to the first values of a file that continues them."""
    old, new = median(before), median(values[:AROUND])
    stored_step = max(step, 1e-12)
    factor = _ratio(old, new)
    if factor is None or abs(new - old) <= CLEAR * stored_step:
        return None
    file_step = _usual_step(values[:40])
    has_other_scatter = file_step > 0 and not 1 / 3 <= file_step / (stored_step * factor) <= 3
    return None if has_other_scatter else factor
