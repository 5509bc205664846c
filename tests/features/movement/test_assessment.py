"""Assessment of one series: cadence of the stage, backlogs, stuck and silent instruments, direction, worst station."""

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


def make_path(n, rate=0.0, every_s=MINUTE, *, stuck=False, seed=1):
    noise = random.Random(seed)
    times = tuple(1.7e9 + i * every_s for i in range(n))
    values = tuple(rate * i * every_s / D + noise.gauss(0.0, 0.5) for i in range(n))
    return Path(times, values, (0.5,) * n, 0, stuck, SPEC.max_silence_s)


def cut_path(count, path):
    return Path(path.times_s[:count], path.values[:count], path.sigmas[:count], 0, path.stuck, path.silence_s)


def assess(moving, path, state=None, late_s=1.0):
    return assess_movement(SITE, moving, path, state, None, path.times_s[-1] + late_s)


def test_readings_are_assessed_at_the_interval_of_the_stage_and_at_once_after_a_rise():
    whole = make_path(3 * 1440)
    result = assess(MOVING, cut_path(2 * 1440, whole))
    state, assessed_s = result.state, [result.data_until_s]
    for count in range(2 * 1440, 3 * 1440, 7):  # updates of the site at other instants than those of the stage
        result = assess(MOVING, cut_path(count, whole), state)
        if result is not None:
            state = result.state
            assessed_s.append(result.data_until_s)
    assert {after - before for before, after in pairwise(assessed_s)} == {H}
    assert 20 <= len(assessed_s) <= 25
    whole = make_path(2 * 1440 + 5)
    result = assess(MOVING, cut_path(2 * 1440, whole))
    assert not is_due(SITE, MOVING, result.state, whole.times_s[-1], whole.times_s[-1] + 1.0)
    assert assess(MOVING, whole, result.state) is None
    assert is_due(SITE, MOVING, result.state, whole.times_s[-1], whole.times_s[-1] + 1.0, has_risen=True)
    result = assess_movement(SITE, MOVING, whole, result.state, None, whole.times_s[-1] + 1.0, has_risen=True)
    assert result.data_until_s == whole.times_s[-1]


def test_first_update_assesses_the_last_month(monkeypatch):
    assessed_s = []
    classify_stage = assess_movement.__globals__["classify_stage"]

    def note(state, facts):
        assessed_s.append(facts.at_s)
        return classify_stage(state, facts)

    monkeypatch.setitem(assess_movement.__globals__, "classify_stage", note)
    hourly = replace(MOVING, spec=replace(SPEC, interval_s=H, max_silence_s=6 * H))
    whole = make_path(60 * 24, every_s=H)
    result = assess(hourly, whole)
    assert result.data_until_s == assessed_s[-1] == whole.times_s[-1]
    assert len(assessed_s) <= FIRST_ASSESSMENTS + 2
    assert whole.times_s[-1] - assessed_s[0] == pytest.approx(FIRST_SPAN_S, abs=H)


def test_backlog_in_parts_has_the_result_of_single_updates(monkeypatch):
    monkeypatch.setitem(assess_movement.__globals__, "MAX_ASSESSMENTS", 20)
    hourly = replace(MOVING, spec=replace(SPEC, interval_s=H, max_silence_s=6 * H))
    whole = make_path(12 * 24, 2.0, every_s=H)
    result = assess(hourly, cut_path(10 * 24, whole))
    while result.behind:
        result = assess(hourly, cut_path(10 * 24, whole), result.state)
    parts, state, behind = 0, result.state, True
    while behind:
        part = assess(hourly, whole, state)
        parts, state, behind = parts + 1, part.state, part.behind
    assert parts == 3
    one_by_one = result.state
    for part in range(10 * 24 + 1, 12 * 24 + 1):
        one_by_one = assess(hourly, cut_path(part, whole), one_by_one).state
    assert state == one_by_one


@pytest.mark.soak
def test_cache_changes_no_result():
    """Towards a failure, and after a correction of the whole path."""
    hourly = replace(MOVING, spec=replace(SPEC, interval_s=H, max_silence_s=6 * H))
    noise = random.Random(5)
    times_s = tuple(1.7e9 + i * H for i in range(24 * 24))
    values = tuple(80.0 * math.log(25.0 / (25.0 - i / 24.0)) + noise.gauss(0.0, 0.3) for i in range(len(times_s)))
    path = Path(times_s, values, (0.3,) * len(times_s), 0, stuck=False, silence_s=6 * H)
    corrected = replace(path, values=tuple(1.5 * value for value in values))
    state, windows = None, []
    watch = SeriesWatch(SITE, hourly)
    for count in range(20 * 24, len(times_s), 5):
        known = cut_path(count, corrected if count > 22 * 24 else path)
        now_s = known.times_s[-1] + 1.0
        with_cache = assess_movement(SITE, hourly, known, state, None, now_s, watch=watch)
        assert with_cache == assess_movement(SITE, hourly, known, state, None, now_s)
        state = with_cache.state
        windows += with_cache.issues
    assert any(window.trusted for window in windows)


def test_stuck_or_silent_instrument_is_unknown_once_and_recovers():
    whole = make_path(10 * 1440)
    state = assess(MOVING, whole).state
    stuck = assess(MOVING, replace(whole, stuck=True), state)
    assert (stuck.movement.stage, stuck.reasons) == ("unknown", ("the instrument repeats one value",))
    assert assess(MOVING, replace(whole, stuck=True), stuck.state) is None
    silent = assess(MOVING, whole, state, late_s=2 * H)
    assert (silent.movement.stage, silent.withdrawn) == ("unknown", {})
    assert not is_due(SITE, MOVING, silent.state, whole.times_s[-1], whole.times_s[-1] + 3 * H)
    assert may_be_silent(MOVING, state, whole.times_s[-1] + 2 * H)
    assert not may_be_silent(MOVING, silent.state, whole.times_s[-1] + 3 * H), "it is said once"
    back = make_path(10 * 1440 + 70)
    assert assess(MOVING, back, silent.state).movement.stage != "unknown"
    nothing = assess_movement(SITE, MOVING, Path((), (), (), 0, stuck=False, silence_s=H), None, None, 1.7e9)
    assert (nothing.movement.stage, nothing.data_until_s) == ("unknown", None)


def test_length_is_used_without_a_direction_and_noise_has_none():
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


def test_site_has_the_stage_of_its_worst_station_and_silence_lowers_none():
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
