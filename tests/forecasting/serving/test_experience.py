"""Whether the present is outside experience, and what a forecast from such a moment says."""

import numpy as np
import pytest

from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import DAY_S, Floats, Panel, panel_from_samples
from forecasting.reasons import split_reason
from forecasting.serving.experience import compare_drivers, compare_motion
from forecasting.serving.issue import issue_forecasts
from monitor.text.reasons import convert_reason
from tests.data.forecasts import motion_scenes
from tests.data.forecasts.absurdity import Fan, find_absurd, see_present
from tests.fixtures.soak import in_soak

ROWS = 300


def make_panel(values: Floats, unit: str = "mm") -> Panel:
    return Panel(0.0, DAY_S, ("A",), np.asarray(values, dtype=float)[:, None], unit=unit)


def make_quiet(rows: int = ROWS, seed: int = 1, noise_mm: float = 1.0) -> Floats:
    return np.random.default_rng(seed).normal(0.0, noise_mm, rows)


def make_sudden(days: int = 3, seed: int = 1) -> Floats:
    """Draw a quiet record that moves 10 mm/day on its last days."""
    values = make_quiet(seed=seed, noise_mm=0.3)
    values[-days:] += 10.0 * np.arange(1.0, days + 1.0)
    return values


def test_a_velocity_that_never_occurred_is_outside_and_the_reason_says_how_far() -> None:
    (experience,) = compare_motion(make_panel(make_sudden()), 7)
    assert experience.novelty is not None
    assert experience.novelty > 5.0
    text = convert_reason(experience.reason)
    assert text.startswith("outside experience: velocity ")
    assert text.endswith(" times the largest of the past")


def test_another_quantity_has_a_rate_in_its_own_unit() -> None:
    (experience,) = compare_motion(make_panel(make_sudden(), unit="kPa"), 7)
    assert convert_reason(experience.reason).startswith("outside experience: rate ")
    still = np.full(ROWS, 4.2)
    still[-3:] += [1.0, 2.0, 3.0]
    (experience,) = compare_motion(make_panel(still, unit="kPa"), 7)
    assert "kPa/day" in convert_reason(experience.reason)


def test_noise_one_outlier_and_a_short_record_are_not_outside() -> None:
    novelties = [compare_motion(make_panel(make_quiet(seed=seed)), 7)[0].novelty for seed in range(60)]
    assert np.mean(np.array(novelties) > 1.0) < 0.03
    outlier = make_quiet()
    outlier[-1] += 50.0
    assert compare_motion(make_panel(outlier), 7)[0].reason is None
    assert compare_motion(make_panel(make_sudden()[-80:]), 7)[0].novelty is None


def test_a_still_logger_that_starts_to_move_is_outside() -> None:
    values = np.full(ROWS, 4.2)
    values[-3:] += [1.0, 2.0, 3.0]
    moving, still = (compare_motion(make_panel(v), 7)[0] for v in (values, np.full(ROWS, 4.2)))
    assert moving.novelty is not None
    assert moving.novelty > 1.0
    assert still.reason is None


def test_later_rows_do_not_change_the_experience_of_a_row() -> None:
    values = make_sudden()
    longer = np.concatenate([values, values[-1] + make_quiet(40, seed=9)])
    assert compare_motion(make_panel(values), 7) == compare_motion(make_panel(longer).head(values.size), 7)


def test_record_rain_is_outside_and_the_season_never_is() -> None:
    rain = np.random.default_rng(2).gamma(0.3, 8.0, ROWS)
    rain[-1] = 4.0 * rain[:-1].max()
    season = np.where(np.arange(ROWS) == ROWS - 1, 1e6, 0.0)
    names, kinds = ("R1.rain_mm.sum_1d", "season.sin"), ("rain", "season")
    drivers = DriverRows(names, kinds, np.stack([rain, season], axis=1))
    reason = compare_drivers(drivers, 7).reason
    assert convert_reason(reason) == "outside experience: R1.rain_mm.sum_1d is 4.0 times the largest of the past"
    assert compare_drivers(drivers.only(["season.sin"]), 7).reason is None
    assert compare_drivers(None, 7).reason is None


@pytest.mark.one_case_in(2)
@pytest.mark.parametrize("name", [*list(motion_scenes.SCENES)[:2], *in_soak(*list(motion_scenes.SCENES)[2:])])
def test_no_forecast_of_the_five_scenes_is_absurd(name: str) -> None:
    """What is shown contradicts nothing that a person sees in the curve; behind a failure window nothing is shown."""
    scene = motion_scenes.SCENES[name](1)
    panel = panel_from_samples({"S": (scene.times_s, scene.values)}, scene.step_s)
    issue = issue_forecasts(panel, scene.horizons_s)
    shown = [row for row in issue.rows if row.shown]
    present = see_present(scene.times_s.tolist(), scene.values.tolist(), noise=scene.noise)
    assert present is not None
    assert min(row.horizon_s for row in shown) == min(scene.horizons_s)
    assert find_absurd([Fan(row.horizon_s, *row.quantiles) for row in shown], present) == {}
    is_outside = [
        any(reason.code.startswith("forecast.outside.") for reason in split_reason(row.reason)) for row in shown
    ]
    assert is_outside == [not name.startswith("control")] * len(shown)
    assert {one.reason.code for one in issue.withheld} <= {"forecast.window_ends"}


def test_the_past_of_a_moving_slope_is_no_reason_to_withhold() -> None:
    """A forecast outside experience is shown: its reason and its novelty say that past errors say less about it."""
    issue = issue_forecasts(make_panel(make_sudden()), (DAY_S, 7 * DAY_S))
    shown = [row for row in issue.rows if row.shown]
    assert [row.horizon_s for row in shown] == [DAY_S, 7 * DAY_S]
    assert all(row.novelty is not None and row.novelty > 1.0 for row in shown)
    assert not issue.withheld
