"""What a decomposition returns, the one door to each, `decompose(series, until)`, and forecasts as sums of its parts.

A decomposition of the whole record knows the future: split afterwards into training and test it makes any model look
brilliant (reservoir slope, one month ahead: 13 mm where the same model refitted on the past alone has 32). So every
method takes the row `until` which its data end, and cuts the series there before it does anything else.
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

    # `module:function`, called with the values and the rows of a period; returns names and parts of shape (K, n)
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

FOR_FORECASTS = ("trailing", "stl")  # helped when refitted causally; the others are for comparison and display
MINIMUM_ROWS = 12


@dataclass(frozen=True, slots=True)
class Components:
    """Parts that add up to the series."""

    names: tuple[str, ...]  # one per part, slow ones first
    parts: Floats  # shape (K, until); NaN before the first observation
    causal: bool = True  # false where data after `until` were used, so that it must never feed a forecast

    @property
    def label(self) -> str:
        """What must stand beside a picture of it."""
        return "from data known at the time" if self.causal else "whole series: for display only, it knows the future"


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
    """Split the rows before `until`; a row from `until` on cannot change one bit of the answer."""
    known = fill_forward(series[:until])
    first = int(np.isfinite(known).argmax()) if np.isfinite(known).any() else known.size
    if np.isfinite(series[:until]).sum() < MINIMUM_ROWS:
        raise NotEnoughDataError(f"{method} needs {MINIMUM_ROWS} observations before its last row")
    module, _, attribute = _find_entry(method).target.partition(":")
    found: Callable[[Floats, int], tuple[tuple[str, ...], Floats]] = getattr(import_module(module), attribute)
    names, parts = found(known[first:], period)
    out = np.full((len(names), known.size), np.nan)
    out[:, first:] = parts
    return Components(names, out)


def display_whole(series: Floats, *, method: str, period: int) -> Components:
    """Split a whole record for a picture; marked so that nobody takes it for what was known at the time."""
    made = decompose(series, series.size, method=method, period=period)
    return Components(made.names, made.parts, causal=False)


def fill_forward(values: Floats) -> Floats:
    """Gaps take the newest value before them: the past alone, no line towards the next reading."""
    rows = np.where(np.isfinite(values), np.arange(values.size), -1)
    newest = np.maximum.accumulate(rows) if rows.size else rows
    return np.where(newest >= 0, values[np.maximum(newest, 0)], np.nan)


LAGS = 6
PENALTY = 1e-3


def forecast_parts(series: Floats, origins: Ints, steps: Sequence[int], *, method: str, period: int) -> Floats:
    """Forecasts in mm, shape (N, H); NaN where too little was known."""
    out = np.full((origins.size, len(steps)), np.nan)
    for i, t in enumerate(origins):
        try:
            known = decompose(series, int(t) + 1, method=method, period=period)
        except NotEnoughDataError:
            continue
        out[i] = sum_of_parts(known, int(t), steps)
    return out


def sum_of_parts(known: Components, t: int, steps: Sequence[int]) -> Floats:
    """Ridge on six lags of the steps of each part, learnt from rows up to t; shape (H,)."""
    total = np.zeros(len(steps))
    for part in known.parts:
        rows = part[: t + 1]
        rows = rows[np.isfinite(rows)]
        moved = np.diff(rows)
        if moved.size < 2 * LAGS:
            return np.full(len(steps), np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(moved, LAGS)
        for i, h in enumerate(steps):
            ahead = rows[LAGS + h :] - rows[LAGS : rows.size - h]
            total[i] += rows[-1] + _regress(windows[: ahead.size], ahead, moved[-LAGS:])
    return total


def _regress(inputs: Floats, wanted: Floats, newest: Floats) -> float:
    if wanted.size < LAGS:
        return float(newest.mean())
    middle, mean = inputs.mean(axis=0), wanted.mean()
    x, y = inputs - middle, wanted - mean
    size = float((x * x).sum()) / LAGS
    weights = np.linalg.solve(x.T @ x + (PENALTY * size + 1e-12) * np.eye(LAGS), x.T @ y)
    return float(mean + (newest - middle) @ weights)
