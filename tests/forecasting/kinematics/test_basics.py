"""Velocity, acceleration, direction, angle, crossing and stage: each on motion whose answer is known."""

import json
import math
import random
from math import sqrt

import pytest

from forecasting.errors import NotEnoughDataError
from forecasting.kinematics.acceleration import fit_acceleration
from forecasting.kinematics.direction import norm
from forecasting.kinematics.forecast_crossing import cross_velocity
from forecasting.kinematics.noise import choose_window_s, measure_sigma, velocity_error
from forecasting.kinematics.stage_facts import Bound, find_shortest_window_s, measure_stage_facts
from forecasting.kinematics.stages import MovementFacts, classify_stage
from forecasting.kinematics.tangential_angle import tangential_angle_deg
from forecasting.kinematics.velocity import estimate_slopes, fit_slopes, fit_velocities, fit_velocity
from forecasting.reasons import Reason, split_reason
from tests.tables import tabulated

DAY = 86_400.0


def days(n: int, step: float = 1.0) -> list[float]:
    return [i * step * DAY for i in range(n)]


def test_acceleration_error_covers_what_noise_does() -> None:
    rng = random.Random(5)
    inside = 0
    for _ in range(200):
        values = [0.05 * t * t + rng.gauss(0.0, 1.0) for t in range(20)]
        fit = fit_acceleration(days(20), values, [1.0] * 20, 30 * DAY)
        assert fit is not None
        inside += abs(fit.rate - 0.1) <= 2.0 * fit.error
    assert 180 <= inside <= 200  # 95 % of 200, and never far too sure


@tabulated("seed", range(40))
def test_series_fitted_together_or_nearly_are_those_fitted_alone(seed: int) -> None:
    rng = random.Random(seed)
    n, far = rng.randint(3, 90), rng.choice((0.0, 1e3, 1e9))
    times = sorted(rng.choice((rng.uniform(0.0, 9.0), float(rng.randint(0, 9)))) * DAY for _ in range(n))
    values = [[far + rng.gauss(0.0, 2.0) for _ in times] for _ in range(rng.randint(1, 5))]
    sigmas = [rng.choice((0.0, 0.5, 3.0)) for _ in values]
    alone = [fit_velocity(times, one, [sigma] * n) for one, sigma in zip(values, sigmas, strict=True)]
    assert fit_velocities(times, values, sigmas) == alone
    exact = fit_slopes(times, values, [[sigma] * n for sigma in sigmas])
    nearly = estimate_slopes(times, values, [[sigma] * n for sigma in sigmas])
    assert (exact is None) == (nearly is None)
    for rate, (found, off) in zip(exact or [], nearly or [], strict=True):
        assert abs(rate - found) <= off


def test_acceleration_is_stamped_in_the_middle_with_uneven_epochs() -> None:
    times = [0.0, 1.0, 1.5, 4.0, 4.2, 9.0, 10.0]
    fit = fit_acceleration([t * DAY for t in times], [3.0 + 2.0 * t + 0.5 * t * t for t in times], [0.0] * 7, 99 * DAY)
    assert fit is not None
    assert (fit.mid_s, fit.velocity, fit.rate) == (5.0 * DAY, pytest.approx(2.0 + 5.0), pytest.approx(1.0))


def test_acceleration_needs_five_epochs_in_the_window() -> None:
    assert fit_acceleration(days(9), [0.0] * 9, [0.0] * 9, 3.5 * DAY) is None
    assert fit_acceleration([0.0] * 6, [0.0] * 6, [0.0] * 6, DAY) is None
    assert fit_acceleration([], [], [], DAY) is None


def test_velocity_error_formula_is_what_a_fit_shows() -> None:
    fit = fit_velocity(days(12), [0.0] * 12, [2.0] * 12)
    assert fit is not None
    assert fit.error == pytest.approx(velocity_error(2.0, 12, DAY))


def test_noise_is_measured_through_motion_and_gaps() -> None:
    rng = random.Random(1)
    times = [t for t in range(400) if t % 17 > 2]
    values = [0.3 * t + rng.gauss(0.0, 1.5) for t in times]
    assert measure_sigma([t * DAY for t in times], values) == pytest.approx(1.5, rel=0.15)
    assert measure_sigma([0.0, DAY], [0.0, 1.0]) == 0.0


def test_window_is_as_long_as_the_noise_asks_for() -> None:
    fast, slow = (choose_window_s(2.0, DAY, v) for v in (20.0, 1.0))
    assert 4 * DAY == fast < slow < 60 * DAY
    assert choose_window_s(2.0, DAY, 0.0) == 60 * DAY
    n = slow / DAY
    assert velocity_error(2.0, int(n), DAY) * 4.0 <= 1.0 < velocity_error(2.0, int(n) - 2, DAY) * 4.0


def test_norm_of_a_still_point_is_not_a_velocity() -> None:
    rng = random.Random(3)
    drawn = [(rng.gauss(0, 1), rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(4000)]
    raw = sum(sqrt(a * a + b * b + c * c) for a, b, c in drawn) / 4000
    freed = sum(norm(v, (1.0, 1.0, 1.0))[0] for v in drawn) / 4000
    assert raw > 1.55
    assert freed < 0.7
    moving = sum(norm((10 + a, b, c), (1.0, 1.0, 1.0))[0] for a, b, c in drawn) / 4000
    assert moving == pytest.approx(10.0, abs=0.06)  # uncorrected it is 10.1


def test_angle_refuses_what_is_no_steady_velocity() -> None:
    assert tangential_angle_deg(-1.0, 1.0) == pytest.approx(-45.0)
    for v_eq in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(NotEnoughDataError, match="v_eq"):
            tangential_angle_deg(1.0, v_eq)


def test_crossing_orders_the_edges_and_needs_the_median() -> None:
    horizons = [DAY, 7 * DAY, 30 * DAY]
    found = cross_velocity(horizons, [1.0, 8.0, 100.0], [2.0, 30.0, 400.0], [3.0, 100.0, 900.0], 0.0, 10.0)
    assert found is not None
    assert found[0] <= found[1] <= found[2] == 30 * DAY
    assert cross_velocity(horizons, [1.0, 7.0, 30.0], [1.0, 7.0, 30.0], [9.0, 99.0, 999.0], 0.0, 10.0) is None
    assert cross_velocity([], [], [], [], 0.0, 10.0) is None


def look(day: float, velocity: float, z: float = 0.0, **more: object) -> MovementFacts:
    facts = {"velocity_error": 0.1, "accelerations_z": (z,) * 4, "rising": z > 0, "v_eq": 1.0} | more
    return MovementFacts(day * DAY, velocity, **facts)  # type: ignore[arg-type]


def test_three_looks_up_and_fourteen_days_down() -> None:
    state: dict[str, object] = {}
    stages = []
    for day in range(60):
        facts = look(day, 5.0, 3.0) if 5 <= day < 15 else look(day, 0.5)
        movement, state = classify_stage(json.loads(json.dumps(state)), facts)
        stages.append(movement.stage)
    assert stages[:7] == ["creep"] * 7
    assert stages[7:29] == ["progressive"] * 22  # third look up; first lower look is day 15
    assert (stages[29:43], stages[43:]) == (["step"] * 14, ["creep"] * 17)


def test_a_stale_look_is_unknown_and_lowers_nothing() -> None:
    state: dict[str, object] = {}
    for day in range(5):
        movement, state = classify_stage(state, look(day, 5.0, 3.0))
    assert movement.stage == "progressive"
    for day in range(5, 40):
        movement, state = classify_stage(state, look(4, 5.0, stale=True) if day < 39 else look(day, 0.2))
        assert movement.stage == ("unknown" if day < 39 else "progressive")
    assert movement.probability is not None
    assert movement.probability < 0.1  # it stands by the state, and says how little this look supports it


def test_the_same_datum_seen_again_is_no_second_issue() -> None:
    state: dict[str, object] = {}
    _, state = classify_stage(state, look(0, 0.2))
    for _ in range(9):
        movement, state = classify_stage(state, look(1, 5.0, 3.0))
    assert movement.stage == "creep"


def test_a_failure_window_makes_it_progressive_and_no_velocity_unknown() -> None:
    movement, state = classify_stage({}, look(0, 3.0, failing=True))
    assert movement.stage == "intermediate"  # its first look; two more to come
    for day in (1, 2, 3):
        movement, state = classify_stage(state, look(day, 3.0, failing=True))
    assert (movement.stage, classify_stage({}, MovementFacts(0.0, None, None))[0].stage) == ("progressive", "unknown")


def test_looking_finds_a_growing_velocity_and_no_creep_in_noise() -> None:
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


def test_looking_is_stale_without_fresh_data_and_blind_to_the_future() -> None:
    values = [0.1 * t for t in range(100)]
    facts, _ = measure_stage_facts(days(100), values, [0.1] * 100, now_s=104 * DAY, interval_s=DAY)
    assert facts.stale
    until, _ = measure_stage_facts(days(100), values, [0.1] * 100, now_s=60 * DAY, interval_s=DAY)
    changed = [v if i <= 60 else 1e6 for i, v in enumerate(values)]
    assert measure_stage_facts(days(100), changed, [0.1] * 100, now_s=60 * DAY, interval_s=DAY)[0] == until


def test_a_trend_follows_after_three_looks_and_not_before() -> None:
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


def test_between_one_and_one_and_a_half_v_eq_the_stage_stays() -> None:
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


def test_without_a_reviewed_v_eq_the_reason_says_so() -> None:
    movement, _ = classify_stage({}, look(0, 3.0, v_eq=None, usual_velocity=1.0))
    assert movement.reasons[0].values["reference"] == Reason("movement.usual", {"velocity": 1.0})
    movement, _ = classify_stage({}, look(0, 3.0, v_eq=None))
    assert Reason("movement.no_reference") in split_reason(movement.reasons[0])


def test_what_the_site_file_warns_of_is_no_creep_because_it_was_always_so() -> None:
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
def test_the_window_follows_noise_and_sampling_when_the_motion_changes(seed, sigma, longest_h):
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
def test_a_daily_cycle_is_no_change_of_motion(seed: int) -> None:
    times, values = hourly(seed, sigma=0.1, daily=1.0)
    for back_h in range(0, 24, 3):
        now_s = times[-1] - back_h * HOUR
        facts, _ = measure_stage_facts(times, values, [0.1] * len(times), now_s=now_s, interval_s=HOUR)
        assert facts.velocity is not None
        assert facts.velocity_error is not None
        assert facts.velocity <= 2.0 * facts.velocity_error + 0.1, (back_h, facts)
        movement, _ = classify_stage({}, facts)
        assert movement.stage == "creep", (back_h, facts)


def test_daily_data_are_judged_over_a_week_or_more() -> None:
    rng = random.Random(4)
    values = [0.0 if k < 95 else 10.0 * (k - 94) for k in range(100)]
    noisy = [y + rng.gauss(0.0, 0.5) for y in values]
    facts, _ = measure_stage_facts(days(100), noisy, [0.5] * 100, now_s=99 * DAY, interval_s=DAY)
    assert facts.window_s == 7 * DAY, "eight epochs are a week"


@tabulated("interval_s", [600.0, HOUR, DAY, 7 * DAY, 14 * DAY, 30.4 * DAY])
def test_velocity_is_known_whatever_the_pace_of_the_instrument(interval_s: float) -> None:
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
