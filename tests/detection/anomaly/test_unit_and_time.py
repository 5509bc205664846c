"""Checks of units and times find faults, and no other changes."""

import numpy as np
import pytest

from detection.anomaly.bench import format_certain, run_certain_bench
from detection.anomaly.certain.timing import find_timing_faults
from detection.anomaly.certain.unit_jump import find_unit_jumps
from detection.anomaly.records import LENGTHS
from detection.anomaly.windows import Series
from tests.tables import tabulated

HOUR = 3600.0


def level(n=300, seed=0):
    rng = np.random.default_rng(seed)
    return 80.0 + 0.02 * np.arange(n) + rng.normal(0, 1.0, n)


def series(values):
    return Series(np.arange(len(values)) * HOUR, values, HOUR)


@tabulated("factor", [*LENGTHS, *(1.0 / f for f in LENGTHS)])
def test_another_unit_is_found_after_the_stated_number_of_readings(factor):
    values = level()
    values[200:] *= factor
    found = find_unit_jumps(series(values))
    enough = LENGTHS[min(LENGTHS, key=lambda f: abs(abs(np.log(factor)) - np.log(f)))]
    assert [(f.kind, f.at_s) for f in found] == [("unit", (200 + enough - 1) * HOUR)]
    assert f"{factor:g} times" in found[0].detail


def test_unusual_noise_after_the_change_does_not_hide_another_unit():
    """Five readings are few: by chance one record in eight has too much or too little noise in them."""
    found = []
    for seed in range(60):
        values = level(seed=seed)
        values[200:] /= 304.8
        found += [f.at_s / HOUR for f in find_unit_jumps(series(values))]
    assert len(found) >= 57
    assert set(found) == {204.0, 209.0}
    assert found.count(204.0) < 57


def test_the_change_back_is_found_and_a_spike_or_a_burst_is_no_change():
    values = level()
    values[100:200] /= 1000.0
    assert [f.at_s / HOUR for f in find_unit_jumps(series(values))] == [104, 204]
    values = level()
    values[120] *= 1000.0
    values[200:230] += np.random.default_rng(1).normal(0, 10.0, 30)
    assert find_unit_jumps(series(values)) == []


@tabulated("factor", LENGTHS)
def test_a_step_of_the_same_ratio_is_no_change_of_unit(factor):
    values = level()
    values[200:] += 80.0 * (factor - 1.0)
    assert find_unit_jumps(series(values)) == []


def instants(n=200, jitter_s=0.0):
    return np.arange(n) * HOUR + np.random.default_rng(2).normal(0, jitter_s, n)


def said(times):
    return [f.detail for f in find_timing_faults(times)]


@pytest.mark.parametrize("jitter_s", [0.0, 60.0])
def test_missing_readings_and_usual_jitter_are_no_timing_faults(jitter_s):
    times = np.delete(instants(jitter_s=jitter_s), [*range(40, 70), 90, 120, 121, 150])
    assert said(times) == []


def test_times_that_repeat_run_backwards_or_begin_to_jitter_are_found():
    assert said([0, 1, 1, 5, 3, 4, 6]) == ["the same instant twice", "2 s before an earlier reading"]
    times = np.concatenate([instants(100), 99 * HOUR + 900.0 * np.arange(1, 60)])
    assert said(times) == ["readings come every 900 s, usual are 3600 s"]
    times = instants(jitter_s=5.0)
    times[100:] += np.random.default_rng(3).uniform(-1200, 1200, 100)
    found = said(times)
    assert len(found) == 1
    assert found[0].startswith("instants scatter by")
    assert said(np.cumsum(np.random.default_rng(4).exponential(HOUR, 400))) == []


@pytest.mark.parametrize("moved_s", [-900.0, 700.0])
def test_a_shifted_clock_is_found(moved_s):
    times = instants()
    times[100:] += moved_s
    way = "later" if moved_s > 0 else "earlier"
    found = find_timing_faults(times)
    assert [f.detail for f in found] == [f"readings come {abs(moved_s):.0f} s {way} than they used to"]
    assert found[0].at_s <= times[107]


def test_injected_faults_are_found_by_checks_without_false_alarms():
    rng = np.random.default_rng(4)
    days = np.arange(1500) * 24 * HOUR
    samples = {f"G{k}": Series(days, np.round(400.0 + rng.normal(0, 1.0, 1500), 2), 24 * HOUR) for k in range(3)}
    rows = run_certain_bench(samples, (0, 1))
    assert [row["kind"] for row in rows] == ["stuck", "replay", "gap", "unit", "timing"]
    assert all(row["events"] >= 3 for row in rows)
    assert ([row["recall"] for row in rows], {row["untouched_per_sensor_month"] for row in rows}) == ([1.0] * 5, {0.0})
    assert max(row["median_delay_days"] for row in rows) <= 20.0
    assert len(format_certain(rows).splitlines()) == 6
