"""Measured records that faults are injected into: positions of stations, a reservoir slope, a glacier, water levels."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from detection.anomaly.windows import Series, build_series
from tests.bench.record import DATA

DAY_S: Final = 86400.0
FOLDER: Final = DATA / "timeseries"
_JAPAN_FROM: Final = datetime(2012, 1, 1, tzinfo=UTC)  # after the steps of the Tohoku earthquake
_CASCADIA: Final = ("ALBH", "NEAH", "P064", "P402", "P418", "P435", "P436", "P439", "PABH", "SC02", "SEAT", "SEDR")
_CASCADIA_FROM: Final = datetime(2009, 1, 1, tzinfo=UTC)
# The sensor was installed in 2014 and failed in 2017.
_BOREHOLE_FROM: Final = datetime(2015, 1, 1, tzinfo=UTC)
_BOREHOLE_TO: Final = datetime(2016, 10, 1, tzinfo=UTC)
_M_PER_DEG: Final = 111_320.0


@dataclass(frozen=True, slots=True)
class Record:
    """A measured record.

    Attributes:
        name: Name in the results.
        series: Series by `STATION.quantity`; the series of a station have the same times.
        rain: Rain of the site as sums over the interval of the series, or None if the site measures none.
    """

    name: str
    series: Mapping[str, Series]
    rain: Series | None = field(default=None)


def name_station(label: str) -> str:
    """Return the station of a series.

    >>> name_station("G001.displacement_east")
    'G001'
    """
    return label.partition(".")[0]


def read_japan() -> Record:
    """Return daily east, north and up of 18 GNSS stations, mm."""
    series = {}
    for path in sorted((FOLDER / "gnss-japan-18").glob("*.csv")):
        rows = _read_rows(path, _JAPAN_FROM, lambda row: datetime.fromisoformat(row["time"]))
        for quantity, column in (("east", "lon"), ("north", "lat"), ("up", "ver")):
            values = [float(row[column]) for _, row in rows]
            label = f"{path.name.partition('neu')[0]}.displacement_{quantity}"
            series[label] = build_series([at_s for at_s, _ in rows], values, DAY_S)
    return Record("japan", series)


def read_cascadia() -> Record:
    """Return daily east, north and up of 12 GNSS stations, mm, with gaps and slow slip."""
    series = {}
    for name in _CASCADIA:
        path = FOLDER / "gnss-cascadia-pbo-csv" / f"{name}.pbo.nam08.csv"
        times_s = []
        values: dict[str, list[float]] = {"north": [], "east": [], "up": []}
        for line in path.read_text(encoding="utf-8").splitlines():
            cells = line.split(",")
            if len(cells[0]) != 10 or not cells[0][:4].isdigit():
                continue
            at = datetime.fromisoformat(cells[0]).replace(tzinfo=UTC)
            if at >= _CASCADIA_FROM:
                times_s.append(at.timestamp())
                for quantity, cell in zip(values, cells[1:4], strict=True):
                    values[quantity].append(float(cell))
        for quantity, row in values.items():
            series[f"{name}.displacement_{quantity}"] = build_series(times_s, row, DAY_S)
    return Record("cascadia", dict(sorted(series.items())))


def read_reservoir_slope() -> Record:
    """Return the daily displacement of 8 points of a reservoir slope with measured GNSS noise, mm, and its rain."""
    rows: dict[str, tuple[list[float], list[float]]] = {}
    with (FOLDER / "benchmarks" / "S.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            times_s, values = rows.setdefault(f"{row['station']}.{row['quantity'].rpartition('_')[0]}", ([], []))
            times_s.append(datetime.fromisoformat(row["time"]).timestamp())
            values.append(float(row["value"]))
    series = {label: build_series(*timed, DAY_S) for label, timed in rows.items()}
    moved = {label: one for label, one in series.items() if label.endswith(".displacement")}
    return Record("reservoir slope", moved, series["SITE.rain"])


def read_glacier() -> Record:
    """Return east, north and up of 4 stakes on a glacier every 15 minutes for two weeks, mm."""
    series = {}
    for path in sorted((FOLDER / "bowdoin-gnss15min").glob("B16*.dat")):
        cells = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        times_s = [
            datetime.strptime(f"{row[0]} {row[1]}", "%Y/%m/%d %H:%M:%S.%f").replace(tzinfo=UTC).timestamp()
            for row in cells
        ]
        latitude, longitude, height = (np.array([float(row[k]) for row in cells]) for k in (2, 3, 4))
        east = (longitude - longitude[0]) * _M_PER_DEG * np.cos(np.radians(latitude[0]))
        places = {"east": east, "north": (latitude - latitude[0]) * _M_PER_DEG, "up": height}
        for quantity, row in places.items():
            label = f"{path.name.partition('_')[0]}.displacement_{quantity}"
            series[label] = build_series(times_s, (1000.0 * row).tolist(), 900.0)
    return Record("glacier", series)


def read_water() -> Record:
    """Return an hourly groundwater level, m, and a pressure in a borehole every 30 minutes, m of water."""
    observations = (FOLDER / "sensorthings-groundwater" / "observations1.json").read_text(encoding="utf-8")
    facts = [json.loads(line) for line in observations.splitlines() if line.strip()]
    times_s = [datetime.fromisoformat(fact["phenomenonTime"]).timestamp() for fact in facts]
    level = build_series(times_s, [float(fact["result"]) for fact in facts], 3600.0)
    times_s, values = [], []
    with (FOLDER / "bowdoin-loggers" / "drucksens073303_final_storage_1.dat").open(encoding="utf-8") as file:
        for row in csv.reader(file):
            if len(row) != 7:
                continue
            _, year, day, clock, _, bar, _ = row
            minutes = 1440 * (int(day) - 1) + 60 * (int(clock) // 100) + int(clock) % 100
            at = datetime(int(year), 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
            if _BOREHOLE_FROM <= at < _BOREHOLE_TO:
                times_s.append(at.timestamp())
                values.append(10.0 * float(bar))
    pressure = build_series(times_s, values, 1800.0)
    return Record("water", {"GW.groundwater_level": level, "BH.pore_pressure": pressure})


def _read_rows(
    path: Path, since: datetime, find_time: Callable[[Mapping[str, str]], datetime]
) -> Sequence[tuple[float, Mapping[str, str]]]:
    with path.open(encoding="utf-8") as file:
        timed = [(find_time(row).replace(tzinfo=UTC), row) for row in csv.DictReader(file)]
    return [(at.timestamp(), row) for at, row in timed if at >= since]


READERS: Final[Mapping[str, Callable[[], Record]]] = {
    "japan": read_japan,
    "cascadia": read_cascadia,
    "reservoir slope": read_reservoir_slope,
    "glacier": read_glacier,
    "water": read_water,
}
