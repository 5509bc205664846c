"""What stations do together, what adds up, and days on which all scatter."""

import numpy as np
import pytest

from detection.anomaly.common_motion import name_common, score_common
from detection.anomaly.neighbours import Settle
from detection.anomaly.registry import load_rule
from detection.anomaly.windows import Series

DAY = 86400.0


def stations(count=6, n=500, seed=3):
    rng = np.random.default_rng(seed)
    return {f"G{k}": Series(np.arange(n) * DAY, rng.normal(0, 1.0, n), DAY) for k in range(count)}


def shifted(samples, sizes_mm, at=400):
    return {
        name: Series(s.times_s, s.values + np.where(np.arange(len(s.values)) >= at, size, 0.0), DAY)
        for (name, s), size in zip(samples.items(), sizes_mm, strict=True)
    }


@pytest.mark.parametrize(
    ("sizes", "kind"),
    [((12, 12, 12, 12, 12, 12), "common-mode"), ((7, 8, 30, 60, 9, 15), "movement"), ((12, 12, 12, 12, 12, 0), None)],
)
def test_a_reference_moves_all_alike_and_ground_does_not(sizes, kind):
    samples = shifted(stations(), sizes)
    ordinary = max(np.nanmax(row[200:]) for row in score_common(stations()).values())
    scores = score_common(samples)
    assert min(scores[name][400] for name, size in zip(scores, sizes, strict=True) if size) > 1.5 * ordinary
    if kind is None:
        assert scores["G5"][400] == 0.0  # it takes no part
    else:
        assert {row[400] for row in name_common(samples).values()} == {kind}


def test_one_station_and_three_have_nothing_in_common():
    samples = shifted(stations(), (40, 0, 0, 0, 0, 0))
    assert score_common(samples)["G0"][400] < 4.0
    assert not np.isfinite(score_common(shifted(stations(3), (12, 12, 12)))["G0"]).any()


def test_common_motion_sees_no_future():
    samples = stations()
    later = shifted(samples, (5, 50, 5, 0, 9, 30))
    assert all(
        np.array_equal(a[:400], b[:400], equal_nan=True)
        for a, b in zip(score_common(samples).values(), score_common(later).values(), strict=True)
    )
    assert [row[:400] for row in name_common(samples).values()] == [row[:400] for row in name_common(later).values()]


def test_on_a_day_on_which_all_scatter_nobody_is_strange():
    rng = np.random.default_rng(1)
    table = rng.normal(0, 1.0, (9, 200))
    table[:, 100] *= 6.0
    table[4, 150] = 8.0
    settled = Settle().feed(table, 0, 200)
    assert np.abs(settled[:, 100]).max() < 4.0
    assert settled[4, 150] > 5.0
    assert np.array_equal(Settle().feed(table[:5], 0, 200), table[:5])  # too few to tell a day from a station


def test_small_deviations_to_one_side_add_up_and_a_scatter_does_not():
    series = stations(1)["G0"]
    crept = Series(series.times_s, series.values + 0.12 * np.maximum(np.arange(500) - 400, 0), DAY)
    rule = load_rule("page-hinkley")
    assert np.nanmax(rule(crept)[400:445]) > 2.0 * np.nanmax(rule(series)[100:])
    assert np.nanmax(load_rule("persistence-z")(crept)[400:445]) < 1.3 * np.nanmax(load_rule("persistence-z")(series))
