"""Series share a panel if their intervals are similar and the same horizons reach their next readings."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.cadence import LIKE, NEARLY, keep_horizons, list_cadences
from forecasting.data.series import split_by_interval

HOUR_S, DAY_S = 3600.0, 86400.0
HOURS, DAYS = (HOUR_S * k for k in (1, 2, 3, 6, 12)), (DAY_S * k for k in (1, 3, 6, 7, 12, 30.4375, 91))
INTERVALS = st.sampled_from([60.0, 600.0, *HOURS, *DAYS])
SITES = st.dictionaries(st.text("ABCDEFGH", min_size=1, max_size=3), INTERVALS, min_size=1, max_size=9)
AHEAD = st.sampled_from([HOUR_S, 6 * HOUR_S, DAY_S, 3 * DAY_S, 7 * DAY_S, 30 * DAY_S])
HORIZONS = st.lists(AHEAD, min_size=1, unique=True)


@settings(max_examples=120, deadline=None)
@given(SITES, HORIZONS)
def test_series_on_a_panel_have_similar_intervals_and_the_same_horizons(intervals_s, horizons_s) -> None:
    panels = list_cadences(intervals_s, horizons_s)
    assert sorted(name for panel in panels for name in panel.names) == sorted(intervals_s), (
        "each series is in one panel"
    )
    for panel in panels:
        panel_intervals_s = [intervals_s[name] for name in panel.names]
        assert panel.interval_s == max(panel_intervals_s) <= LIKE * min(panel_intervals_s), "similar intervals"
        assert all(
            keep_horizons(interval_s, horizons_s) in {(), panel.horizons_s} for interval_s in panel_intervals_s
        ), "each its panel_intervals_s horizons"
        assert all(h >= NEARLY * panel.interval_s and round(h / panel.step_s) >= 1 for h in panel.horizons_s)
        assert panel.step_s >= panel.interval_s, "no rows without a reading"
    assert all(a.interval_s <= b.interval_s for a, b in pairwise(panels))
    for name, interval_s in intervals_s.items():  # a slower series does not change the panels of faster ones
        others = {n: s for n, s in intervals_s.items() if n != name}
        faster = [p for p in list_cadences(others, horizons_s) if p.interval_s * LIKE < interval_s] if others else []
        assert all(panel in panels for panel in faster)


@pytest.mark.parametrize(
    ("interval_s", "asked_d", "given_d", "step_d"),
    [
        (1 / 24, (1, 7, 30), (1, 7, 30), 0.25),
        (1, (1, 7, 30), (1, 7, 30), 1),
        (12, (1, 7, 30), (30,), 12),
        (30.4375, (1, 7, 30), (30,), 30.4375),
        (6, (1,), (6, 18), 6),
    ],
)
def test_horizons_and_step_follow_from_the_interval(interval_s, asked_d, given_d, step_d) -> None:
    (panel,) = list_cadences({"A": interval_s * DAY_S}, [d * DAY_S for d in asked_d])
    assert panel.horizons_s == pytest.approx([d * DAY_S for d in given_d])
    assert panel.step_s == pytest.approx(step_d * DAY_S)


def test_a_file_is_split_by_the_same_rule() -> None:
    def every(step_s, count=40):
        times = [k * step_s for k in range(count)]
        return times, times

    intervals_s = {"A": HOUR_S, "B": 2 * HOUR_S, "C": 6 * DAY_S, "D": 7 * DAY_S, "E": DAY_S}
    parts = split_by_interval({name: every(step_s) for name, step_s in intervals_s.items()})
    assert [tuple(part) for part, _ in parts] == [panel.names for panel in list_cadences(intervals_s)]
    assert [s for _, s in parts] == pytest.approx([panel.interval_s for panel in list_cadences(intervals_s)], rel=0.1)
