"""Looks at tables of points: scores of `rules` to the bit, quiet points quiet, changes named, one line per cause."""

import numpy as np
import pytest

from detection.anomaly.detector import Detector
from detection.anomaly.threshold import DetectorThreshold
from detection.anomaly.windows import Series
from detection.reasons import Reason
from slopeward_earth.points.detection import alarms as looks
from slopeward_earth.points.detection.alarms import BUDGET, compared_with, count_thresholds, find_point_alarms
from slopeward_earth.points.detection.gather import LocatedAlarm, find_common, gather, join_shared
from slopeward_earth.points.detection.records import (
    AcquisitionCounts,
    PointAlarmRequest,
    PointTable,
    PointThresholdRequest,
)
from slopeward_earth.points.detection.shapes import name_shapes
from tests.data.anomalies.drawn_points import STEP_S, draw_points, inject_points

JUMP_MM = 27.7
LIMITS = {"rules": {"level": 7.5, "trend": 9.0, "drift": 5.0, "creep": 20.0, "noise": 2.7}}


def derive_table(samples):
    return np.stack([samples[name].values for name in sorted(samples)])


@pytest.fixture(scope="module")
def drawn():
    return draw_points(4, 400, 150)


def ask(values, since=100, limits=LIMITS, jump_mm=JUMP_MM):
    asked = PointAlarmRequest(PointTable(values, STEP_S), limits, np.full(len(values), since), jump_mm)
    return find_point_alarms(asked)


@pytest.mark.soak
def test_a_table_is_scored_as_the_series_are_to_the_last_bit(drawn, monkeypatch):
    faulty = {n: Series(s.times_s - 1000 * STEP_S, s.values, STEP_S) for n, s in inject_points(drawn, 1)[0].items()}
    detector = Detector("rules", {part: DetectorThreshold(v, 0, 0.0, "test") for part, v in LIMITS["rules"].items()})
    scores = detector.score(faulty)
    expected = np.stack([scores[name] for name in sorted(faulty)])
    assert np.array_equal(looks._score(derive_table(faulty), STEP_S, LIMITS).ratio, expected, equal_nan=True)
    monkeypatch.setattr(looks, "CELLS_AT_ONCE", 400 * 37)  # in several blocks, where sums are rounded else
    assert np.allclose(looks._score(derive_table(faulty), STEP_S, LIMITS).ratio, expected, rtol=1e-9, equal_nan=True)


@pytest.mark.soak
def test_what_an_alarm_says_does_not_depend_on_later_acquisitions(drawn):
    values = derive_table(inject_points(drawn, 1)[0])
    until = {(a.row, a.column): a.score for a in ask(values[:, :130]).alarms}
    later = {(a.row, a.column): a.score for a in ask(values).alarms}
    assert len(until) > 20
    assert {k: v for k, v in later.items() if k[1] < 130} == until


@pytest.mark.soak
def test_quiet_points_are_quiet_at_counted_thresholds_and_changed_ones_are_found():
    values = derive_table(draw_points(5, 300, 160))
    counted = count_thresholds(PointThresholdRequest(PointTable(values[::2], STEP_S), BUDGET))
    assert not counted.reason
    quiet = ask(values, 120, counted.thresholds)
    months = len(values) * 40 * STEP_S / (30.4375 * 86400.0)
    assert len(quiet.alarms) <= 3 * BUDGET * months
    assert (quiet.scored, quiet.withheld) == (300, 0)
    values[7, 130:] += 42.0
    values[9, 130:] += 0.7 * np.arange(1.0, 31.0) ** 2
    values[11, 130:] += JUMP_MM
    found = {a.row: a for a in ask(values, 120, counted.thresholds).alarms if a.column >= 130}
    assert {7, 9, 11} <= found.keys()
    assert (found[7].kind, found[9].kind, found[11].kind) == ("step", "acceleration", "phase-jump")
    assert found[7].size_mm == pytest.approx(42.0, abs=8.0)
    assert found[7].score > found[7].threshold


@pytest.mark.soak
def test_what_began_before_is_not_told_again_and_a_past_that_is_too_short_is_said(drawn):
    values = derive_table(drawn)
    values[3, 118:] += 80.0
    first = [a for a in ask(values[:, :120], 115).alarms if a.row == 3]
    assert [a.column for a in first] == [118]
    again = ask(values[:, :121], 120)
    assert not [a for a in again.alarms if a.row == 3]
    assert again.going_on >= 1
    values = derive_table(drawn)
    values[5, :140] = np.nan
    found = ask(values, 145)
    assert (found.scored, found.withheld, ask(values, 150).scored) == (399, 1, 0)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda k: 14.0 * (k >= 80), "step"),
        (lambda k: np.where(k >= 74, 0.25 * (k - 73.0) ** 2, 0.0), "acceleration"),
        (lambda k: 14.0 * (k == 80), "spike"),
        (lambda k: -27.7 * (k >= 80), "phase-jump"),
        (lambda k: -27.7 * ((k >= 80) & (k < 82)), "phase-jump"),
    ],
)
def test_a_change_is_named_one_acquisition_after_it(change, kind):
    chance = np.random.default_rng(3)
    values = chance.normal(0.0, 1.0, (20, 100)) + change(np.arange(100.0))
    values[chance.random(values.shape) < 0.05] = np.nan
    values[:, 80] = np.where(np.isnan(values[:, 80]), change(np.arange(100.0))[80], values[:, 80])
    kinds, sizes = name_shapes(values, np.full(20, 80), 27.7)
    assert kinds.count(kind) >= 18
    if kind == "phase-jump":
        assert np.median(sizes) == pytest.approx(-27.7, abs=1.5)
        assert "phase-jump" not in name_shapes(values, np.full(20, 80), None)[0]


def test_what_all_points_do_is_one_happening_over_the_acquisitions_it_lasts():
    one = [(7, 50, 0, 1, 0.2), (8, 50, 49, 0, 27.0), (9, 50, 40, 0, 26.0)]
    two = [(7, 50, 2, 0, 0.0), (8, 50, 30, 0, 28.0), (9, 50, 30, 0, 25.0), (11, 50, 0, 48, -9.0)]
    tables = [[AcquisitionCounts(*row) for row in table] for table in (one, two)]
    jump, other = find_common(join_shared(tables), JUMP_MM)
    assert (jump.first, jump.last, jump.points, jump.judged, jump.kind) == (8, 9, 79, 100, "phase-jump")
    assert (jump.size_mm, other.first, other.kind, other.judged) == (pytest.approx(27.5), 11, "common-mode", 50)
    assert find_common([AcquisitionCounts(3, 5, 5, 0, 9.0)], None) == [], "of five points nobody says what is common"


def test_neighbours_that_alarm_about_one_time_are_one_line():
    slide = [LocatedAlarm(46.0 + 3e-4 * k, 8.0, 90 + k % 2, "acceleration", 12.0 + k, 1.5 + k) for k in range(6)]
    other = [LocatedAlarm(46.0, 8.02, 90, "step", -9.0, 2.0), LocatedAlarm(46.0, 8.0, 99, "step", 30.0, 1.2)]
    lines = gather([*other, *slide])
    assert [len(line.members) for line in lines] == [6, 1, 1]
    assert lines[0].members[0] == 7, "the strongest first"
    assert (lines[0].kind, lines[0].size_mm) == ("acceleration", 14.5)
    assert (lines[0].radius_m, gather([])) == (pytest.approx(2.5 * 3e-4 * 111_194.9, rel=0.01), [])


def test_a_short_record_is_refused_in_words_and_each_part_says_what_it_compares_with():
    counted = count_thresholds(PointThresholdRequest(PointTable(np.zeros((30, 40)), STEP_S), BUDGET))
    assert (counted.thresholds, counted.reason) == ({}, Reason("points.few", {"n": 40, "needed": 60}))
    assert compared_with("level", STEP_S, 0) == Reason("compared.median", {"n": 5})
    increments = Reason("compared.past", {"past": "usual-increments"})
    assert compared_with("noise", STEP_S, 12) == Reason("compared.points", {"past": increments, "n": 12})
