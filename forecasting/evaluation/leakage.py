"""Proves that no forecast knows the future: every value after the moment of issue is changed, and no bit may move."""

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

SIZES = {"cheap": 1000, "network": 20, "decomposition": 5}
TEST_SHARE = 0.3
MOST_RUNS = 10  # of the combined forecast over the whole record


@dataclass(frozen=True, slots=True)
class LeakResult:
    """What became of one model."""

    model: str  # id, or `decomposition METHOD`
    forecasts: int  # forecasts compared (issue time x station x horizon) that had a value
    changed: int  # those that were not bit-equal after the future was changed: 0, or it leaks
    refits: int  # fits repeated on a record whose rows after the fit were changed
    refits_changed: int  # fits that came out different: 0, or it leaks

    @property
    def leaks(self) -> bool:
        """Whether anything moved."""
        return self.changed > 0 or self.refits_changed > 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"leaks": self.leaks}


def run_leak_test(
    panel: Panel, models: Sequence[str], horizons_s: Sequence[float], *, count: int | None = None, seed: int = 7
) -> Iterator[LeakResult]:
    """Test models one by one.

    Args:
        panel: The record; the last 30 % of its rows are moments of issue.
        count: Forecasts per model; default 1,000 for cheap models, 20 for a network.
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
    """Test decompositions: bit-equal when causal, and what the leak would have been worth.

    Args:
        methods: Names of decompositions; all that are installed where None.

    Yields:
        The result, and the root mean square errors in mm of the causal and of the whole-series forecast one horizon
        ahead with how many of them differ: the second kind exists for this comparison alone. Beside them that of the
        same regression on the series as it is, and how far the trend at the moments of issue moves (root mean square,
        mm) once the rest of the series is known.
    """
    wanted = SIZES["decomposition"] if count is None else count
    rows = series.size
    first, last = rows - int(rows * TEST_SHARE), rows - 1 - min(steps)
    if last <= first:
        raise NotEnoughDataError(f"{rows} rows are too few for a leak test of decompositions")
    for method in list_methods() if methods is None else methods:
        rng = np.random.default_rng(seed)
        origins = np.sort(rng.choice(np.arange(first, last + 1), min(wanted, last + 1 - first), replace=False))
        causal = forecast_parts(series, origins, steps, method=method, period=period)
        changed = compared = 0
        for i, t in enumerate(origins):
            other = _disturb(series[:, None], int(t), rng)[:, 0]
            again = forecast_parts(other, np.array([t]), steps, method=method, period=period)[0]
            compared += int(np.isfinite(causal[i]).sum())
            changed += int(not np.array_equal(causal[i], again, equal_nan=True))
        yield (
            LeakResult(f"decomposition {method}", compared, changed, len(origins), 0),
            _worth_of_leak(series, origins, steps, causal, method=method, period=period),
        )


def _worth_of_leak(
    series: Floats, origins: Ints, steps: Sequence[int], causal: Floats, *, method: str, period: int
) -> dict[str, Any]:
    whole = display_whole(series, method=method, period=period)
    leaking = np.stack([sum_of_parts(whole, int(t), steps) for t in origins])
    undivided = Components(("series",), fill_forward(series)[None])
    without = np.stack([sum_of_parts(undivided, int(t), steps) for t in origins])
    observed = targets(series[:, None], origins, steps[0])[:, 0]
    both = np.isfinite(observed) & np.isfinite(causal[:, 0]) & np.isfinite(leaking[:, 0])
    rms = {
        name: float(np.sqrt(np.mean((made[both, 0] - observed[both]) ** 2))) if both.any() else None
        for name, made in (("causal", causal), ("whole", leaking), ("without", without))
    }
    moved = [
        decompose(series, int(t) + 1, method=method, period=period).parts[0, -1] - whole.parts[0, t]
        for t in origins[both]
    ]
    return {
        "method": method,
        "issues": int(origins.size),
        "differ": int((causal[both, 0] != leaking[both, 0]).sum()),
        "rmse_causal_mm": rms["causal"],
        "rmse_whole_series_mm": rms["whole"],
        "rmse_without_mm": rms["without"],
        "trend_moves_mm": float(np.sqrt(np.mean(np.square(moved)))) if moved else None,
    }


def _test_combined(
    name: str, panel: Panel, first: int, horizons_s: tuple[float, ...], *, count: int, seed: int
) -> LeakResult:
    """Change everything after a row, run again, and compare the forecasts from all rows up to it."""
    rng = np.random.default_rng(seed)
    rows = panel.values.shape[0]
    before = _run_combined(name, panel, horizons_s)
    compared = changed = 0
    for last in np.sort(rng.integers(first, rows - 1, MOST_RUNS)):
        disturbed = replace(
            panel, values=_disturb(panel.values, int(last), rng), drivers=_disturb_drivers(panel, int(last), rng)
        )
        after = _run_combined(name, disturbed, horizons_s)[first : last + 1]
        compared += int(np.isfinite(before[first : last + 1]).sum())
        changed += _differ(before[first : last + 1], after)
        if compared >= count:
            break
    return LeakResult(name, compared, changed, 0, 0)


def _run_combined(name: str, panel: Panel, horizons_s: tuple[float, ...]) -> Floats:
    """Return the medians of the combined or of a simple forecast at every row, shape (T, S, H)."""
    combined = run(panel, horizons_s, groups=group_components(panel.stations))
    fans = combined.fans if name == COMBINED else combined.peers[name]
    return fans[..., 2]


def _test_network(
    name: str, panel: Panel, first: int, horizons_s: tuple[float, ...], *, count: int, seed: int
) -> LeakResult:
    """One short training on the rows before the first issue; weights and forecasts must not move."""
    from forecasting.neural.checkpoint import to_bytes
    from forecasting.neural.learner import Settings
    from forecasting.neural.pretrained import learn

    rng = np.random.default_rng(seed)
    parts, settings = split(panel.values.shape[0], first), Settings(seed=seed, epochs=1, stride=4)
    forecaster = learn(name, panel, parts, horizons_s, settings)[0].forecaster
    other = replace(
        panel, values=_disturb(panel.values, first - 1, rng), drivers=_disturb_drivers(panel, first - 1, rng)
    )
    again = learn(name, other, parts, horizons_s, settings)[0].forecaster
    issues = max(1, -(-count // (len(panel.stations) * len(horizons_s))))
    rows = np.arange(first, panel.values.shape[0])
    origins = rng.choice(rows, min(max(issues, 2), rows.size), replace=False)
    compared = changed = 0
    for t in origins:
        at = np.array([t], dtype=np.int64)
        before = forecaster.quantiles(panel.values, at, drivers=panel.drivers)[..., 2]
        unknown = _disturb_drivers(panel, int(t), rng)
        after = forecaster.quantiles(_disturb(panel.values, int(t), rng), at, drivers=unknown)[..., 2]
        compared += int(np.isfinite(before).sum())
        changed += _differ(before, after)
    return LeakResult(name, compared, changed, 1, int(to_bytes(forecaster, "") != to_bytes(again, "")))


def _differ(before: Floats, after: Floats) -> int:
    return int((~((before == after) | (np.isnan(before) & np.isnan(after)))).sum())


def _disturb_drivers(panel: Panel, last: int, rng: np.random.Generator) -> DriverRows | None:
    drivers = panel.drivers
    return None if drivers is None else replace(drivers, values=_disturb(drivers.values, last, rng))


def _disturb(values: Floats, last: int, rng: np.random.Generator) -> Floats:
    """A copy whose every value after row `last` is another one; some are gaps, some gaps are values."""
    out = values.copy()
    future = out[last + 1 :]
    future[:] = rng.normal(0.0, 1e3, future.shape)
    future[rng.random(future.shape) < 0.2] = np.nan
    return out
