"""Velocity, acceleration, noise, length, angle and crossing, on motion whose result is known."""

import random
from math import sqrt

import pytest

from forecasting.errors import NotEnoughDataError
from forecasting.kinematics.acceleration import fit_acceleration
from forecasting.kinematics.direction import norm
from forecasting.kinematics.forecast_crossing import cross_velocity
from forecasting.kinematics.noise import choose_window_s, measure_sigma, velocity_error
from forecasting.kinematics.tangential_angle import tangential_angle_deg
from forecasting.kinematics.velocity import estimate_slopes, fit_slopes, fit_velocities, fit_velocity
from tests.tables import tabulated

DAY = 86_400.0


def days(n: int, step: float = 1.0) -> list[float]:
    return [i * step * DAY for i in range(n)]


def test_acceleration_error_covers_the_noise() -> None:
    rng = random.Random(5)
    inside = 0
    for _ in range(200):
        values = [0.05 * t * t + rng.gauss(0.0, 1.0) for t in range(20)]
        fit = fit_acceleration(days(20), values, [1.0] * 20, 30 * DAY)
        assert fit is not None
        inside += abs(fit.rate - 0.1) <= 2.0 * fit.error
    assert 180 <= inside <= 200  # 95 % of 200, and never far too sure


@tabulated("seed", range(40))
def test_series_fitted_together_have_the_results_of_single_fits(seed: int) -> None:
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


def test_velocity_error_equals_that_of_a_fit() -> None:
    fit = fit_velocity(days(12), [0.0] * 12, [2.0] * 12)
    assert fit is not None
    assert fit.error == pytest.approx(velocity_error(2.0, 12, DAY))


def test_noise_is_measured_despite_motion_and_gaps() -> None:
    rng = random.Random(1)
    times = [t for t in range(400) if t % 17 > 2]
    values = [0.3 * t + rng.gauss(0.0, 1.5) for t in times]
    assert measure_sigma([t * DAY for t in times], values) == pytest.approx(1.5, rel=0.15)
    assert measure_sigma([0.0, DAY], [0.0, 1.0]) == 0.0


def test_window_length_follows_from_the_noise() -> None:
    fast, slow = (choose_window_s(2.0, DAY, v) for v in (20.0, 1.0))
    assert 4 * DAY == fast < slow < 60 * DAY
    assert choose_window_s(2.0, DAY, 0.0) == 60 * DAY
    n = slow / DAY
    assert velocity_error(2.0, int(n), DAY) * 4.0 <= 1.0 < velocity_error(2.0, int(n) - 2, DAY) * 4.0


def test_length_of_a_point_at_rest_is_corrected_for_noise() -> None:
    rng = random.Random(3)
    drawn = [(rng.gauss(0, 1), rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(4000)]
    raw = sum(sqrt(a * a + b * b + c * c) for a, b, c in drawn) / 4000
    freed = sum(norm(v, (1.0, 1.0, 1.0))[0] for v in drawn) / 4000
    assert raw > 1.55
    assert freed < 0.7
    moving = sum(norm((10 + a, b, c), (1.0, 1.0, 1.0))[0] for a, b, c in drawn) / 4000
    assert moving == pytest.approx(10.0, abs=0.06)  # uncorrected it is 10.1


def test_angle_requires_a_positive_steady_velocity() -> None:
    assert tangential_angle_deg(-1.0, 1.0) == pytest.approx(-45.0)
    for v_eq in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(NotEnoughDataError, match="v_eq"):
            tangential_angle_deg(1.0, v_eq)


def test_crossing_has_ordered_edges_and_requires_the_median() -> None:
    horizons = [DAY, 7 * DAY, 30 * DAY]
    found = cross_velocity(horizons, [1.0, 8.0, 100.0], [2.0, 30.0, 400.0], [3.0, 100.0, 900.0], 0.0, 10.0)
    assert found is not None
    assert found[0] <= found[1] <= found[2] == 30 * DAY
    assert cross_velocity(horizons, [1.0, 7.0, 30.0], [1.0, 7.0, 30.0], [9.0, 99.0, 999.0], 0.0, 10.0) is None
    assert cross_velocity([], [], [], [], 0.0, 10.0) is None
