"""`rules` on the records on which they are chosen: none of them is judged by the benchmarks G, K, S and SK.

Ten records: other components or years of the stations of Japan and Cascadia, and the curve of Outang with their noise.
Fault seeds 10 to 12; those of the benchmarks are 0 to 2.
"""

import csv
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from os import environ
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.bench import run_bench
from detection.anomaly.detector import train_detector
from detection.anomaly.stages import DAY_S
from detection.anomaly.windows import Series, build_series
from tests.bench.record import record

SEEDS: Final = (10, 11, 12)
BUDGET: Final = 0.1
MISSING: Final = 0.05  # of its days: a station of Cascadia with more is left out
Table = dict[str, NDArray[np.float64]]
Read = Callable[[str, str, str], Table]


def main() -> None:
    """Measure and record."""
    folder = Path(environ["SLOPEWARD_DATA"]) / "timeseries"
    figures: dict[str, Any] = {}
    for name, samples in read_records(folder).items():
        trained = {"rules": train_detector("rules", samples, BUDGET, 0)}
        figures[name] = run_bench(samples, ["rules+checks"], BUDGET, SEEDS, trained)[0]
        print(name, figures[name]["f1"], figures[name]["false_alarms_per_sensor_month"], flush=True)
    rows = list(figures.values())
    for key in ("f1", "precision", "recall", "false_alarms_per_sensor_month", "recall_at_equal_false_alarms"):
        figures[f"mean {key}"] = round(float(np.mean([row[key] for row in rows])), 4)
    print(record("anomalies-choosing", "python -m tests.bench.anomaly.bench_choosing", figures))


def read_records(folder: Path) -> dict[str, dict[str, Series]]:
    """Series by station of each of the ten records; values in mm, one a day."""

    def japan(column: str, begin: str, end: str) -> Table:
        return {path.name[:4]: _read(path, 0, "time", column, begin, end) for path in _list(folder / "gnss-japan-18")}

    def cascadia(column: str, begin: str, end: str) -> Table:
        paths = _list(folder / "gnss-cascadia-pbo-csv")
        found = {path.name[:4]: _read(path, 11, "Date", f"{column} (mm)", begin, end) for path in paths}
        return {name: row for name, row in found.items() if np.isnan(row).mean() < MISSING}

    def slide(read: Read, column: str, begin: str, end: str, skipped: int = 0) -> dict[str, Series]:
        return _lay_on_slide(folder / "outang" / "monitoring_data.csv", read(column, begin, end), skipped)

    years = "2012-01-01", "2016-12-31"
    return {
        "Japan, east": _build(japan("lon", *years), years[0]),
        "Japan, up": _build(japan("ver", *years), years[0]),
        "Cascadia, north": _build(cascadia("North", "2009-01-01", "2013-12-31"), "2009-01-01"),
        "Cascadia, up": _build(cascadia("Vertical", "2009-01-01", "2013-12-31"), "2009-01-01"),
        "Cascadia, north, 2012 on": _build(cascadia("North", *years), years[0]),
        "Outang, noise of Japan east": slide(japan, "lon", "2013-01-01", "2016-12-31"),
        "Outang, noise of others in Japan east": slide(japan, "lon", "2013-01-01", "2016-12-31", 9),
        "Outang, noise of Japan up": slide(japan, "ver", "2013-01-01", "2016-12-31"),
        "Outang, noise of Cascadia north": slide(cascadia, "North", "2009-01-01", "2012-12-31"),
        "Outang, noise of others in Cascadia north": slide(cascadia, "North", "2009-01-01", "2012-12-31", 10),
    }


def _list(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.csv"))


def _read(path: Path, skipped: int, day: str, column: str, begin: str, end: str) -> NDArray[np.float64]:
    """A column from day to day, NaN where there is none; shape (days,)."""
    first = date.fromisoformat(begin)
    out = np.full((date.fromisoformat(end) - first).days + 1, np.nan)
    with path.open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file.readlines()[skipped:], skipinitialspace=True):
            place = (date.fromisoformat(row[day][:10]) - first).days
            if 0 <= place < len(out) and row[column]:
                out[place] = float(row[column])
    return out


def _build(table: Mapping[str, NDArray[np.float64]], begin: str) -> dict[str, Series]:
    noon = datetime.fromisoformat(begin).replace(hour=12, tzinfo=UTC).timestamp()
    return {
        name: build_series((noon + DAY_S * np.arange(len(v))).tolist(), v.tolist(), DAY_S) for name, v in table.items()
    }


def _lay_on_slide(path: Path, noise: Table, skipped: int) -> dict[str, Series]:
    """The eight points of a landslide with the residuals of as many stations to their own parabola."""
    with path.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    points = [key for key in rows[0] if key.startswith(("MJ", "ATU"))]
    begin = date.fromisoformat(rows[0]["Date"])
    assert date.fromisoformat(rows[-1]["Date"]) == begin + timedelta(days=len(rows) - 1), "one row a day"
    days, out = np.arange(len(rows)), {}
    for point, name in zip(points, sorted(noise)[skipped : skipped + len(points)], strict=True):
        values = noise[name][: len(rows)]
        known = np.isfinite(values)
        left = values - np.polyval(np.polyfit(days[known], values[known], 2), days)
        out[point.partition("/")[0]] = np.array([float(row[point]) for row in rows]) + left - np.nanmedian(left)
    return _build(out, str(begin))


if __name__ == "__main__":
    main()
