"""Stages and the facts that decide them, on motion whose stage is known."""

import json
import math
import random

import pytest

from forecasting.kinematics.stage_facts import Bound, find_shortest_window_s, measure_stage_facts
from forecasting.kinematics.stages import MovementFacts, classify_stage
from forecasting.reasons import Reason, split_reason
from tests.tables import tabulated

DAY = 86_400.0


def days(n: int, step: float = 1.0) -> list[float]:
    return [i * step * DAY for i in range(n)]


def look(day: float, velocity: float, z: float = 0.0, **more: object) -> MovementFacts:
    facts = {"velocity_error": 0.1, "accelerations_z": (z,) * 4, "rising": z > 0, "v_eq": 1.0} | more
    return MovementFacts(day * DAY, velocity, **facts)  # type: ignore[arg-type]


def test_stage_rises_after_three_assessments_and_falls_after_fourteen_days() -> None:
    state: dict[str, object] = {}
    stages = []
    for day in range(60):
        facts = look(day, 5.0, 3.0) if 5 <= day < 15 else look(day, 0.5)
        movement, state = classify_stage(json.loads(json.dumps(state)), facts)
        stages.append(movement.stage)
    assert stages[:7] == ["creep"] * 7
    assert stages[7:29] == ["progressive"] * 22  # third look up; first lower look is day 15
    assert (stages[29:43], stages[43:]) == (["step"] * 14, ["creep"] * 17)


def test_stale_assessment_is_unknown_and_lowers_no_stage() -> None:
    state: dict[str, object] = {}
    for day in range(5):
        movement, state = classify_stage(state, look(day, 5.0, 3.0))
    assert movement.stage == "progressive"
    for day in range(5, 40):
        movement, state = classify_stage(state, look(4, 5.0, stale=True) if day < 39 else look(day, 0.2))
        assert movement.stage == ("unknown" if day < 39 else "progressive")
    assert movement.probability is not None
    assert movement.probability < 0.1  # it stands by the state, and says how little this look supports it


def test_same_reading_counts_once() -> None:
    state: dict[str, object] = {}
    _, state = classify_stage(state, look(0, 0.2))
    for _ in range(9):
        movement, state = classify_stage(state, look(1, 5.0, 3.0))
    assert movement.stage == "creep"


def test_failure_window_requests_progressive_and_no_velocity_is_unknown() -> None:
    movement, state = classify_stage({}, look(0, 3.0, failing=True))
    assert movement.stage == "intermediate"  # its first look; two more to come
    for day in (1, 2, 3):
        movement, state = classify_stage(state, look(day, 3.0, failing=True))
    assert (movement.stage, classify_stage({}, MovementFacts(0.0, None, None))[0].stage) == ("progressive", "unknown")


def test_facts_contain_a_growing_velocity_and_noise_is_creep() -> None:
    rng = random.Random(2)
    values = [40.0 * (1.0 / (1.0 - t / 210.0)) ** 0.5 + rng.gauss(0.0, 0.3) for t in range(200)]
    facts, fit = measure_stage_facts(days(200), values, [0.3] * 200, now_s=199 * DAY, interval_s=DAY, v_eq=0.2)
    assert fit is not None
    assert facts.rising
    assert sum(z >= 2 for z in facts.accelerations_z) >= 3
    flat = [rng.gauss(0.0, 2.0) for _ in range(200)]
    facts, _ = measure_stage_facts(days(200), flat, [2.0] * 200, now_s=199 * DAY, interval_s=DAY)
    assert sum(z >= 2 for z in facts.accelerations_z) < 3
    assert not facts.stale


def test_facts_are_stale_without_recent_readings_and_use_no_later_ones() -> None:
    values = [0.1 * t for t in range(100)]
    facts, _ = measure_stage_facts(days(100), values, [0.1] * 100, now_s=104 * DAY, interval_s=DAY)
    assert facts.stale
    until, _ = measure_stage_facts(days(100), values, [0.1] * 100, now_s=60 * DAY, interval_s=DAY)
    changed = [v if i <= 60 else 1e6 for i, v in enumerate(values)]
    assert measure_stage_facts(days(100), changed, [0.1] * 100, now_s=60 * DAY, interval_s=DAY)[0] == until


def test_trend_changes_after_three_assessments() -> None:
    state: dict[str, object] = {}
    seen = []
    looks = (
        [look(d, 0.05) for d in range(3)]
        + [look(d, 2.0) for d in range(3, 7)]
        + [look(d, 4.0, 3.0) for d in range(7, 10)]
        + [look(d, 2.0, -3.0, recent_max=4.0) for d in range(10, 13)]
    )
    for facts in looks:
        movement, state = classify_stage(state, facts)
        seen.append(movement.trend)
    assert seen == ["none"] * 5 + ["linear"] * 4 + ["progressive"] * 3 + ["regressive"]


def test_stage_stays_between_one_and_one_and_a_half_v_eq() -> None:
    state: dict[str, object] = {}
    for day in range(20):
        movement, state = classify_stage(state, look(day, 1.2))
    assert movement.stage == "creep"
    for day in range(20, 23):
        movement, state = classify_stage(state, look(day, 1.7))
    assert movement.stage == "intermediate"
    for day in range(23, 60):
        movement, state = classify_stage(state, look(day, 1.2))
    assert movement.stage == "intermediate"


def test_reason_names_the_usual_velocity_without_a_reviewed_v_eq() -> None:
    movement, _ = classify_stage({}, look(0, 3.0, v_eq=None, usual_velocity=1.0))
    assert movement.reasons[0].values["reference"] == Reason("movement.usual", {"velocity": 1.0})
    movement, _ = classify_stage({}, look(0, 3.0, v_eq=None))
    assert Reason("movement.no_reference") in split_reason(movement.reasons[0])


def test_velocity_above_a_bound_of_the_site_file_is_never_creep() -> None:
    values = [30.0 * k for k in range(400)]
    always = {"now_s": 399 * DAY, "interval_s": DAY}
    facts, _ = measure_stage_facts(days(400), values, [0.3] * 400, **always)
    assert classify_stage({}, facts)[0].stage == "creep", "nothing but its own past says what is fast here"
    warned = [Bound(10.0, 7 * DAY, 3.0), Bound(40.0, 2 * DAY, 3.0)]
    facts, _ = measure_stage_facts(days(400), values, [0.3] * 400, bounds=warned, **always)
    movement, _ = classify_stage({}, facts)
    assert movement.stage == "intermediate"
    assert movement.reasons[0].code == "movement.exceeds"
    assert movement.reasons[0].values["bound"] == 10.0
    velocity = movement.reasons[0].values["velocity"]
    assert velocity.values == {"velocity": pytest.approx(30.0, rel=0.01), "window": 7 * DAY}
    assert movement.probability is not None
    assert movement.probability > 0.99
    facts, _ = measure_stage_facts(days(400), values, [0.3] * 400, bounds=warned[1:], **always)
    assert classify_stage({}, facts)[0].stage == "creep"
    facts, _ = measure_stage_facts(days(400), values, [0.3] * 400, bounds=warned, v_eq=29.0, **always)
    assert classify_stage({}, facts)[0].stage == "intermediate", "the level would be up, whatever was reviewed"


HOUR = 3600.0


def hourly(seed: int, *, sigma: float, after_h: int = 0, daily: float = 0.0) -> tuple[list[float], list[float]]:
    """Twenty days at rest, then hours of the tutorial's acceleration: 5 mm/day after an hour, 49 after two days."""
    rng = random.Random(seed)
    hours = range(20 * 24 + after_h + 1)
    path = [3.0 * max(0, h - 480) ** 1.6 / 24 + daily * math.sin(2.0 * math.pi * h / 24) for h in hours]
    return [1.7e9 + h * HOUR for h in hours], [y + rng.gauss(0.0, sigma) for y in path]


@tabulated("seed", range(11, 14))
@tabulated(("sigma", "longest_h"), [(1.2, 64), (0.1, 32)])
def test_window_shortens_to_noise_and_sampling_when_the_motion_changes(seed, sigma, longest_h):
    times, values = hourly(seed, sigma=sigma, after_h=48)
    facts, fit = measure_stage_facts(times, values, [sigma] * len(times), now_s=times[-1], interval_s=HOUR)
    assert fit is not None
    assert facts.window_s is not None
    assert 8 * HOUR <= facts.window_s <= longest_h * HOUR
    assert facts.velocity_error is not None
    assert fit.rate > 25.0 > 10.0 * facts.velocity_error, "31 mm/day and more, not the 5 of a week"
    assert facts.rising
    assert sum(z >= 2.0 for z in facts.accelerations_z) >= 3
    until = len(times) - 48  # blind to what comes later: at rest, it is a week or more
    facts, _ = measure_stage_facts(times, values, [sigma] * len(times), now_s=times[until - 1], interval_s=HOUR)
    assert facts.window_s is not None
    assert facts.window_s >= 7 * DAY


@pytest.mark.parametrize("seed", range(21, 24))
def test_daily_cycle_is_no_change_of_motion(seed: int) -> None:
    times, values = hourly(seed, sigma=0.1, daily=1.0)
    for back_h in range(0, 24, 3):
        now_s = times[-1] - back_h * HOUR
        facts, _ = measure_stage_facts(times, values, [0.1] * len(times), now_s=now_s, interval_s=HOUR)
        assert facts.velocity is not None
        assert facts.velocity_error is not None
        assert facts.velocity <= 2.0 * facts.velocity_error + 0.1, (back_h, facts)
        movement, _ = classify_stage({}, facts)
        assert movement.stage == "creep", (back_h, facts)


def test_window_of_daily_readings_is_at_least_a_week() -> None:
    rng = random.Random(4)
    values = [0.0 if k < 95 else 10.0 * (k - 94) for k in range(100)]
    noisy = [y + rng.gauss(0.0, 0.5) for y in values]
    facts, _ = measure_stage_facts(days(100), noisy, [0.5] * 100, now_s=99 * DAY, interval_s=DAY)
    assert facts.window_s == 7 * DAY, "eight epochs are a week"


@tabulated("interval_s", [600.0, HOUR, DAY, 7 * DAY, 14 * DAY, 30.4 * DAY])
def test_velocity_is_known_for_every_sampling_interval(interval_s: float) -> None:
    rng = random.Random(6)
    drift = 0.5 * DAY / interval_s  # half a unit from reading to reading
    # people read an instrument up to a fifth of an interval early or late
    times = [(i + rng.uniform(-0.2, 0.2)) * interval_s for i in range(max(12, int(10 * DAY / interval_s)))]
    values = [drift * t / DAY + rng.gauss(0.0, 0.3) for t in times]
    for count in range(6, len(times), max(1, len(times) // 20)):
        facts, _ = measure_stage_facts(times, values, [0.3] * len(times), now_s=times[count], interval_s=interval_s)
        assert not facts.stale
        if times[count] - times[0] < find_shortest_window_s(interval_s):
            continue
        assert facts.velocity is not None
        assert facts.velocity_error is not None
        assert facts.velocity == pytest.approx(drift, abs=4.0 * facts.velocity_error)
