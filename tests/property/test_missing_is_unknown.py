"""Missing is unknown: whatever a rule removes or does not receive, no result turns motion or rain into rest unnoticed.

Each example is a complete record of one instrument and the same record with readings removed, corrupted or late. Both
are decided hour by hour. A result on the damaged record may be lower than on the complete one only where its coverage
is below 100 % and the site does not see "full". A level that was reached stands as long as the complete record asks for
it. Broken variants of the rules must fail.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from monitor.decision import decide as decide_module
from monitor.decision import incomplete_series
from monitor.decision.criteria import rain_coverage, rain_gauge
from monitor.decision.criteria.table import KINDS
from monitor.decision.decide import decide
from monitor.decision.series import assessment as assessment_module
from monitor.decision.series import coverage as coverage_module
from monitor.decision.series import tracks
from monitor.decision.series.coverage import WHOLE, Coverage
from monitor.domain.decision import Decision, DecisionInputs, Memory, NewestEpoch, instant, seconds
from monitor.domain.instruments.no_value import FILL
from monitor.domain.observation import Reading
from monitor.domain.site import Criterion, Dwell, Fusion, Level, SeriesSpec, Site, Station, Threshold

HOUR_S: Final = 3600.0
START_S: Final = 1.8e9
HOURS: Final = 84
FIRST_LOOK: Final = 30
SILENCE_S: Final = 3 * HOUR_S
WINDOW_S: Final = 12 * HOUR_S
DWELL: Final = Dwell(2, 3)
# A result may lag by the silence that the site file allows, and by the readings that the dwell then still needs.
LAG_HOURS: Final = 6
LEVELS: Final = tuple(Level(i, name, True) for i, name in enumerate(("green", "yellow", "orange", "red")))
NOISE: Final = 0.05

Record = dict[str, list[Reading]]


@dataclass(frozen=True)
class Instrument:
    """One kind of instrument: its series, the criterion that reads it, and values far from every bound."""

    name: str
    quantities: tuple[str, ...]
    spec: SeriesSpec
    kind: str
    bounds: tuple[float, float]
    rates: tuple[float, ...]  # per day while it moves, or mm per hour while it rains

    @property
    def site(self) -> Site:
        """A site of this instrument alone."""
        station = Station("S", 46.0, 8.0, azimuth_deg=90.0, plunge_deg=0.0, series=(self.spec,))
        window_s = None if self.kind == "level" else WINDOW_S
        thresholds = tuple(Threshold(n, over=bound, window_s=window_s) for n, bound in enumerate(self.bounds, 1))
        criterion = Criterion(
            "c",
            KINDS[self.kind],
            ("S",),
            self.spec.quantity,
            thresholds,
            dwell=DWELL,
            recover=0.8,
            # the operator tolerates no missing rain
            params=(("min_coverage", 1.0),) if self.spec.quantity == "rain" else (),
            valid_for_s=10 * 86400.0,
        )
        fusion = Fusion(top_needs=1, verify_within_s=HOUR_S)
        return Site("s", "S", 46.0, 8.0, "UTC", LEVELS, (station,), (criterion,), fusion=fusion, version="v")


def make_series(quantity: str, unit: str, *, noise: float = NOISE, high: float = 5e3, stamp: str = "") -> SeriesSpec:
    stamped = {"stamp": stamp} if stamp else {}
    return SeriesSpec("S", quantity, unit, HOUR_S, SILENCE_S, noise, None, low=-5e3, high=high, **stamped)


EAST: Final = ("displacement_east", "displacement_north", "displacement_up")
GAUGE: Final = (30.0, 90.0)
INSTRUMENTS: Final = (
    Instrument("gnss", EAST, make_series("displacement", "mm"), "velocity", (5.0, 30.0), (0.0, 12.0, 80.0)),
    Instrument("tilt", ("tilt_x",), make_series("tilt_x", "mrad"), "rate", (5.0, 30.0), (0.0, 12.0, 80.0)),
    Instrument(
        "extensometer",
        ("crack_opening",),
        make_series("crack_opening", "mm"),
        "velocity",
        (5.0, 30.0),
        (0.0, 12.0, 80.0),
    ),
    Instrument(
        "piezometer", ("pore_pressure",), make_series("pore_pressure", "kPa"), "level", (10.0, 40.0), (0.0, 60.0)
    ),
    Instrument("sums", ("rain",), make_series("rain", "mm", stamp="interval_end"), "rain_sum", GAUGE, (0.0, 6.0, 15.0)),
    Instrument("counter", ("rain",), make_series("rain", "mm", stamp="counter"), "rain_sum", GAUGE, (0.0, 6.0, 15.0)),
    Instrument("tips", ("rain",), make_series("rain", "mm", stamp="event"), "rain_sum", GAUGE, (0.0, 6.0, 15.0)),
)


# ---- complete records ----------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Damage:
    """One way in which a stretch of a record is damaged."""

    how: str
    from_hour: int
    hours: int


@dataclass(frozen=True)
class Example:
    """What happens on the slope, and what becomes of the readings."""

    instrument: Instrument
    seed: int
    rate: float
    from_hour: int
    to_hour: int
    damages: tuple[Damage, ...]


def make_reading(at_s: float, value: float, sigma: float | None = None, flags: tuple[str, ...] = ()) -> Reading:
    return Reading(instant(at_s), instant(at_s), 0, value, 0.0, value, sigma, flags)


def make_record(example: Example) -> Record:
    """Complete readings, hour by hour."""
    rng = random.Random(example.seed)
    instrument = example.instrument
    moved = 0.0
    record: Record = {q: [] for q in instrument.quantities}
    for hour in range(HOURS):
        at_s = START_S + hour * HOUR_S
        is_active = example.from_hour <= hour < example.to_hour
        if instrument.kind == "rain_sum":
            amount = example.rate if is_active else 0.0
            moved += amount
            value = moved if instrument.name == "counter" else amount
            if instrument.name != "tips" or amount > 0.0 or hour == 0:
                record["rain"].append(make_reading(at_s, value))
            continue
        moved += example.rate / 24.0 if is_active else 0.0
        for quantity in instrument.quantities:
            share = 1.0 if quantity in {instrument.quantities[0], "displacement_east"} else 0.0
            record[quantity].append(make_reading(at_s, share * moved + rng.gauss(0.0, NOISE), NOISE))
    return record


# ---- damage --------------------------------------------------------------------------------------------------------
Alter = Callable[[Instrument, Reading, int], Reading | None]


def drop(instrument: Instrument, reading: Reading, hour: int) -> Reading | None:
    """Never send the reading."""
    del instrument, reading, hour
    return None


def flag(instrument: Instrument, reading: Reading, hour: int) -> Reading:
    """Send a wrong value that carries a flag."""
    del instrument, hour
    return replace(reading, value=-3.0, value_raw=-3.0, flags=("broken",))


def fill(instrument: Instrument, reading: Reading, hour: int) -> Reading:
    """Send the value that stands for none."""
    del instrument, hour
    return replace(reading, value=-999.0, value_raw=-999.0, flags=(FILL,))


def leave_range(instrument: Instrument, reading: Reading, hour: int) -> Reading:
    """Send a value out of the range of the series: of rain below zero."""
    del hour
    value = -1.0 if instrument.spec.quantity == "rain" else 9e3
    return replace(reading, value=value, value_raw=value)


def spike(instrument: Instrument, reading: Reading, hour: int) -> Reading:
    """Send a wild value now and then; of rain more than ever fell anywhere."""
    if hour % 5:
        return reading
    value = 4000.0 if instrument.spec.quantity == "rain" else reading.value + 300.0
    return replace(reading, value=value, value_raw=value)


def arrive_late(instrument: Instrument, reading: Reading, hour: int) -> Reading:
    """Send the reading hours later."""
    del instrument, hour
    return replace(reading, received_at=instant(seconds(reading.observed_at) + 9 * HOUR_S))


def correct_alone(instrument: Instrument, reading: Reading, hour: int) -> Reading:
    """Let one person replace the value after it has arrived."""
    del hour
    value = 0.0 if instrument.name != "counter" else reading.value
    return replace(reading, value=value, value_raw=value, revision=1, first=reading.first or reading)


DAMAGES: Final[dict[str, Alter]] = {
    "drop": drop,
    "flag": flag,
    "fill": fill,
    "out of range": leave_range,
    "spike": spike,
    "late": arrive_late,
    "correction": correct_alone,
}
FOR_RAIN: Final = {"drop", "flag", "fill", "out of range", "spike", "late"}
WHOLE_RECORD: Final = ("alternate", "one component", "restart", "overlap")


def damage_record(example: Example, record: Record) -> Record:
    """Return the record with every damage done to it."""
    instrument = example.instrument
    for damage in example.damages:
        record = {q: list(_damage(instrument, damage, q, rows)) for q, rows in record.items()}
    return record


def _damage(instrument: Instrument, damage: Damage, quantity: str, rows: Sequence[Reading]) -> Iterator[Reading]:
    shown = 0.0
    for reading in rows:
        hour = round((seconds(reading.observed_at) - START_S) / HOUR_S)
        is_hit = damage.from_hour <= hour < damage.from_hour + damage.hours
        if damage.how == "restart":  # the counter begins again at zero, right after a reading
            if hour == damage.from_hour - 1:
                shown = reading.value
            value = reading.value - shown if hour >= damage.from_hour else reading.value
            yield replace(reading, value=value, value_raw=value)
        elif damage.how == "overlap":
            if is_hit:  # sums twice as often as declared, each of the whole hour
                yield make_reading(seconds(reading.observed_at) - 0.5 * HOUR_S, reading.value)
            yield reading
        elif damage.how == "one component":
            if not (is_hit and quantity == "displacement_up"):
                yield reading
        elif damage.how == "alternate":
            yield flag(instrument, reading, hour) if is_hit and hour % 2 else reading
        elif not is_hit:
            yield reading
        else:
            altered = DAMAGES[damage.how](instrument, reading, hour)
            if altered is not None:
                yield altered


@st.composite
def examples(draw: st.DrawFn) -> Example:
    instrument = draw(st.sampled_from(INSTRUMENTS))
    ways = ["alternate", *(sorted(FOR_RAIN) if instrument.kind == "rain_sum" else DAMAGES)]
    if instrument.name == "gnss":
        ways.append("one component")
    if instrument.name == "counter":
        ways.append("restart")
    if instrument.name == "sums":
        ways.append("overlap")
    from_hour = draw(st.integers(24, 60))
    damage = st.builds(Damage, st.sampled_from(ways), st.integers(20, HOURS - 4), st.integers(1, 14))
    return Example(
        instrument,
        draw(st.integers(0, 1000)),
        draw(st.sampled_from(instrument.rates)),
        from_hour,
        from_hour + draw(st.integers(3, 40)),
        tuple(draw(st.lists(damage, min_size=1, max_size=2))),
    )


# ---- the law -------------------------------------------------------------------------------------------------------
def play(site: Site, record: Record) -> Iterator[Decision]:
    """Decide hour by hour with what had arrived until then."""
    memory = Memory()
    for hour in range(FIRST_LOOK, HOURS):
        now = instant(START_S + hour * HOUR_S + 60.0)
        view = {
            f"S.{q}": tuple(r for r in rows if max(r.observed_at, r.received_at) <= now) for q, rows in record.items()
        }
        newest = {
            name: NewestEpoch(seconds(rows[-1].observed_at), seconds(rows[-1].received_at), rows[-1].flags)
            for name, rows in view.items()
            if rows
        }
        decision = decide(site, memory, DecisionInputs(view, newest), now)
        memory = decision.memory
        yield decision


def check(example: Example) -> None:
    """Compare the decisions on the damaged record with those on the complete one."""
    site = example.instrument.site
    record = make_record(example)
    asked: list[int] = []
    before = 0
    for complete, damaged in zip(play(site, record), play(site, damage_record(example, record)), strict=True):
        (true,) = complete.evidence["words"]
        (word,) = damaged.evidence["words"]
        asked.append(true["raise_level"])
        due = min(asked[-LAG_HOURS:]) if len(asked) >= LAG_HOURS else 0
        if word["raise_level"] < due:
            assert word.get("coverage", {"share": 1.0})["share"] < 1.0, f"{word['reason']}: known for 100 %"
            assert damaged.observability != "full", f"{word['reason']}: sees full"
        if damaged.level < before:
            assert true["raise_level"] < before, f"the level fell to {damaged.level}: {damaged.evidence['sentence']}"
        before = damaged.level


@settings(max_examples=60)
@seed(73)
@given(examples())
def test_what_is_missing_is_never_reported_as_rest(example: Example):
    check(example)


def storm(name: str, *damages: Damage, rate: float, hours: int = 20) -> Example:
    instrument = next(one for one in INSTRUMENTS if one.name == name)
    return Example(instrument, 1, rate, 36, 36 + hours, damages)


# One example for each rule that removes readings; all of them must hold, and each mutant must fail one of them.
KNOWN: Final = (
    *(storm(name, Damage(how, 37, 10), rate=15.0) for name in ("sums", "tips") for how in ("drop", "flag", "spike")),
    storm("counter", Damage("flag", 50, 20), rate=15.0),
    *(storm(name, Damage(how, 38, 12), rate=80.0) for name in ("gnss", "tilt") for how in sorted(DAMAGES)),
    storm("gnss", Damage("one component", 38, 12), rate=80.0),
    storm("tilt", Damage("alternate", 37, 30), rate=80.0),
    *(storm(name, Damage("correction", 36, 48), rate=12.0) for name in ("gnss", "tilt")),
    storm("piezometer", Damage("flag", 38, 12), rate=60.0, hours=30),
    storm("extensometer", Damage("drop", 40, 14), rate=80.0, hours=10),
)


@pytest.mark.parametrize("number", range(len(KNOWN)))
def test_each_rule_that_removes_readings_lowers_the_coverage(number: int):
    check(KNOWN[number])


def _fill_rain_with_zero(readings, spec, now_s):
    rows = [(seconds(r.observed_at), r.value if tracks.explain_rain_fault(r) is None else 0.0) for r in readings]
    return [(at_s, value) for at_s, value in rows if at_s <= now_s]


def _report_whole_rain(self, window_s, share):
    return Coverage(1.0, window_s)


def _trust_every_reading(context, assessments):
    return [replace(a, fresh=a.fresh or a.has_data) for a in MEASURE(context, assessments)]


MEASURE = incomplete_series.measure_coverage
MUTANTS = {
    "a track is reported as known for 100 %": (incomplete_series, "measure_track", lambda *_: WHOLE),
    "rain is reported as known for 100 %": (rain_coverage.RainLosses, "measure", _report_whole_rain),
    "removed rain is filled with zero": (assessment_module, "list_rain", _fill_rain_with_zero),
    "missing rain is covered": (rain_gauge.Gauge, "coverage", lambda *_: 1.0),
    "removed readings are forgotten": (coverage_module, "_list_removed", lambda *_: []),
    "the site sees full": (decide_module, "find_incomplete", lambda *_: {}),
    "doubted readings are trusted": (decide_module, "doubt_assessments", lambda _, words, *__: list(words)),
}


@pytest.mark.parametrize("name", list(MUTANTS))
def test_a_rule_that_hides_what_is_missing_is_caught(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(*MUTANTS[name])
    with pytest.raises(AssertionError):
        for example in KNOWN:
            check(example)
