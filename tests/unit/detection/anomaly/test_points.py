"""Satellite points that tests draw: events are laid where they are said to be."""

import numpy as np
import pytest

from detection.anomaly.bench import TEST_FROM
from tests.data.anomalies.drawn_points import HALF_WAVELENGTH_MM, KINDS, draw_points, inject_points


def test_drawn_points_repeat_and_share_their_air():
    points = draw_points(3, 40, 120)
    again = draw_points(3, 40, 120)
    assert all(np.array_equal(points[n].values, again[n].values, equal_nan=True) for n in points)
    steps = np.nan_to_num(np.diff(np.stack([s.values for s in points.values()]), axis=1))
    assert np.corrcoef(steps)[np.triu_indices(40, 1)].mean() > 0.04


def test_events_stand_in_the_last_third_of_a_third_of_the_points():
    points = draw_points(1, 300, 150)
    faulty, events = inject_points(points, 5)
    assert 70 < len(events) < 130
    assert {e.kind for e in events} == set(KINDS)
    for event in events:
        assert event.first > 150 * TEST_FROM
        assert event.last == event.first + KINDS[event.kind] - 1 < 150
        moved = faulty[event.station].values - points[event.station].values
        assert np.nanmax(np.abs(moved[: event.first])) == 0.0
        if event.kind == "phase-jump":
            assert np.nanmax(np.abs(moved)) == pytest.approx(HALF_WAVELENGTH_MM)
    untouched = set(points) - {e.station for e in events}
    assert all(faulty[name] is points[name] for name in untouched)
