"""Missing readings are unknown: no result silently reports motion or rain as rest because readings are missing.

Each example is a complete record of one instrument and the same record with readings removed, corrupted or late. The
test decides on both hour by hour. A result on the damaged record may be lower than on the complete one only if its
coverage is below 100 % and the observability of the site is not "full". A level that was reached remains as long as the
complete record requests it. Broken variants of the rules must fail.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from monitor.decision import decide as decide_module
from monitor.decision import incomplete_series
from monitor.decision.conditions import CANNOT_SEE
from monitor.decision.criteria import rain_coverage, rain_gauge, rainfall
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Decision, DecisionInputs, Memory, NewestEpoch
from monitor.decision.series import assessment as assessment_module
from monitor.readings.cleaned import coverage as coverage_module
from monitor.readings.cleaned import noise, tracks
from monitor.readings.cleaned.coverage import WHOLE, Coverage
from monitor.readings.no_value import AT_STOP, FILL
from monitor.readings.records import Reading
from monitor.sites.records import Criterion, Dwell, Fusion, Level, SeriesSpec, Site, Station, Threshold
from monitor.text.instants import epoch_s, from_epoch_s
from tests.data.criteria import KINDS
from tests.fixtures.examples import expensive_examples

HOUR_S: Final = 3600.0
START_S: Final = 1.8e9
HOURS: Final = 84
FIRST_LOOK: Final = 30
SILENCE_S: Final = 3 * HOUR_S
WINDOW_S: Final = 12 * HOUR_S
DWELL: Final = Dwell(2, 3)
# A result may be late by the silence that the site file allows and the readings that the dwell needs after it.
LAG_HOURS: Final = 6
LEVELS: Final = tuple(Level(i, name, True) for i, name in enumerate(("green", "yellow", "orange", "red")))
NOISE: Final = 0.05
BURST_HOURS: Final = 2
BURST_MM: Final = 55.0

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

    def make_site(self, min_coverage: float | None) -> Site:
        """Return a site of this instrument alone.

        Args:
            min_coverage: Share of the rain that the operator needs; None leaves the default.
        """
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
            params=(("min_coverage", min_coverage),) if self.spec.quantity == "rain" and min_coverage else (),
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
    """The motion or rain of an example, and the damage to its readings."""

    instrument: Instrument
    seed: int
    rate: float
    from_hour: int
    to_hour: int
    damages: tuple[Damage, ...]
    min_coverage: float | None = 1.0
    burst_hour: int | None = None  # start of a cloudburst of two hours


def make_reading(at_s: float, value: float, sigma: float | None = None, flags: tuple[str, ...] = ()) -> Reading:
    return Reading(from_epoch_s(at_s), from_epoch_s(at_s), 0, value, 0.0, value, sigma, flags)


def make_record(example: Example) -> Record:
    """Return the complete readings, hour by hour."""
    rng = random.Random(example.seed)
    instrument = example.instrument
    moved = 0.0
    record: Record = {q: [] for q in instrument.quantities}
    for hour in range(HOURS):
        at_s = START_S + hour * HOUR_S
        is_active = example.from_hour <= hour < example.to_hour
        if instrument.kind == "rain_sum":
            amount = example.rate if is_active else 0.0
            if example.burst_hour is not None and example.burst_hour <= hour < example.burst_hour + BURST_HOURS:
                amount += BURST_MM
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
    """Send the fill value."""
    del instrument, hour
    return replace(reading, value=-999.0, value_raw=-999.0, flags=(FILL,))


def leave_range(instrument: Instrument, reading: Reading, hour: int) -> Reading:
    """Send a value out of the range of the series. For rain it is negative."""
    del hour
    value = -1.0 if instrument.spec.quantity == "rain" else 9e3
    return replace(reading, value=value, value_raw=value)


def spike(instrument: Instrument, reading: Reading, hour: int) -> Reading:
    """Send an outlier now and then. For rain it exceeds every rainfall on record."""
    if hour % 5:
        return reading
    value = 4000.0 if instrument.spec.quantity == "rain" else reading.value + 300.0
    return replace(reading, value=value, value_raw=value)


def arrive_late(instrument: Instrument, reading: Reading, hour: int) -> Reading:
    """Send the reading hours later."""
    del instrument, hour
    return replace(reading, received_at=from_epoch_s(epoch_s(reading.observed_at) + 9 * HOUR_S))


def correct_alone(instrument: Instrument, reading: Reading, hour: int) -> Reading:
    """Let one person replace the value after it has arrived."""
    del hour
    value = 0.0 if instrument.name != "counter" else reading.value
    return replace(reading, value=value, value_raw=value, revision=1, first=reading.first or reading)


def stop(instrument: Instrument, reading: Reading, hour: int) -> Reading:
    """Send the end of the scale, as an instrument at its limit does."""
    del instrument, hour
    return replace(reading, value=4999.0, value_raw=4999.0, flags=(AT_STOP,))


DAMAGES: Final[dict[str, Alter]] = {
    "drop": drop,
    "flag": flag,
    "fill": fill,
    "out of range": leave_range,
    "spike": spike,
    "late": arrive_late,
    "correction": correct_alone,
    "stop": stop,
}
FOR_RAIN: Final = {"drop", "flag", "fill", "out of range", "spike", "late"}


def damage_record(example: Example, record: Record) -> Record:
    """Return the record with every damage done to it."""
    instrument = example.instrument
    for damage in example.damages:
        record = {q: list(_damage(instrument, damage, q, rows)) for q, rows in record.items()}
    return record


def _damage(instrument: Instrument, damage: Damage, quantity: str, rows: Sequence[Reading]) -> Iterator[Reading]:
    shown = 0.0
    last_sound = rows[0].value if rows else 0.0
    for reading in rows:
        hour = round((epoch_s(reading.observed_at) - START_S) / HOUR_S)
        is_hit = damage.from_hour <= hour < damage.from_hour + damage.hours
        if not is_hit:
            last_sound = reading.value
        if damage.how == "restart":  # the counter restarts at zero, right after a reading
            if hour == damage.from_hour - 1:
                shown = reading.value
            value = reading.value - shown if hour >= damage.from_hour else reading.value
            yield replace(reading, value=value, value_raw=value)
        elif damage.how == "overlap":
            if is_hit:  # sums twice as often as declared, each of the whole hour
                yield make_reading(epoch_s(reading.observed_at) - 0.5 * HOUR_S, reading.value)
            yield reading
        elif damage.how == "one component":
            if not (is_hit and quantity == "displacement_up"):
                yield reading
        elif damage.how == "again":  # a logger that sends each sum a second time, a little later
            yield reading
            if is_hit:
                yield make_reading(epoch_s(reading.observed_at) + 0.02 * HOUR_S, reading.value)
        elif damage.how in {"repeat", "one repeats"}:  # a frozen converter, or a logger that sends the last value again
            is_frozen = damage.how == "repeat" or quantity == "displacement_east"
            yield replace(reading, value=last_sound, value_raw=last_sound) if is_hit and is_frozen else reading
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
    is_rain = instrument.kind == "rain_sum"
    ways = ["alternate", *(sorted(FOR_RAIN) if is_rain else [*DAMAGES, "repeat"])]
    if instrument.name == "gnss":
        ways += ["one component", "one repeats"]
    if instrument.name == "counter":
        ways.append("restart")
    if instrument.name == "sums":
        ways += ["overlap", "again"]
    from_hour = draw(st.integers(24, 60))
    # The readings before it show how often the instrument repeats a value.
    damage = st.builds(Damage, st.sampled_from(ways), st.integers(22, HOURS - 4), st.integers(1, 14))
    # A lost tip cannot be detected, so no bursts are drawn for a gauge that sends only tips.
    has_burst = instrument.name in {"sums", "counter"} and draw(st.booleans())
    return Example(
        instrument,
        draw(st.integers(0, 1000)),
        draw(st.sampled_from(instrument.rates)),
        from_hour,
        from_hour + draw(st.integers(3, 40)),
        tuple(draw(st.lists(damage, min_size=1, max_size=2))),
        draw(st.sampled_from((1.0, 0.8, None))) if is_rain else None,
        draw(st.integers(24, HOURS - 10)) if has_burst else None,
    )


# ---- the law -------------------------------------------------------------------------------------------------------
def play(site: Site, record: Record) -> Iterator[Decision]:
    """Decide hour by hour with the readings received so far."""
    memory = Memory()
    for hour in range(FIRST_LOOK, HOURS):
        now = from_epoch_s(START_S + hour * HOUR_S + 60.0)
        readings = {
            f"S.{q}": tuple(r for r in rows if max(r.observed_at, r.received_at) <= now) for q, rows in record.items()
        }
        newest = {
            name: NewestEpoch(epoch_s(rows[-1].observed_at), epoch_s(rows[-1].received_at), rows[-1].flags)
            for name, rows in readings.items()
            if rows
        }
        decision = decide(PreparedSite(site), memory, DecisionInputs(readings, newest), now)
        memory = decision.memory
        yield decision


def check(example: Example) -> None:
    """Compare the decisions on the damaged record with those on the complete one."""
    site = example.instrument.make_site(example.min_coverage)
    record = make_record(example)
    asked: list[int] = []
    before = 0
    for complete, damaged in zip(play(site, record), play(site, damage_record(example, record)), strict=True):
        (true,) = complete.evidence["words"]
        (word,) = damaged.evidence["words"]
        asked.append(true["raise_level"])
        due = min(asked[-LAG_HOURS:]) if len(asked) >= LAG_HOURS else 0
        if word["raise_level"] < due:
            assert word.get("coverage", {"share": 1.0})["share"] < 1.0, f"{word['reason']}: the coverage is 100 %"
            assert damaged.observability != "full", f"{word['reason']}: the observability is full"
        if damaged.level < before:
            assert true["raise_level"] < before, f"the level fell to {damaged.level}: {damaged.evidence['sentence']}"
        before = damaged.level


@expensive_examples(60)
@seed(73)
@given(examples())
def test_missing_readings_are_never_reported_as_rest(example: Example):
    check(example)


def storm(name: str, *damages: Damage, rate: float, hours: int = 20, burst_hour: int | None = None) -> Example:
    instrument = next(one for one in INSTRUMENTS if one.name == name)
    return Example(instrument, 1, rate, 36, 36 + hours, damages, 1.0 if burst_hour is None else None, burst_hour)


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
    *(storm(name, Damage("repeat", 38, 16), rate=80.0, hours=30) for name in ("gnss", "tilt", "extensometer")),
    storm("tilt", Damage("repeat", 42, 30), rate=6.0, hours=48),
    storm("piezometer", Damage("repeat", 37, 20), rate=60.0, hours=40),
    storm("gnss", Damage("one repeats", 40, 30), rate=80.0, hours=40),
    storm("sums", Damage("again", 36, 20), rate=15.0),
    # a cloudburst within the fifth of the window that may be missing by default
    storm("sums", Damage("drop", 46, 2), rate=4.0, hours=13, burst_hour=46),
    storm("sums", Damage("late", 46, 2), rate=4.0, hours=13, burst_hour=46),
    storm("counter", Damage("drop", 34, 14), rate=3.0, burst_hour=46),
)


@pytest.mark.one_case_in(3)
@pytest.mark.parametrize("number", range(len(KNOWN)))
def test_each_rule_that_removes_readings_lowers_the_coverage(number: int):
    check(KNOWN[number])


# ---- somebody is notified ------------------------------------------------------------------------------------------
HOLD_S: Final = 12 * HOUR_S


@pytest.mark.parametrize(
    "example",
    [
        storm("tilt", Damage("alternate", 40, 60), rate=80.0, hours=6),
        storm("gnss", Damage("alternate", 40, 60), rate=80.0, hours=6),
        storm("tilt", Damage("repeat", 50, 60), rate=80.0, hours=12),
        storm("gnss", Damage("one repeats", 50, 60), rate=80.0, hours=12),
        storm("sums", Damage("alternate", 40, 60), rate=15.0, hours=6),
    ],
    ids=lambda example: f"{example.instrument.name} {example.damages[0].how}",
)
def test_somebody_is_notified_while_a_level_is_held_for_lack_of_data(example: Example):
    site = example.instrument.make_site(None)
    site = replace(site, fusion=replace(site.fusion, hold_when_missing_s=HOLD_S))
    decisions = list(play(site, damage_record(example, make_record(example))))
    last = decisions[-1]
    assert last.level > 0
    assert CANNOT_SEE in last.memory.conditions
    opened = next(d for d in decisions if CANNOT_SEE in d.memory.conditions)
    since_s = opened.memory.conditions[CANNOT_SEE].since_s
    assert opened.memory.seen_s - since_s >= HOLD_S
    assert any(change.key == CANNOT_SEE and change.notify for change in opened.changes)


def test_the_clock_ends_when_the_level_falls_on_complete_readings():
    example = storm("tilt", Damage("alternate", 40, 26), rate=80.0, hours=6)
    site = example.instrument.make_site(None)
    site = replace(site, fusion=replace(site.fusion, hold_when_missing_s=HOLD_S))
    decisions = list(play(site, damage_record(example, make_record(example))))
    assert any(CANNOT_SEE in d.memory.conditions for d in decisions)
    assert decisions[-1].level == 0
    assert decisions[-1].memory.held == {}
    assert CANNOT_SEE not in decisions[-1].memory.conditions


def test_a_complete_record_starts_no_clock():
    example = storm("tilt", Damage("drop", 70, 0), rate=80.0, hours=6)
    assert all(d.memory.held == {} for d in play(example.instrument.make_site(None), make_record(example)))


# ---- a gauge that sends one sum again and again --------------------------------------------------------------------
def make_frozen_storm(*, is_frozen: bool) -> Record:
    """Return varied rain, then a heavier storm of which a frozen logger repeats the sum before."""
    rng = random.Random(4)
    amounts = [0.0 if hour < 12 else round(rng.uniform(2.0, 6.0), 1) for hour in range(50)]
    storm_mm = [round(rng.uniform(13.0, 17.0), 1) for _ in range(14)]
    amounts += [amounts[-1]] * 14 if is_frozen else storm_mm
    amounts += [0.0] * (HOURS - 64)
    return {"rain": [make_reading(START_S + hour * HOUR_S, mm) for hour, mm in enumerate([0.1, *amounts[1:]])]}


def test_gauge_that_repeats_a_large_sum_has_incomplete_coverage():
    instrument = next(one for one in INSTRUMENTS if one.name == "sums")
    site = instrument.make_site(None)
    true = list(play(site, make_frozen_storm(is_frozen=False)))
    frozen = list(play(site, make_frozen_storm(is_frozen=True)))
    assert {d.observability for d in true} == {"full"}
    lower = [d for d, complete in zip(frozen, true, strict=True) if d.level < complete.level]
    assert len(lower) > LAG_HOURS
    for decision in lower[LAG_HOURS:]:
        assert decision.observability != "full"
        assert "the same sum again and again" in str(decision.memory.incomplete["S.rain"])


# ---- no false doubt ------------------------------------------------------------------------------------------------
@expensive_examples(60)
@seed(74)
@given(st.sampled_from(("gnss", "tilt", "extensometer", "piezometer")), st.integers(0, 10**6), st.integers(0, 3))
def test_a_still_slope_is_green_and_full_whatever_the_last_digit(name: str, number: int, digit: int):
    """An instrument whose last digit is no coarser than its noise repeats a value by chance and is not doubted."""
    instrument = next(one for one in INSTRUMENTS if one.name == name)
    record = make_record(Example(instrument, number, 0.0, 36, 60, ()))
    step = (1e-6, 0.004, 0.02, 0.05)[digit]
    rounded = {
        q: [replace(r, value=(v := round(r.value / step) * step), value_raw=v) for r in rows]
        for q, rows in record.items()
    }
    for decision in play(instrument.make_site(None), rounded):
        assert decision.level == 0
        assert decision.observability == "full", decision.memory.incomplete


def _fill_rain_with_zero(readings, spec, now_s):
    rows = [(epoch_s(r.observed_at), r.value if tracks.explain_rain_fault(r) is None else 0.0) for r in readings]
    return [(at_s, value) for at_s, value in rows if at_s <= now_s]


def _report_whole_rain(self, window_s, share):
    return Coverage(1.0, window_s)


def _trust_every_reading(context, assessments):
    return [replace(a, fresh=a.fresh or a.has_data) for a in MEASURE(context, assessments)]


def _find_no_gap(gauge):
    return None


def _list_no_run(self, values):
    return []


def _watch_whole_values(self, spec, axes):
    INIT(self, spec, 1)


INIT = noise.RepeatedValues.__init__
MEASURE = incomplete_series.measure_coverage
MUTANTS = {
    "a track is reported as known for 100 %": (incomplete_series, "measure_track", lambda *_: WHOLE),
    "rain is reported as known for 100 %": (rain_coverage.RainLosses, "measure", _report_whole_rain),
    "removed rain is filled with zero": (assessment_module, "list_rain", _fill_rain_with_zero),
    "missing rain is covered": (rain_gauge.Gauge, "coverage", lambda *_: 1.0),
    "removed readings are forgotten": (coverage_module, "_list_removed", lambda *_: []),
    "repeated values prove rest": (noise.RepeatedValues, "list_runs", _list_no_run),
    "only whole values repeat": (noise.RepeatedValues, "__init__", _watch_whole_values),
    "a gap holds no cloudburst": (rainfall, "fill_gaps", _find_no_gap),
    "the site sees full": (decide_module, "find_incomplete", lambda *_: {}),
    "doubted readings are trusted": (decide_module, "reduce_coverage_of_doubted", lambda _, words, *__: list(words)),
}
# The number of an example that fails with a mutant. It is checked first, to save time.
FIRST = {
    "a track is reported as known for 100 %": 7,
    "removed readings are forgotten": 27,
    "repeated values prove rest": 7,
    "only whole values repeat": 34,
    "a gap holds no cloudburst": 36,
    "doubted readings are trusted": 33,
}


@pytest.mark.parametrize("name", list(MUTANTS))
def test_rule_that_hides_missing_readings_is_detected(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(*MUTANTS[name])
    with pytest.raises(AssertionError):
        for example in (KNOWN[FIRST.get(name, 0)], *KNOWN):
            check(example)
