"""What detectors say of measured series that are no displacement: false alarms of each part and check, by quantity.

    python -m tests.bench.anomaly.bench_quantities

Thresholds are those that a site without history is served. Nobody knows of a fault in these records but in the pressure
sensor of Bowdoin, which dies on 2017-02-04: what comes after is left out. *served* is what `domain.instruments.watched`
leaves of them. Figures go to `anomalies-quantities.json`.
"""

import csv
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from detection.anomaly.certain.checks import check_series
from detection.anomaly.certain.units import FACTORS
from detection.anomaly.parts import RecordScores, StrongestPart, score_record
from detection.anomaly.records import MONTH_S
from detection.anomaly.registry import CHECKS
from detection.anomaly.robust import persistence_z
from detection.anomaly.threshold import carry_over, count_runs
from detection.anomaly.windows import Series, build_series
from monitor.domain.instruments.watched import OWN, TIMES, WATCHED
from tests.bench.record import record

DATA: Final = Path(os.environ["SLOPEWARD_DATA"]) / "timeseries"
DIED: Final = datetime(2017, 2, 4, tzinfo=UTC)
LOGGERS: Final = {"MVD116": 6, "WatertonA": 7, "WatertonB": 6}  # stations of Mukilteo and the column of their moisture
# the calibration of the piezometers of MVD116, which serves for the others: only the scale would differ
FREQUENCY_KPA: Final = ((-9.5792e-5, -0.0023260, 828.53), (-1.0171e-4, 0.016517, 772.93))
Samples = tuple[list[float], list[float]]


class Record(NamedTuple):
    """Series of one quantity and interval at one place."""

    place: str
    quantity: str
    step_s: float
    samples: dict[str, Samples]


def read_all() -> Iterator[Record]:
    """Every measured record at hand that is regular and no displacement."""
    yield from _read_bowdoin()
    yield from _read_mukilteo()
    yield from _read_columns(
        "pond",
        DATA / "tailings-pond-rain" / "pp_station.csv",
        "Time",
        "%Y-%m-%d %H:%M",
        300.0,
        {"water_level": "Primary Pond Level[m]", "air_pressure": "BP_mbar", "temperature": "PanelTemp[degC]"},
    )
    yield from _read_columns(
        "Outang",
        DATA / "outang" / "monitoring_data.csv",
        "Date",
        "%Y-%m-%d",
        86400.0,
        {"groundwater_level": "GWT/m", "reservoir_level": "RWL/m", "temperature": "aveT/℃"},
    )
    for number, quantity in ((1, "temperature"), (2, "groundwater_level")):
        text = (DATA / "sensorthings-groundwater" / f"observations{number}.json").read_text()
        rows = [json.loads(line.rstrip(",")) for line in text.splitlines() if "phenomenonTime" in line]
        pairs = [(datetime.fromisoformat(r["phenomenonTime"]), float(r["result"])) for r in rows]
        yield Record("well", quantity, 3600.0, {"well": _order(pairs)})


def _order(pairs: Sequence[tuple[datetime, float]]) -> Samples:
    found = sorted({at.timestamp(): value for at, value in pairs if math.isfinite(value)}.items())
    return [at_s for at_s, _ in found], [value for _, value in found]


def _read_bowdoin() -> Iterator[Record]:
    text = (DATA / "bowdoin-loggers" / "drucksens073303_final_storage_1.dat").read_text()
    rows = [f for f in (line.split(",") for line in text.splitlines()) if len(f) == 7]
    times = [
        datetime(int(f[1]), 1, 1, tzinfo=UTC)
        + timedelta(days=int(f[2]) - 1, hours=int(f[3]) // 100, minutes=int(f[3]) % 100)
        for f in rows
    ]
    for quantity, column in (("temperature", 4), ("pore_pressure", 5)):
        pairs = [(at, float(f[column])) for at, f in zip(times, rows, strict=True) if at < DIED]
        yield Record("Bowdoin", quantity, 1800.0, {"sensor": _order(pairs)})


def _read_mukilteo() -> Iterator[Record]:
    """Two weeks: moisture and tensiometers as the logger has them, piezometers by a calibration."""
    found: dict[str, dict[str, Samples]] = {"soil_moisture": {}, "pore_pressure": {}, "temperature": {}}
    for station, first in LOGGERS.items():
        text = (DATA / "usgs-mukilteo-rain-piezo" / f"wa{station}_14d.txt").read_text()
        rows = [line.split("\t") for line in text.splitlines()]
        times = [datetime.fromisoformat(r[0]).replace(tzinfo=UTC) for r in rows]
        for k in range(first, first + 8):
            quantity = "soil_moisture" if k < first + 5 else "pore_pressure"
            found[quantity][f"{station}.{k}"] = _order([(at, float(r[k])) for at, r in zip(times, rows, strict=True)])
        for k, (a, b, c) in zip((-4, -2), FREQUENCY_KPA, strict=True):
            digits = [float(r[k]) for r in rows]
            pairs = [(at, a * d * d + b * d + c) for at, d in zip(times, digits, strict=True)]
            found["pore_pressure"][f"{station}.{k}"] = _order(pairs)
        found["temperature"][station] = _order([(at, float(r[3])) for at, r in zip(times, rows, strict=True)])
    for quantity, samples in found.items():
        yield Record("Mukilteo", quantity, 900.0, samples)


def _read_columns(
    place: str, path: Path, time: str, spelled: str, step_s: float, columns: dict[str, str]
) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    times = [datetime.strptime(r[time].replace("/", "-"), spelled).replace(tzinfo=UTC) for r in rows]
    for quantity, column in columns.items():
        pairs = [(at, float(r[column])) for at, r in zip(times, rows, strict=True)]
        yield Record(place, quantity, step_s, {place: _order(pairs)})


def count(of: Record) -> tuple[float, Counter[str]]:
    """Sensor-months of a record, and false alarms: of parts at the thresholds of displacement and at `TIMES` them."""
    watch, series = WATCHED.get(of.quantity, OWN), {n: build_series(*s, of.step_s) for n, s in of.samples.items()}
    scored, limits = score_record(series), carry_over("rules", of.step_s)
    found = Counter(dict.fromkeys((*CHECKS, "served"), 0))
    for times in (1.0, TIMES):
        raised = {part: limit * times for part, limit in limits.items()}
        for part, limit in raised.items():
            found[f"{part} at {times:g}"] = _count_alarms(series, scored, {part: limit})
        found[f"rules at {times:g}"] = _count_alarms(series, scored, raised)
        z = carry_over("persistence-z", of.step_s)["persistence-z"] * times
        found[f"persistence-z at {times:g}"] = sum(
            count_runs(one.times_s[persistence_z(one) > z]) for one in series.values()
        )
    if served := {part: limits[part] * TIMES for part in watch.parts}:
        found["served"] += _count_alarms(series, scored, served)
    for name, one in series.items():
        for fault in check_series(one, of.samples[name][0], FACTORS[watch.units]):
            for check, kind in CHECKS.items():
                found[check] += kind == fault.kind
                found["served"] += kind == fault.kind and check in watch.checks
    return sum(len(times_s) for times_s, _ in of.samples.values()) * of.step_s / MONTH_S, found


def _count_alarms(series: dict[str, Series], scored: RecordScores, limits: dict[str, float]) -> int:
    """Runs of alarms of these parts together, as `Detector.score_by_part` puts them together."""
    runs = 0
    for row, (name, place) in enumerate(zip(scored.names, scored.places, strict=True)):
        cells = len(series[name].values)
        mine = {part: scored.by[part][name][None] for part in limits}
        stuck = scored.stuck[row : row + 1, place : place + cells]
        score, _ = StrongestPart(1, series[name].step_s, limits).feed(mine, stuck, 0, cells)
        runs += count_runs(series[name].times_s[np.nan_to_num(score[0]) > 1.0])
    return runs


def main() -> None:
    """Count everything, and keep it by quantity and place."""
    alarms: dict[str, dict[str, float]] = {}
    months, total = Counter[str](), dict[str, Counter[str]]()
    for one in read_all():
        n_months, found = count(one)
        months[one.quantity] += n_months
        total[one.quantity] = Counter({name: n + total.get(one.quantity, Counter())[name] for name, n in found.items()})
        alarms[f"{one.quantity}, {one.place}"] = {"months": round(n_months, 1), **found}
    rates = {
        quantity: {"months": round(months[quantity], 1)} | {k: round(n / months[quantity], 3) for k, n in found.items()}
        for quantity, found in total.items()
    }
    command = "python -m tests.bench.anomaly.bench_quantities"
    print(record("anomalies-quantities", command, {"alarms": alarms, "alarms per sensor-month": rates}))


if __name__ == "__main__":
    main()
