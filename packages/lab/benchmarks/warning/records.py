"""Records that `bench_warning` replays: measured ones, and simulated motion over measured noise."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecasting.data.workbook import read_sheet
from packages.lab.benchmarks.warning.curves import FAILING_CURVES, STABLE_CURVES, YEAR_DAYS, FailingCurve
from tests.bench.record import DATA

Array = NDArray[np.float64]

SERIES: Final = DATA / "timeseries"
START: Final = datetime(2020, 1, 1, tzinfo=UTC)
TIME_COLUMN: Final = "Time (UTC)"
FEET_MM: Final = 304.8
INCH_MM: Final = 25.4
# Share of a motion along the direction of sliding that falls on east, north and up.
SLIDING_DIRECTION: Final = (0.78, -0.45, -0.43)
# Every simulated slope has two moving stations. The second one moves at this share of the first.
SECOND_STATION: Final = 0.7
PARTS: Final = ("East", "North", "Up")

Kind = Literal["failure", "no failure", "quiet", "moving", "rain"]


@dataclass(frozen=True)
class Record:
    """The readings of one slope and what is known about it.

    The site file is written from the rows before `history_end`; the replay begins there. So the site-file generator
    never sees the time on which it is judged.
    """

    name: str
    kind: Kind
    interval: str
    table: pd.DataFrame  # one column per series, titled as a user titles it; the index holds the times in UTC
    stations: int
    history_end: datetime
    # Days with a level in [history_end, quiet_until) are false.
    quiet_until: datetime
    failure_at: datetime | None = None
    answers: tuple[str, ...] = ()  # to questions of `slopeward ingest --guess`, as KEY=VALUE

    @property
    def replay_until(self) -> datetime:
        """The failure, or the last reading."""
        if self.failure_at is not None:
            return self.failure_at
        return self.quiet_until

    @property
    def station_years(self) -> float:
        """Time that counts for false days, over all stations."""
        return self.stations * (self.quiet_until - self.history_end).total_seconds() / 86400.0 / YEAR_DAYS

    def write_csv(self, path: Path, *, until: datetime | None = None) -> None:
        """Write the rows before an instant, or all of them, with three decimals."""
        rows = self.table if until is None else self.table[self.table.index < until]
        rows.to_csv(path, float_format="%.3f", date_format="%Y-%m-%d %H:%M:%S", index_label=TIME_COLUMN)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How often a simulated slope is read, for how long, and with which noise."""

    name: str
    interval_days: float
    history_days: float
    quiet_days: float  # between the end of the history and the onset of a failing curve
    longest_onset_days: float  # a curve that accelerates for longer creeps until this time before its failure
    stable_days: float  # replayed of a curve that does not fail
    step_every_days: float
    noise_share: float  # of the measured noise of daily GNSS


SAMPLINGS: Final = (
    # A total station or an extensometer: finer than GNSS.
    Sampling("hourly", 1.0 / 24.0, 30.0, 10.0, 45.0, 60.0, 45.0, 0.5),
    Sampling("daily", 1.0, 365.0, 60.0, 120.0, 730.0, YEAR_DAYS, 1.0),
    Sampling("weekly", 7.0, 730.0, 90.0, 120.0, 1095.0, YEAR_DAYS, 1.0),
    Sampling("monthly", 30.0, 1095.0, 180.0, 120.0, 1095.0, YEAR_DAYS, 1.0),
)


# ---- measured noise --------------------------------------------------------------------------------------------

# Daily GNSS stations without a day-to-day change above 7 mm, on ground that does not slide.
NOISE_STATIONS: Final = ("SEAT", "P401", "P436", "P437", "SC02")


@cache
def load_noise() -> dict[str, Array]:
    """Return residuals by station, shape (days, 3) for east, north and up in mm.

    All stations have the same days, so that their common noise is kept. A straight line, an annual and a semi-annual
    wave are removed. Outliers stay.
    """
    tables = [_read_cascadia(name, "2010-01-01", "2017-01-01") for name in NOISE_STATIONS]
    joined = pd.concat(tables, axis=1, join="inner").dropna()
    days = (joined.index - joined.index[0]).total_seconds().to_numpy() / 86400.0
    waves = [f(2.0 * np.pi * k * days / YEAR_DAYS) for k in (1, 2) for f in (np.sin, np.cos)]
    design = np.column_stack([np.ones_like(days), days, *waves])
    values = joined.to_numpy()
    coefficients = np.linalg.lstsq(design, values, rcond=None)[0]
    residuals = values - design @ coefficients
    return {name: residuals[:, 3 * i : 3 * i + 3] for i, name in enumerate(NOISE_STATIONS)}


def draw_noise(seed: int, rows: int, stations: int) -> list[Array]:
    """Cut the same consecutive days out of the residuals of different stations; the days start anew at the end."""
    noise = load_noise()
    rng = np.random.default_rng(seed)
    names = rng.permutation(NOISE_STATIONS)[:stations]
    days = len(noise[NOISE_STATIONS[0]])
    places = (int(rng.integers(days)) + np.arange(rows)) % days
    return [noise[str(name)][places] for name in names]


# ---- simulated slopes ------------------------------------------------------------------------------------------


def simulate_failure(curve: FailingCurve, sampling: Sampling, seed: int) -> Record:
    """Two stations on a failing mass. The last reading is half an interval before the failure."""
    onset_days = min(curve.onset_days, sampling.longest_onset_days)
    curve = replace(curve, onset_days=onset_days)
    failure_day = sampling.history_days + sampling.quiet_days + onset_days
    days = np.arange(failure_day - 0.5 * sampling.interval_days, 0.0, -sampling.interval_days)[::-1]
    moved = curve.displacement_mm(failure_day - days)
    return Record(
        name=curve.name,
        kind="failure",
        interval=sampling.name,
        table=_make_slope(days, moved, sampling, seed),
        stations=2,
        history_end=START + timedelta(days=sampling.history_days),
        quiet_until=START + timedelta(days=failure_day - onset_days),
        failure_at=START + timedelta(days=failure_day),
    )


def simulate_stable(name: str, sampling: Sampling, seed: int) -> Record:
    """Two stations on a mass that moves and does not fail."""
    end_day = sampling.history_days + sampling.stable_days
    days = np.arange(0.0, end_day, sampling.interval_days)
    moved = STABLE_CURVES[name](days, sampling.step_every_days)
    return Record(
        name=name,
        kind="no failure",
        interval=sampling.name,
        table=_make_slope(days, moved, sampling, seed),
        stations=2,
        history_end=START + timedelta(days=sampling.history_days),
        quiet_until=START + timedelta(days=end_day),
    )


def _make_slope(days: Array, moved_mm: Array, sampling: Sampling, seed: int) -> pd.DataFrame:
    columns = {}
    noises = draw_noise(seed, len(days), stations=2)
    for station, share, noise in zip(("A", "B"), (1.0, SECOND_STATION), noises, strict=True):
        for part, direction, own_noise in zip(PARTS, SLIDING_DIRECTION, noise.T, strict=True):
            columns[_title(station, part)] = share * direction * moved_mm + sampling.noise_share * own_noise
    times = pd.DatetimeIndex([START + timedelta(days=float(day)) for day in days]).round("s")
    return pd.DataFrame(columns, index=times)


def _title(station: str, part: str) -> str:
    return f"{station} {part} (mm)"


# ---- measured records ------------------------------------------------------------------------------------------


def _make_measured(
    name: str,
    kind: Kind,
    interval: str,
    table: pd.DataFrame,
    stations: int,
    history_days: float,
    answers: tuple[str, ...] = (),
) -> Record:
    first = table.index[0].to_pydatetime()
    last = table.index[-1].to_pydatetime()
    return Record(
        name=name,
        kind=kind,
        interval=interval,
        table=table,
        stations=stations,
        history_end=first + timedelta(days=history_days),
        quiet_until=last,
        answers=answers,
    )


def _read_cascadia(station: str, first_day: str, end_day: str) -> pd.DataFrame:
    path = SERIES / "gnss-cascadia-pbo-csv" / f"{station}.pbo.nam08.csv"
    table = pd.read_csv(path, skiprows=11, index_col=False, skipinitialspace=True)
    table.index = pd.to_datetime(table["Date"], utc=True) + pd.Timedelta(hours=12)
    columns = {"East (mm)": "East", "North (mm)": "North", "Vertical (mm)": "Up"}
    table = table[list(columns)].rename(columns={old: _title(station, new) for old, new in columns.items()})
    return table[(table.index >= first_day) & (table.index < end_day)]


def read_cascadia(name: str, stations: tuple[str, ...]) -> Record:
    """Daily GNSS on ground that does not slide: outliers, steps of equipment and gaps are as measured."""
    table = pd.concat([_read_cascadia(one, "2013-01-01", "2016-01-01") for one in stations], axis=1)
    return _make_measured(f"GNSS Cascadia {name}", "quiet", "daily", table, len(stations), 365.0)


def read_japan(stations: tuple[str, ...]) -> Record:
    """Daily GNSS, noisier than Cascadia, after the earthquake of 2011 and before that of 2016."""
    tables = []
    for station in stations:
        table = pd.read_csv(SERIES / "gnss-japan-18" / f"{station}neu9818.csv")
        table.index = pd.to_datetime(table["time"], utc=True) + pd.Timedelta(hours=12)
        titles = {old: _title(station, new) for old, new in zip(("lon", "lat", "ver"), PARTS, strict=True)}
        table = table[list(titles)].rename(columns=titles)
        tables.append(table[(table.index >= "2013-01-01") & (table.index < "2016-01-01")])
    return _make_measured("GNSS Japan", "quiet", "daily", pd.concat(tables, axis=1), len(stations), 365.0)


def read_houston() -> Record:
    """Borehole extensometers read about once a month; the ground compacts by millimetres a year."""
    archive = zipfile.ZipFile(SERIES / "houston-extensometer" / "USGS_2020_Compaction.zip")
    columns = {}
    for station, number in (("Addicks", 2), ("Southwest", 4), ("Northeast", 7)):
        text = archive.read(f"TABLE{number}_{station}.txt").decode("utf-8-sig")
        table = pd.read_csv(io.StringIO(text), sep="\t").dropna()
        days = pd.to_datetime(table["DATE"], utc=True)
        readings = pd.Series(table["CUMULATIVE_COMPACTION"].to_numpy(float) * FEET_MM, index=days)
        columns[f"{station} displacement (mm)"] = readings[~readings.index.duplicated()]
    table = pd.DataFrame(columns).sort_index()
    table = table[(table.index >= "2005-01-01") & (table.index < "2015-01-01")]
    return _make_measured("extensometers Houston", "quiet", "monthly", table, 3, 5 * YEAR_DAYS)


def read_lamosano() -> Record:
    """A satellite point every 11 days, with the rain of each interval left out."""
    table = pd.read_csv(SERIES / "lamosano" / "df.csv")
    times = pd.to_datetime(table["date"], utc=True)
    readings = pd.DataFrame({"P5 displacement (mm)": table["p5"].to_numpy()}, index=times)
    return _make_measured("satellite point Lamosano", "quiet", "11 days", readings, 1, 2 * YEAR_DAYS)


def read_mukilteo_rain() -> Record:
    """Three rain gauges over a wet autumn, as hourly sums."""
    columns = {}
    for gauge in ("MVD116", "WatertonA", "MLP"):
        path = SERIES / "usgs-mukilteo-rain-piezo" / f"wa{gauge}_rain.txt"
        parts = ["year", "month", "day", "hour", "minute"]
        table = pd.read_csv(path, sep=r"\s+", header=None, names=[*parts, "rain"])
        times = pd.to_datetime(table[parts], utc=True)
        rain = pd.Series(table["rain"].to_numpy(float) * INCH_MM, index=times)
        columns[f"{gauge} rain (mm)"] = rain.resample("1h", closed="right", label="right").sum()
    table = pd.DataFrame(columns).dropna()
    # Times of the loggers are local; the offset does not matter here.
    return _make_measured("rain Mukilteo", "rain", "hourly", table, 3, 60.0)


def read_outang() -> Record:
    """Eight points of a reservoir landslide under measured GNSS noise: 100 to 200 mm in September 2017, no failure."""
    table = pd.read_csv(SERIES / "benchmarks" / "S.csv")
    table = table[table["quantity"] == "displacement_mm"]
    table.index = pd.to_datetime(table["time"], utc=True)
    wide = table.pivot_table(index=table.index, columns="station", values="value")
    wide.columns = [f"{station} displacement (mm)" for station in wide.columns]
    wide = wide[wide.index < "2019-01-01"]
    return _make_measured("Outang 2017", "moving", "daily", wide, len(wide.columns), 365.0)


def read_baijiabao() -> Record:
    """One GNSS point of a reservoir landslide: 65 mm in June 2018, no failure."""
    table = pd.DataFrame(read_sheet(SERIES / "bazimen-baijiabao" / "source_sample.xlsx").to_dict("records"))
    readings = _read_total(table, "Z1")
    return _make_measured("Baijiabao 2018", "moving", "daily", readings, 1, 150.0)


def read_bazimen() -> Record:
    """One point of a reservoir landslide read once a month: steps of up to 167 mm each summer, no failure."""
    table = pd.DataFrame(read_sheet(SERIES / "bazimen-baijiabao" / "target_sample.xlsx").to_dict("records"))
    readings = _read_total(table, "Z1")
    return _make_measured("Bazimen 2009-2012", "moving", "monthly", readings, 1, 2 * YEAR_DAYS)


def _read_total(table: pd.DataFrame, station: str) -> pd.DataFrame:
    column = next(name for name in table.columns if str(name).startswith("Total"))
    times = pd.to_datetime(table["Time"], utc=True)
    return pd.DataFrame({f"{station} displacement (mm)": table[column].to_numpy(float)}, index=times)


def read_glacier() -> Record:
    """Three stakes on a glacier, read every 15 minutes: a metre a day, steadily, with tides."""
    mm_per_degree = 111.6e6  # of latitude at 78 degrees north
    mm_per_degree_east = mm_per_degree * np.cos(np.radians(77.68))
    tables = []
    for stake in ("B1601", "B1602", "B1604"):
        path = SERIES / "bowdoin-gnss15min" / f"{stake}_15min.dat"
        rows = pd.read_csv(path, sep=r"\s+", header=None, usecols=[0, 1, 2, 3, 4], names=["day", "time", "n", "e", "u"])
        times = pd.to_datetime(rows["day"] + " " + rows["time"], format="%Y/%m/%d %H:%M:%S.%f", utc=True)
        values = rows[["e", "n", "u"]].to_numpy(float)
        values = (values - values[0]) * np.array([mm_per_degree_east, mm_per_degree, 1000.0])
        table = pd.DataFrame(values, index=times.dt.round("15min"), columns=[_title(stake, part) for part in PARTS])
        tables.append(table[~table.index.duplicated()])
    return _make_measured("glacier Bowdoin", "moving", "15 min", pd.concat(tables, axis=1).sort_index(), 3, 5.0)


# ---- what a run replays ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordTask:
    """A record by name, and the function that reads or simulates it."""

    name: str
    read: Callable[[], Record]


_MEASURED: Final = (
    RecordTask("GNSS Cascadia I", partial(read_cascadia, "I", ("SC02", "P401", "P436", "SEAT", "P423", "P402"))),
    RecordTask("GNSS Cascadia II", partial(read_cascadia, "II", ("ALBH", "NEAH", "P403", "P435", "SEDR", "BLYN"))),
    RecordTask("GNSS Japan", partial(read_japan, ("G001", "G039", "I001", "J089", "S106", "USUD"))),
    RecordTask("extensometers Houston", read_houston),
    RecordTask("satellite point Lamosano", read_lamosano),
    RecordTask("rain Mukilteo", read_mukilteo_rain),
    RecordTask("Outang 2017", read_outang),
    RecordTask("Baijiabao 2018", read_baijiabao),
    RecordTask("Bazimen 2009-2012", read_bazimen),
    RecordTask("glacier Bowdoin", read_glacier),
)


def list_measured() -> list[RecordTask]:
    """Return the measured records."""
    return list(_MEASURED)


def list_simulated(seeds: int) -> list[RecordTask]:
    """Return every curve at every interval; at hourly interval, which takes longest, with the first seed only."""
    tasks = []
    for sampling in SAMPLINGS:
        for seed in range(1 if sampling.name == "hourly" else seeds):
            for curve in FAILING_CURVES:
                name = f"{curve.name}, {sampling.name}, seed {seed}"
                tasks.append(RecordTask(name, partial(simulate_failure, curve, sampling, seed)))
            for stable in STABLE_CURVES:
                name = f"{stable}, {sampling.name}, seed {seed}"
                tasks.append(RecordTask(name, partial(simulate_stable, stable, sampling, seed)))
    return tasks


QUICK: Final = frozenset({"Baijiabao 2018", "Vajont-like, daily, seed 0", "Vajont-like, monthly, seed 0"})


def list_quick() -> list[RecordTask]:
    """Return one record of each kind that is replayed within seconds."""
    return [task for task in (*list_measured(), *list_simulated(1)) if task.name in QUICK]
