"""Does it lower the scatter of residuals to take off what rain, reservoir and temperature explain? On measured drivers.

    python -m tests.bench.anomaly.bench_anomaly_drivers

Records: S (8 points), the same curves with other measured noise (LE: east of 8 Japanese stations), and Baijiabao. The residual to the
median of seven days is regressed on rain of the 2, 10 and 30 days before and on what reservoir and temperature changed in a day and a week:
Huber weights and a ridge, fitted on the first half. The figure is the median size of what is left over that of the residual itself, on the
next 17 % and on the last third. A regression would be used where the first figure is below 1; the second says whether that was right.
"""  # noqa: E501

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from detection.anomaly.stages import DAY_S, Array
from detection.anomaly.windows import Series, residuals
from forecasting.data.series import read_long_csv
from forecasting.data.workbook import read_sheet
from tests.bench.record import record

DATA = Path(os.environ["SLOPEWARD_DATA"]) / "timeseries"
MEMORY_DAYS = (2.0, 10.0, 30.0)
TRAIN, VALIDATE = 0.50, 0.67
RIDGE, HUBER = 5.0, 1.5
Drivers = Mapping[str, Array]


def describe(drivers: Drivers) -> Array:
    """Columns of a regression, known at each day from the days before it; standardised on the first half."""
    columns = []
    for name, values in drivers.items():
        if name != "rain":
            columns += [values - np.concatenate([np.repeat(values[0], lag), values[:-lag]]) for lag in (1, 7)]
            continue
        for days in MEMORY_DAYS:
            kept, memory = 0.0, np.empty(len(values))
            for k, value in enumerate(values):
                memory[k] = kept
                kept = kept * np.exp(-1.0 / days) + value
            columns.append(memory)
    table = np.stack(columns, axis=1)
    past = table[: int(TRAIN * len(table))]
    return np.column_stack([np.ones(len(table)), (table - past.mean(axis=0)) / (past.std(axis=0) + 1e-9)])


def fit(table: Array, target: Array) -> Array:
    """Coefficients: least squares with Huber (1964) weights and a ridge."""
    weights, found = np.ones(len(target)), np.zeros(table.shape[1])
    for _ in range(12):
        weighted = table * weights[:, None]
        found = np.linalg.solve(weighted.T @ table + RIDGE * np.eye(table.shape[1]), weighted.T @ target)
        left = np.abs(target - table @ found)
        weights = np.minimum(1.0, HUBER * 1.4826 * np.median(left) / np.maximum(left, 1e-9))
    return found


def compare(values: Array, drivers: Drivers) -> dict[str, float]:
    """What is left over what was there, on validation and on the last third."""
    target, table = residuals(Series(np.arange(len(values)) * DAY_S, values, DAY_S)), describe(drivers)
    known, share = np.isfinite(target), np.arange(len(values)) / len(values)
    past = known & (share < TRAIN)
    left = target - table @ fit(table[past], target[past])
    parts = {"validation": known & (share >= TRAIN) & (share < VALIDATE), "last_third": known & (share >= VALIDATE)}
    return {n: round(float(np.median(np.abs(left[p])) / np.median(np.abs(target[p]))), 3) for n, p in parts.items()}


def read_records() -> Iterator[tuple[str, Array, Drivers]]:
    """Name, positions, and drivers of each series."""
    with (DATA / "outang" / "monitoring_data.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    names = {"rain": "Rainfall/mm", "reservoir": "RWL/m", "temperature": "aveT/℃"}
    drivers = {name: np.array([float(row[key]) for row in rows]) for name, key in names.items()}
    panel = read_long_csv(DATA / "benchmarks" / "S.csv")
    days = min(len(panel.values), len(rows))
    known = {name: values[:days] for name, values in drivers.items()}
    for column, station in enumerate(panel.stations):
        yield f"S {station}", panel.values[:days, column], known
    for station, path in zip(panel.stations, sorted((DATA / "gnss-japan-18").glob("*.csv")), strict=False):
        with path.open() as file:
            noise = np.array([float(r["lon"]) for r in csv.DictReader(file) if "2013-01-01" <= r["time"][:10]])[:days]
        day = np.arange(len(noise))
        noise -= np.polyval(np.polyfit(day, noise, 2), day)
        curve = np.array([float(row[f"{station}/mm"]) for row in rows])[: len(noise)]
        yield f"LE {station}", curve + noise, {name: values[: len(noise)] for name, values in known.items()}
    sheet = read_sheet(DATA / "bazimen-baijiabao" / "source_sample.xlsx")
    rain, reservoir = sheet["Rainfall"].to_numpy(np.float64), sheet["Reservoir"].to_numpy(np.float64)
    yield "Baijiabao", sheet["Total"].to_numpy(np.float64), {"rain": rain, "reservoir": reservoir}


def main() -> None:
    """Measure, print and record."""
    figures = {name: compare(values, drivers) for name, values, drivers in read_records()}
    for name, row in figures.items():
        print(f"{name:14}", row)
    record("anomalies-drivers", "python -m tests.bench.anomaly.bench_anomaly_drivers", figures)


if __name__ == "__main__":
    main()
