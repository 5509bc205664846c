"""The failure window, its chance over a bound, and replaced sensors: found beside noise, never from the future."""

import math
import random
from itertools import pairwise
from math import exp, isfinite, log
from statistics import NormalDist

import numpy as np
import pytest
from scipy.integrate import trapezoid

from forecasting.evaluation.distribution import pit
from forecasting.kinematics.chance import QUANTILES, chance_over
from forecasting.kinematics.failure import TOO_YOUNG, FailureIssue, FailureSpec, Watch, watch_failure
from forecasting.kinematics.failure_ensemble import EXPONENTS, LARGEST_STRETCH, compute_stretch
from forecasting.kinematics.failure_record import WindowScore, score_issues, summarize_scores
from forecasting.kinematics.inverse_velocity import fit_inverse_velocity, measure_scatter
from forecasting.kinematics.sensor_replacement import DAY_S, ProposedOffset, propose_offset
from forecasting.kinematics.simulated_collapse import draw_collapse
from forecasting.kinematics.velocity_windows import WindowVelocity
from forecasting.reasons import Reason
from tests.fixtures.soak import with_soak
from tests.tables import tabulated

DAY = 86_400.0
HOUR = 3_600.0
CURVES = pytest.mark.parametrize("curves", with_soak(20, 200))


def watch(
    times: list[float], values: list[float], sigma: float, interval_s: float = DAY, from_s: float = -1e18
) -> list[FailureIssue]:
    return watch_failure(times, values, [0.0] * len(times), FailureSpec(interval_s, sigma), from_s=from_s)


def test_an_issue_depends_on_nothing_after_its_datum() -> None:
    curve = draw_collapse(1001, sigma=1.0, rain=True, gaps=True)
    whole = watch(list(curve.times_s), list(curve.values), 1.0)
    rng = random.Random(4)
    for _ in range(5):
        cut = rng.randrange(60, len(whole))
        changed = [v if i <= cut else v + rng.uniform(-500.0, 500.0) for i, v in enumerate(curve.values)]
        assert watch(list(curve.times_s), changed, 1.0)[: cut + 1] == whole[: cut + 1]
        assert watch(list(curve.times_s[: cut + 1]), list(curve.values[: cut + 1]), 1.0) == whole[: cut + 1]


def test_one_update_is_the_last_of_the_backlog() -> None:
    curve = draw_collapse(1002, sigma=1.0, gaps=True)
    whole = watch(list(curve.times_s), list(curve.values), 1.0)
    for i in (40, 90, len(whole) - 3, len(whole) - 1):
        times, values = list(curve.times_s[: i + 1]), list(curve.values[: i + 1])
        assert watch(times, values, 1.0, from_s=times[-1] - 1.0) == [whole[i]]


def test_a_window_never_lies_before_the_newest_datum() -> None:
    for seed in (1003, 1004):
        curve = draw_collapse(seed, sigma=1.0, alpha=(1.5, 2.5), rain=True, gaps=True)
        for x in watch(list(curve.times_s), list(curve.values), 1.0):
            if x.from_s is not None and x.mid_s is not None and x.to_s is not None:
                assert x.data_until_s <= x.from_s <= x.mid_s <= x.to_s
            assert x.trusted <= (x.from_s is not None)


def test_what_it_refuses_it_says() -> None:
    assert (watch([], [], 1.0), watch([0.0], [1.0], 1.0)[0].reasons) == ([], (Reason("movement.too_few"),))
    still = watch([i * DAY for i in range(60)], [0.0] * 60, 0.0)
    assert {x.reasons[0].code for x in still[10:]} == {"failure.unsure"}
    backwards = watch([i * DAY for i in range(60)], [-5.0 * i for i in range(60)], 1.0)
    assert all(x.from_s is None and x.velocity != 0.0 for x in backwards)


def test_a_rounding_logger_and_a_constant_series_show_no_window() -> None:
    rounded = [float(round(0.05 * t)) for t in range(400)]
    assert all(x.from_s is None for x in watch([i * DAY for i in range(400)], rounded, 0.0))
    assert all(x.from_s is None for x in watch([i * DAY for i in range(200)], [0.1] * 200, 0.0))


def test_an_acceleration_that_dies_withdraws_its_window_and_says_why() -> None:
    rng = random.Random(9)
    speeds = [0.1] * 150 + [60.0 / lead for lead in range(40, 6, -1)] + [0.5] * 40
    total, values = 0.0, []
    for v in speeds:
        total += v
        values.append(total + rng.gauss(0.0, 0.5))
    issues = watch([i * DAY for i in range(len(values))], values, 0.5)
    assert [i for i, x in enumerate(issues) if x.trusted]
    ends = [(i, x.withdrawn) for i, x in enumerate(issues) if x.withdrawn]
    assert ends
    assert ends[-1][0] > 184
    assert all(x.from_s is None for x in issues[ends[-1][0] :])
    assert ends[-1][1].code in {"failure.slowed", "failure.passed"}


def test_one_update_touches_few_cells_and_a_backlog_costs_by_its_length() -> None:
    rng = random.Random(8)
    times = [i * HOUR for i in range(24 * 400)]
    values = [60.0 * -log(1.0 - t / (402 * DAY)) + rng.gauss(0.0, 1.0) for t in times]
    sigmas = [1.0] * len(times)

    def touched(first: int) -> int:
        seen = Watch(times, values, sigmas, FailureSpec(HOUR, 1.0))
        for i in range(first, len(times)):
            seen.issue(i)
        return len(seen.series.cells)

    one, some, more = touched(len(times) - 1), touched(len(times) - 60), touched(len(times) - 120)
    assert one < 4000  # of 9,600 epochs
    assert more - some < 1.5 * (some - one) + 500


LEADS = (14.0, 7.0, 5.0, 3.0)


def marks_of(seed: int, sigma: float, **more: object) -> list[WindowScore | None]:
    curve = draw_collapse(seed, sigma=sigma, **more)  # type: ignore[arg-type]
    interval_s = float(more.get("interval_s", DAY))  # type: ignore[arg-type]
    # an issue depends on no earlier one
    from_s = curve.failure_s - (15 if interval_s == DAY else 3.2) * DAY
    issues = watch(list(curve.times_s), list(curve.values), sigma, interval_s, from_s)
    for x in issues:
        assert x.from_s is None or x.data_until_s <= x.from_s
    return score_issues(issues, curve.failure_s, LEADS)


@CURVES
def test_collapses_of_the_classical_law_meet_the_bars(curves: int) -> None:
    table = summarize_scores([marks_of(s, n) for s in range(curves // 2) for n in (0.5, 2.0)], LEADS)
    assert table["14d"]["issued"] >= 0.85
    assert table["7d"]["issued"] >= 0.95
    for lead in ("14d", "7d"):
        assert table[lead]["median_abs_error_days"] <= 2.0
    for lead in ("14d", "7d", "5d", "3d"):
        assert table[lead]["inside"] >= 0.9


@CURVES
def test_velocities_stamped_mid_window_leave_no_bias(curves: int) -> None:
    table = summarize_scores([marks_of(s, 1.0) for s in range(curves)], LEADS)
    assert abs(table["5d"]["median_error_days"]) <= 1.0


@CURVES
def test_collapses_of_other_exponents_with_rain_and_gaps_stay_near(curves: int) -> None:
    drawn = [marks_of(s, 1.0, alpha=(1.5, 2.5), rain=True, gaps=True) for s in range(curves)]
    table = summarize_scores(drawn, LEADS)
    assert table["7d"]["issued"] >= 0.6
    for lead in ("14d", "7d", "5d", "3d"):
        assert table[lead]["inside"] >= (0.9 if curves > 20 else 0.75)  # twenty curves are few
    assert table["3d"]["median_abs_error_days"] <= 3.0


def test_hourly_data_narrow_the_window() -> None:
    daily = summarize_scores([marks_of(s, 1.0) for s in range(2)], LEADS)["3d"]
    hourly = summarize_scores([marks_of(s, 1.0, interval_s=HOUR) for s in range(2)], LEADS)["3d"]
    assert hourly["issued"] == 1.0
    assert hourly["median_width_days"] < daily["median_width_days"]
    assert hourly["median_abs_error_days"] < 0.7


def test_velocities_that_scatter_beyond_their_noise_stretch_the_window() -> None:
    lead = [20.0 - 0.5 * i for i in range(30)]
    stamps, errors = [-x * DAY for x in lead], [0.1] * 30
    rng = random.Random(2)
    noisy = [50.0 / x + rng.gauss(0.0, 0.1) for x in lead]
    stairs = [50.0 / x * (1.2 if int(x / 3.0) % 2 else 0.8) for x in lead]

    def scatter(rates: list[float]) -> float:
        velocities = [WindowVelocity(*point) for point in zip(rates, errors, stamps, strict=True)]
        fits = [fit_inverse_velocity(velocities, exponent) for exponent, _ in EXPONENTS]
        return measure_scatter(min((fit for fit in fits if fit), key=lambda fit: fit.misfit), velocities)

    assert scatter(noisy) < 1.2
    assert scatter(stairs) > 4.0
    assert compute_stretch(0.5, 10.0, 11.0) == 1.0
    short, long = (compute_stretch(s, 10.0, 11.0) for s in (0.68, 4.0))
    assert 1.0 < short < long == LARGEST_STRETCH
    assert compute_stretch(0.1, 0.0, 11.0) == LARGEST_STRETCH


def test_an_acceleration_of_hours_is_shown_but_not_trusted() -> None:
    """Three looks are three hours; a day's own cycle speeds up as much."""
    rng = random.Random(6)
    values, total = [], 0.0
    for i in range(24 * 40):
        lead = 24 * 40 + 12 - i
        total += 0.01 + (12.0 / lead if lead < 72 else max(0.0, 1.0 - (lead - 72) / 24) / 6.0)
        values.append(total + rng.gauss(0.0, 0.1))
    issues = watch([i * HOUR for i in range(len(values))], values, 0.1, HOUR, 24 * 38 * HOUR)
    shown = [x for x in issues if x.from_s is not None]
    assert shown
    assert not any(x.trusted for x in shown)
    assert all(TOO_YOUNG in x.reasons for x in shown)


SHAPES = {
    "walk": lambda rng, i, m: rng.gauss(0.0, 1.0) * i,
    "grow": lambda rng, i, m: exp(6.0 * i / m),
    "flat": lambda rng, i, m: 1e9,
    "step": lambda rng, i, m: 0.0 if i < m / 2 else 1e3,
    "spike": lambda rng, i, m: rng.gauss(0.0, 1.0) + (1e6 if rng.random() < 0.02 else 0.0),
    "huge": lambda rng, i, m: rng.gauss(0.0, 1e14),
    "break": lambda rng, i, m: 1.0 / (1.001 - i / m),
}


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_no_series_however_odd_gives_nonsense(shape: str) -> None:
    rng = random.Random(shape)
    for m in (1, 3, 9, 60, 160):
        interval_s = rng.choice((900.0, HOUR, DAY, 11 * DAY))
        times, at = [], 1.7e9
        for _ in range(m):
            at += interval_s * rng.choice((1.0, 1.0, 1.0, rng.random() + 0.01, 10.0))
            times.append(at)
        values = [SHAPES[shape](rng, i, m) for i in range(m)]
        issues = watch(times, values, rng.choice((0.0, 1.0)), interval_s)
        assert len(issues) == m
        for x in issues:
            told = (x.from_s, x.mid_s, x.to_s, x.velocity, x.velocity_error, x.r2)
            assert all(v is None or isfinite(v) for v in told)
            assert x.from_s is None or x.data_until_s <= x.from_s <= (x.mid_s or 0.0) <= (x.to_s or 0.0)
            assert x.trusted or x.reasons


SHARES = [share for _, share in QUANTILES]
SCORES = [NormalDist().inv_cdf(share) for share in SHARES]


def draw_fan(seed: int) -> list[float]:
    rng = random.Random(seed)
    widths = [rng.choice((0.0, 1.0)) * rng.expovariate(0.3) for _ in range(4)]
    lowest = rng.gauss(0.0, 5.0)
    return [sum(widths[:k], lowest) for k in range(5)]


@tabulated("seed", range(20))
def test_it_is_the_integral_of_the_density_that_the_quantiles_mean(seed: int) -> None:
    values = [v + 0.1 * k for k, v in enumerate(draw_fan(seed))]
    # the density between two quantiles: a normal whose scores lie on the line between theirs
    x = np.linspace(values[0], values[-1], 200_001)
    score, slope = np.interp(x, values, SCORES), np.diff(SCORES) / np.diff(values)
    density = np.exp(-(score**2) / 2.0) / math.sqrt(2.0 * math.pi) * slope[np.searchsorted(values[1:-1], x)]
    for bound in np.linspace(values[0], values[-1], 9)[1:-1]:
        inside = x >= bound
        chance = chance_over(SHARES, values, float(bound))
        assert chance.low == chance.high
        assert chance.low == pytest.approx(0.025 + trapezoid(density[inside], x[inside]), abs=2e-4)
        # the same fan as where forecasts are scored
        assert chance.low == pytest.approx(1.0 - float(pit(np.array(values), np.array(bound))), abs=1e-6)


def test_a_normal_fan_is_that_normal_and_nothing_is_claimed_beyond_its_outer_quantiles() -> None:
    values = [10.0 + 2.0 * z for z in SCORES]
    for bound in (6.5, 8.0, 10.0, 12.0, 13.5):
        assert chance_over(SHARES, values, bound).low == pytest.approx(1.0 - NormalDist(10.0, 2.0).cdf(bound))
    assert (chance_over(SHARES, values, 99.0).low, chance_over(SHARES, values, 99.0).high) == (0.0, 0.025)
    assert (chance_over(SHARES, values, -9.0).low, chance_over(SHARES, values, -9.0).high) == (0.975, 1.0)
    # three quantiles, as older decisions froze them, say less
    three = chance_over(SHARES[1:4], values[1:4], 99.0)
    assert (three.low, three.high) == (0.0, 0.1)


def test_it_never_rises_with_the_bound_nor_falls_with_the_quantiles() -> None:
    flat = 0
    for seed in range(300):
        values = draw_fan(seed)
        flat += any(a == b for a, b in pairwise(values))
        bounds = sorted([*values, *(random.Random(seed).uniform(-15.0, 25.0) for _ in range(12))])
        found = [chance_over(SHARES, values, b) for b in bounds]
        assert all(0.0 <= c.low <= c.high <= 1.0 for c in found)
        for near, far in pairwise(found):
            assert (far.low, far.high) <= (near.low, near.high)
            assert far.high <= near.high
        for k in range(5):
            # any quantile that rises, with those above it where it meets them
            higher = [max(v, values[k] + 1.0) if j >= k else v for j, v in enumerate(values)]
            for bound, before in zip(bounds, found, strict=True):
                after = chance_over(SHARES, higher, bound)
                assert after.low >= before.low - 1e-12
                assert after.high >= before.high - 1e-12
    assert flat > 100, "fans without width stood among them"


def test_the_median_decides_at_one_half() -> None:
    for seed in range(300):
        values = draw_fan(seed)
        for bound in (values[2], values[2] - 1e-9, values[2] + 1e-9, values[2] + 3.0, values[2] - 3.0):
            assert (chance_over(SHARES, values, bound).low > 0.5) == (values[2] > bound)


def draw_record(draw, *, jump, rate, noise, days=80, gap=(40.0, 43.0), step=1.0, turn=0.0):
    times = [step * k for k in range(int(days / step)) if not gap[0] <= step * k < gap[1]]
    values = [rate * t + turn * max(0.0, t - gap[1]) + jump * (t >= gap[1]) + draw.gauss(0.0, noise) for t in times]
    return [t * DAY_S for t in times], values, gap[0] * DAY_S, gap[1] * DAY_S


@tabulated("seed", range(12))
def test_the_jump_lies_within_its_error_whatever_the_ground_does(seed):
    draw = random.Random(seed)
    jump, rate, noise = draw.uniform(-80, 80), draw.choice((0.0, draw.uniform(-4, 4))), draw.uniform(0.05, 2.0)
    record = draw_record(draw, jump=jump, rate=rate, noise=noise, gap=(40.0, 40.0 + draw.uniform(0.0, 9.0)))
    found = propose_offset(*record)
    assert isinstance(found, ProposedOffset)
    assert abs(found.size - jump) < 4.0 * found.error
    assert found.error < 3.0 * noise
    assert abs(found.motion - rate * found.gap_s / DAY_S) < 4.0 * found.motion_error + 1e-9


def test_without_the_trend_the_motion_would_be_taken_for_a_jump():
    """Medians of the two sides alone differ by the motion of forty days."""
    found = propose_offset(*draw_record(random.Random(1), jump=0.0, rate=2.0, noise=0.1))
    assert not found.is_needed
    assert found.motion == pytest.approx(8.0, abs=0.5)  # last reading before to first one after: four days


def test_outliers_and_a_settling_sensor_move_it_little():
    times, values, begins, ends = draw_record(random.Random(2), jump=12.0, rate=0.5, noise=0.2)
    for k in (5, 17, 30, 50, 66):
        values[k] += 400.0
    assert propose_offset(times, values, begins, ends).size == pytest.approx(12.0, abs=0.6)


@pytest.mark.parametrize(
    ("before", "after", "said"), [(2, 30, "before"), (0, 30, "before"), (30, 0, "after"), (30, 2, "after")]
)
def test_without_readings_on_one_side_nothing_is_said(before, after, said):
    times = [k * DAY_S for k in range(-before, 0)] + [k * DAY_S for k in range(after)]
    found = propose_offset(times, [1.0] * len(times), 0.0, 0.0)
    assert not isinstance(found, ProposedOffset)
    assert found.code == f"replaced.{said}"


def test_few_readings_say_a_level_and_no_pace():
    found = propose_offset([k * DAY_S for k in range(8)], [0.0] * 4 + [5.0] * 4, 4 * DAY_S, 4 * DAY_S, 0.1)
    assert (found.size, found.motion, found.is_needed) == (pytest.approx(5.0), 0.0, True)
    assert found.doubts[0] == Reason("replaced.no_pace")


def test_a_pace_that_changes_meanwhile_makes_the_jump_unsure():
    calm = propose_offset(*draw_record(random.Random(3), jump=10.0, rate=1.0, noise=0.1, gap=(40.0, 50.0)))
    turned = propose_offset(*draw_record(random.Random(3), jump=10.0, rate=1.0, noise=0.1, gap=(40.0, 50.0), turn=2.0))
    assert turned.error > 5.0 * calm.error
    assert abs(turned.size - 10.0) < 3.0 * turned.error


@pytest.mark.parametrize(
    ("factor", "code"),
    [
        (-1.0, "replaced.turned"),
        (1000.0, "replaced.factor"),
        (1 / 25.4, "replaced.factor"),
        (0.1, "replaced.factor"),
    ],
)
def test_a_sensor_in_another_unit_or_with_another_sign_is_doubted(factor, code):
    times, values, begins, ends = draw_record(random.Random(4), jump=0.0, rate=3.0, noise=0.02)
    values = [v * factor if t >= ends else v for t, v in zip(times, values, strict=True)]
    found = propose_offset(times, values, begins, ends)
    assert code in {doubt.code for doubt in found.doubts}


def test_a_level_in_another_unit_is_doubted_too():
    draw = random.Random(5)
    times = [k * DAY_S for k in range(80)]
    values = [45.0 + draw.gauss(0.0, 0.1) if k < 40 else 4.5887 + draw.gauss(0.0, 0.01) for k in range(80)]  # kPa, m
    assert propose_offset(times, values, 40 * DAY_S, 40 * DAY_S).doubts[0].code == "replaced.factor"
