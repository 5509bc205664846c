"""What kind of series a record is: a line, a wandering level, and whether errors of the simple forecast remember.

Said and Dickey 1984 (unit root against a line), Kwiatkowski, Phillips, Schmidt and Shin 1992 (a line against a unit
root), Ljung and Box 1978 (memory in residuals), all as statsmodels computes them (extra `slopeward[models]`).
"""

import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from forecasting.data.series import Floats, Panel
from forecasting.data.splits import split
from forecasting.simple.baselines import Baseline, fit_baseline

LEAST_ROWS = 50
MOST_ROWS = 1500
CARRY_ROWS = 3
LEVEL = 0.05
SIMPLE = "lld"


@dataclass(frozen=True, slots=True)
class SeriesTests:
    """Tests of one station's series; p values are None where `reason` says why.

    Attributes:
        station: Name.
        rows: Rows of the stretch tested.
        adf_p: Low: no unit root, so the series keeps to a straight line.
        kpss_p: Low: it does not keep to a straight line. Tables end at .01 and .10.
        ljung_box_p: Low: the errors of the simple forecast one row ahead remember each other.
        lags: Lags that Ljung-Box looks at.
        text: One plain sentence: what follows.
        reason: Why a value is None; empty where none is.
    """

    station: str
    rows: int
    adf_p: float | None
    kpss_p: float | None
    ljung_box_p: float | None
    lags: int
    text: str
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values, filed as findings are."""
        row = asdict(self)
        return {"code": "series_tests", "ljung_box_lags": row.pop("lags"), "ljung_box_of": SIMPLE} | row | {
            "reason": self.reason or None
        }  # fmt: skip


def run_series_tests(panel: Panel) -> Iterator[SeriesTests]:
    """Test the longest stretch of every station without a gap above 3 rows, at most its newest 1,500 rows.

    A shorter gap takes the newest value before it. The simple forecast is `lld`, chosen on the end of the record.
    """
    fitted = None
    if panel.values.shape[0] >= LEAST_ROWS:
        fitted = fit_baseline(SIMPLE, panel, split(panel.values.shape[0]).calibration, (1,))
    for column, station in enumerate(panel.stations):
        first, end = _longest_stretch(panel.values[:, column])
        yield _test(station, panel.values[:, [column]], first, end, fitted)


def _test(station: str, values: Floats, first: int, end: int, fitted: Baseline | None) -> SeriesTests:
    rows = end - first
    if rows < LEAST_ROWS or fitted is None:
        why = f"too short: {rows} rows without a gap above {CARRY_ROWS}, {LEAST_ROWS} are needed"
        return SeriesTests(station, rows, None, None, None, 0, f"not tested: {why}", why)
    series = _carried(values[first:end, 0])
    if float(np.ptp(series)) == 0.0 or float(np.ptp(np.diff(series))) == 0.0:
        why = "the series never changes its pace: nothing to test"
        return SeriesTests(station, rows, None, None, None, 0, f"not tested: {why}", why)
    from statsmodels.stats.diagnostic import acorr_ljungbox
    from statsmodels.tsa.stattools import adfuller, kpss

    with warnings.catch_warnings():
        # a p value beyond the table is given as the end of the table; later versions answer by name
        warnings.simplefilter("ignore")
        adf_p = _read_p(adfuller(series, regression="ct", autolag="AIC"))
        kpss_p = _read_p(kpss(series, regression="ct", nlags="auto"))
    origins = np.arange(first, end - 1, dtype=np.int64)
    errors = values[origins + 1, 0] - fitted.predict(values, origins)[:, 0, 0]
    errors = errors[np.isfinite(errors)]
    lags, memory, reason = min(10, errors.size // 5), None, ""
    if errors.size < LEAST_ROWS or float(np.ptp(errors)) == 0.0:
        reason = f"Ljung-Box not tested: {errors.size} errors of {SIMPLE} that differ, {LEAST_ROWS} are needed"
        lags = 0
    else:
        memory = float(acorr_ljungbox(errors, lags=[lags])["lb_pvalue"].iloc[0])
    text = f"{_spell_kind(adf_p, kpss_p)}; {reason or _spell_memory(memory, lags)}"
    return SeriesTests(station, rows, adf_p, kpss_p, memory, lags, text, reason)


def _read_p(found: Any) -> float:
    """The p value of a test: second of a tuple, in later versions a name."""
    return float(found[1] if isinstance(found, tuple) else found.pvalue)


def _spell_kind(adf_p: float, kpss_p: float) -> str:
    """What both tests together say of a series, and what follows for a forecast."""
    figures = f"ADF p {_spell_p(adf_p)}, KPSS p {_spell_kpss(kpss_p)}"
    if adf_p < LEVEL <= kpss_p:
        return f"keeps to a straight line ({figures}): a line and what deviates from it can be forecast"
    if kpss_p < LEVEL <= adf_p:
        return f"has a trend that wanders ({figures}): differences are forecast"
    if adf_p < LEVEL:
        return f"neither a line nor a wandering level ({figures}), as with steps or seasons: differences are forecast"
    return f"too short or too noisy to part a line from a wandering level ({figures}): differences are the safe choice"


def _spell_kpss(p: float) -> str:
    return "<= 0.01" if p <= 0.01 else ">= 0.1" if p >= 0.1 else f"{p:.2g}"


def _spell_p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def _spell_memory(p: float | None, lags: int) -> str:
    assert p is not None
    if p < LEVEL:
        return (
            f"errors of {SIMPLE} one row ahead remember each other (Ljung-Box p {_spell_p(p)}, {lags} lags): "
            "a model with memory may do better"
        )
    return f"errors of {SIMPLE} one row ahead show no memory (Ljung-Box p {_spell_p(p)}, {lags} lags)"


def _longest_stretch(series: Floats) -> tuple[int, int]:
    """First row and end of the longest stretch whose gaps are at most 3 rows; its newest 1,500 rows."""
    seen = np.flatnonzero(np.isfinite(series))
    if not seen.size:
        return 0, 0
    cuts = np.flatnonzero(np.diff(seen) - 1 > CARRY_ROWS)
    firsts, lasts = seen[np.append(0, cuts + 1)], seen[np.append(cuts, seen.size - 1)]
    # of equally long ones the newest
    best = firsts.size - 1 - int(np.argmax((lasts - firsts)[::-1]))
    end = int(lasts[best]) + 1
    return max(int(firsts[best]), end - MOST_ROWS), end


def _carried(series: Floats) -> Floats:
    """Gaps filled with the newest value before; the first value of a stretch is observed, or within its longest gap."""
    seen = np.isfinite(series)
    start = int(seen.argmax())
    rows = np.maximum.accumulate(np.where(seen, np.arange(series.size), start))
    out: Floats = series[rows]
    return out
