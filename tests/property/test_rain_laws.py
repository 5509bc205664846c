"""Laws on the rain of gauges, over generated rain and faults of loggers, with mutants that must break them.

* Where a gauge reports a coverage of 100 %, it counts at least what fell.
* It never counts more than what fell, as long as its readings are only missing, late, doubled, restarted or too fast.
* It counts exactly what fell if its readings are complete.
"""

import random
from dataclasses import replace
from itertools import pairwise
from math import fsum

import pytest

from forecasting.hydrology import rain_counters
from forecasting.hydrology.rain_amounts import RainAmounts
from forecasting.hydrology.rain_counters import CounterAmounts
from monitor.decision.criteria import rain_gauge
from monitor.decision.criteria.rain_gauge import make_gauge
from monitor.sites.records import SeriesSpec

MINUTE_S = 60.0
HOUR_S = 3600.0
DAY_S = 86_400.0
BEGIN_S = 20_000 * DAY_S
SEEDS = range(6)
TOLERANCE_MM = 0.01


def draw_rain(chance, days):
    """Rain of each minute, mm: steady rain, bursts and dry spells. The first and the last six hours are dry."""
    minutes = [0.0] * 360
    while len(minutes) < days * 1440 - 360:
        kind = chance.choice(["dry", "dry", "steady", "burst"])
        if kind == "dry":
            minutes += [0.0] * chance.randint(30, 700)
        elif kind == "steady":
            minutes += [chance.choice([0.02, 0.1, 0.3])] * chance.randint(60, 400)
        else:
            minutes += [chance.choice([0.4, 0.8, 1.2]) for _ in range(chance.randint(15, 90))]
    minutes = minutes[: days * 1440 - 360]
    return [*minutes, *[0.0] * (days * 1440 - len(minutes))]


def fell(minutes, from_s, to_s):
    """Return the rainfall in (from_s, to_s]. Minute `k` ends at `k + 1` minutes."""
    first = max(0, round((from_s - BEGIN_S) / MINUTE_S))
    last = max(0, round((to_s - BEGIN_S) / MINUTE_S))
    return fsum(minutes[first:last])


def read_counter(chance, minutes, restart, step):
    """Readings of a counter each `step` minutes, complete and in order. `restart` says when it restarts."""
    rows, shown, dry = [], chance.choice([0.0, 37.4]), 0
    for number, mm in enumerate(minutes):
        at_s = BEGIN_S + (number + 1) * MINUTE_S
        shown += mm
        dry = 0 if mm else dry + 1
        if (number + 1) % step == 0:
            rows.append((at_s, round(shown, 3)))
            is_hour = (at_s % HOUR_S) == 0.0
            is_midnight = (at_s % DAY_S) == 0.0
            # a restart away from the clock is visible only if the counter then shows less than before
            is_random = chance.random() < 0.01 and shown > 30.0
            is_event_over = dry >= 180 and shown > 15.0
            due = {"never": False, "hour": is_hour, "day": is_midnight, "random": is_random, "event": is_event_over}
            if due[restart]:
                shown = 0.0
    return rows


def damage(chance, rows, faults):
    """Return the rows with some of them removed and some repeated a little later."""
    damaged_rows = []
    for at_s, value in rows:
        if "missing" in faults and chance.random() < 0.05:
            continue
        damaged_rows.append((at_s, value))
        if "doubled" in faults and chance.random() < 0.2:
            damaged_rows.append((at_s + chance.choice([7.0, 21.0]), value))
    chance.shuffle(damaged_rows)  # late rows: readings are stored by their time
    return sorted(damaged_rows)


def declare(stamp, interval_s):
    return SeriesSpec("R1", "rain", "mm", interval_s, 6 * HOUR_S, stamp=stamp)


def check_counter(restart, faults, *, seeds=SEEDS):
    for seed in seeds:
        chance = random.Random(f"{restart}{faults}{seed}")
        minutes = draw_rain(chance, 4)
        step = chance.choice([5, 10])
        rows = damage(chance, read_counter(chance, minutes, restart, step), faults)
        gauge = make_gauge(rows, declare("counter", step * MINUTE_S))
        for span_s in (HOUR_S, DAY_S):
            for at_s, _ in rows[len(rows) // 2 :: 29]:
                # a gap is spread evenly, so that windows that begin in it are only checked for coverage
                total, coverage = gauge.total_at(at_s, span_s)
                truth = fell(minutes, at_s - span_s, at_s)
                if coverage == 1.0:
                    assert total >= truth - TOLERANCE_MM, (seed, span_s, at_s)
                if not faults:
                    assert total <= truth + TOLERANCE_MM, (seed, span_s, at_s)
        total = fsum(gauge.amounts_mm)
        truth = fell(minutes, rows[0][0], rows[-1][0])
        assert total <= truth + TOLERANCE_MM, seed
        if not gauge.unknown:
            assert total >= truth - TOLERANCE_MM, seed
        if not faults:
            assert total == pytest.approx(truth, abs=TOLERANCE_MM), seed
        if not faults and restart == "hour":
            assert not gauge.unknown, "every reading of the full hour is there"


@pytest.mark.parametrize("restart", ["never", "hour", "day", "event", "random"])
@pytest.mark.parametrize("faults", [(), ("missing",), ("doubled",), ("missing", "doubled")], ids="+".join)
def test_counter_counts_what_fell_or_reports_it(restart, faults):
    check_counter(restart, faults)


def read_sums(chance, minutes, step, faster):
    """Sums of `step` minutes with jitter, and while it rains sums of `faster` minutes."""
    rows, begin = [], 0
    while begin + step <= len(minutes):
        parts = [minutes[k : k + faster] for k in range(begin, begin + step, faster)]
        is_faster = faster < step and any(mm > 0.0 for part in parts for mm in part)
        for number, part in enumerate(parts if is_faster else [minutes[begin : begin + step]]):
            end = begin + (number + 1) * faster if is_faster else begin + step
            rows.append((BEGIN_S + end * MINUTE_S + chance.uniform(0.0, 5.0), round(fsum(part), 3)))
        begin += step
    return rows


def check_sums(step, faster, faults, *, seeds=SEEDS):
    for seed in seeds:
        chance = random.Random(f"{step}{faster}{faults}{seed}")
        minutes = draw_rain(chance, 4)
        rows = damage(chance, read_sums(chance, minutes, step, faster), faults)
        gauge = make_gauge(rows, declare("interval_end", step * MINUTE_S))
        total, coverage = gauge.total_at(rows[-1][0], rows[-1][0] - BEGIN_S - 60.0)
        truth = fsum(minutes)
        assert total <= truth + TOLERANCE_MM, seed
        if coverage == 1.0:
            assert total >= truth - TOLERANCE_MM, seed
        if "missing" not in faults:
            assert total == pytest.approx(truth, abs=TOLERANCE_MM), seed
        if faster < step:
            assert coverage < 1.0, seed
        elif "missing" not in faults:
            assert coverage == 1.0, seed


@pytest.mark.parametrize(("step", "faster"), [(10, 10), (60, 60), (60, 10), (60, 20), (60, 30), (10, 1), (30, 5)])
@pytest.mark.parametrize("faults", [(), ("missing",)], ids="+".join)
def test_sums_count_what_fell_or_report_it(step, faster, faults):
    check_sums(step, faster, faults)


# Parts that are stored twice cannot be told from equal parts, so only whole sums are doubled here.
@pytest.mark.parametrize("step", [10, 60])
def test_doubled_sums_count_once(step):
    check_sums(step, step, ("doubled",))


def read_tips(chance, minutes, tip_mm):
    rows, bucket = [], 0.0
    for number, mm in enumerate(minutes):
        tips = int((bucket + mm + 1e-9) / tip_mm)
        bucket += mm - tips * tip_mm
        begin_s = BEGIN_S + number * MINUTE_S
        rows += [(begin_s + MINUTE_S * (k + chance.uniform(0.2, 1.0)) / tips, tip_mm) for k in range(tips)]
    return rows


def check_tips(stamp, *, seeds=SEEDS):
    for seed in seeds:
        chance = random.Random(f"{stamp}{seed}")
        minutes = draw_rain(chance, 4)
        tip_mm = chance.choice([0.1, 0.2, 0.254])
        rows = read_tips(chance, minutes, tip_mm)
        gauge = make_gauge(rows, declare(stamp, 600.0))
        assert fsum(gauge.amounts_mm) == pytest.approx(len(rows) * tip_mm), seed
        for at_s, _ in rows[len(rows) // 2 :: 37]:
            for span_s in (HOUR_S, DAY_S):
                total, coverage = gauge.total_at(at_s, span_s)
                count = sum(at_s - span_s < tip_s <= at_s for tip_s, _ in rows)
                assert total == pytest.approx(count * tip_mm), seed
                if stamp == "event":
                    assert coverage == 1.0 or at_s - span_s < rows[0][0]
        if stamp == "interval_end":
            assert gauge.total_at(rows[-1][0], rows[-1][0] - rows[0][0])[1] < 1.0, "dry or lost: not declared"


@pytest.mark.parametrize("stamp", ["event", "interval_end"])
def test_tips_count_one_by_one(stamp):
    check_tips(stamp)


# ---- mutants --------------------------------------------------------------------------------------------------------


def forget_unknown(rule):
    def mutant(*args, **kwargs):
        return replace(rule(*args, **kwargs), unknown=())

    return mutant


def save_first_of_interval(rows, interval_s):
    first_rows = []
    for row in rows:
        if not first_rows or row[0] - first_rows[-1][0] >= 0.5 * interval_s:
            first_rows.append(row)
    return RainAmounts(tuple(t for t, _ in first_rows), tuple(mm for _, mm in first_rows))


def count_falls_as_nothing(rows, interval_s):
    amounts = [0.0, *(max(0.0, b - a) for (_, a), (_, b) in pairwise(rows))]
    return CounterAmounts(tuple(t for t, _ in rows), tuple(amounts))


def test_law_of_counters_fails_for_rules_that_forget(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(rain_gauge, "count_up", count_falls_as_nothing)
        with pytest.raises(AssertionError):
            check_counter("hour", ())
    with monkeypatch.context() as patch:
        patch.setattr(rain_gauge, "count_up", forget_unknown(rain_counters.count_up))
        with pytest.raises(AssertionError):
            check_counter("hour", ("missing",))
    with monkeypatch.context() as patch:
        patch.setattr(rain_counters._CounterReader, "_is_restart", lambda *_: False)
        with pytest.raises(AssertionError):
            check_counter("random", ())


def test_law_of_sums_fails_for_rules_that_forget(monkeypatch):
    resolve_sums = rain_gauge.resolve_sums
    for mutant in (save_first_of_interval, forget_unknown(resolve_sums)):
        with monkeypatch.context() as patch:
            patch.setattr(rain_gauge, "resolve_sums", mutant)
            with pytest.raises(AssertionError):
                check_sums(60, 10, ())


def test_law_of_tips_fails_for_rules_that_forget(monkeypatch):
    resolve_sums = rain_gauge.resolve_sums
    for mutant in (save_first_of_interval, forget_unknown(resolve_sums)):
        with monkeypatch.context() as patch:
            patch.setattr(rain_gauge, "resolve_sums", mutant)
            with pytest.raises(AssertionError):
                check_tips("interval_end")
