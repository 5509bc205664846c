"""Whether a station has the readings that a forecast needs, and when it will have them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from forecasting.combination.intervals import FEWEST_ERRORS
from forecasting.data.series import DAY_S, Panel
from forecasting.data.windows import STALE_ROWS
from forecasting.reasons import Reason, Value
from forecasting.serving.records import Lack

WINDOW_ROWS = 60
"""Rows that a network reads before the moment of issue."""
OBSERVED_SHARE = 0.7
"""Share of the window that must be observed for a network."""


@dataclass(frozen=True, slots=True)
class Unready:
    """Why a station cannot be forecast, and what is missing for it."""

    reason: Reason
    lack: Lack


def find_unready(panel: Panel) -> dict[str, Unready]:
    """Return the stations without a current reading: those that have none at all, and stale ones."""
    unready: dict[str, Unready] = {}
    for column, name in enumerate(panel.stations):
        reason = find_stale(panel, column)
        if reason is not None:
            lack = Lack(Reason("forecast.lack.reading"), panel.end_s + panel.step_s)
            unready[name] = Unready(reason, lack)
    return unready


def describe_missing_errors(panel: Panel, horizon_s: float, scored: int) -> Unready:
    """Describe a station that has too few past errors at a horizon for an interval.

    Args:
        scored: Past errors that are known.
    """
    missing_rows = max(1, FEWEST_ERRORS - scored)
    values: dict[str, Value] = {"n": scored, "horizon": horizon_s, "needed": FEWEST_ERRORS}
    lack = Lack(Reason("forecast.lack.errors", values), panel.end_s + missing_rows * panel.step_s)
    return Unready(few_errors(horizon_s), lack)


def few_errors(horizon_s: float) -> Reason:
    """Return the reason of a forecast without an interval."""
    return Reason("forecast.few_errors", {"needed": FEWEST_ERRORS, "horizon": horizon_s})


def find_gaps(panel: Panel, window_rows: int = WINDOW_ROWS) -> dict[str, Unready]:
    """Return the stations that a network cannot forecast now because its window has too few readings.

    `Lack.earliest_s` assumes that every coming row is observed.
    """
    unready: dict[str, Unready] = {}
    needed = math.ceil(OBSERVED_SHARE * window_rows)
    for column, name in enumerate(panel.stations):
        observed = np.isfinite(panel.values[-window_rows:, column])
        count = int(observed.sum())
        stale = find_stale(panel, column)
        if count >= needed and stale is None:
            continue
        if stale is not None:
            lack = Lack(Reason("forecast.lack.reading"), panel.end_s + panel.step_s)
            unready[name] = Unready(stale, lack)
            continue
        values: dict[str, Value] = {"n": count, "rows": window_rows, "needed": needed}
        rows: Mapping[str, Value] = {**values, "step": panel.step_s}
        is_young = not np.isfinite(panel.values[:-window_rows, column]).any()
        if is_young:
            reason = Reason("forecast.few_rows", {"n": count, "needed": needed, "step": panel.step_s})
        else:
            reason = Reason("forecast.gaps", rows)
        padded = np.concatenate([np.zeros(window_rows - observed.size, dtype=bool), observed])
        # each coming row enters the window while the oldest row leaves it
        coming = next(k for k in range(1, window_rows + 1) if k + int(padded[k:].sum()) >= needed)
        is_daily = panel.step_s == DAY_S
        lacking = Reason("forecast.lack.days", values) if is_daily else Reason("forecast.lack.rows", rows)
        unready[name] = Unready(reason, Lack(lacking, panel.end_s + coming * panel.step_s))
    return unready


def find_stale(panel: Panel, column: int) -> Reason | None:
    """Return why a station has no current reading; None if it has one."""
    newest_s = find_newest_s(panel, column)
    if newest_s is None:
        return Reason("forecast.unseen")
    is_stale = panel.end_s - newest_s > STALE_ROWS * panel.step_s * (1 + 1e-9)
    return Reason("forecast.stale", {"n": STALE_ROWS}) if is_stale else None


def find_newest_s(panel: Panel, column: int) -> float | None:
    """Return the instant of the grid row of the newest observation of a station, epoch seconds; None without one."""
    observed = np.flatnonzero(np.isfinite(panel.values[:, column]))
    return float(panel.start_s + panel.step_s * observed[-1]) if observed.size else None
