"""What drives a slope as columns beside its displacement, and their paths ahead of each row, known at that row.

Past rain counts by what is left of it in the ground: the antecedent index (Crozier 1999), cumulated, for a movement is
a sum. Levels (reservoir, groundwater) count as they are. Ahead of a row nobody knows either: rain is what was expected
then, beyond that the mean of the month before the fit; a level stays where it was.
"""

from dataclasses import dataclass

import numpy as np

from forecasting.data.covariates import RAIN_DAYS, RECESSION, antecedent
from forecasting.data.rain_forecasts import find_reach_s
from forecasting.data.series import DAY_S, MONTH_S, Floats, Ints, Panel

MOST_LEVELS = 3
LEAST_KNOWN = 0.5
"""A driver with fewer of the fitted rows known than this share is not read."""
_LEVELS = ("water", "temperature")
_YEARS = 2
_MONTHS = 12


@dataclass(frozen=True, slots=True)
class Exogenous:
    """Columns of one panel; row t rests on nothing after t, scales and means on rows before the end of the fit alone.

    Attributes:
        names: One per column.
        past: Shape (T, C), the rain column first where there is one.
        rain: Whether the first column is rain.
        held_mm: Antecedent index at each row, shape (T,).
        expected_mm: Rain of the rows ahead as expected at each row, shape (T, reach); NaN where nothing was.
        usual_mm: Mean rain of a row of that month, from row 0 on, longer than T by the longest horizon.
        mean_mm: Mean antecedent index, taken off before it is cumulated.
        scale_mm: What the cumulated index is divided by.
        keep: Share of the index that is left after a row.
    """

    names: tuple[str, ...]
    past: Floats
    rain: bool
    held_mm: Floats
    expected_mm: Floats
    usual_mm: Floats
    mean_mm: float
    scale_mm: float
    keep: float

    def ahead(self, origins: Ints, steps: int) -> Floats:
        """The columns 1 to `steps` rows after each origin as they are reckoned with there, shape (N, steps, C)."""
        out = np.repeat(self.past[origins][:, None, :], steps, axis=1)
        if not self.rain:
            return out
        held, total = self.held_mm[origins], self.past[origins, 0]
        for j in range(1, steps + 1):
            falls = self.usual_mm[origins + j]
            if j <= self.expected_mm.shape[1]:
                told = self.expected_mm[origins, j - 1]
                falls = np.where(np.isfinite(told), told, falls)
            held = self.keep * held + falls
            total = total + (held - self.mean_mm) / self.scale_mm
            out[:, j - 1, 0] = total
        return out


def read_exogenous(panel: Panel, until: int, steps: int) -> Exogenous | None:
    """Rain and levels of a panel's drivers, or None where it has none that are known well enough before row `until`.

    Args:
        panel: The record with its drivers.
        until: End of the fit.
        steps: Longest horizon in rows.
    """
    drivers = panel.drivers
    if drivers is None:
        return None
    rows = panel.values.shape[0]
    columns: list[Floats] = []
    names: list[str] = []
    held, usual, mean, scale = np.zeros(rows), np.zeros(rows + steps), 0.0, 1.0
    keep = RECESSION ** (panel.step_s / DAY_S)
    rain = _row_rain(panel)
    if _is_known(rain, until):
        usual = _usual(panel, rain, until, steps)
        held = antecedent(np.where(np.isfinite(rain), rain, usual[:rows]), keep)
        mean = float(held[:until].mean())
        total = np.cumsum(held - mean)
        scale = _usual_step(total[:until])
        columns.append(total / scale)
        names.append("rain")
    for i, (name, kind) in enumerate(zip(drivers.names, drivers.kinds, strict=True)):
        level = drivers.values[:, i]
        if kind not in _LEVELS or ".change_" in name or not _is_known(level, until):
            continue
        if len(columns) - bool(names[:1] == ["rain"]) == MOST_LEVELS:
            break
        columns.append(_carried(level, until))
        names.append(name)
    if not columns:
        return None
    return Exogenous(
        names=tuple(names), past=np.column_stack(columns), rain=names[0] == "rain", held_mm=held,
        expected_mm=_expected(panel), usual_mm=usual, mean_mm=mean, scale_mm=scale, keep=keep,
    )  # fmt: skip


def _row_rain(panel: Panel) -> Floats:
    """Rain in mm per row, the mean of the gauges; NaN where none is known or no sum spans one row."""
    drivers = panel.drivers
    assert drivers is not None
    ends = tuple(f".sum_{d}d" for d in RAIN_DAYS if round(d * DAY_S / panel.step_s) == 1)
    of_gauge: dict[str, Floats] = {}
    for i, (name, kind) in enumerate(zip(drivers.names, drivers.kinds, strict=True)):
        if kind == "rain" and ends and name.endswith(ends):
            of_gauge.setdefault(name.rpartition(".sum_")[0], drivers.values[:, i])
    if not of_gauge:
        return np.full(panel.values.shape[0], np.nan)
    every = np.stack(list(of_gauge.values()))
    seen = np.isfinite(every)
    count = seen.sum(axis=0)
    return np.where(count > 0, np.where(seen, every, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _usual(panel: Panel, rain: Floats, until: int, steps: int) -> Floats:
    """Mean rain of a row before `until`, by month of the year where two years are known; rows 0 to T + steps."""
    rows = panel.values.shape[0] + steps
    overall = float(np.nanmean(rain[:until]))
    out = np.full(rows, overall)
    if until * panel.step_s < _YEARS * _MONTHS * MONTH_S:
        return out
    # months of equal length: a climatology needs no calendar
    month = ((panel.start_s + panel.step_s * np.arange(rows)) % (_MONTHS * MONTH_S) // MONTH_S).astype(np.int64)
    for m in range(_MONTHS):
        known = rain[:until][month[:until] == m]
        known = known[np.isfinite(known)]
        if known.size:
            out[month == m] = known.mean()
    return out


def _expected(panel: Panel) -> Floats:
    """Rain of each row ahead as it was expected at a row: shorter reaches first, longer ones tell the rest."""
    drivers = panel.drivers
    assert drivers is not None
    told: dict[int, Floats] = {}
    for i, (name, kind) in enumerate(zip(drivers.names, drivers.kinds, strict=True)):
        reach_s = find_reach_s(name) if kind == "outlook" else None
        reach = 0 if reach_s is None else round(reach_s / panel.step_s)
        if reach:
            told.setdefault(reach, drivers.values[:, i])
    out = np.full((panel.values.shape[0], max(told, default=0)), np.nan)
    for reach, amount in sorted(told.items()):
        open_rows = np.isnan(out[:, :reach])
        left = np.maximum(amount - np.nansum(out[:, :reach], axis=1), 0.0) / np.maximum(open_rows.sum(axis=1), 1)
        out[:, :reach] = np.where(open_rows, left[:, None], out[:, :reach])
    return out


def _carried(level: Floats, until: int) -> Floats:
    """A level about its mean before `until` in units of its steps there; its newest value in gaps, else the mean."""
    mean = float(np.nanmean(level[:until]))
    seen = np.isfinite(level)
    rows = np.maximum.accumulate(np.where(seen, np.arange(level.size), -1))
    about = np.where(rows >= 0, level[np.maximum(rows, 0)] - mean, 0.0)
    out: Floats = about / _usual_step(about[:until])
    return out


def _usual_step(values: Floats) -> float:
    """Root mean square of the steps, as the displacement is scaled: weights of size one are found in fewer rounds."""
    return float(np.sqrt(np.mean(np.diff(values) ** 2))) or 1.0


def _is_known(values: Floats, until: int) -> bool:
    known = values[:until][np.isfinite(values[:until])]
    return bool(known.size >= max(2, LEAST_KNOWN * until) and np.ptp(known) > 0)
