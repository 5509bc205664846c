"""Acceptance of forecasts: the combination beside other forecasts, by kind of motion and horizon.

    python -m packages.lab.benchmarks.forecasting.bench_acceptance [--quick] [--only TEXT] [--again combination]
        [--networks gru] [--others KINDS] [--collapses 40] [--store]

All methods forecast the same targets from the same origins, which lie in the last 59 % of each record. Networks are
trained once, on the rows before the first origin. Peers: last value, straight line, AutoETS and AutoARIMA of
`statsforecast`, GRU and LSTM of `neuralforecast` on the kinds of --others (separated by commas; two minutes per
record), and on records with drivers SARIMAX of `statsmodels` with exogenous terms and a ridge regression. A peer whose
library is not installed is "not measured".

Ratios: the mean absolute error of the combination / that of the best peer of the kind and horizon. The errors of a
record are means over its stations and origins. Each record counts by its ratio, because sizes differ a hundredfold.
Coverage, the ablation of drivers and the comparison with networks use every row of the same part of the record. Every
forecast of a record is stored in build/, so that an interrupted run continues.
`--again` computes groups again: `peers`, `others`, `drivers`, `networks`, `collapses`, or `combination` with the last
three, which contain it.
"""

import json
import math
import os
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from forecasting.combination.run import run
from forecasting.data.components import group_components
from forecasting.data.kinds import format_span
from forecasting.data.series import DAY_S, Floats, Ints, Panel
from forecasting.data.splits import split
from forecasting.data.windows import targets
from forecasting.errors import ForecastingError
from forecasting.evaluation.resampling import block_bootstrap
from forecasting.kinematics.extrapolation import extrapolate, measure_grid_noise
from forecasting.kinematics.failure import FailureSpec, Watch
from forecasting.serving.experience import PAST_ROWS
from forecasting.serving.failure_limits import count_rows_ahead
from packages.lab.benchmarks.forecasting.peers import (
    draw_line,
    forecast_by_neuralforecast,
    forecast_by_sarimax,
    forecast_by_statsforecast,
    is_installed,
    regress_on_drivers,
    repeat_last_value,
)
from packages.lab.benchmarks.forecasting.records import (
    DRIVEN_KINDS,
    FAST_KINDS,
    KINDS,
    UNDRIVEN,
    BenchRecord,
    list_collapses,
    list_records,
)
from tests.bench.record import LAB_RESULTS, ROOT, parse_options

NAME: Final = "forecast-acceptance"
COMMAND: Final = "make bench-forecast"
STORED: Final = ROOT / "build" / "bench_acceptance"
SHARE: Final = 0.196  # of a record that is a third of its scored rows
ORIGINS: Final = 100  # of a record, the same for all methods
QUICK_ORIGINS: Final = 20
COLLAPSES: Final = 40
QUICK_COLLAPSES: Final = 6
SPANS_S: Final = (0.25 * DAY_S, DAY_S, 7 * DAY_S, 30 * DAY_S, 90 * DAY_S)
"""Horizons of the tables. A record that is read seldom counts at the nearest of them."""
COMBINATION: Final = "combination"
CONTAINING_COMBINATION: Final = frozenset({"drivers", "networks", "collapses"})  # groups that are computed with it
UNAIDED: Final = "combination without drivers"
NETWORKED: Final = "combination with networks"
LAST_VALUE: Final = "last value"
LINE: Final = "straight line"
REGRESSION: Final = "ridge on drivers"
SARIMAX: Final = "SARIMAX"
PREVIOUS: Final = "previous version"
"""What was served before the combination. Its errors were measured once, from the same origins."""
LIBRARIES: Final = {
    "AutoETS": "statsforecast",
    "AutoARIMA": "statsforecast",
    "GRU": "neuralforecast",
    "LSTM": "neuralforecast",
}
SIMPLE: Final = (LAST_VALUE, LINE)
PEERS: Final = (*SIMPLE, *LIBRARIES, SARIMAX, REGRESSION)
LEAST_TARGETS: Final = 10
LEAST_MM: Final = 1e-9  # smaller errors count as equal
BOUND_CELL: Final = 1.25
BOUND_STATION: Final = 0.60
BOUNDS: Final = {
    "slow records": "<= 1.03 x the best peer",
    "fast records": "<= 1.05 x the better of last value and straight line",
    "driven records, 7 d": "<= 1.10 x the ridge regression on drivers",
    "drivers without effect": "<= 1.01 x the combination without drivers",
    "coverage of 80 % intervals": ".75 to .85, in the last tenth >= .75 at the first two horizons",
}
NETWORK_RECORDS: Final = frozenset(
    {
        "K",
        "P156",
        "SK",
        "baijiabao",
        "pressure 1",
        "pressure 3",
        "rain 3",
        "crack, 1 mm a day, then 45",
        "failure-6h",
        "failure-1h",
        "collapse 6001",
        "collapse 6003",
        "collapse 6005",
        "collapse 6007",
        "rover, 80 mm a day",
        "bowdoin-2016",
    }
)
"""Records on which networks are trained: some of every kind, most of the accelerating ones that are long enough."""


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Fans of several methods for the scored columns of a record."""

    fans: Mapping[str, Floats]  # method to (N, C, H, 5) or, of a method without intervals, (N, C, H, 1)
    seconds: Mapping[str, float]  # processor time of each method


Maker = Callable[[BenchRecord, Ints], Iterable[tuple[str, Callable[[], Floats]]]]


def find_rows(record: BenchRecord) -> Ints:
    """Return the scored rows of a record."""
    rows = record.panel.values.shape[0]
    return np.arange(rows - 3 * int(rows * SHARE), rows, dtype=np.int64)


def choose_origins(record: BenchRecord, count: int) -> Ints:
    """Return the rows from which all methods forecast; the last ones have no target at long horizons."""
    rows = find_rows(record)[: -min(record.steps)]
    return np.unique(np.linspace(rows[0], rows[-1], min(count, rows.size)).round().astype(np.int64))


def make_peers(record: BenchRecord, origins: Ints) -> Iterable[tuple[str, Callable[[], Floats]]]:
    """Yield each peer that can forecast a record."""
    panel, steps, columns = record.panel, record.steps, record.scored
    yield LAST_VALUE, lambda: repeat_last_value(panel, origins, steps)[:, columns, :, None]
    yield LINE, lambda: draw_line(panel, origins, steps)[:, columns, :, None]
    for name in ("AutoETS", "AutoARIMA"):
        if is_installed(LIBRARIES[name]):
            yield name, lambda name=name: forecast_by_statsforecast(name, panel, origins, steps, columns)
    if panel.drivers is not None:
        yield SARIMAX, lambda: forecast_by_sarimax(panel, origins, steps, columns)
        yield REGRESSION, lambda: regress_on_drivers(panel, origins, steps, columns)[..., None]


def make_trained_peers(record: BenchRecord, origins: Ints) -> Iterable[tuple[str, Callable[[], Floats]]]:
    """Yield the networks of another library."""
    panel, steps, columns = record.panel, record.steps, record.scored
    for name in ("GRU", "LSTM"):
        if is_installed(LIBRARIES[name]):
            yield name, lambda name=name: forecast_by_neuralforecast(name, panel, origins, steps, columns)


def make_combination(record: BenchRecord, origins: Ints) -> Iterable[tuple[str, Callable[[], Floats]]]:
    """Yield the combination, and the same without drivers."""
    yield COMBINATION, lambda: combine(record.panel, record, origins)
    if record.panel.drivers is not None:
        yield UNAIDED, lambda: combine(replace(record.panel, drivers=None), record, origins)


def make_ablation(record: BenchRecord, origins: Ints) -> Iterable[tuple[str, Callable[[], Floats]]]:
    """Yield the combination without each kind of driver, where a record has several."""
    for kind, panel in list_ablations(record.panel):
        yield f"without {kind}", lambda panel=panel: combine(panel, record, origins)


def list_ablations(panel: Panel) -> list[tuple[str, Panel]]:
    """Return a panel without each of its drivers in turn, by the quantity that is removed."""
    drivers = panel.drivers
    if drivers is None:
        return []
    quantities = dict.fromkeys(name.split(".")[1] for name in drivers.names)
    if len(quantities) < 2:
        return []
    out = []
    for quantity in quantities:
        remaining = [name for name in drivers.names if name.split(".")[1] != quantity]
        out.append((quantity, replace(panel, drivers=drivers.only(remaining))))
    return out


def make_networks(names: Sequence[str]) -> Maker:
    """Return a maker of the combination with networks, trained on the rows before the first origin."""

    def make(record: BenchRecord, origins: Ints) -> Iterable[tuple[str, Callable[[], Floats]]]:
        def forecast() -> Floats:
            networks = {name: train(name, record) for name in names}
            return combine(record.panel, record, origins, networks=networks)

        if is_installed("torch"):
            yield NETWORKED, forecast

    return make


def train(name: str, record: BenchRecord) -> Floats:
    """Train a network on the rows before the scored ones; return its fans at every row, shape (T, S, H, 5).

    A horizon that these rows cannot teach is NaN.
    """
    from forecasting.neural.learner import Settings
    from forecasting.neural.pretrained import learn

    rows = find_rows(record)
    panel = record.panel
    out = np.full((*panel.values.shape, len(record.steps), 5), np.nan)
    parts = split(panel.values.shape[0], int(rows[0]))
    stride = max(1, rows[0] * len(panel.stations) // 4000)
    for count in range(len(record.horizons_s), 0, -1):
        horizons_s = record.horizons_s[:count]
        try:
            trained, _ = learn(name, panel, parts, horizons_s, Settings(seed=7, epochs=15, stride=int(stride)))
        except ForecastingError:  # the rows before the first origin hold too few targets of the longest horizon
            continue
        out[rows, :, :count] = trained.forecaster.quantiles(panel.values, rows, drivers=panel.drivers)
        break
    return out


def combine(
    panel: Panel,
    record: BenchRecord,
    origins: Ints,
    networks: Mapping[str, Floats] | None = None,
    failure: Floats | None = None,
) -> Floats:
    """Return the fans of the combination at every scored row, shape (N, C, H, 5)."""
    forecasts = run(
        panel, record.horizons_s, networks=networks, failure=failure, groups=group_components(panel.stations)
    )
    return np.asarray(forecasts.fans[origins][:, record.scored], dtype=np.float64)


def forecast_once(group: str, record: BenchRecord, origins: Ints, make: Maker) -> Forecasts:
    """Return the forecasts of a group of methods. Compute and store them first if there is no file."""
    path = STORED / f"{group}-{origins.size}" / f"{record.name.replace(' ', '-').replace(',', '').replace('%', '')}.npz"
    if not path.exists():
        fans: dict[str, Floats] = {}
        seconds: dict[str, float] = {}
        for name, compute in make(record, origins):
            begun_s = time.process_time()
            fans[name] = compute().astype(np.float64)
            seconds[name] = time.process_time() - begun_s
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, seconds=json.dumps(seconds), **{f"fan {k}": v for k, v in fans.items()})
        part.replace(path)
    with np.load(path) as stored:
        stored_fans = {key.removeprefix("fan "): stored[key] for key in stored.files if key.startswith("fan ")}
        return Forecasts(stored_fans, json.loads(str(stored["seconds"])))


def find_observed(record: BenchRecord, origins: Ints) -> Floats:
    """Return the targets of some origins, shape (N, C, H)."""
    values = record.panel.values[:, record.scored]
    return np.stack([targets(values, origins, h) for h in record.steps], axis=2)


def find_span(horizon_s: float) -> str:
    """Return the horizon of the tables that is nearest to one of a record.

    >>> find_span(6 * 86400.0), find_span(3 * 86400.0), find_span(11 * 86400.0)
    ('7 d', '1 d', '7 d')
    """
    nearest = min(SPANS_S, key=lambda span_s: abs(math.log(span_s / horizon_s)))
    return format_span(nearest)


def measure_errors(record: BenchRecord, origins: Ints, fans: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the absolute errors of each method, shape (N, C, H), NaN where any of the methods has no forecast.

    A method that forecasts less than half of the targets has no errors.
    """
    observed = find_observed(record, origins)
    errors = {name: np.abs(fan[..., fan.shape[-1] // 2] - observed) for name, fan in fans.items()}
    for h in range(observed.shape[2]):
        is_observed = np.isfinite(observed[:, :, h])
        answering = [n for n, e in errors.items() if np.isfinite(e[:, :, h]).sum() * 2 >= is_observed.sum()]
        is_common = is_observed & np.all([np.isfinite(errors[n][:, :, h]) for n in answering], axis=0)
        for name, method_errors in errors.items():
            method_errors[:, :, h] = np.where(is_common & (name in answering), method_errors[:, :, h], np.nan)
    return errors


def mean(values: Floats) -> float | None:
    """Return the mean of the finite values, None without any."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else None


def score_record(record: BenchRecord, origins: Ints, forecasts: Forecasts, dense: Forecasts) -> list[dict[str, Any]]:
    """Return one row per horizon: errors of all methods, coverage, and the single stations.

    Args:
        record: The record.
        origins: Rows from which all methods forecast.
        forecasts: Forecasts of all methods at these rows.
        dense: Forecasts of the combination at every scored row, for the coverage.
    """
    errors = measure_errors(record, origins, forecasts.fans)
    rows = find_rows(record)
    observed = find_observed(record, rows)
    out = []
    for i, horizon_s in enumerate(record.horizons_s):
        combination_errors = errors[COMBINATION][:, :, i]
        row: dict[str, Any] = {
            "record": record.name,
            "kind": record.kind,
            "horizon": format_span(horizon_s),
            "span": find_span(horizon_s),
            "targets": int(np.isfinite(combination_errors).sum()),
            "mae_mm": {name: mean(method_errors[:, :, i]) for name, method_errors in errors.items()},
            "stations": [],
        }
        covered = find_covered(dense.fans[COMBINATION][:, :, i], observed[:, :, i])
        row["held"] = [int(np.nansum(covered)), int(np.isfinite(covered).sum())]
        for c, column in enumerate(record.scored):
            counted = int(np.isfinite(covered[:, c]).sum())
            if counted >= LEAST_TARGETS:
                station = {
                    "station": record.panel.stations[column],
                    "held": float(np.nanmean(covered[:, c])),
                    "targets": counted,
                    "mae_mm": {name: mean(errors[name][:, c, i]) for name in (COMBINATION, *SIMPLE) if name in errors},
                }
                row["stations"].append(station)
        out.append(row)
    return out


def find_covered(fans: Floats, observed: Floats) -> Floats:
    """Return 1 where the 80 % interval contains the observed value, 0 elsewhere, NaN where either is unknown."""
    low, high = fans[..., 1], fans[..., 3]
    is_known = np.isfinite(observed) & np.isfinite(low) & np.isfinite(high)
    return np.where(is_known, (low <= observed) & (observed <= high), np.nan)


def compare(record: BenchRecord, with_part: Floats, without: Floats) -> dict[str, dict[str, Any]]:
    """Return by horizon the change of the error by a part of the combination, in %, with its 95 % interval.

    Negative means that the part helps. Blocks of issue times are drawn again, all stations together.
    """
    rows = find_rows(record)
    observed = find_observed(record, rows)
    out: dict[str, dict[str, Any]] = {}
    for i, horizon_s in enumerate(record.horizons_s):
        better = np.abs(with_part[:, :, i, 2] - observed[:, :, i])
        worse = np.abs(without[:, :, i, 2] - observed[:, :, i])
        is_known = np.isfinite(better) & np.isfinite(worse)
        if is_known.sum() < LEAST_TARGETS:
            continue
        base = float(worse[is_known].mean())
        gain = np.where(is_known, better - worse, np.nan)
        interval = block_bootstrap(gain, record.steps[i])
        out[format_span(horizon_s)] = {
            "targets": int(is_known.sum()),
            "change_percent": round(100.0 * float(gain[is_known].mean()) / max(base, 1e-9), 2),
            "interval_percent": None if interval is None else [round(100.0 * v / max(base, 1e-9), 2) for v in interval],
        }
    return out


def tabulate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return by kind and horizon the ratios of all methods to the combination's best peer, and coverage."""
    out: dict[str, Any] = {}
    for kind in KINDS:
        for span_s in SPANS_S:
            span = format_span(span_s)
            some = [r for r in rows if r["kind"] == kind and r["span"] == span and r["targets"] >= LEAST_TARGETS]
            if some:
                out.setdefault(kind, {})[span] = tabulate_cell(some, kind)
    return out


def tabulate_cell(rows: Sequence[Mapping[str, Any]], kind: str) -> dict[str, Any]:
    """Return the figures of one kind and horizon."""
    common = [name for name in rows[0]["mae_mm"] if all(r["mae_mm"].get(name) is not None for r in rows)]
    logs = {name: float(np.mean([math.log(max(r["mae_mm"][name], LEAST_MM)) for r in rows])) for name in common}
    peers = {name: logs[name] for name in PEERS if name in logs}
    best = min(peers, key=lambda name: peers[name])
    ratios = {name: round(math.exp(logs[COMBINATION] - value), 3) for name, value in peers.items()}
    covered = sum(r["held"][0] for r in rows)
    counted = sum(r["held"][1] for r in rows)
    cell: dict[str, Any] = {
        "records": len(rows),
        "targets": sum(r["targets"] for r in rows),
        "best peer": best,
        "combination to the best peer": ratios[best],
        "combination to each peer": ratios,
        "coverage_80": round(covered / counted, 3) if counted else None,
    }
    if {LAST_VALUE, LINE} <= ratios.keys():
        cell["combination to the better simple one"] = max(ratios[LAST_VALUE], ratios[LINE])
    for name in (UNAIDED, PREVIOUS, NETWORKED):
        if name in logs:
            cell[f"combination to {name}"] = round(math.exp(logs[COMBINATION] - logs[name]), 3)
    if kind in FAST_KINDS:
        ratio, bound = cell.get("combination to the better simple one"), 1.05
    elif kind in DRIVEN_KINDS:
        ratio, bound = ratios.get(REGRESSION), 1.10
    elif kind == UNDRIVEN:
        ratio, bound = cell.get(f"combination to {UNAIDED}"), 1.01
    else:
        ratio, bound = ratios[best], 1.03
    cell["met"] = None if ratio is None else ratio <= bound
    return cell


def list_bad_cells(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the stations whose error is above 1.25 times that of the better simple forecast, the worst first."""
    out = []
    for row in rows:
        for station in row["stations"]:
            simple_mm = [station["mae_mm"][name] for name in SIMPLE if station["mae_mm"].get(name) is not None]
            error_mm = station["mae_mm"].get(COMBINATION)
            if simple_mm and error_mm is not None and error_mm > BOUND_CELL * min(simple_mm):
                cell = f"{row['record']} {station['station']} {row['horizon']}"
                ratio = round(error_mm / max(min(simple_mm), LEAST_MM), 2)
                out.append({"cell": cell, "kind": row["kind"], "ratio": ratio})
    return sorted(out, key=lambda cell: -cell["ratio"])


def list_narrow_stations(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the stations and horizons at which the 80 % interval contains less than 60 %, the worst first."""
    out = [
        {
            "cell": f"{row['record']} {station['station']} {row['horizon']}",
            "held": round(station["held"], 3),
            "targets": station["targets"],
        }
        for row in rows
        for station in row["stations"]
        if station["held"] < BOUND_STATION
    ]
    return sorted(out, key=lambda cell: cell["held"])


def cover_by_horizon(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the coverage of each horizon over all records, and that of single stations."""
    out = {}
    for span_s in SPANS_S:
        span = format_span(span_s)
        some = [r for r in rows if r["span"] == span]
        coverages = [station["held"] for r in some for station in r["stations"]]
        counted = sum(r["held"][1] for r in some)
        if counted and coverages:
            out[span] = {
                "all": round(sum(r["held"][0] for r in some) / counted, 3),
                "mean of stations": round(float(np.mean(coverages)), 3),
                "stations": len(coverages),
                "lowest": round(min(coverages), 3),
                "below .60": sum(coverage < BOUND_STATION for coverage in coverages),
            }
    return out


def find_failure_windows(record: BenchRecord, rows: Ints) -> tuple[Floats, Floats]:
    """Return what failure windows predict for a record of one station, each from the readings up to its row alone.

    Returns:
        Fans by row, shape (T, 1, H, 5), and the instants after which nothing is forecast, shape (T,).
    """
    panel = record.panel
    values = panel.values[:, 0]
    fans = np.full((*panel.values.shape, len(record.steps), 5), np.nan)
    latest_s = np.full(values.size, math.inf)
    for row in rows.tolist():
        observed = np.flatnonzero(np.isfinite(values[: row + 1]))[-PAST_ROWS:]
        spec = FailureSpec(panel.step_s, measure_grid_noise(values[: row + 1]))
        watch = Watch(panel.times_s[observed].tolist(), values[observed].tolist(), [0.0] * observed.size, spec)
        issue = watch.issue(observed.size - 1)
        if issue.to_s is None:
            continue
        if issue.trusted:
            latest_s[row] = issue.to_s
        newest = values[max(0, row + 1 - PAST_ROWS) : row + 1]
        fans[row, 0] = extrapolate(newest, record.steps, count_rows_ahead(panel, issue, row))
    return fans, latest_s


def make_failing(record: BenchRecord, origins: Ints) -> Iterable[tuple[str, Callable[[], Floats]]]:
    """Yield the combination with the failure windows of the last fifth, NaN where a window withholds the target."""

    def forecast() -> Floats:
        times_s = record.panel.times_s
        fans, latest_s = find_failure_windows(record, np.flatnonzero(find_life(record) >= 0.8))
        combined = combine(record.panel, record, origins, failure=fans)
        targets_s = times_s[origins, None] + np.array(record.horizons_s)
        combined[(targets_s > latest_s[origins, None])[:, None].repeat(combined.shape[1], axis=1)] = np.nan
        return combined

    yield COMBINATION, forecast


def find_life(record: BenchRecord) -> Floats:
    """Return the share of the time until the failure that has passed at each row of a record."""
    assert record.failure_s is not None
    panel = record.panel
    life: Floats = (panel.times_s - panel.start_s) / (record.failure_s - panel.start_s)
    return life


def score_last_tenth(count: int) -> dict[str, Any]:
    """Return coverage and error of the combination in the last tenth before drawn failures, and in the tenth before.

    Failure windows are experts, and what they withhold is not counted. The service computes them only where the motion
    is unusual, and for 48 rows.
    """
    covered: dict[tuple[str, str, str], list[Floats]] = defaultdict(list)
    errors: dict[tuple[str, str, str], list[Floats]] = defaultdict(list)
    for record in list_collapses(count):
        panel = record.panel
        fans = forecast_once("collapses", record, np.arange(panel.values.shape[0]), make_failing).fans[COMBINATION]
        life = find_life(record)
        line = draw_line(panel, find_rows(record), record.steps)
        for part, (low, high) in {"last tenth": (0.9, 1.0), "tenth before": (0.8, 0.9)}.items():
            rows = np.flatnonzero((life >= low) & (life < high))
            observed = find_observed(record, rows)
            often = "every 6 h" if panel.step_s < DAY_S else "daily"
            for i, horizon_s in enumerate(record.horizons_s):
                key = part, often, format_span(horizon_s)
                covered[key].append(find_covered(fans[rows][:, :, i], observed[:, :, i]))
                combined = np.abs(fans[rows][:, :, i, 2] - observed[:, :, i])
                straight = np.abs(line[rows - find_rows(record)[0]][:, :, i] - observed[:, :, i])
                errors[key].append(np.stack([combined, straight], axis=-1).reshape(-1, 2))
    out: dict[str, Any] = {}
    for (part, often, horizon), by_record in covered.items():
        shares = np.concatenate([record_covered.ravel() for record_covered in by_record])
        counted = int(np.isfinite(shares).sum())
        if counted:
            table = np.concatenate(errors[part, often, horizon])
            table = table[np.isfinite(table).all(axis=1)]
            out.setdefault(f"{part}, {often}", {})[horizon] = {
                "targets": counted,
                "coverage_80": round(float(np.nanmean(shares)), 3),
                "error to the straight line": round(float(table[:, 0].mean() / max(table[:, 1].mean(), 1e-9)), 3),
            }
    return out


def main() -> None:
    given = parse_options(
        __doc__, quick=False, only="", again="", networks="gru", others="", collapses=COLLAPSES, store=False
    )
    warnings.filterwarnings("ignore", category=RuntimeWarning)
    count = QUICK_ORIGINS if given.quick else ORIGINS
    collapses = min(given.collapses, QUICK_COLLAPSES) if given.quick else given.collapses
    networks = [name for name in given.networks.split(",") if name]
    groups = {*filter(None, given.again.split(","))}
    if COMBINATION in groups:
        groups |= CONTAINING_COMBINATION
    for group in sorted(groups):
        for path in STORED.glob(f"{group}-*/*.npz"):
            path.unlink()
    previous = (LAB_RESULTS.load_figures(NAME) or {}).get(PREVIOUS, {})
    rows: list[dict[str, Any]] = []
    seconds: dict[str, float] = defaultdict(float)
    forecasts: dict[str, int] = defaultdict(int)
    ablation: dict[str, Any] = {}
    gains: dict[str, Any] = {}
    for record in list_records(quick=given.quick):
        if given.only and given.only not in f"{record.kind} {record.name}":
            continue
        begun_s = time.perf_counter()
        origins = choose_origins(record, count)
        every = find_rows(record)
        peers = forecast_once("peers", record, origins, make_peers)
        dense = forecast_once(COMBINATION, record, every, make_combination)
        parts = [peers]
        if record.kind in given.others.split(","):
            parts.append(forecast_once("others", record, origins, make_trained_peers))
        removed = forecast_once("drivers", record, every, make_ablation)
        networked = Forecasts({}, {})
        if networks and record.name in NETWORK_RECORDS:
            networked = forecast_once(f"networks-{'-'.join(networks)}", record, every, make_networks(networks))
        fans = {name: fan for part in parts for name, fan in part.fans.items()}
        for name, fan in (*dense.fans.items(), *networked.fans.items()):
            fans[name] = fan[origins - every[0]]
        scored = score_record(record, origins, Forecasts(fans, {}), dense)
        # The previous version was measured from this many origins only.
        if origins.size == choose_origins(record, ORIGINS).size:
            for row in scored:
                error_mm = previous.get(record.name, {}).get(row["horizon"])
                if error_mm is not None:
                    row["mae_mm"][PREVIOUS] = error_mm
        rows += scored
        for part, size in (*((p, origins.size) for p in parts), (dense, record.panel.values.shape[0])):
            for name, spent in part.seconds.items():
                seconds[name] += spent
                columns = len(record.panel.stations) if part is dense else len(record.scored)
                forecasts[name] += size * columns
        if UNAIDED in dense.fans:
            changes = {"all": compare(record, dense.fans[COMBINATION], dense.fans[UNAIDED])}
            changes |= {
                name.removeprefix("without "): compare(record, dense.fans[COMBINATION], fan)
                for name, fan in removed.fans.items()
            }
            ablation[record.name] = changes
        if NETWORKED in networked.fans:
            # Where the network has no forecast, the combination is the same with it and without.
            gains[record.name] = compare(record, networked.fans[NETWORKED], dense.fans[COMBINATION])
        print(f"{record.kind}: {record.name}: {time.perf_counter() - begun_s:.0f} s", flush=True)
    figures = {
        "unit": "ratios of mean absolute errors; shares",
        "bounds": BOUNDS,
        "not measured": [name for name in LIBRARIES if name not in seconds],
        "kinds": tabulate(rows),
        "coverage_80": cover_by_horizon(rows),
        "last tenth": {} if given.only else score_last_tenth(collapses),
        "cells above 1.25": list_bad_cells(rows),
        "intervals below .60": list_narrow_stations(rows),
        "change by drivers": ablation,
        "change by networks": gains,
        "processor_ms_per_forecast": {n: round(1e3 * s / max(1, forecasts[n]), 3) for n, s in seconds.items()},
        PREVIOUS: previous,
        "records": [
            {k: r[k] for k in ("record", "horizon", "targets")}
            | {"mae_mm": {n: None if e is None else float(f"{e:.4g}") for n, e in r["mae_mm"].items()}}
            for r in rows
        ],
    }
    print(json.dumps({k: v for k, v in figures.items() if k not in ("records", PREVIOUS)}, indent=1))
    if given.store and not given.quick and not given.only:
        print(LAB_RESULTS.store(NAME, COMMAND, figures))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
