"""Drivers of a slope on the grid of a panel: rain sums, antecedent rain, water levels and their changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from forecasting.data.driver_rows import DriverRows
from forecasting.data.kinds import SEASON, find_kind
from forecasting.data.series import DAY_S, Floats, Panel

YEAR_S = 365.2425 * DAY_S
RAIN_DAYS = (1, 3, 7, 15, 30)
CHANGE_DAYS = (1, 7, 30)
# Share of the antecedent index that remains after a day (Crozier 1999; 0.8 to 0.95 are used).
RECESSION = 0.84
# A driver whose median gap is below this share of a row has several readings in a row.
SEVERAL_IN_ROW_SHARE = 0.9
# A rain sum needs readings in this share of its window.
LEAST_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Covariate:
    """One driver on the grid of a panel."""

    name: str  # `station.quantity`
    # One of `KINDS`. `rain` is the sum in each row, `outlook` the expected rain that was known at the row, and all
    # other kinds are means in each row.
    kind: str
    values: Floats  # shape (T,), NaN without an observation


def covariates_from_samples(samples: Mapping[str, tuple[ArrayLike, ArrayLike]], panel: Panel) -> tuple[Covariate, ...]:
    """Return drivers on the grid of a panel: the sum of rain, and the mean of other drivers, in each row.

    Args:
        samples: Times in epoch seconds and values by `station.quantity`.
    """
    rows = panel.values.shape[0]
    covariates = []
    for name in sorted(samples):
        times_s, values = (np.asarray(part, dtype=np.float64).ravel() for part in samples[name])
        finite = np.isfinite(times_s) & np.isfinite(values)
        position = (times_s[finite] - panel.start_s) / panel.step_s
        has_several = position.size > 1 and float(np.median(np.diff(np.sort(position)))) < SEVERAL_IN_ROW_SHARE
        # Several readings in a row belong to the row in which their interval ends. A single reading belongs to the
        # nearest row, as the displacement does.
        cells = (np.ceil(position - 1e-9) if has_several else np.floor(position + 0.5)).astype(np.int64)
        is_inside = (cells >= 0) & (cells < rows)
        counts = np.bincount(cells[is_inside], minlength=rows)[:rows]
        sums = np.bincount(cells[is_inside], weights=values[finite][is_inside], minlength=rows)[:rows]
        kind = find_kind(name)
        row_values = np.full(rows, np.nan)
        is_observed = counts > 0
        row_values[is_observed] = sums[is_observed] if kind == "rain" else sums[is_observed] / counts[is_observed]
        covariates.append(Covariate(name, kind, row_values))
    return tuple(covariates)


def features(covariate: Covariate, step_s: float) -> dict[str, Floats]:
    """Return the features of one driver by name, each of shape (T,). Row t depends on no later row.

    * Rain: sums over 1, 3, 7, 15 and 30 days, and the antecedent index `A(t) = k A(t-1) + r(t)`.
    * Levels and temperature: the value, and its change over 1, 7 and 30 days.
    * Motion of other stations: the changes only, because its level is arbitrary.
    * Series from images, expected rain and the season: the values.

    Windows shorter than a row are left out.
    """
    channels: dict[str, Floats] = {}
    values = covariate.values
    if covariate.kind in {"image", "outlook", SEASON}:
        return {covariate.name: values}
    days = RAIN_DAYS if covariate.kind == "rain" else CHANGE_DAYS
    rows_by_days = {day_count: round(day_count * DAY_S / step_s) for day_count in days}
    rows_by_days = {day_count: rows for day_count, rows in rows_by_days.items() if rows >= 1}
    if covariate.kind == "rain":
        for day_count, rows in rows_by_days.items():
            channels[f"{covariate.name}.sum_{day_count}d"] = trailing_sum(values, rows)
        channels[f"{covariate.name}.antecedent"] = antecedent(values, RECESSION ** (step_s / DAY_S))
        return channels
    if covariate.kind != "stations":
        channels[covariate.name] = values
    for day_count, rows in rows_by_days.items():
        change = np.full(values.shape, np.nan)
        change[rows:] = values[rows:] - values[:-rows]
        channels[f"{covariate.name}.change_{day_count}d"] = change
    return channels


def make_season(panel: Panel) -> tuple[Covariate, ...]:
    """Return the season of each row as sine and cosine of the angle of the year."""
    angle = 2.0 * np.pi * panel.times_s / YEAR_S
    return Covariate(f"{SEASON}.sin", SEASON, np.sin(angle)), Covariate(f"{SEASON}.cos", SEASON, np.cos(angle))


def trailing_sum(values: Floats, rows: int) -> Floats:
    """Return the sum over the last `rows` rows, scaled up for missing rows; NaN if fewer than 80 % are observed.

    >>> trailing_sum(np.array([1.0, 2.0, 3.0, np.nan]), 2).tolist()
    [nan, 3.0, 5.0, nan]
    """
    is_observed = np.isfinite(values)
    filled = np.where(is_observed, values, 0.0)
    total = np.zeros(values.shape)
    count = np.zeros(values.shape)
    for lag in range(min(rows, values.size)):
        total[lag:] += filled[: values.size - lag]
        count[lag:] += is_observed[: values.size - lag]
    is_known = (count >= LEAST_SHARE * rows) & (np.arange(values.size) >= rows - 1)
    return np.where(is_known, total * rows / np.maximum(count, 1.0), np.nan)


def antecedent(values: Floats, remaining_share: float) -> Floats:
    """Return the antecedent index at each row. A missing row adds nothing.

    Args:
        remaining_share: Share of the index that remains after a row.

    >>> antecedent(np.array([10.0, 0.0, np.nan, 4.0]), 0.5).tolist()
    [10.0, 5.0, 2.5, 5.25]
    """
    index = np.empty(values.shape)
    sum_so_far = 0.0
    for row, value in enumerate(values):
        sum_so_far = remaining_share * sum_so_far + (float(value) if np.isfinite(value) else 0.0)
        index[row] = sum_so_far
    return index


def rows_from_covariates(covariates: Sequence[Covariate], step_s: float) -> DriverRows | None:
    """Return the features of all covariates as channels; None without a covariate."""
    names: list[str] = []
    kinds: list[str] = []
    columns: list[Floats] = []
    for covariate in covariates:
        for name, values in features(covariate, step_s).items():
            names.append(name)
            kinds.append(covariate.kind)
            columns.append(values)
    return DriverRows(tuple(names), tuple(kinds), np.column_stack(columns)) if columns else None


def join_properties(
    drivers: DriverRows | None, properties_by_station: Mapping[str, Mapping[str, float]], panel: Panel
) -> DriverRows | None:
    """Return the drivers together with the constant properties of each station.

    Args:
        properties_by_station: Values by name of the property, by station. A property that is not known is left out and
            becomes NaN. Without any, the drivers are returned unchanged.
    """
    if not properties_by_station:
        return drivers
    names = tuple(sorted({name for properties in properties_by_station.values() for name in properties}))
    table = [[properties_by_station.get(station, {}).get(name, np.nan) for name in names] for station in panel.stations]
    empty = DriverRows((), (), np.empty((panel.values.shape[0], 0)))
    return replace(drivers or empty, property_names=names, properties=np.array(table, dtype=np.float64))
