"""What one series says: looks at the stage's cadence, backlogs, stuck and silent instruments, directions, noise."""

import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest

from monitor.features.movement.assessment import SeriesWatch, assess_movement
from monitor.features.movement.cadence import FIRST_ASSESSMENTS, FIRST_SPAN_S, is_due, may_be_silent
from monitor.features.movement.moving_series import MovementSeries
from monitor.features.movement.path import Path, compute_lengths
from monitor.features.movement.queries import MovementRow
from monitor.features.movement.update import find_worst
from monitor.readings.cleaned.tracks import Track
from monitor.sites.records import Level, MovementPlan, SeriesSpec, Site, StagePlan, Station

MINUTE, H, D = 60.0, 3600.0, 86400.0
SPEC = SeriesSpec("A", "displacement", "mm", MINUTE, H, 0.5)
STATION = Station("A", None, None, None, None, None, None, None, None, on_slope=True, series=(SPEC,))
STAGES = tuple(StagePlan(s, H, D) for s in ("creep", "intermediate", "step", "unknown"))
PLAN = MovementPlan((*STAGES, StagePlan("progressive", 5 * MINUTE, H)))
LEVELS = (Level(0, "green", auto_lower=True), Level(1, "red", auto_lower=False))
SITE = Site("s", "S", 46.0, 8.0, "UTC", LEVELS, (STATION,), (), movement=PLAN)
MOVING = MovementSeries(STATION, SPEC, 1, ("displacement",), (1,))


def path(n, rate=0.0, every_s=MINUTE, *, stuck=False, seed=1):
    dice = random.Random(seed)
    times = tuple(1.7e9 + i * every_s for i in range(n))
    values = tuple(rate * i * every_s / D + dice.gauss(0.0, 0.5) for i in range(n))
    return Path(times, values, (0.5,) * n, 0, stuck, SPEC.max_silence_s)


def first(part, whole):
    return Path(whole.times_s[:part], whole.values[:part], whole.sigmas[:part], 0, whole.stuck, whole.silence_s)


def judge(where, seen, state=None, late_s=1.0):
    return assess_movement(SITE, where, seen, state, None, seen.times_s[-1] + late_s)


def test_minute_data_is_looked_at_as_often_as_the_stage_asks_and_at_once_where_a_level_rose():
    whole = path(3 * 1440)
    begun = judge(MOVING, first(2 * 1440, whole))
    state, looked = begun.state, [begun.data_until_s]
    for part in range(2 * 1440, 3 * 1440, 7):  # updates of the site come whenever they come
        found = judge(MOVING, first(part, whole), state)
        if found is not None:
            state = found.state
            looked.append(found.data_until_s)
    gaps = {b - a for a, b in pairwise(looked)}
    assert gaps == {H}
    assert 20 <= len(looked) <= 25
    whole = path(2 * 1440 + 5)
    begun = judge(MOVING, first(2 * 1440, whole))
    assert not is_due(SITE, MOVING, begun.state, whole.times_s[-1], whole.times_s[-1] + 1.0)
    assert judge(MOVING, whole, begun.state) is None
    assert is_due(SITE, MOVING, begun.state, whole.times_s[-1], whole.times_s[-1] + 1.0, has_risen=True)
    found = assess_movement(SITE, MOVING, whole, begun.state, None, whole.times_s[-1] + 1.0, has_risen=True)
    assert found.data_until_s == whole.times_s[-1]


def test_a_first_look_goes_a_month_back_and_ends_with_the_present(monkeypatch):
    seen = []
    real = assess_movement.__globals__["classify_stage"]
    note = lambda state, facts: seen.append(facts.at_s) or real(state, facts)  # noqa: E731
    monkeypatch.setitem(assess_movement.__globals__, "classify_stage", note)
    hourly = replace(MOVING, spec=replace(SPEC, interval_s=H, max_silence_s=6 * H))
    whole = path(60 * 24, every_s=H)
    found = judge(hourly, whole)
    assert found.data_until_s == seen[-1] == whole.times_s[-1]
    assert len(seen) <= FIRST_ASSESSMENTS + 2
    assert whole.times_s[-1] - seen[0] == pytest.approx(FIRST_SPAN_S, abs=H)


def test_a_backlog_is_worked_off_in_parts_with_the_same_end(monkeypatch):
    monkeypatch.setitem(assess_movement.__globals__, "MAX_ASSESSMENTS", 20)
    hourly = replace(MOVING, spec=replace(SPEC, interval_s=H, max_silence_s=6 * H))
    whole = path(12 * 24, 2.0, every_s=H)
    begun = judge(hourly, first(10 * 24, whole))
    while begun.behind:
        begun = judge(hourly, first(10 * 24, whole), begun.state)
    parts, state, behind = 0, begun.state, True
    while behind:
        found = judge(hourly, whole, state)
        parts, state, behind = parts + 1, found.state, found.behind
    assert parts == 3
    one_by_one = begun.state
    for part in range(10 * 24 + 1, 12 * 24 + 1):
        one_by_one = judge(hourly, first(part, whole), one_by_one).state
    assert state == one_by_one


def test_what_is_kept_between_looks_changes_no_window():
    """Towards a failure, and after a correction of the whole path."""
    hourly = replace(MOVING, spec=replace(SPEC, interval_s=H, max_silence_s=6 * H))
    dice = random.Random(5)
    times = tuple(1.7e9 + i * H for i in range(24 * 24))
    values = tuple(80.0 * math.log(25.0 / (25.0 - i / 24.0)) + dice.gauss(0.0, 0.3) for i in range(len(times)))
    whole = Path(times, values, (0.3,) * len(times), 0, stuck=False, silence_s=6 * H)
    shifted = replace(whole, values=tuple(v + 7.0 for v in values))
    kept, fresh, seen = None, None, []
    watch = SeriesWatch(SITE, hourly)
    for part in range(20 * 24, len(times), 5):
        path = first(part, shifted if part > 22 * 24 else whole)
        now_s = path.times_s[-1] + 1.0
        one = assess_movement(SITE, hourly, path, kept, None, now_s, watch=watch)
        other = assess_movement(SITE, hourly, path, fresh, None, now_s)
        assert (one.issues, one.withdrawn) == (other.issues, other.withdrawn)
        kept, fresh = one.state, other.state
        seen += one.issues
    assert any(window.trusted for window in seen)


def test_a_stuck_or_silent_instrument_is_unknown_once_and_recovers():
    whole = path(10 * 1440)
    state = judge(MOVING, whole).state
    stuck = judge(MOVING, replace(whole, stuck=True), state)
    assert (stuck.movement.stage, stuck.reasons) == ("unknown", ("the instrument repeats one value",))
    assert judge(MOVING, replace(whole, stuck=True), stuck.state) is None
    silent = judge(MOVING, whole, state, late_s=2 * H)
    assert (silent.movement.stage, silent.withdrawn) == ("unknown", {})
    assert not is_due(SITE, MOVING, silent.state, whole.times_s[-1], whole.times_s[-1] + 3 * H)
    assert may_be_silent(MOVING, state, whole.times_s[-1] + 2 * H)
    assert not may_be_silent(MOVING, silent.state, whole.times_s[-1] + 3 * H), "it is said once"
    back = path(10 * 1440 + 70)
    assert judge(MOVING, back, silent.state).movement.stage != "unknown"
    nothing = assess_movement(SITE, MOVING, Path((), (), (), 0, stuck=False, silence_s=H), None, None, 1.7e9)
    assert (nothing.movement.stage, nothing.data_until_s) == ("unknown", None)


def test_without_a_direction_the_length_is_taken_and_noise_alone_has_none():
    dice = random.Random(2)
    n = 400
    for rate in (0.05, 0.0):  # 3:4 in plan, with noise of 1 mm on every axis
        truth = [(0.6 * rate * i, 0.8 * rate * i, 0.0) for i in range(n)]
        values = tuple(tuple(x + dice.gauss(0.0, 1.0) for x in v) for v in truth)
        track = Track("A", "d", tuple(map(float, range(n))), (0.0,) * n, values, ((1.0, 1.0, 1.0),) * n)
        lengths, sigmas = compute_lengths(track)
        expected = rate * (n - 25.5 - 4.5)  # the middle of the last fifty against that of the first ten
        assert sum(lengths[-50:]) / 50 == pytest.approx(expected, abs=1.0)
        assert all(s > 0.0 for s in sigmas)


def row(stage, trend, last=None, **state):
    state |= {} if last is None else {"stage": {"stage": last}}
    return MovementRow(1, None, None, stage, trend, None, None, None, None, None, None, None, None, None, "", state)


def test_the_site_is_its_worst_station_and_silence_is_no_calm():
    assert find_worst([]) == ("unknown", "none")
    assert find_worst([row("creep", "linear"), row("step", "regressive")]) == ("step", "regressive")
    lost = row("unknown", "progressive", "progressive")
    assert find_worst([row("creep", "none"), lost]) == ("progressive", "progressive")
    assert find_worst([row("unknown", "none"), row("creep", "none")]) == ("unknown", "none")
    assert find_worst([row("unknown", "none"), row("step", "linear")]) == ("step", "linear")


def test_new_instrument_counts_only_while_no_other_station_has_a_stage():
    new = row("unknown", "none", is_new=True)
    assert find_worst([new]) == ("unknown", "none")
    assert find_worst([new, row("creep", "linear")]) == ("creep", "linear")
    seen_before = row("unknown", "progressive", "progressive", is_new=True)
    assert find_worst([seen_before, row("creep", "linear")]) == ("progressive", "progressive")
