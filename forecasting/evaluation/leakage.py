"""Test that no forecast depends on later values: they are all changed, and no bit of the forecast may change."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from forecasting.combination.run import run
from forecasting.data.components import group_components
from forecasting.data.driver_rows import DriverRows
from forecasting.data.series import Floats, Ints, Panel
from forecasting.data.splits import split
from forecasting.data.windows import targets
from forecasting.decomposition.components import (
    Components,
    decompose,
    display_whole,
    fill_forward,
    forecast_parts,
    list_methods,
    sum_of_parts,
)
from forecasting.errors import NotEnoughDataError, UnknownModelError
from forecasting.registry import COMBINED, SIMPLE_FORECASTS, describe_unknown_model, is_network

# Forecasts that are compared, by kind of model.
SIZES = {"cheap": 1000, "network": 20, "decomposition": 5}
# Newest share of a record whose rows are moments of issue.
TEST_SHARE = 0.3
# Runs of the combined forecast over the whole record.
MOST_RUNS = 10


@dataclass(frozen=True, slots=True)
class LeakResult:
    """The result of the test of one model.

    Attributes:
        model: Name of the model, or `decomposition METHOD`.
        forecasts: Compared forecasts (issue time x station x horizon) with a value.
        changed: Forecasts of which a bit changed. The model leaks unless this is 0.
        refits: Fits that were repeated with changed rows after the fit.
        refits_changed: Fits that changed. The model leaks unless this is 0.
    """

    model: str
    forecasts: int
    changed: int
    refits: int
    refits_changed: int

    @property
    def leaks(self) -> bool:
        """Whether a forecast or a fit depends on later values."""
        return self.changed > 0 or self.refits_changed > 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"leaks": self.leaks}


def run_leak_test(
    panel: Panel, models: Sequence[str], horizons_s: Sequence[float], *, count: int | None = None, seed: int = 7
) -> Iterator[LeakResult]:
    """Yield the result of each model.

    Args:
        panel: The record. The last 30 % of its rows are moments of issue.
        models: Names of models.
        horizons_s: Horizons.
        count: Forecasts per model; default 1,000, or 20 for a network.
        seed: Seed of the changes.

    Raises:
        UnknownModelError: There is no such model.
    """
    rows = panel.values.shape[0]
    first = rows - int(rows * TEST_SHARE)
    for name in models:
        if is_network(name):
            wanted = SIZES["network"] if count is None else count
            yield _test_network(name, panel, first, tuple(horizons_s), count=wanted, seed=seed)
        elif name == COMBINED or name in SIMPLE_FORECASTS:
            wanted = SIZES["cheap"] if count is None else count
            yield _test_combined(name, panel, first, tuple(horizons_s), count=wanted, seed=seed)
        else:
            raise UnknownModelError(describe_unknown_model(name))


def run_decomposition_test(
    series: Floats,
    steps: Sequence[int],
    *,
    period: int,
    count: int | None = None,
    seed: int = 7,
    methods: Sequence[str] | None = None,
) -> Iterator[tuple[LeakResult, dict[str, Any]]]:
    """Test decompositions, and estimate how much better forecasts seem to be with a decomposition of the whole series.

    Args:
        series: Values in mm, shape (T,).
        steps: Horizons in rows.
        period: Rows of the season.
        count: Forecasts per method; default 5.
        seed: Seed of the changes.
        methods: Names of decompositions; None for all.

    Yields:
        The result, and a comparison at the first horizon: root mean square errors in mm of the causal forecast, of the
        forecast from a decomposition of the whole series and of the same regression without decomposition, the number
        of different forecasts, and the root mean square difference of the trend at the moments of issue between the
        causal decomposition and that of the whole series, mm.

    Raises:
        NotEnoughDataError: The series is too short.
    """
    wanted = SIZES["decomposition"] if count is None else count
    rows = series.size
    first = rows - int(rows * TEST_SHARE)
    last = rows - 1 - min(steps)
    if last <= first:
        raise NotEnoughDataError(f"{rows} rows are too few for a leak test of decompositions")
    for method in list_methods() if methods is None else methods:
        rng = np.random.default_rng(seed)
        origins = np.sort(rng.choice(np.arange(first, last + 1), min(wanted, last + 1 - first), replace=False))
        causal = forecast_parts(series, origins, steps, method=method, period=period)
        changed = 0
        compared = 0
        for i, origin in enumerate(origins):
            disturbed = _disturb(series[:, None], int(origin), rng)[:, 0]
            repeated = forecast_parts(disturbed, np.array([origin]), steps, method=method, period=period)[0]
            compared += int(np.isfinite(causal[i]).sum())
            changed += int(not np.array_equal(causal[i], repeated, equal_nan=True))
        yield (
            LeakResult(f"decomposition {method}", compared, changed, len(origins), 0),
            _compare_with_leak(series, origins, steps, causal, method=method, period=period),
        )


def _compare_with_leak(
    series: Floats, origins: Ints, steps: Sequence[int], causal: Floats, *, method: str, period: int
) -> dict[str, Any]:
    whole = display_whole(series, method=method, period=period)
    leaking = np.stack([sum_of_parts(whole, int(origin), steps) for origin in origins])
    undivided = Components(("series",), fill_forward(series)[None])
    without = np.stack([sum_of_parts(undivided, int(origin), steps) for origin in origins])
    observed = targets(series[:, None], origins, steps[0])[:, 0]
    is_known = np.isfinite(observed) & np.isfinite(causal[:, 0]) & np.isfinite(leaking[:, 0])
    rmse_mm = {
        name: float(np.sqrt(np.mean((forecasts[is_known, 0] - observed[is_known]) ** 2))) if is_known.any() else None
        for name, forecasts in (("causal", causal), ("whole", leaking), ("without", without))
    }
    trend_differences = [
        decompose(series, int(origin) + 1, method=method, period=period).parts[0, -1] - whole.parts[0, origin]
        for origin in origins[is_known]
    ]
    return {
        "method": method,
        "issues": int(origins.size),
        "differ": int((causal[is_known, 0] != leaking[is_known, 0]).sum()),
        "rmse_causal_mm": rmse_mm["causal"],
        "rmse_whole_series_mm": rmse_mm["whole"],
        "rmse_without_mm": rmse_mm["without"],
        "trend_moves_mm": float(np.sqrt(np.mean(np.square(trend_differences)))) if trend_differences else None,
    }


def _test_combined(
    name: str, panel: Panel, first: int, horizons_s: tuple[float, ...], *, count: int, seed: int
) -> LeakResult:
    """Change everything after a row, run again, and compare the forecasts from all rows up to it."""
    rng = np.random.default_rng(seed)
    rows = panel.values.shape[0]
    before = _run_combined(name, panel, horizons_s)
    compared = 0
    changed = 0
    for last in np.sort(rng.integers(first, rows - 1, MOST_RUNS)):
        disturbed = replace(
            panel, values=_disturb(panel.values, int(last), rng), drivers=_disturb_drivers(panel, int(last), rng)
        )
        after = _run_combined(name, disturbed, horizons_s)[first : last + 1]
        compared += int(np.isfinite(before[first : last + 1]).sum())
        changed += _count_changed(before[first : last + 1], after)
        if compared >= count:
            break
    return LeakResult(name, compared, changed, 0, 0)


def _run_combined(name: str, panel: Panel, horizons_s: tuple[float, ...]) -> Floats:
    """Return the medians of the combined or of a simple forecast at every row, shape (T, S, H)."""
    combined = run(panel, horizons_s, groups=group_components(panel.stations))
    fans = combined.fans if name == COMBINED else combined.simple[name]
    return fans[..., 2]


def _test_network(
    name: str, panel: Panel, first: int, horizons_s: tuple[float, ...], *, count: int, seed: int
) -> LeakResult:
    """Train a network for an epoch on the rows before the first issue, and compare its weights and forecasts."""
    from forecasting.neural.checkpoint import to_bytes
    from forecasting.neural.learner import Settings
    from forecasting.neural.pretrained import learn

    rng = np.random.default_rng(seed)
    parts = split(panel.values.shape[0], first)
    settings = Settings(seed=seed, epochs=1, stride=4)
    forecaster = learn(name, panel, parts, horizons_s, settings)[0].forecaster
    disturbed = replace(
        panel, values=_disturb(panel.values, first - 1, rng), drivers=_disturb_drivers(panel, first - 1, rng)
    )
    repeated = learn(name, disturbed, parts, horizons_s, settings)[0].forecaster
    issues = max(1, -(-count // (len(panel.stations) * len(horizons_s))))
    rows = np.arange(first, panel.values.shape[0])
    origins = rng.choice(rows, min(max(issues, 2), rows.size), replace=False)
    compared = 0
    changed = 0
    for row in origins:
        origin = np.array([row], dtype=np.int64)
        before = forecaster.quantiles(panel.values, origin, drivers=panel.drivers)[..., 2]
        drivers = _disturb_drivers(panel, int(row), rng)
        after = forecaster.quantiles(_disturb(panel.values, int(row), rng), origin, drivers=drivers)[..., 2]
        compared += int(np.isfinite(before).sum())
        changed += _count_changed(before, after)
    return LeakResult(name, compared, changed, 1, int(to_bytes(forecaster, "") != to_bytes(repeated, "")))


def _count_changed(before: Floats, after: Floats) -> int:
    return int((~((before == after) | (np.isnan(before) & np.isnan(after)))).sum())


def _disturb_drivers(panel: Panel, last: int, rng: np.random.Generator) -> DriverRows | None:
    drivers = panel.drivers
    return None if drivers is None else replace(drivers, values=_disturb(drivers.values, last, rng))


def _disturb(values: Floats, last: int, rng: np.random.Generator) -> Floats:
    """Return a copy with random values after row `last`. A fifth of them are gaps."""
    disturbed = values.copy()
    future = disturbed[last + 1 :]
    future[:] = rng.normal(0.0, 1e3, future.shape)
    future[rng.random(future.shape) < 0.2] = np.nan
    return disturbed
