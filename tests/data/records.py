"""Every measured displacement record of the shared data as a panel, with its family: the records of one place."""

import csv
import io
import os
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from forecasting.data.series import DAY_S, Panel, panel_from_samples, read_long_csv
from forecasting.data.sources import RecordRecipe, read_recipe, read_record
from tests.data.measured import read_cascadia
from tests.data.readers.gnss import PARTS, read_positions

DATA = Path(os.environ.get("SLOPEWARD_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SERIES = DATA / "timeseries"
RECIPES = Path(__file__).resolve().parents[2] / "configs" / "forecasting"
DAYS = (DAY_S, 7 * DAY_S, 30 * DAY_S)
MONTHS = (30 * DAY_S, 90 * DAY_S)
BENCHMARKS = (("S", "outang"), ("SK", "outang"), ("K", "cascadia"), ("G", "japan"))
OF_RECIPES = (
    ("outang-months", "outang", MONTHS),
    ("baijiabao", "baijiabao", DAYS),
    ("bazimen", "bazimen", MONTHS),
    ("lamosano", "lamosano", (11 * DAY_S, 33 * DAY_S)),
)
MOST_GAPS = 0.3
FEET_MM = 304.8
MOST_MOVED_MM = 300.0
"""Largest plausible motion of a crack marker between two readings. A larger jump is a replaced marker."""


@dataclass(frozen=True)
class Measured:
    """One measured record.

    Attributes:
        name: Name of the record.
        family: Name shared by all records of one place.
        panel: Displacement in mm.
        horizons_s: Horizons of its forecasts.
    """

    name: str
    family: str
    panel: Panel
    horizons_s: tuple[float, ...]


def read_records(families: Collection[str] | None = None) -> Iterator[Measured]:
    """Yield all records, or those of some families. "positions" selects the records that are a family each."""
    for family, read in (
        *((family, partial(_benchmark, name, family)) for name, family in BENCHMARKS),
        *((family, partial(_recipe, name, family, horizons_s)) for name, family, horizons_s in OF_RECIPES),
        ("cascadia", _cascadia),
        ("japan", _japan),
        ("positions", _positions),
        ("bowdoin", _glacier),
        ("egms", _satellite),
        ("houston", _houston),
        ("cracks", _cracks),
        ("failure", _failures),
    ):
        if families is None or family in families:
            yield from read()


def _benchmark(name: str, family: str) -> Iterator[Measured]:
    yield Measured(name, family, read_long_csv(SERIES / "benchmarks" / f"{name}.csv"), DAYS)


def _recipe(name: str, family: str, horizons_s: tuple[float, ...]) -> Iterator[Measured]:
    yield Measured(name, family, read_record(None, read_recipe(RECIPES / f"{name}.toml")).panel, horizons_s)


def _filled(panel: Panel) -> Panel:
    """Return the panel without stations that lack more than 30 % of the rows."""
    kept = np.isfinite(panel.values).mean(axis=0) >= 1.0 - MOST_GAPS
    names = tuple(name for name, ok in zip(panel.stations, kept, strict=True) if ok)
    return Panel(panel.start_s, panel.step_s, names, panel.values[:, kept])


def _cascadia() -> Iterator[Measured]:
    """Yield north and up from June 2013 to March 2017 for all stations."""
    folder = SERIES / "gnss-cascadia-pbo-csv"
    names = tuple(sorted(path.name[:4] for path in folder.glob("*.csv")))
    observations = read_cascadia(folder, datetime(2013, 6, 1, tzinfo=UTC), datetime(2017, 3, 1, tzinfo=UTC), names)
    for part in ("north", "up"):
        samples: dict[str, tuple[list[float], list[float]]] = {}
        for o in observations:
            if o.quantity == f"displacement_{part}":
                times, values = samples.setdefault(o.station, ([], []))
                times.append(o.observed_at.timestamp())
                values.append(o.value)
        yield Measured(f"cascadia-{part}", "cascadia", _filled(panel_from_samples(samples, DAY_S)), DAYS)


def _japan() -> Iterator[Measured]:
    """Yield east and up from 2014 on, including the earthquake of 2016. North up to that earthquake is benchmark G."""
    for column, part in (("lon", "east"), ("ver", "up")):
        samples = {}
        for path in sorted((SERIES / "gnss-japan-18").glob("*.csv")):
            with path.open() as file:
                rows = [r for r in csv.DictReader(file) if r["time"] >= "2014"]
            times = [datetime.fromisoformat(r["time"]).replace(tzinfo=UTC).timestamp() for r in rows]
            samples[path.name[:4]] = (times, [float(r[column] or "nan") for r in rows])
        yield Measured(f"japan-{part}", "japan", panel_from_samples(samples, DAY_S), DAYS)


def _positions() -> Iterator[Measured]:
    """Yield single stations over their last five years, and those of Nepal during the earthquake of 2015."""
    folder = SERIES / "gnss-formats"
    for path in sorted([*folder.glob("*.tenv3"), *folder.glob("*.pos"), *folder.glob("*.neu")]):
        observations = read_positions(path, "", datetime(1990, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
        newest = max(o.observed_at for o in observations).timestamp()
        samples = {}
        for part in PARTS:
            selected = [
                o
                for o in observations
                if o.quantity.endswith(part) and o.observed_at.timestamp() > newest - 1800 * DAY_S
            ]
            samples[part] = ([o.observed_at.timestamp() for o in selected], [o.value for o in selected])
        yield Measured(path.name[:4], path.name[:4], panel_from_samples(samples, DAY_S), DAYS)
    samples = {}
    for path in sorted((SERIES / "gnss-nepal2015-neu").glob("*.neu")):
        observations = read_positions(path, "", datetime(2014, 1, 1, tzinfo=UTC), datetime(2016, 1, 1, tzinfo=UTC))
        selected = [o for o in observations if o.quantity.endswith("north")]
        samples[path.name[:4]] = ([o.observed_at.timestamp() for o in selected], [o.value for o in selected])
    yield Measured("nepal", "nepal", _filled(panel_from_samples(samples, DAY_S)), DAYS[:2])


def _glacier() -> Iterator[Measured]:
    """Yield stakes on ice as half-hourly means of readings every 15 minutes."""
    recipe = read_recipe(RECIPES / "bowdoin.toml")
    horizons_s = (3600.0, 6 * 3600.0, DAY_S)
    for year, stakes in (("2015", ("B1501", "B1502", "B1503")), ("2016", ("B1601", "B1602", "B1603", "B1604"))):
        data = dict(recipe.data) | {"step_s": 1800.0, "files": {s: f"{s}_15min.dat" for s in stakes}}
        yield Measured(f"bowdoin-{year}", "bowdoin", read_record(None, RecordRecipe(data)).panel, horizons_s)


def _satellite() -> Iterator[Measured]:
    """Yield points of the European Ground Motion Service: every six days, and by acquisition."""
    horizons_s = (6 * DAY_S, 30 * DAY_S)
    for part in ("E", "U"):
        samples = {}
        with zipfile.ZipFile(SERIES / "egms" / f"EGMS_L3_E45N17_100km_{part}_2020_2024_1.zip") as archive:
            text = archive.read(f"EGMS_L3_E45N17_100km_{part}_2020_2024_1.csv").decode()
        for i, row in enumerate(csv.DictReader(io.StringIO(text))):
            if i % 26 == 0:
                dates = [c for c in row if c.isdigit() and len(c) == 8]
                times = [datetime.strptime(c, "%Y%m%d").replace(tzinfo=UTC).timestamp() for c in dates]
                samples[row["pid"]] = (times, [float(row[c]) for c in dates])
        yield Measured(f"egms-{part}", "egms", panel_from_samples(samples, 6 * DAY_S), horizons_s)
    recipe = read_recipe(RECIPES / "egms-points.toml")
    data = dict(recipe.data) | {"every": 500}
    yield Measured("egms-points", "egms", read_record(None, RecordRecipe(data)).panel, horizons_s)


def _houston() -> Iterator[Measured]:
    """Yield borehole extensometers since 1990, about every 28 days. The source is in feet of compaction."""
    samples = {}
    with zipfile.ZipFile(SERIES / "houston-extensometer" / "USGS_2020_Compaction.zip") as archive:
        for name in archive.namelist():
            if not name.startswith("TABLE") or "TABLE1_" in name:
                continue
            times, values = [], []
            for line in archive.read(name).decode("utf-8", "replace").splitlines():
                fields = line.split("\t")
                at = _read_day(fields[0])
                if at is not None and at.year >= 1990 and len(fields) > 1 and fields[1].strip():
                    times.append(at.timestamp())
                    values.append(float(fields[1]) * FEET_MM)
            samples[name.partition("_")[2].removesuffix(".txt")] = (times, values)
    yield Measured("houston", "houston", _filled(panel_from_samples(samples, 28 * DAY_S)), (28 * DAY_S, 84 * DAY_S))


def _read_day(text: str) -> datetime | None:
    for form in ("%m/%d/%Y", "%Y-%m-%d", "%m/%d/%y"):
        try:
            return datetime.strptime(text.strip(), form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _cracks() -> Iterator[Measured]:
    """Yield daily means of hand-read crack markers without jumps above 0.3 m, which are replaced markers."""
    samples: dict[str, tuple[list[float], list[float]]] = {}
    with (SERIES / "dynaslope-markers" / "surficialdata.csv").open() as file:
        for row in csv.DictReader(file):
            letter = row["marker_name"].strip().upper().split()[-1]
            if row["reliability"].strip().upper() == "Y" and len(letter) == 1 and row["meas"]:
                times, values = samples.setdefault(letter, ([], []))
                times.append(datetime.strptime(row["ts"], "%m/%d/%Y %H:%M").replace(tzinfo=UTC).timestamp())
                values.append(float(row["meas"]) * 10.0)
    for letter, (times, values) in samples.items():
        order = np.argsort(times)
        moved = np.diff(np.asarray(values)[order], prepend=values[order[0]])
        moved[np.abs(moved) > MOST_MOVED_MM] = 0.0
        samples[letter] = ([times[k] for k in order], list(np.cumsum(moved)))
    yield Measured("cracks", "cracks", panel_from_samples(samples, DAY_S), DAYS)


def _failures() -> Iterator[Measured]:
    """Yield synthetic curves to failure."""
    for name, horizons_s in (("6h", (DAY_S / 4, DAY_S, 7 * DAY_S)), ("1h", (DAY_S / 4, DAY_S, 3 * DAY_S))):
        yield Measured(f"failure-{name}", "failure", _failure(f"pftf_synthetic-{name}.csv"), horizons_s)


def _failure(name: str) -> Panel:
    """Read one curve to failure."""
    with (SERIES / "failure-curves" / name).open() as file:
        rows = list(csv.DictReader(file))
    times = [datetime.fromisoformat(r["date"]).timestamp() for r in rows]
    step_s = float(np.median(np.diff(times)))
    return panel_from_samples({"F": (times, [float(r["disp"]) for r in rows])}, step_s)
