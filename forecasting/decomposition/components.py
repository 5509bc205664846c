"""Registry of decompositions, and forecasts as sums of the parts of a decomposition.

A decomposition of the whole record uses the future. If its parts are divided into training and test afterwards, every
model seems better than it is (reservoir slope, one month ahead: error of 13 mm, but 32 mm for the same model refitted
on the past only). `decompose` therefore cuts the series before it calls a method.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Final

import numpy as np

from forecasting.data.series import Floats, Ints
from forecasting.entry_points import load_entries
from forecasting.errors import NotEnoughDataError, UnknownModelError


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """One decomposition of the registry."""

    # `module:function`, called with values and the period in rows; returns names and parts of shape (K, n)
    target: str


ENTRY_POINTS: Final = "slopeward.decompositions"
"""Entry point group of further decompositions: each entry point names a mapping from name to `MethodEntry`."""

METHODS: Final[Mapping[str, MethodEntry]] = {
    "trailing": MethodEntry("forecasting.decomposition.stl:split_trailing"),
    "stl": MethodEntry("forecasting.decomposition.stl:split_stl"),
    "polynomial": MethodEntry("forecasting.decomposition.stl:split_cubic"),
    "quintic": MethodEntry("forecasting.decomposition.stl:split_quintic"),
}
"""The built-in decompositions. `list_methods` also returns those of installed packages."""

# Decompositions that improved forecasts. The others are for comparison and display.
FOR_FORECASTS = ("trailing", "stl")
MINIMUM_ROWS = 12


@dataclass(frozen=True, slots=True)
class Components:
    """Parts whose sum is the series."""

    names: tuple[str, ...]  # one per part, the slowest first
    parts: Floats  # shape (K, n); NaN before the first observation
    causal: bool = True  # whether each row depends on earlier rows only; a forecast must not use other parts

    @property
    def label(self) -> str:
        """The text beside a picture of the parts."""
        return "from data known at the time" if self.causal else "whole series: for display only, it uses future values"


@cache
def _load_installed() -> Mapping[str, MethodEntry]:
    installed = load_entries(ENTRY_POINTS, MethodEntry)
    return {name: entry for name, entry in installed.items() if name not in METHODS}


def list_methods() -> Mapping[str, MethodEntry]:
    """Return the built-in decompositions and those of installed packages."""
    return {**METHODS, **_load_installed()}


def _find_entry(method: str) -> MethodEntry:
    entry = METHODS.get(method) or _load_installed().get(method)
    if entry is None:
        hint = "" if _load_installed() else "; more: pip install 'slopeward[lab]'"
        raise UnknownModelError(f"no decomposition is called {method}; there are {', '.join(list_methods())}{hint}")
    return entry


def decompose(series: Floats, until: int, *, method: str, period: int) -> Components:
    """Decompose the rows before `until`. Later rows do not change any bit of the result.

    Args:
        series: Values, NaN if missing. Gaps are filled with the value before them.
        until: Row after the last row that is used.
        method: A name of `list_methods`.
        period: Rows of the season.

    Raises:
        NotEnoughDataError: There are fewer than `MINIMUM_ROWS` observations.
        UnknownModelError: There is no such method.
    """
    filled = fill_forward(series[:until])
    first = int(np.isfinite(filled).argmax()) if np.isfinite(filled).any() else filled.size
    if np.isfinite(series[:until]).sum() < MINIMUM_ROWS:
        raise NotEnoughDataError(f"{method} needs {MINIMUM_ROWS} observations before its last row")
    module, _, attribute = _find_entry(method).target.partition(":")
    split: Callable[[Floats, int], tuple[tuple[str, ...], Floats]] = getattr(import_module(module), attribute)
    names, parts = split(filled[first:], period)
    padded = np.full((len(names), filled.size), np.nan)
    padded[:, first:] = parts
    return Components(names, padded)


def display_whole(series: Floats, *, method: str, period: int) -> Components:
    """Decompose a whole record for display. The arguments are those of `decompose`."""
    components = decompose(series, series.size, method=method, period=period)
    return Components(components.names, components.parts, causal=False)


def fill_forward(values: Floats) -> Floats:
    """Return the values with each gap filled by the value before it. Values before the first one stay NaN."""
    rows = np.where(np.isfinite(values), np.arange(values.size), -1)
    newest = np.maximum.accumulate(rows) if rows.size else rows
    return np.where(newest >= 0, values[np.maximum(newest, 0)], np.nan)


LAGS = 6  # increments that the regression of each part reads
PENALTY = 1e-3  # ridge penalty, as a share of the mean square of the increments


def forecast_parts(series: Floats, origins: Ints, steps: Sequence[int], *, method: str, period: int) -> Floats:
    """Forecast a series from each origin, shape (N, H); NaN if too few rows are known.

    The arguments are those of `decompose` and `sum_of_parts`.
    """
    forecasts = np.full((origins.size, len(steps)), np.nan)
    for i, origin in enumerate(origins):
        try:
            components = decompose(series, int(origin) + 1, method=method, period=period)
        except NotEnoughDataError:
            continue
        forecasts[i] = sum_of_parts(components, int(origin), steps)
    return forecasts


def sum_of_parts(components: Components, origin: int, steps: Sequence[int]) -> Floats:
    """Forecast each part by ridge regression on its last increments and return the sums, shape (H,).

    Args:
        components: Parts that were computed from rows up to the origin.
        origin: Row of the forecast. The regression learns from rows up to it.
        steps: Horizons in rows.
    """
    total = np.zeros(len(steps))
    for part in components.parts:
        rows = part[: origin + 1]
        rows = rows[np.isfinite(rows)]
        increments = np.diff(rows)
        if increments.size < 2 * LAGS:
            return np.full(len(steps), np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(increments, LAGS)
        for i, step in enumerate(steps):
            changes = rows[LAGS + step :] - rows[LAGS : rows.size - step]
            total[i] += rows[-1] + _regress(windows[: changes.size], changes, increments[-LAGS:])
    return total


def _regress(inputs: Floats, targets: Floats, newest: Floats) -> float:
    """Return the ridge regression of the targets on the inputs, at the newest inputs."""
    if targets.size < LAGS:
        return float(newest.mean())
    input_means = inputs.mean(axis=0)
    target_mean = targets.mean()
    x = inputs - input_means
    y = targets - target_mean
    mean_square = float((x * x).sum()) / LAGS
    weights = np.linalg.solve(x.T @ x + (PENALTY * mean_square + 1e-12) * np.eye(LAGS), x.T @ y)
    return float(target_mean + (newest - input_means) @ weights)
