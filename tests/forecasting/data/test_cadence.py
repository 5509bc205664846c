"""Series share a panel where they come about as often and the same horizons make sense for them."""

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
def test_panels_keep_the_rule(known, horizons_s) -> None:
    panels = list_cadences(known, horizons_s)
    assert sorted(name for panel in panels for name in panel.names) == sorted(known), "each series is in one panel"
    for panel in panels:
        own = [known[name] for name in panel.names]
        assert panel.interval_s == max(own) <= LIKE * min(own), "of one cadence"
        assert all(keep_horizons(one, horizons_s) in {(), panel.horizons_s} for one in own), "each its own horizons"
        assert all(h >= NEARLY * panel.interval_s and round(h / panel.step_s) >= 1 for h in panel.horizons_s)
        assert panel.step_s >= panel.interval_s, "no rows without a reading"
    assert all(a.interval_s <= b.interval_s for a, b in pairwise(panels))
    for name, interval_s in known.items():  # a slower series changes nothing for those that come oftener
        others = {n: s for n, s in known.items() if n != name}
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
def test_each_series_gets_what_makes_sense_for_it(interval_s, asked_d, given_d, step_d) -> None:
    (panel,) = list_cadences({"A": interval_s * DAY_S}, [d * DAY_S for d in asked_d])
    assert panel.horizons_s == pytest.approx([d * DAY_S for d in given_d])
    assert panel.step_s == pytest.approx(step_d * DAY_S)


def test_a_file_is_split_by_the_same_rule() -> None:
    def every(step_s, count=40):
        times = [k * step_s for k in range(count)]
        return times, times

    known = {"A": HOUR_S, "B": 2 * HOUR_S, "C": 6 * DAY_S, "D": 7 * DAY_S, "E": DAY_S}
    parts = split_by_interval({name: every(step_s) for name, step_s in known.items()})
    assert [tuple(part) for part, _ in parts] == [panel.names for panel in list_cadences(known)]
    assert [s for _, s in parts] == pytest.approx([panel.interval_s for panel in list_cadences(known)], rel=0.1)
