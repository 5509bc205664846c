"""What may drive a slope, on the panel's grid: rain sums, antecedent rain, water levels and their changes."""

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
RECESSION = 0.84  # share of the antecedent index that is left after a day (Crozier 1999; 0.8 to 0.95 in use)
ONE_A_ROW = 0.9
LEAST_SHARE = 0.8  # A rain sum over fewer readings than this share of its window is unknown, not small


@dataclass(frozen=True, slots=True)
class Covariate:
    """One driver on the grid of a panel."""

    name: str  # `station.quantity`
    # `rain` (summed per row); `water`, `temperature`, `stations` (movement of another one) or `image` (mean per row;
    # what was read from a picture of that date); `outlook` (expected rain as known at the row); `season`
    kind: str
    values: Floats  # shape (T,), NaN where nothing was observed


def covariates_from_samples(samples: Mapping[str, tuple[ArrayLike, ArrayLike]], panel: Panel) -> tuple[Covariate, ...]:
    """Lay drivers on the grid of a panel: rain of the interval that ends at a row is summed, levels are averaged."""
    rows = panel.values.shape[0]
    out = []
    for name in sorted(samples):
        times, values = (np.asarray(part, dtype=np.float64).ravel() for part in samples[name])
        finite = np.isfinite(times) & np.isfinite(values)
        place = (times[finite] - panel.start_s) / panel.step_s
        fine = place.size > 1 and float(np.median(np.diff(np.sort(place)))) < ONE_A_ROW
        # finer readings end at the row; one a row keeps to the nearest, as the displacement beside it does
        cells = (np.ceil(place - 1e-9) if fine else np.floor(place + 0.5)).astype(np.int64)
        inside = (cells >= 0) & (cells < rows)
        counts = np.bincount(cells[inside], minlength=rows)[:rows]
        sums = np.bincount(cells[inside], weights=values[finite][inside], minlength=rows)[:rows]
        kind = find_kind(name)
        made = np.full(rows, np.nan)
        seen = counts > 0
        made[seen] = sums[seen] if kind == "rain" else sums[seen] / counts[seen]
        out.append(Covariate(name, kind, made))
    return tuple(out)


def features(covariate: Covariate, step_s: float) -> dict[str, Floats]:
    """Known-past features of one driver, each (T,): row t reads no row after t.

    Rain: sums over 1, 3, 7, 15 and 30 d and the antecedent index `A(t) = k A(t-1) + r(t)`; levels and temperature: the
    value and its change over 1, 7 and 30 d; motion: the changes alone, for its level says nothing; series from images,
    outlooks and the season as they are. Windows shorter than a row are left out.
    """
    out: dict[str, Floats] = {}
    values = covariate.values
    if covariate.kind in {"image", "outlook", SEASON}:
        return {covariate.name: values}
    days = RAIN_DAYS if covariate.kind == "rain" else CHANGE_DAYS
    spans = {d: round(d * DAY_S / step_s) for d in days}
    spans = {d: n for d, n in spans.items() if n >= 1}
    if covariate.kind == "rain":
        for d, n in spans.items():
            out[f"{covariate.name}.sum_{d}d"] = trailing_sum(values, n)
        out[f"{covariate.name}.antecedent"] = antecedent(values, RECESSION ** (step_s / DAY_S))
        return out
    if covariate.kind != "stations":
        out[covariate.name] = values
    for d, n in spans.items():
        change = np.full(values.shape, np.nan)
        change[n:] = values[n:] - values[:-n]
        out[f"{covariate.name}.change_{d}d"] = change
    return out


def make_season(panel: Panel) -> tuple[Covariate, ...]:
    """The time of the year of each row as sine and cosine of its angle: known for every row to come as well."""
    angle = 2.0 * np.pi * panel.times_s / YEAR_S
    return Covariate(f"{SEASON}.sin", SEASON, np.sin(angle)), Covariate(f"{SEASON}.cos", SEASON, np.cos(angle))


def trailing_sum(values: Floats, rows: int) -> Floats:
    """Sum over the last `rows` rows, scaled up for missing ones; NaN where under 80 % are known.

    >>> trailing_sum(np.array([1.0, 2.0, 3.0, np.nan]), 2).tolist()
    [nan, 3.0, 5.0, nan]
    """
    seen = np.isfinite(values)
    total, count = np.zeros(values.shape), np.zeros(values.shape)
    plain = np.where(seen, values, 0.0)
    for lag in range(min(rows, values.size)):
        total[lag:] += plain[: values.size - lag]
        count[lag:] += seen[: values.size - lag]
    enough = (count >= LEAST_SHARE * rows) & (np.arange(values.size) >= rows - 1)
    return np.where(enough, total * rows / np.maximum(count, 1.0), np.nan)


def antecedent(values: Floats, keep: float) -> Floats:
    """Antecedent index with share `keep` left per row; a missing row adds nothing.

    >>> antecedent(np.array([10.0, 0.0, np.nan, 4.0]), 0.5).tolist()
    [10.0, 5.0, 2.5, 5.25]
    """
    out, held = np.empty(values.shape), 0.0
    for t, value in enumerate(values):
        held = keep * held + (float(value) if np.isfinite(value) else 0.0)
        out[t] = held
    return out


def rows_from_covariates(covariates: Sequence[Covariate], step_s: float) -> DriverRows | None:
    """Known-past features of every covariate as channels; None where there is no covariate."""
    names: list[str] = []
    kinds: list[str] = []
    columns: list[Floats] = []
    for covariate in covariates:
        for name, values in features(covariate, step_s).items():
            names.append(name)
            kinds.append(covariate.kind)
            columns.append(values)
    return DriverRows(tuple(names), tuple(kinds), np.column_stack(columns)) if columns else None


def join_facts(drivers: DriverRows | None, facts: Mapping[str, Mapping[str, float]], panel: Panel) -> DriverRows | None:
    """The drivers with what of each station does not change; as they are where nothing is said of any.

    `facts`: by station, name to value; NaN stands for what is not said.
    """
    if not facts:
        return drivers
    names = tuple(sorted({name for known in facts.values() for name in known}))
    table = [[facts.get(station, {}).get(name, np.nan) for name in names] for station in panel.stations]
    empty = DriverRows((), (), np.empty((panel.values.shape[0], 0)))
    return replace(drivers or empty, static_names=names, static=np.array(table, dtype=np.float64))
