"""False alarms of `rules` and of the checks on measured series that are no displacement, by quantity and factor.

    python -m packages.lab.benchmarks.anomaly.bench_quantities [--record]

Nobody knows of a fault in these records, so each alarm counts as false. Each series is judged alone, with the
thresholds of a site without history, times the factor. `as served` is what `monitor.sites.watched` uses of the parts
and checks. The pressure sensor of Bowdoin failed on 2017-02-04; later readings are left out.

With `--record`, the figures are stored.
"""

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from detection.anomaly.certain.checks import check_series
from detection.anomaly.detector import Detector, start_without_history
from detection.anomaly.records import FACTORS, MONTH_S
from detection.anomaly.registry import CHECKS
from detection.anomaly.threshold import count_runs
from detection.anomaly.windows import Series, build_series
from monitor.sites.watched import CHECKS_BY_QUANTITY, PARTS
from packages.lab.benchmarks.anomaly.records import DAY_S, FOLDER
from tests.bench.record import LAB_RESULTS, parse_options

NAME: Final = "anomalies-quantities"
COMMAND: Final = "python -m packages.lab.benchmarks.anomaly.bench_quantities --record"
THRESHOLD_FACTORS: Final = (1.0, 1.5, 2.0, 3.0)
TOGETHER: Final = "levels and pressures"
TOGETHER_QUANTITIES: Final = frozenset(
    {"pore_pressure", "water_level", "air_pressure", "groundwater_level", "reservoir_level"}
)
_FAILED: Final = datetime(2017, 2, 4, tzinfo=UTC)
# Loggers of Mukilteo, and the column of their first moisture sensor. The columns of five moisture sensors are followed
# by those of three tensiometers.
_LOGGERS: Final = {"MVD116": 6, "WatertonA": 7, "WatertonB": 6}
# Frequency to kPa for the two piezometers, which are the columns -4 and -2. Only one logger has a published
# calibration. For the others only the scale would differ.
_CALIBRATIONS: Final = {-4: (-9.5792e-5, -0.0023260, 828.53), -2: (-1.0171e-4, 0.016517, 772.93)}
Reading = tuple[datetime, float]


@dataclass(frozen=True, slots=True)
class QuantityRecord:
    """Series of one quantity and interval at one place."""

    place: str
    quantity: str
    step_s: float
    series: Mapping[str, Series]

    @property
    def months(self) -> float:
        """Sensor-months of readings."""
        return sum(int(series.observed.sum()) for series in self.series.values()) * self.step_s / MONTH_S


def read_all() -> Iterator[QuantityRecord]:
    """Yield the records."""
    yield from _read_bowdoin()
    yield from _read_mukilteo()
    pond = {"water_level": "Primary Pond Level[m]", "air_pressure": "BP_mbar", "temperature": "PanelTemp[degC]"}
    yield from _read_columns(
        "pond", FOLDER / "tailings-pond-rain" / "pp_station.csv", "Time", "%Y-%m-%d %H:%M", 300.0, pond
    )
    slope = {"groundwater_level": "GWT/m", "reservoir_level": "RWL/m", "temperature": "aveT/℃"}
    yield from _read_columns("Outang", FOLDER / "outang" / "monitoring_data.csv", "Date", "%Y-%m-%d", DAY_S, slope)
    for number, quantity in ((1, "groundwater_level"), (2, "temperature")):
        text = (FOLDER / "sensorthings-groundwater" / f"observations{number}.json").read_text(encoding="utf-8")
        facts = [json.loads(line.rstrip(",")) for line in text.splitlines() if "phenomenonTime" in line]
        readings = [(datetime.fromisoformat(fact["phenomenonTime"]), float(fact["result"])) for fact in facts]
        yield _make_record("well", quantity, 3600.0, {"well": readings})


def _read_bowdoin() -> Iterator[QuantityRecord]:
    path = FOLDER / "bowdoin-loggers" / "drucksens073303_final_storage_1.dat"
    rows = [row for line in path.read_text(encoding="utf-8").splitlines() if len(row := line.split(",")) == 7]
    times = [
        datetime(int(row[1]), 1, 1, tzinfo=UTC)
        + timedelta(days=int(row[2]) - 1, hours=int(row[3]) // 100, minutes=int(row[3]) % 100)
        for row in rows
    ]
    for quantity, column in (("temperature", 4), ("pore_pressure", 5)):
        readings = [(at, float(row[column])) for at, row in zip(times, rows, strict=True) if at < _FAILED]
        yield _make_record("Bowdoin", quantity, 1800.0, {"sensor": readings})


def _read_mukilteo() -> Iterator[QuantityRecord]:
    """Yield two weeks of soil moisture, tensiometers and piezometers, and temperature."""
    found: dict[str, dict[str, list[Reading]]] = {"soil_moisture": {}, "pore_pressure": {}, "temperature": {}}
    for logger, first in _LOGGERS.items():
        path = FOLDER / "usgs-mukilteo-rain-piezo" / f"wa{logger}_14d.txt"
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        times = [datetime.fromisoformat(row[0]).replace(tzinfo=UTC) for row in rows]
        for column in range(first, first + 8):
            quantity = "soil_moisture" if column < first + 5 else "pore_pressure"
            readings = [(at, float(row[column])) for at, row in zip(times, rows, strict=True)]
            found[quantity][f"{logger} {column}"] = readings
        for column, (a, b, c) in _CALIBRATIONS.items():
            digits = [float(row[column]) for row in rows]
            readings = [(at, a * digit**2 + b * digit + c) for at, digit in zip(times, digits, strict=True)]
            found["pore_pressure"][f"{logger} {column}"] = readings
        found["temperature"][logger] = [(at, float(row[3])) for at, row in zip(times, rows, strict=True)]
    for quantity, by_sensor in found.items():
        yield _make_record("Mukilteo", quantity, 900.0, by_sensor)


def _read_columns(
    place: str, path: Path, time_column: str, time_format: str, step_s: float, columns: Mapping[str, str]
) -> Iterator[QuantityRecord]:
    with path.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    times = [datetime.strptime(row[time_column].replace("/", "-"), time_format).replace(tzinfo=UTC) for row in rows]
    for quantity, column in columns.items():
        readings = [(at, float(row[column])) for at, row in zip(times, rows, strict=True)]
        yield _make_record(place, quantity, step_s, {place: readings})


def _make_record(place: str, quantity: str, step_s: float, readings: Mapping[str, Sequence[Reading]]) -> QuantityRecord:
    series = {}
    for sensor, sensor_readings in readings.items():
        ordered = sorted({at.timestamp(): value for at, value in sensor_readings if math.isfinite(value)}.items())
        times_s, values = [at_s for at_s, _ in ordered], [value for _, value in ordered]
        series[f"{sensor}.{quantity}"] = build_series(times_s, values, step_s)
    return QuantityRecord(place, quantity, step_s, series)


def count_alarms(record: QuantityRecord) -> Counter[str]:
    """Return the number of alarms of each check, of the parts at each factor, and as served."""
    watched = CHECKS_BY_QUANTITY[record.quantity]
    counts = Counter(dict.fromkeys((*CHECKS, "as served"), 0))
    for factor in THRESHOLD_FACTORS:
        counts[f"rules at {factor:g}"] = _count_rule_alarms(record, PARTS, factor)
    if watched.parts:
        counts["as served"] += _count_rule_alarms(record, watched.parts, watched.factor)
    for series in record.series.values():
        for fault in check_series(series, series.times_s[series.observed].tolist(), FACTORS[watched.units]):
            check = next(name for name, kind in CHECKS.items() if kind == fault.kind)
            counts[check] += 1
            counts["as served"] += check in watched.checks
    return counts


def _count_rule_alarms(record: QuantityRecord, parts: Sequence[str], factor: float) -> int:
    thresholds = start_without_history("rules", record.step_s).thresholds
    scaled = {part: replace(thresholds[part], value=factor * thresholds[part].value) for part in parts}
    detector = Detector("rules", scaled)
    alarms = 0
    for label, series in record.series.items():
        scores = detector.score({label: series})[label]
        alarms += count_runs(series.times_s[np.nan_to_num(scores) > detector.limit])
    return alarms


def main() -> None:
    options = parse_options(__doc__, record=False)
    alarms: dict[str, dict[str, float]] = {}
    months: Counter[str] = Counter()
    totals: dict[str, Counter[str]] = {}
    for record in read_all():
        counts = count_alarms(record)
        place = f"{record.quantity}, {record.place}"
        alarms[place] = {"months": round(record.months, 1), **counts}
        print(f"{place}: {alarms[place]}", flush=True)
        for name in (record.quantity, *((TOGETHER,) if record.quantity in TOGETHER_QUANTITIES else ())):
            months[name] += record.months
            totals.setdefault(name, Counter()).update(counts)
    rates: dict[str, Any] = {
        name: {"months": round(months[name], 1)} | {key: round(n / months[name], 3) for key, n in counts.items()}
        for name, counts in totals.items()
    }
    print(json.dumps(rates, indent=1))
    if options.record:
        LAB_RESULTS.store(NAME, COMMAND, {"alarms": alarms, "alarms per sensor-month": rates})


if __name__ == "__main__":
    main()
