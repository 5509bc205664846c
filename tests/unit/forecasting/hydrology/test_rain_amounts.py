"""Counters and sums of a gauge: what fell is never more than what is known to have fallen."""

import random
from itertools import pairwise

import pytest

from forecasting.hydrology.rain_amounts import adds_up, count_up, drop_totals, find_interval, find_overlaps, pick_sums
from tests.data.tables import tabulated

STEP = 600.0


def read(*shown, step_s=STEP):
    return count_up([(k * step_s, value) for k, value in enumerate(shown)], step_s)


def fallen(*shown, step_s=STEP):
    return round(sum(read(*shown, step_s=step_s).amounts_mm), 3)


@tabulated(
    ("shown", "mm", "unknown"),
    [
        ((41.6, 41.4, 41.4, 41.6), 0.0, 0),  # a dip that comes back
        ((41.6, 41.599998, 41.599998, 42.0), 0.4, 0),  # single precision
        ((41.6, 33.0, 33.4, 33.8), 0.8, 1),  # corrected, and counting goes on from there
        ((41.6, 33.0, 35.0, 37.0, 39.0, 42.0), 9.0, 1),  # corrected, and it rains past where it was
        ((41.6, 4.2, 4.6), 0.4, 1),  # a little over a tenth: corrected
        ((41.6, 4.0, 4.6), 4.6, 0),  # a tenth at most: reset
        ((41.6, 0.0, 0.2, 0.2, 41.8), 0.2, 0),  # a reset that was none
        ((41.6, 90.0, 41.6, 41.8), 0.2, 0),  # a rise that was none
        ((41.6, 20.0, 20.2, 41.6, 41.8), 0.2, 0),
        ((6.4, 0.0, 1.2, 2.4, 3.6, 4.8, 6.6), 6.6, 0),  # a day begins anew and rains as much: no return in one step
    ],
)
def test_a_fall_is_a_reset_a_correction_or_none(shown, mm, unknown):
    assert (fallen(*shown), len(read(*shown).unknown)) == (pytest.approx(mm), unknown)


@tabulated("full", [2.0**16, 2.0**32])
@tabulated("count_mm", [0.01, 0.1, 0.2, 0.254, 1.0])
def test_a_count_that_is_full_begins_anew(full, count_mm):
    counts = [full - 3, full - 1, full + 2, full + 2, full + 5]
    assert fallen(*[count % full * count_mm for count in counts]) == pytest.approx(8 * count_mm, rel=1e-3)
    far = fallen(0.97 * full * count_mm, 0.0, 2 * count_mm, step_s=60.0)
    assert far == pytest.approx(2 * count_mm, abs=1e-3), "far from full it was reset"


@pytest.mark.parametrize(("per_period", "step_s"), [(144, 600.0), (24, 3600.0), (6, 600.0)])
def test_a_sum_since_midnight_or_the_hour_is_what_fell_also_where_it_rains_then(per_period, step_s):
    for seed in range(30):
        chance, truth, shown, fell = random.Random(seed), [], [], 0.0
        for k in range(240 if per_period == 6 else 9 * per_period):
            is_wet = chance.random() < (0.95 if truth and truth[-1] else 0.06)
            truth.append(chance.choice([0.2, 0.4, 1.0, 6.0]) if is_wet else 0.0)
            fell = truth[-1] if k % per_period == 1 else fell + truth[-1]
            shown.append(round(fell, 1))
        found = read(*shown, step_s=step_s)
        assert sum(found.amounts_mm) == pytest.approx(sum(truth[1:])), f"history {seed}"
        assert not found.unknown


def test_a_gauge_that_was_emptied_twice_at_one_hour_is_no_sum_of_the_day():
    shown = [*range(30, 60), 0, *range(143), 0, *range(143), *range(143, 200)]  # not so on the third day
    assert max(read(*map(float, shown), step_s=600.0).amounts_mm) <= 1.0


def test_where_a_clock_goes_to_summer_time_rain_at_midnight_is_no_correction():
    rain = [0.0, *([2.0] * 2 + [0.0] * 124 + [1.0] * 18) * 8]
    shown, fell = [], 0.0
    for k, mm in enumerate(rain):
        fell = mm if (k + (6 if k > 600 else 0)) % 144 == 1 else fell + mm
        shown.append(round(fell, 1))
    found = read(*shown, step_s=600.0)
    assert sum(found.amounts_mm) == pytest.approx(sum(rain))
    assert not found.unknown


@tabulated("gone", [1, 11, 40, 300])
@tabulated("low", [0.0, 0.5, 2.0])
@tabulated("fallen", [0.0, 0.4])
def test_what_comes_back_in_one_step_that_hardly_any_rain_makes_never_fell(gone, low, fallen):
    top = 120.0
    assert sum(read(top, top, *[low * top] * gone, top + fallen, top + fallen).amounts_mm) == pytest.approx(fallen)


def test_a_new_counter_that_is_as_high_as_the_old_one_after_common_rain_counts():
    climb = [0.4 * k for k in range(80)]
    assert sum(read(20.0, 20.0, *climb).amounts_mm) == pytest.approx(climb[-1])


def test_a_logger_that_shows_nothing_at_one_time_of_each_day_never_fell():
    shown = [70.0 + k // 24 if k % 24 != 3 else 0.0 for k in range(24 * 6)]
    assert sum(read(*shown, step_s=3600.0).amounts_mm) == pytest.approx(5.0)
    daily = [90.0, 91.0, 0.0, 2.0, 30.0, 20.0, 21.0]
    assert sum(read(*daily, step_s=86400.0).amounts_mm) == pytest.approx(32.0), "20 is a correction, no restart"


def draw(chance):
    """Truth by interval, what the counter shows, and in which intervals it was set to another count."""
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
        elif kind < 0.15:  # it shows less for a while, and then what it showed before
            low = shown[-1] * chance.choice([0.0, 0.3, 0.97, 0.9999])
            if shown[-1] - low >= 0.1:
                again = chance.randint(1, 6)
                truth += [0.0] * (again + 1)
                shown += [*[low] * again, shown[-1]]
                continue
        truth.append(rain)
        shown.append(round(now, 1))
    return truth, shown, corrected


def test_no_rain_is_invented_whatever_a_counter_shows():
    for seed in range(400):
        truth, shown, corrected = draw(random.Random(seed))
        found = read(*shown)
        total = sum(mm for k, mm in enumerate(truth) if k not in corrected)
        assert sum(found.amounts_mm) <= total + 0.3, f"history {seed}: {sum(found.amounts_mm)} of {total} mm"
        assert min(found.amounts_mm) >= 0.0
        fell = [k for k, (a, b) in enumerate(pairwise(shown), 1) if b < a]
        unknown = {round(to_s / STEP) for _, to_s in found.unknown}
        assert all(any(0 <= k - at < 12 for at in fell) for k in unknown), f"history {seed}: {unknown}"


def test_of_two_sums_of_an_interval_one_counts_however_they_came():
    chance = random.Random(5)
    for _ in range(200):
        step = chance.choice([60.0, 600.0, 3600.0])
        late = chance.uniform(0.0, 0.2 * step)
        once = [(k * step + chance.uniform(0.0, 0.02 * step), chance.choice([0.0, 1.2])) for k in range(40)]
        again = [(t + 0.02 * step + late, mm) for t, mm in once if chance.random() < 0.7]
        every = sorted([*once, *again])
        found = pick_sums(every, step)
        assert (len(found), sum(mm for _, mm in found)) == (len(once), pytest.approx(sum(mm for _, mm in once)))
        assert not find_overlaps([t for t, _ in found], step)
        assert len(every) > len(once), "the draw brings some twice"


def test_totals_of_an_hour_beside_its_parts_are_left_out_or_a_fault():
    parts = [(k * 600.0, 2.0) for k in range(1, 37)]
    for minute in (0.5, 2.0, 4.0, 6.0, 9.0):
        hours = [(k * 3600.0 + 60.0 * minute, 12.0) for k in range(1, 7)]
        found = pick_sums(sorted([*parts, *hours]), 600.0)
        assert sum(mm for _, mm in found) == pytest.approx(72.0), minute
    found = pick_sums(sorted([*parts, *[(k * 3600.0 + 300.0, 12.0) for k in range(1, 6)]]), 600.0)
    assert len(find_overlaps([t for t, _ in found], 600.0)) >= 5


@pytest.mark.parametrize("span", [6, 18, 36, 144])
def test_a_total_that_replaced_the_sum_of_its_last_interval_is_left_out(span):
    chance = random.Random(span)
    own = [(k * 600.0, round(chance.choice([0.0, 0.2, 1.4]), 1)) for k in range(1, 2 * span + 1)]
    rows = [
        (t, round(sum(mm for _, mm in own[k + 1 - span : k + 1]), 1) if (k + 1) % span == 0 else mm, mm)
        for k, (t, mm) in enumerate(own)
    ]
    assert drop_totals([(t, now, first if now != first else None) for t, now, first in rows], 600.0) == own
    corrected = [(t, mm, None) for t, mm in own[:-1]] + [(own[-1][0], 55.5, own[-1][1])]
    assert drop_totals(corrected, 600.0)[-1] == (own[-1][0], 55.5), "a correction of its own counts"


@pytest.mark.parametrize("every_s", [300.0, 360.0, 480.0])
def test_sums_that_come_more_often_than_stated_cover_more_time_than_passed(every_s):
    assert find_overlaps([k * every_s for k in range(40)], 600.0)


@pytest.mark.parametrize("every_s", [595.0, 599.0, 600.0, 601.0, 1200.0])
def test_a_clock_that_differs_and_jitter_are_no_fault(every_s):
    chance = random.Random(3)
    times = [k * every_s + chance.uniform(-60.0, 60.0) for k in range(5000)]
    assert not find_overlaps([t for t, _ in pick_sums([(t, 0.0) for t in times], 600.0)], 600.0)


@tabulated("every_s", [600.0, 3600.0, 86400.0])
@tabulated("seed", range(8))
def test_a_running_sum_is_told_from_sums_of_intervals(every_s, seed):
    chance = random.Random(seed)
    rain = [round(chance.expovariate(0.5), 1) if chance.random() < 0.35 else 0.0 for _ in range(400)]
    at = [k * every_s for k in range(1, 401)]
    assert adds_up(list(zip(at, rain, strict=True))) is False
    total, totals = 3.0, []
    for k, mm in enumerate(rain):
        total = 0.0 if k == 150 else total + mm
        totals.append(total)
    assert adds_up(list(zip(at, totals, strict=True))) is True
    assert adds_up(list(zip(at, [0.0] * 400, strict=True))) is None


def test_the_interval_of_sums_that_nobody_states():
    doubled = sorted([*[k * 600.0 for k in range(20)], *[k * 600.0 + 48.0 for k in range(20)]])
    assert (find_interval(doubled), find_interval([k * 600.0 for k in range(20) if k % 7])[0]) == ((600.0, True), 600.0)
    with pytest.raises(ValueError, match="one reading"):
        find_interval([0.0])
