"""How unusual the present is: whether velocity, acceleration, rain or water are outside what the record has shown.

The novelty is a conformal score (Laxhammar and Falkman 2010). Each feature of the present, computed from trailing rows,
is compared with its median over the rows before, in median absolute deviations. The largest of these distances is the
score. If the rows were exchangeable, the present would exceed the scores of n past rows once in n + 1. It counts as
outside experience only if it exceeds them by a quarter, so that false alarms are rarer.

A forecast outside experience is shown all the same. Its reason says so, because past errors say less about it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from forecasting.data.driver_rows import DriverRows
from forecasting.data.kinds import SEASON
from forecasting.data.series import DAY_S, Floats, Ints, Panel
from forecasting.data.windows import known_median
from forecasting.kinematics.noise import MAD_TO_SIGMA
from forecasting.reasons import Reason

PAST_ROWS: Final = 400  # past rows that the present is compared with
FEWEST_PAST_ROWS: Final = 60  # with fewer past rows the novelty is unknown
NEWEST_ROWS: Final = 30  # newest rows, at least, that do not count as past: forecasts from them have no score yet
MARGIN: Final = 1.25  # factor by which the present must exceed the largest score of the past
LEAST_SCORE: Final = 3.0  # deviations that are never unusual, however short or still the past is
SPANS: Final = (4, 8, 16, 32)  # rows over which velocity and acceleration are computed
LEVEL_ROWS: Final = 3
"""A level is the median of this many rows, or of a quarter of the span, so that a single outlier is no motion."""
RESOLUTION: Final = 1e-3  # smallest scatter of a level, in the unit of the panel; no instrument resolves less


@dataclass(frozen=True, slots=True)
class Experience:
    """How unusual the present of one station is."""

    novelty: float | None = None  # score as a share of the limit, above 1 outside experience; None: record too short
    reason: Reason | None = None  # what is unusual; None inside experience


def compare_motion(panel: Panel, longest_rows: int) -> list[Experience]:
    """Compare velocity and acceleration of every station in the last row with the rows before.

    Args:
        panel: The record.
        longest_rows: Longest horizon in rows. The rows of one horizon before the last row do not count as past.
    """
    newest_rows = max(longest_rows, NEWEST_ROWS)
    values = panel.values[-(PAST_ROWS + newest_rows + 3 * max(SPANS)) :]
    features = np.concatenate([find_rates(values, span) for span in SPANS], axis=2)  # (T, S, 2 per span)
    smallest = np.array([RESOLUTION / span**power for span in SPANS for power in (1, 2)])
    past, present = features[:-newest_rows][-PAST_ROWS:], features[-1]
    scores, most_unusual = _score(past, present, smallest)
    experiences = []
    for column, score in enumerate(scores.tolist()):
        if not score > 1.0:
            experiences.append(Experience(score if np.isfinite(score) else None))
            continue
        feature = int(most_unusual[column])
        largest = float(np.nanmax(np.abs(past[:, column, feature])))
        name, unit, factor = _describe_feature(panel, is_second_order=feature % 2 == 1)
        value = float(present[column, feature])
        experiences.append(_make_unusual(score, name, value, largest, unit, factor))
    return experiences


def compare_drivers(drivers: DriverRows | None, longest_rows: int) -> Experience:
    """Compare rain and water in the last row with the rows before; the season is never unusual."""
    channels = drivers and drivers.without((SEASON,))
    if channels is None or not channels.names:
        return Experience()
    newest_rows = max(longest_rows, NEWEST_ROWS)
    past, present = channels.values[:-newest_rows][-PAST_ROWS:], channels.values[-1]
    scores = np.array(
        [
            _score(past[:, channel, None, None], present[channel, None, None], np.zeros(1))[0][0]
            for channel in range(present.size)
        ]
    )
    if not np.isfinite(scores).any():
        return Experience()
    channel = int(np.nanargmax(scores))
    if not scores[channel] > 1.0:
        return Experience(float(scores[channel]))
    largest = float(np.nanmax(np.abs(past[:, channel])))
    return _make_unusual(float(scores[channel]), channels.names[channel], float(present[channel]), largest, "", 1.0)


def _describe_feature(panel: Panel, *, is_second_order: bool) -> tuple[str, str, float]:
    """Return the name of a feature, its unit, and the factor from its value per row to this unit."""
    is_motion = panel.unit == "mm"
    rows_per_day = DAY_S / panel.step_s
    if is_second_order:
        name = "acceleration" if is_motion else "change of the rate"
        return name, f"{panel.unit}/day²", rows_per_day**2
    return "velocity" if is_motion else "rate", f"{panel.unit}/day", rows_per_day


def _make_unusual(novelty: float, name: str, value: float, largest: float, unit: str, factor: float) -> Experience:
    """Describe an unusual feature by its multiple of the largest past value, or by its value if that is smaller."""
    if abs(value) > largest > 0.0:
        return Experience(novelty, Reason("forecast.outside.larger", {"what": name, "times": abs(value) / largest}))
    return Experience(novelty, Reason("forecast.outside.unseen", {"what": name, "value": (value * factor, unit)}))


def _score(past: Floats, present: Floats, smallest: Floats) -> tuple[Floats, Ints]:
    """Return the score of each station as a share of the limit, NaN where unknown, and its most unusual feature.

    Args:
        past: Features of past rows, shape (T, S, F).
        present: Features of the last row, shape (S, F).
        smallest: Smallest possible scatter of each feature, shape (F,).
    """
    stations = present.shape[0]
    if past.shape[0] < FEWEST_PAST_ROWS:
        return np.full(stations, np.nan), np.zeros(stations, dtype=np.int64)
    median = known_median(past)
    deviations = np.abs(past - median)
    count = np.maximum(np.isfinite(deviations).sum(axis=0), 1)
    scatter = MAD_TO_SIGMA * known_median(deviations)
    # if more than half of the rows are equal (rain, or a logger that rounds), the mean deviation replaces the median
    mean_deviation = np.nansum(deviations, axis=0) / count
    scatter = np.where(scatter > smallest, scatter, np.maximum(mean_deviation, smallest))
    scatter = np.where(scatter > 0.0, scatter, np.nan)
    past_scores, scores = deviations / scatter, np.abs(present - median) / scatter
    largest_by_row = np.where(np.isfinite(past_scores), past_scores, -np.inf).max(axis=2)
    scores = np.where(np.isfinite(scores), scores, -np.inf)
    largest = scores.max(axis=1)
    is_known = (np.isfinite(largest_by_row).sum(axis=0) >= FEWEST_PAST_ROWS) & np.isfinite(largest)
    limit = MARGIN * np.maximum(largest_by_row.max(axis=0), LEAST_SCORE)
    return np.where(is_known, np.where(is_known, largest, 0.0) / limit, np.nan), scores.argmax(axis=1)


def find_rates(values: Floats, span: int) -> Floats:
    """Return velocity and acceleration per row over a span, at every row, shape (T, S, 2); NaN where unknown.

    Args:
        values: Shape (T, S).
        span: Number of rows.
    """
    rows, stations = values.shape
    rates = np.full((rows, stations, 2), np.nan)
    width = max(LEVEL_ROWS, span // 4)
    if rows < width:
        return rates
    levels = np.full((rows, stations), np.nan)
    windows = np.moveaxis(np.lib.stride_tricks.sliding_window_view(values, width, axis=0), 2, 0)
    levels[width - 1 :] = np.where(2 * np.isfinite(windows).sum(axis=0) > width, known_median(windows), np.nan)
    rates[span:, :, 0] = (levels[span:] - levels[:-span]) / span
    rates[span:, :, 1] = (rates[span:, :, 0] - rates[:-span, :, 0]) / span
    return rates
