"""Rain from sums of intervals, also where more rows arrive than intervals pass."""

import random
from itertools import pairwise

import pytest

from forecasting.hydrology.rain_amounts import LeftOutReason, UnknownReason, most_mm
from forecasting.hydrology.rain_sums import drop_totals, resolve_sums

HOUR = 3600.0


def total(amounts):
    return sum(amounts.amounts_mm)


def test_equal_sums_close_to_each_other_count_once():
    chance = random.Random(5)
    for _ in range(200):
        step = chance.choice([60.0, 600.0, 3600.0])
        late = chance.uniform(0.0, 0.2 * step)
        once = [(k * step + chance.uniform(0.0, 0.02 * step), chance.choice([0.0, 1.2])) for k in range(40)]
        again = [(t + 0.02 * step + late, mm) for t, mm in once if chance.random() < 0.7]
        sums = resolve_sums(sorted([*once, *again]), step)
        assert total(sums) == pytest.approx(sum(mm for _, mm in once))
        assert not sums.unknown
        assert len(sums.left_out) == len(again) > 0
        assert {row.reason for row in sums.left_out} == {LeftOutReason.DUPLICATE}


@pytest.mark.parametrize("minute", [0.5, 2.0, 4.0, 5.0, 6.0, 9.0])
def test_totals_of_an_hour_beside_their_parts_do_not_count(minute):
    parts = [(k * 600.0, 2.0 + 0.2 * (k % 5)) for k in range(1, 37)]
    hours = [(k * HOUR + 60.0 * minute, sum(mm for t, mm in parts if 0 <= k * HOUR - t < HOUR)) for k in range(1, 7)]
    sums = resolve_sums(sorted([*parts, *hours]), 600.0)
    assert total(sums) == pytest.approx(sum(mm for _, mm in parts))
    assert [row.reason for row in sums.left_out] == [LeftOutReason.TOTAL] * 6


@pytest.mark.parametrize("span", [6, 18, 36, 144])
def test_total_that_replaced_the_sum_of_its_last_interval_does_not_count(span):
    chance = random.Random(span)
    parts = [(k * 600.0, round(chance.choice([0.0, 0.2, 1.4]), 1)) for k in range(1, 2 * span + 1)]
    rows = [
        (t, round(sum(mm for _, mm in parts[k + 1 - span : k + 1]), 1) if (k + 1) % span == 0 else mm, mm)
        for k, (t, mm) in enumerate(parts)
    ]
    assert drop_totals([(t, now, first if now != first else None) for t, now, first in rows], 600.0) == parts
    corrected = [(t, mm, None) for t, mm in parts[:-1]] + [(parts[-1][0], 55.5, parts[-1][1])]
    assert drop_totals(corrected, 600.0)[-1] == (parts[-1][0], 55.5), "a correction counts"


@pytest.mark.parametrize("every_s", [60.0, 300.0, 600.0, 900.0, 1200.0, 1800.0])
def test_sums_that_arrive_faster_while_it_rains_all_count_and_are_not_known(every_s):
    for seed in range(20):
        chance = random.Random(seed)
        dry = [(k * HOUR, 0.0) for k in range(1, 6)]
        wet = [(5 * HOUR + k * every_s, chance.choice([0.6, 1.2, 2.8])) for k in range(1, int(3 * HOUR / every_s) + 1)]
        after = [(k * HOUR, 0.0) for k in range(9, 12)]
        sums = resolve_sums([*dry, *wet, *after], HOUR)
        assert total(sums) == pytest.approx(sum(mm for _, mm in wet)), f"seed {seed}"
        unknown = {interval.to_s for interval in sums.unknown}
        assert {interval.reason for interval in sums.unknown} == {UnknownReason.FASTER}
        assert len(unknown & {t for t, _ in wet}) >= len(wet) - 1


def test_steady_parts_are_no_duplicates():
    rows = [(k * HOUR, 0.0) for k in range(1, 4)] + [(3 * HOUR + k * 600.0, 6.0) for k in range(1, 19)]
    assert total(resolve_sums(rows, HOUR)) == 108.0
    short = [*rows[:5], (5 * HOUR, 0.0), (6 * HOUR, 0.0)]
    assert total(resolve_sums(short, HOUR)) == 12.0, "two equal parts off the hour"


def test_total_of_the_hour_that_ends_its_parts_counts_once():
    rows = [(k * HOUR, 0.0) for k in range(1, 8)]
    for hour in range(7, 10):
        rows += [(hour * HOUR + 600.0 * k, 3.0 + 0.2 * k) for k in range(1, 6)]
        rows.append(((hour + 1) * HOUR, 22.8))  # 18 mm by the parts, and 4.8 mm in the last ten minutes
    sums = resolve_sums(rows, HOUR)
    assert total(sums) == pytest.approx(3 * 22.8)
    assert sums.unknown


def test_overlapping_sums_of_the_last_hour_count_what_each_adds():
    for seed in range(20):
        chance = random.Random(seed)
        steps = [0.0] * 12
        while len(steps) < 120:
            steps.append(chance.choice([0.2, 1.0, 4.0]) if chance.random() < (0.8 if steps[-1] else 0.1) else 0.0)
        rows = [(600.0 * k, round(sum(steps[max(0, k - 5) : k + 1]), 1)) for k in range(len(steps))]
        sums = resolve_sums(rows, HOUR)
        assert total(sums) == pytest.approx(sum(steps), abs=0.5), f"seed {seed}"
        assert sums.unknown, "the interval is not as declared"


@pytest.mark.parametrize("every_s", [300.0, 360.0, 480.0])
def test_sums_that_cover_more_time_than_passed_count_and_are_not_known(every_s):
    sums = resolve_sums([(k * every_s, 2.0 + 0.2 * (k % 3)) for k in range(40)], 600.0)
    assert total(sums) == pytest.approx(sum(2.0 + 0.2 * (k % 3) for k in range(40)))
    assert len(sums.unknown) >= 30


def test_more_than_the_record_does_not_count():
    rows = [(k * HOUR, 0.0) for k in range(1, 4)] + [(3 * HOUR + k * 60.0, 90.0 + k) for k in range(1, 31)]
    sums = resolve_sums(rows, HOUR)
    assert total(sums) <= most_mm(HOUR)
    assert {row.reason for row in sums.left_out} == {LeftOutReason.BEYOND_RECORD}
    assert sums.unknown


@pytest.mark.parametrize("every_s", [595.0, 599.0, 600.0, 601.0, 1200.0])
def test_different_clock_and_jitter_are_no_fault(every_s):
    chance = random.Random(3)
    rows = [(k * every_s + chance.uniform(-60.0, 60.0), chance.choice([0.0, 0.2, 3.0])) for k in range(5000)]
    sums = resolve_sums(rows, 600.0)
    assert (sums.rows, sums.unknown) == (rows, ())


def test_tips_count_one_by_one_and_long_pauses_are_unknown():
    chance = random.Random(2)
    times = [0.0]
    while len(times) < 400:
        times.append(times[-1] + 1.0 + round(chance.expovariate(1.0 / chance.choice([20.0, 20.0, 700.0])), 2))
    sums = resolve_sums([(t, 0.2) for t in times], 600.0)
    assert sums.are_tips
    assert total(sums) == pytest.approx(80.0)
    pauses = [(a, b) for a, b in pairwise(times) if b - a > 600.0]
    assert [(interval.from_s, interval.to_s + 600.0) for interval in sums.unknown] == pauses
