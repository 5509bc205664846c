"""Satellite points: events are laid where they are said to be, and figures say what they count."""

import numpy as np
import pytest

from detection.anomaly.bench import TEST_FROM
from detection.anomaly.faults import Event
from detection.anomaly.windows import Series
from tests.bench.anomaly import bench_points as bench
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


def test_accuracy_is_that_of_readings_and_silence_has_one_too():
    cells = 100
    samples = {n: Series(np.arange(cells) * 6 * 86400.0, np.zeros(cells), 6 * 86400.0) for n in ("A", "B")}
    scores = {n: np.zeros(cells) for n in samples}
    scores["A"][[80, 81]] = 2.0  # inside the event
    scores["B"][90] = 2.0  # false
    row = bench._describe(scores, samples, [Event("A", "step", 80, 85, 99)], 1.0)
    # A is judged from 67 to 85, B from 67 to 99; four readings of the event and the false one are wrong
    assert row["accuracy"] == pytest.approx((19 + 33 - 4 - 1) / 52)
    assert row["accuracy_of_silence"] == pytest.approx((52 - 6) / 52)
    assert (row["precision"], row["recall"]) == (0.5, 1.0)
    assert (row["accuracy_of_points"], row["accuracy_of_points_of_silence"]) == (0.5, 0.5)


def test_the_bench_gives_each_detector_its_counted_and_its_equal_threshold(monkeypatch):
    monkeypatch.setattr(bench, "DETECTORS", ("persistence-z",))
    rows = bench.run_points_bench(draw_points(2, 250, 160), 0.02, (0, 1))
    assert [(r["detector"], r["points"], r["seeds"]) for r in rows] == [("persistence-z", 250, 2)]
    assert rows[0]["recall_by_kind"]["phase-jump"] > 0.9
    assert rows[0]["equal"]["recall"] > 0.3
    assert "persistence-z, equal FA" in bench.format_points_table(rows)
