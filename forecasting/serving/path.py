"""Physical bounds on what is forecast: one path over the horizons of a station, and no value beyond declared limits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from forecasting.data.series import Floats, Panel
from forecasting.data.windows import trailing
from forecasting.kinematics.extrapolation import measure_grid_noise
from forecasting.reasons import Reason, join_reasons, split_reason
from forecasting.serving.quantiles import NORMAL
from forecasting.serving.records import Forecast, Limits, name_quantiles

MOVED: Final = Reason("forecast.moved")
"""Follows the reason of a forecast whose median was moved by more than the noise of a reading."""
LENGTHS: Final = (4, 8, 15, 30)  # rows of the velocities that may go on
CLEAR: Final = 8.0  # standard errors above which a velocity counts; where none does, that over the most rows stands
DOUBT: Final = 2.0  # standard errors that are added to a velocity
FASTER: Final = 2.0
"""Times the present velocity that the mean velocity up to a target may be: an acceleration may go on."""
CHANCE: Final = 3.0  # noises of one reading that are no motion
APART: Final = 2.0  # noises by which two medians may differ without any motion
LEAST_WIDTH: Final = 0.85  # of the width that the noise of a reading asks for: the noise is an estimate
NOISE_ROWS: Final = 365


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the stations of a panel may move over some rows, by what their records hold."""

    noise: Floats  # of one reading, mm, shape (S,)
    # rows to the largest motion backward, mm, at most 0, shape (S,); further for more rows, never nearer
    low: Mapping[int, Floats]
    high: Mapping[int, Floats]  # the same forward, at least 0


def find_reach(values: Floats, steps: Iterable[int]) -> Reach:
    """What each station has done over so many rows at any time, noise apart, or will if its velocity doubles."""
    noise = np.array([measure_grid_noise(one, NOISE_ROWS) for one in values.T])
    # a difference of two readings holds the noise of both
    chance = CHANCE * np.sqrt(2.0) * noise
    slow, fast = _present_velocity(values, noise)
    low: dict[int, Floats] = {}
    high: dict[int, Floats] = {}
    furthest = (np.zeros(values.shape[1]), np.zeros(values.shape[1]))
    for h in sorted(set(steps)):
        moved = values[h:] - values[:-h] if 0 < h < values.shape[0] else np.empty((0, values.shape[1]))
        back = np.minimum(np.fmin.reduce(moved, axis=0, initial=0.0) + chance, 0.0)
        forth = np.maximum(np.fmax.reduce(moved, axis=0, initial=0.0) - chance, 0.0)
        furthest = (
            np.minimum(np.minimum(furthest[0], back), FASTER * h * slow),
            np.maximum(np.maximum(furthest[1], forth), FASTER * h * fast),
        )
        low[h], high[h] = furthest
    return Reach(noise, low, high)


def lay(quantiles: Floats, steps: Sequence[int], value: float, reach: Reach, column: int) -> Floats:
    """The fan of one station as one path.

    Each median lies within reach of the last reading and of the median before it, so that it meets the reading as the
    horizon goes to 0, does not jump, and does not turn without a precedent in the record. Its quantiles move with it.
    No half of an interval is narrower than that of a nearer horizon, nor than the noise of a reading asks for.

    >>> quiet = np.zeros((40, 1))
    >>> quantiles = np.array([[-1.0, -0.5, 0.0, 0.5, 1.0], [59.6, 59.8, 60.0, 60.2, 60.4]])
    >>> lay(quantiles, (1, 7), 0.0, find_reach(quiet, (1, 6, 7)), 0)[1].tolist()
    [-1.0, -0.5, 0.0, 0.5, 1.0]

    Args:
        steps: Rows from the last reading to each target, rising.
        reach: Of the panel, for `steps` and the rows between them.
    """
    noise = float(reach.noise[column])
    half = np.abs(quantiles - quantiles[:, 2:3])
    least = LEAST_WIDTH * noise * np.abs(NORMAL)
    half = np.maximum(np.maximum.accumulate(half, axis=0), least)
    out = np.empty(quantiles.shape)
    before, last = 0, value
    for i, h in enumerate(steps):
        near = h - before
        low, high = (float(way[h][column]) for way in (reach.low, reach.high))
        low_near, high_near = (float(way[near][column]) for way in (reach.low, reach.high))
        lowest = max(value + low - CHANCE * noise, last + low_near - APART * noise)
        highest = min(value + high + CHANCE * noise, last + high_near + APART * noise)
        last, before = float(np.clip(quantiles[i, 2], lowest, highest)), h
        out[i] = last + np.sign(NORMAL) * half[i]
    return out


def lay_paths(panel: Panel, rows: Sequence[Forecast]) -> list[Forecast]:
    """The rows of every station and model on one path each, in their order; the reason says where a median moved."""
    groups: dict[tuple[str, str], list[Forecast]] = {}
    for row in rows:
        groups.setdefault((row.station, row.model), []).append(row)
    steps = {
        key: [max(1, round((row.target_s - row.data_until_s) / panel.step_s)) for row in _by_horizon(group)]
        for key, group in groups.items()
    }
    reaches = {h for ahead in steps.values() for h in (*ahead, *(b - a for a, b in pairwise((0, *ahead))))}
    if not reaches:
        return list(rows)
    reach = find_reach(panel.values, reaches)
    column = {name: i for i, name in enumerate(panel.stations)}
    laid: dict[int, Forecast] = {}
    for key, group in groups.items():
        ordered, s = _by_horizon(group), column[key[0]]
        quantiles = np.array([row.quantiles for row in ordered])
        path = lay(quantiles, steps[key], ordered[0].data_value, reach, s)
        for row, was, now in zip(ordered, quantiles, path, strict=True):
            moved = abs(now[2] - was[2]) > reach.noise[s]
            reason = join_reasons([*split_reason(row.reason), MOVED]) if moved else row.reason
            laid[id(row)] = replace(row, **name_quantiles(now), reason=reason)
    return [laid[id(row)] for row in rows]


def _by_horizon(rows: Sequence[Forecast]) -> list[Forecast]:
    return sorted(rows, key=lambda row: row.horizon_s)


def _present_velocity(values: Floats, noise: Floats) -> tuple[Floats, Floats]:
    """The slowest and the fastest mm per row that the newest rows allow, each (S,); 0 lies between them."""
    last = np.array([values.shape[0] - 1], dtype=np.int64)
    found = trailing(values, last, LENGTHS)
    slow, fast = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    clear_before = np.zeros(values.shape[1], dtype=bool)
    for length in LENGTHS:
        count, slope = found[length].count[0], found[length].slope[0]
        error = noise * np.sqrt(12.0 / np.maximum(count**3 - count, 1.0))
        clear = (np.abs(slope) > CLEAR * error) & (count > 2)
        used = clear | (~clear_before & (length == LENGTHS[-1]))
        clear_before |= clear
        slow = np.where(used, np.minimum(slow, slope - DOUBT * error), slow)
        fast = np.where(used, np.maximum(fast, slope + DOUBT * error), fast)
    return slow, fast


NONE: Final = Limits()


def hold(quantiles: Floats, value: float, noise: float, limits: Limits) -> Floats:
    """The quantiles of one target within the limits; their order stays.

    What may fall or rise counts from the newest reading, which has noise of its own: a motion that is only noise is no
    motion, and no interval becomes narrower than a reading allows. Where the newest reading itself lies beyond a
    limit, the limit is wrong or its offset is, and the reading stands in its place.

    >>> quantiles = np.array([60.0, 70.0, 76.0, 82.0, 140.0])
    >>> hold(quantiles, 138.0, 0.0, Limits(may_fall=50.0, high=139.0)).tolist()
    [88.0, 88.0, 88.0, 88.0, 139.0]
    """
    chance = CHANCE * np.sqrt(2.0) * noise
    spread = LEAST_WIDTH * noise * NORMAL
    lowest = value - limits.may_fall - chance + spread
    highest = value + limits.may_rise + chance + spread
    within = np.minimum(np.maximum(quantiles, lowest), highest)
    out: Floats = np.clip(within, min(limits.low, value), max(limits.high, value))
    return out


def hold_rows(panel: Panel, rows: Sequence[Forecast], limits: Mapping[str, Limits]) -> list[Forecast]:
    """The rows of any models within the limits of their stations; the reason says where a quantile was held."""
    noise: dict[str, float] = {}
    out = []
    for row in rows:
        own = limits.get(row.station, NONE)
        if own == NONE:
            out.append(row)
            continue
        if row.station not in noise:
            column = panel.values[:, panel.stations.index(row.station)]
            noise[row.station] = measure_grid_noise(column, NOISE_ROWS)
        quantiles = np.array(row.quantiles)
        held = hold(quantiles, row.data_value, noise[row.station], own)
        reasons = [*split_reason(row.reason)]
        if (held > quantiles).any():
            reasons.append(Reason("forecast.held_above", {"bound": (float(held[0]), panel.unit)}))
        if (held < quantiles).any():
            reasons.append(Reason("forecast.held_below", {"bound": (float(held[-1]), panel.unit)}))
        out.append(replace(row, **name_quantiles(held), reason=join_reasons(reasons)))
    return out
