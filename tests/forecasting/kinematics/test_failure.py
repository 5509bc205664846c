"""Failure windows: conditions, ensemble, trust and withdrawal."""

import random
from math import exp, isfinite, log

import pytest

from forecasting.kinematics.failure import TOO_YOUNG, FailureIssue, FailureSpec, Watch, watch_failure
from forecasting.kinematics.failure_ensemble import EXPONENTS, LARGEST_STRETCH, compute_stretch
from forecasting.kinematics.failure_record import WindowScore, score_issues, summarize_scores
from forecasting.kinematics.inverse_velocity import fit_inverse_velocity, measure_scatter
from forecasting.kinematics.simulated_collapse import draw_collapse
from forecasting.kinematics.velocity_windows import WindowVelocity
from forecasting.reasons import Reason
from tests.fixtures.soak import with_soak

DAY = 86_400.0
HOUR = 3_600.0
CURVES = pytest.mark.parametrize("curves", with_soak(20, 200))


def watch(
    times: list[float], values: list[float], sigma: float, interval_s: float = DAY, from_s: float = -1e18
) -> list[FailureIssue]:
    return watch_failure(times, values, [0.0] * len(times), FailureSpec(interval_s, sigma), from_s=from_s)


def test_issue_uses_no_later_reading() -> None:
    curve = draw_collapse(1001, sigma=1.0, rain=True, gaps=True)
    whole = watch(list(curve.times_s), list(curve.values), 1.0)
    rng = random.Random(4)
    for _ in range(5):
        cut = rng.randrange(60, len(whole))
        changed = [v if i <= cut else v + rng.uniform(-500.0, 500.0) for i, v in enumerate(curve.values)]
        assert watch(list(curve.times_s), changed, 1.0)[: cut + 1] == whole[: cut + 1]
        assert watch(list(curve.times_s[: cut + 1]), list(curve.values[: cut + 1]), 1.0) == whole[: cut + 1]


def test_single_issue_equals_that_of_a_backlog() -> None:
    curve = draw_collapse(1002, sigma=1.0, gaps=True)
    whole = watch(list(curve.times_s), list(curve.values), 1.0)
    for i in (40, 90, len(whole) - 3, len(whole) - 1):
        times, values = list(curve.times_s[: i + 1]), list(curve.values[: i + 1])
        assert watch(times, values, 1.0, from_s=times[-1] - 1.0) == [whole[i]]


def test_window_never_starts_before_the_newest_reading() -> None:
    for seed in (1003, 1004):
        curve = draw_collapse(seed, sigma=1.0, alpha=(1.5, 2.5), rain=True, gaps=True)
        for x in watch(list(curve.times_s), list(curve.values), 1.0):
            if x.from_s is not None and x.mid_s is not None and x.to_s is not None:
                assert x.data_until_s <= x.from_s <= x.mid_s <= x.to_s
            assert x.trusted <= (x.from_s is not None)


def test_issue_without_a_window_has_a_reason() -> None:
    assert (watch([], [], 1.0), watch([0.0], [1.0], 1.0)[0].reasons) == ([], (Reason("movement.too_few"),))
    still = watch([i * DAY for i in range(60)], [0.0] * 60, 0.0)
    assert {x.reasons[0].code for x in still[10:]} == {"failure.unsure"}
    backwards = watch([i * DAY for i in range(60)], [-5.0 * i for i in range(60)], 1.0)
    assert all(x.from_s is None and x.velocity != 0.0 for x in backwards)


def test_rounded_and_constant_values_have_no_window() -> None:
    rounded = [float(round(0.05 * t)) for t in range(400)]
    assert all(x.from_s is None for x in watch([i * DAY for i in range(400)], rounded, 0.0))
    assert all(x.from_s is None for x in watch([i * DAY for i in range(200)], [0.1] * 200, 0.0))


def test_window_is_withdrawn_with_a_reason_when_the_acceleration_ends() -> None:
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


def test_issue_computes_few_cells_and_a_backlog_grows_linearly() -> None:
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


@pytest.mark.soak
@CURVES
def test_windows_of_classical_collapses_meet_the_required_scores(curves: int) -> None:
    table = summarize_scores([marks_of(s, n) for s in range(curves // 2) for n in (0.5, 2.0)], LEADS)
    assert table["14d"]["issued"] >= 0.85
    assert table["7d"]["issued"] >= 0.95
    for lead in ("14d", "7d"):
        assert table[lead]["median_abs_error_days"] <= 2.0
    for lead in ("14d", "7d", "5d", "3d"):
        assert table[lead]["inside"] >= 0.9


@pytest.mark.soak
@CURVES
def test_velocities_stamped_in_the_middle_cause_no_bias(curves: int) -> None:
    table = summarize_scores([marks_of(s, 1.0) for s in range(curves)], LEADS)
    assert abs(table["5d"]["median_error_days"]) <= 1.0


@pytest.mark.soak
@CURVES
def test_windows_hold_with_other_exponents_rain_and_gaps(curves: int) -> None:
    drawn = [marks_of(s, 1.0, alpha=(1.5, 2.5), rain=True, gaps=True) for s in range(curves)]
    table = summarize_scores(drawn, LEADS)
    assert table["7d"]["issued"] >= 0.6
    for lead in ("14d", "7d", "5d", "3d"):
        assert table[lead]["inside"] >= (0.9 if curves > 20 else 0.75)  # twenty curves are few
    assert table["3d"]["median_abs_error_days"] <= 3.0


def test_hourly_readings_narrow_the_window() -> None:
    daily = summarize_scores([marks_of(s, 1.0) for s in range(2)], LEADS)["3d"]
    hourly = summarize_scores([marks_of(s, 1.0, interval_s=HOUR) for s in range(2)], LEADS)["3d"]
    assert hourly["issued"] == 1.0
    assert hourly["median_width_days"] < daily["median_width_days"]
    assert hourly["median_abs_error_days"] < 0.7


def test_window_is_stretched_if_velocities_scatter_beyond_their_noise() -> None:
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


def test_window_of_an_acceleration_of_hours_is_not_trusted() -> None:
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
def test_issues_of_odd_series_are_finite_and_ordered(shape: str) -> None:
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
