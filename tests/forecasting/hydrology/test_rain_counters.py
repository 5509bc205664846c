"""Rain from counters: restarts, corrections, glitches and wraps."""

import random
from itertools import pairwise

import pytest

from forecasting.hydrology.rain_amounts import UnknownReason
from forecasting.hydrology.rain_counters import count_up
from tests.tables import tabulated

STEP = 600.0


def read(*shown, step_s=STEP):
    return count_up([(k * step_s, value) for k, value in enumerate(shown)], step_s)


def total(*shown, step_s=STEP):
    return round(sum(read(*shown, step_s=step_s).amounts_mm), 3)


@tabulated(
    ("shown", "mm", "unknown"),
    [
        ((41.6, 41.4, 41.4, 41.6), 0.0, []),  # a dip that returns
        ((41.6, 41.599998, 41.599998, 42.0), 0.4, []),  # single precision
        ((41.6, 33.0, 33.4, 33.8), 0.8, ["correction"]),  # 33 mm in 10 min in drizzle is no rain since a restart
        ((41.6, 33.0, 35.0, 37.0, 39.0, 42.0), 9.0, ["correction"]),  # it rains past the old value in small steps
        ((41.6, 4.2, 4.6), 4.6, ["restart"]),
        ((41.6, 0.0, 0.2), 0.2, ["restart"]),
        ((41.6, 0.0, 0.2, 0.2, 41.8), 0.2, []),  # a return that no rain explains: there was no restart
        ((41.6, 90.0, 41.6, 41.8), 0.2, []),  # a rise that is undone
        ((41.6, 20.0, 20.2, 41.6, 41.8), 0.2, []),
        ((41.6, 43.0, 41.6, 41.6), 0.0, []),  # scatter
        ((6.4, 0.0, 1.2, 2.4, 3.6, 4.8, 6.6), 6.6, ["restart"]),  # it rains as much again, step by step
        ((6.4, 0.0, 6.2, 6.4), 6.4, ["restart"]),  # a burst right after the restart is rain
        ((6.0, 12.0, 18.0, 24.0, 6.0, 12.0), 30.0, ["restart"]),  # restart in heavy rain
        ((60.0, 72.0, 84.0, 14.0, 26.0), 50.0, ["restart"]),  # 14 mm in 10 min between two of 12 mm
        ((9000.0, 400.0, 400.2), 0.2, ["correction"]),  # more than the record is no rain
        ((70.0, 70.2, 9e6, 70.4), 0.4, []),
        ((70.0, 70.2, 9e6, 9e6 + 0.2), 0.4, ["jump"]),  # another counter
        ((70.0, 70.2, 9e6), 0.2, ["jump"]),
    ],
)
def test_fall_is_restart_correction_or_glitch(shown, mm, unknown):
    counted = read(*shown)
    assert sum(counted.amounts_mm) == pytest.approx(mm, abs=1e-5)
    assert [interval.reason.value for interval in counted.unknown] == unknown


@tabulated("full", [2.0**16, 2.0**32])
@tabulated("count_mm", [0.01, 0.1, 0.2, 0.254, 1.0])
def test_full_count_wraps(full, count_mm):
    counts = [full - 3, full - 1, full + 2, full + 2, full + 5]
    wrapped = read(*[count % full * count_mm for count in counts])
    assert sum(wrapped.amounts_mm) == pytest.approx(8 * count_mm, rel=1e-3)
    assert not wrapped.unknown
    far = read(0.97 * full * count_mm, 0.0, 2 * count_mm, step_s=60.0)
    assert sum(far.amounts_mm) == pytest.approx(2 * count_mm, abs=1e-3)
    assert [interval.reason for interval in far.unknown] == [UnknownReason.RESTART], "it was far from full"


def make_totals(rain, restarts):
    """What a counter shows that restarts right after the readings in `restarts`."""
    shown, value = [], 0.0
    for number, mm in enumerate(rain):
        value = mm if number - 1 in restarts else value + mm
        shown.append(round(value, 3))
    return shown


@pytest.mark.parametrize(("per_period", "step_s"), [(144, 600.0), (24, 3600.0), (6, 600.0), (12, 300.0)])
def test_counter_of_the_hour_or_day_counts_everything(per_period, step_s):
    for seed in range(30):
        chance = random.Random(seed)
        count = 40 * per_period if per_period < 24 else 9 * per_period
        rain = [0.0]
        while len(rain) < count:
            is_wet = chance.random() < (0.95 if rain[-1] else 0.06)
            rain.append(chance.choice([0.2, 0.4, 1.0, 6.0]) if is_wet else 0.0)
        counted = read(*make_totals(rain, set(range(0, count, per_period))), step_s=step_s)
        assert sum(counted.amounts_mm) == pytest.approx(sum(rain)), f"seed {seed}"
        if step_s < 900.0:
            assert not counted.unknown, f"seed {seed}: the readings at the full hour show everything"
        else:  # with hourly readings the restart may lie between two of them
            assert len(counted.unknown) <= count // per_period


@pytest.mark.parametrize("rate", [0.4, 2.0, 6.0, 9.0, 17.0])
@pytest.mark.parametrize("step_s", [300.0, 600.0, 1200.0])
def test_counter_of_the_hour_counts_everything_in_steady_rain(rate, step_s):
    rain = [0.0] * 13 + [rate * step_s / 600.0] * int(4 * 3600 / step_s) + [0.0] * 12
    counted = read(*make_totals(rain, set(range(0, len(rain), int(3600 / step_s)))), step_s=step_s)
    assert sum(counted.amounts_mm) == pytest.approx(sum(rain))


def test_counter_that_restarts_between_readings_loses_rain_and_reports_it():
    per_minute = [0.0] * 300 + [0.5] * 400 + [0.0] * 300
    shown, value = [], 0.0
    for minute, mm in enumerate(per_minute):
        value = mm if minute % 60 == 1 else value + mm
        shown.append(round(value, 3))
    rows = [(60.0 * minute, shown[minute]) for minute in range(5, 1000, 10)]
    counted = count_up(rows, 600.0)
    assert 0.8 * 200.0 < sum(counted.amounts_mm) < 200.0
    unknown = {interval.to_s for interval in counted.unknown}
    for (before_s, _), (at_s, _), mm in zip(rows, rows[1:], counted.amounts_mm[1:], strict=False):
        fell = sum(per_minute[int(before_s // 60) + 1 : int(at_s // 60) + 1])
        assert mm == pytest.approx(fell) or (mm <= fell and at_s in unknown)


def test_gauge_that_was_emptied_twice_at_one_hour_has_no_clock():
    shown = [*range(30, 60), 0, *range(143), 0, *range(143), *range(143, 200)]  # not on the third day
    assert max(read(*map(float, shown)).amounts_mm) <= 1.0


def test_restart_moves_with_summer_time():
    rain = [0.0, *([2.0] * 2 + [0.0] * 124 + [1.0] * 18) * 8]
    shown, value = [], 0.0
    for k, mm in enumerate(rain):
        value = mm if (k + (6 if k > 600 else 0)) % 144 == 1 else value + mm
        shown.append(round(value, 1))
    counted = read(*shown)
    assert sum(counted.amounts_mm) == pytest.approx(sum(rain))
    assert not counted.unknown


@tabulated("gone", [1, 11, 40, 300])
@tabulated("low", [0.0, 0.5, 2.0])
@tabulated("fell", [0.0, 0.4])
def test_return_in_one_step_that_no_rain_explains_is_a_glitch(gone, low, fell):
    top = 120.0
    assert sum(read(top, top, *[low * top] * gone, top + fell, top + fell).amounts_mm) == pytest.approx(fell)


def test_new_counter_that_rains_up_to_the_old_value_counts():
    climb = [0.4 * k for k in range(80)]
    assert sum(read(20.0, 20.0, *climb).amounts_mm) == pytest.approx(climb[-1])


def test_logger_that_shows_zero_at_one_time_of_each_day_has_glitches():
    shown = [70.0 + k // 24 if k % 24 != 3 else 0.0 for k in range(24 * 6)]
    assert total(*shown, step_s=3600.0) == pytest.approx(5.0)


def test_counter_of_an_event_counts_every_event():
    chance = random.Random(11)
    for _ in range(40):
        rain, restarts = [0.0], set()
        for _ in range(6):
            rain += [chance.choice([0.2, 0.6, 3.0, 8.0]) for _ in range(chance.randint(2, 30))]
            rain += [0.0] * chance.randint(3, 40)
            restarts.add(len(rain) - 1)
        rain.append(0.0)
        counted = read(*make_totals(rain, restarts))
        assert sum(counted.amounts_mm) >= sum(rain) - 1e-6 or counted.unknown
        assert sum(counted.amounts_mm) <= sum(rain) + 1e-6


def draw(chance):
    """Truth by interval, what the counter shows, and in which intervals it was set to another value."""
    truth, shown, corrected = [0.0], [round(chance.uniform(20.0, 400.0), 1)], set()
    while len(truth) < 80:
        rain = round(chance.choice([0.0, 0.0, 0.2, 0.4, 3.0]), 1)
        now = shown[-1] + rain
        kind = chance.random()
        if kind < 0.03:
            now, rain = 0.0, 0.0
        elif kind < 0.06 and shown[-1] > 5.0:
            now, rain = shown[-1] * chance.uniform(0.15, 0.6), 0.0
            corrected.add(len(truth))
        elif kind < 0.15:  # lower for a while, then back
            low = shown[-1] * chance.choice([0.0, 0.3, 0.97, 0.9999])
            if shown[-1] - low >= 20.0 or low > 0.96 * shown[-1]:
                again = chance.randint(1, 6)
                truth += [0.0] * (again + 1)
                shown += [*[low] * again, shown[-1]]
                continue
        truth.append(rain)
        shown.append(round(now, 1))
    return truth, shown, corrected


def test_rain_is_invented_only_where_a_correction_may_have_been_a_restart():
    for seed in range(400):
        truth, shown, corrected = draw(random.Random(seed))
        counted = read(*shown)
        unknown = {round(interval.to_s / STEP) for interval in counted.unknown}
        bound = sum(truth) + sum(counted.amounts_mm[k] for k in corrected if k in unknown)
        assert sum(counted.amounts_mm) <= bound + 0.5, f"seed {seed}"
        assert max(counted.amounts_mm) <= 12.0, f"seed {seed}: four times the heaviest rain around it at most"
        assert min(counted.amounts_mm) >= 0.0
        fell = [k for k, (a, b) in enumerate(pairwise(shown), 1) if b < a]
        assert all(any(0 <= k - at < 12 for at in fell) for k in unknown), f"seed {seed}: {unknown}"
