"""Which driver moves which station and how much later, from past rows only: a help for people, not a cause."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from forecasting.data.covariates import Covariate, features
from forecasting.data.series import DAY_S, Floats, Panel

MOST_LAG_DAYS = 60.0
MINIMUM_PAIRS = 30
CHANGE_DAYS = 7.0
BINS = 8


@dataclass(frozen=True, slots=True)
class Driver:
    """One driver of one station at the lag where it correlates best.

    Attributes:
        station: Name.
        feature: Driver and how it was formed, `R1.rain_mm.sum_7d`.
        lag_days: How long before the movement the driver was highest in step with it.
        correlation: Pearson correlation with the movement over 7 days (one row where rows are longer).
        information: Mutual information in nats at that lag, of 8 equally filled bins each, with its bias taken off
            (Miller 1955).
        n: Pairs.
    """

    station: str
    feature: str
    lag_days: float
    correlation: float
    information: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        row = asdict(self)
        return row | {"mutual_information": row.pop("information")}


def driver_table(panel: Panel, covariates: Sequence[Covariate], *, until_s: float | None = None) -> list[Driver]:
    """Drivers of every station, strongest first, from rows up to `until_s` (default: all).

    Lags are past only: the driver comes first. Rows after `until_s` are cut off before anything is computed.
    """
    rows = panel.values.shape[0]
    if until_s is not None:
        rows = int(np.clip(np.floor((until_s - panel.start_s) / panel.step_s) + 1, 0, rows))
    span = max(1, round(CHANGE_DAYS * DAY_S / panel.step_s))
    known = panel.values[:rows]
    moved = np.full(known.shape, np.nan)
    moved[span:] = known[span:] - known[:-span]
    most = max(0, round(MOST_LAG_DAYS * DAY_S / panel.step_s))
    lags = np.unique(np.linspace(0, most, min(most, 60) + 1).round().astype(np.int64))
    made = {
        name: values
        for one in covariates
        for name, values in features(Covariate(one.name, one.kind, one.values[:rows]), panel.step_s).items()
    }
    out = []
    for column, station in enumerate(panel.stations):
        found = [
            _strongest(station, name, values, moved[:, column], lags, panel.step_s) for name, values in made.items()
        ]
        out += sorted((one for one in found if one is not None), key=lambda one: -abs(one.correlation))
    return out


def _strongest(
    station: str, name: str, driver: Floats, moved: Floats, lags: np.ndarray, step_s: float
) -> Driver | None:
    """The lag with the largest |correlation|."""
    best: Driver | None = None
    for lag in lags:
        left, right = driver[: driver.size - lag], moved[lag:]
        both = np.isfinite(left) & np.isfinite(right)
        x, y = left[both], right[both]
        if x.size < MINIMUM_PAIRS or x.std() == 0 or y.std() == 0:
            continue
        r = float(np.corrcoef(x, y)[0, 1])
        if best is None or abs(r) > abs(best.correlation):
            days = float(lag) * step_s / DAY_S
            best = Driver(station, name, days, r, mutual_information(x, y), int(x.size))
    return best


def mutual_information(x: Floats, y: Floats) -> float:
    """Mutual information of two samples in nats from a table of equally filled bins, never below 0.

    >>> line = np.arange(200.0)
    >>> round(mutual_information(line, -line), 1), mutual_information(line, np.tile([0.0, 1.0], 100)) < 0.02
    (2.0, True)
    """
    table = np.zeros((BINS, BINS))
    np.add.at(table, (_bins(x), _bins(y)), 1.0)
    share = table / table.sum()
    outer = share.sum(axis=1, keepdims=True) * share.sum(axis=0, keepdims=True)
    full = share > 0
    raw = float((share[full] * np.log(share[full] / outer[full])).sum())
    used = (share.sum(axis=1) > 0).sum(), (share.sum(axis=0) > 0).sum()
    return max(0.0, raw - float((used[0] - 1) * (used[1] - 1)) / (2.0 * x.size))


def _bins(values: Floats) -> np.ndarray:
    """Bin of each value by its rank; equal values share a bin."""
    edges = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.searchsorted(edges, values, side="right")
