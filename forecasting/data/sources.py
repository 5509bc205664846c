"""Read measured records (long or wide tables, GNSS solutions, satellite points) as a recipe in TOML describes them."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from forecasting.data.bounds import DAMAGED, check_size, read_part
from forecasting.data.cadence import USUAL_HORIZONS_S
from forecasting.data.covariates import Covariate, covariates_from_samples, rows_from_covariates
from forecasting.data.kinds import find_kind
from forecasting.data.rain_forecasts import lay_outlooks, outlooks_from_samples
from forecasting.data.series import (
    DAY_S,
    Floats,
    Panel,
    Samples,
    find_step,
    panel_from_samples,
    read_long_samples,
    read_sound_rows,
    read_table,
    split_by_interval,
)
from forecasting.errors import ForecastingError, RecipeError
from forecasting.hydrology.undeclared_rain import count_undeclared
from forecasting.training_settings import check_setting

BENCHMARKS = ("S", "SK", "G", "K")
FORMATS = ("long", "wide", "solution", "points")


@dataclass(frozen=True, slots=True)
class RecordRecipe:
    """How to read a record and how to score forecasts of it.

    Attributes:
        data: Table `[data]` of the file, with keys of `DATA_KEYS`.
        run: Table `[backtest]` of the file, with keys of `RUN_KEYS`.
        name: Name of the file, for messages.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    name: str = "recipe"


@dataclass(frozen=True, slots=True)
class Record:
    """Displacement and its drivers on one grid."""

    panel: Panel
    covariates: tuple[Covariate, ...] = ()


# Keys of the table `[data]`, by the value of its key `format`.
DATA_KEYS = {
    "long": {"file", "format", "quantity", "step_s"},
    "wide": {"file", "format", "time", "displacement", "drivers", "step_s", "day_of_month"},
    "solution": {"file", "format", "files", "azimuth_deg", "clock_ahead_s", "step_s"},
    "points": {"file", "format", "every", "rows", "step_s"},
}
# Keys of the table `[backtest]`.
RUN_KEYS = {"horizons", "models", "folds", "last", "seed", "window", "covariates", "settings"}

# Types of a value, and the words for them in messages.
_TEXT: tuple[tuple[type, ...], str] = ((str,), "text")
_NUMBER: tuple[tuple[type, ...], str] = ((int, float), "a number")
_COUNT: tuple[tuple[type, ...], str] = ((int,), "a whole number")
_TABLE: tuple[tuple[type, ...], str] = ((dict,), "a table of station = column or file")
_LIST: tuple[tuple[type, ...], str] = ((list, str), "a list")
# Types of the values, by key. All other values are text.
TYPES = {
    "step_s": _NUMBER,
    "azimuth_deg": _NUMBER,
    "clock_ahead_s": _NUMBER,
    "every": _COUNT,
    "day_of_month": _COUNT,
    "folds": _COUNT,
    "last": _COUNT,
    "seed": _COUNT,
    "window": _COUNT,
    "displacement": _TABLE,
    "drivers": _TABLE,
    "files": _TABLE,
    "horizons": ((list,), "a list of durations"),
    "models": _LIST,
    "covariates": ((list,), "a list of drivers"),
    "settings": ((dict,), "a table such as {hidden = 64, learning_rate = 0.001}"),
}


def read_recipe(path: Path) -> RecordRecipe:
    """Read a recipe.

    Raises:
        RecipeError: The file cannot be read, or a key or the type of a value is wrong. The message names what is
            expected.
    """
    try:
        document = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from error
    unknown = set(document) - {"data", "backtest"}
    if unknown:
        raise RecipeError(f"{path}: {min(unknown)}: expected [data] and [backtest]")
    data = dict(document.get("data", {}))
    run = dict(document.get("backtest", {}))
    kind = data.get("format", "long")
    if kind not in FORMATS:
        raise RecipeError(f"{path}: data.format: expected one of {', '.join(FORMATS)}")
    for name, table, keys in (("data", data, DATA_KEYS[kind]), ("backtest", run, RUN_KEYS)):
        for key, value in table.items():
            if key not in keys:
                raise RecipeError(f"{path}: {name}.{key}: expected one of {', '.join(sorted(keys))}")
            types, words = TYPES.get(key, _TEXT)
            if not isinstance(value, types) or isinstance(value, bool):
                raise RecipeError(f"{path}: {name}.{key}: expected {words}")
    for name, value in run.get("settings", {}).items():
        try:
            check_setting(name, value)
        except ForecastingError as error:
            raise RecipeError(f"{path}: backtest.settings: {error}") from error
    return RecordRecipe(data, run, str(path))


def find_data_root() -> Path:
    """Return the folder that the environment variable `SLOPEWARD_DATA` names, or the default folder of a checkout."""
    return Path(os.environ.get("SLOPEWARD_DATA", "../shared/data"))


def find_file(name: str | Path) -> Path:
    """Return an existing path: as given, below the data root (`SLOPEWARD_DATA`), or of a benchmark (S, SK, G, K).

    Raises:
        RecipeError: There is no such file.
    """
    root = find_data_root()
    candidates = [Path(name), root / name, root / "timeseries" / name]
    if str(name) in BENCHMARKS:
        candidates = [root / "timeseries" / "benchmarks" / f"{name}.csv"]
    for path in candidates:
        if path.exists():
            return path
    raise RecipeError(f"{name}: no such file (also looked below {root}; set SLOPEWARD_DATA)")


def read_record(data: str | Path | None, recipe: RecordRecipe, *, quantity: str | None = None) -> Record:
    """Read a record on one grid. The arguments are those of `read_records`."""
    return read_records(data, recipe, quantity=quantity, apart=False)[0]


def read_records(
    data: str | Path | None,
    recipe: RecordRecipe,
    *,
    quantity: str | None = None,
    apart: bool = True,
    horizons_s: Sequence[float] = USUAL_HORIZONS_S,
) -> list[Record]:
    """Read a record. Stations with different intervals are returned as several records.

    Args:
        data: File, folder or benchmark; None for the `data.file` of the recipe.
        recipe: How to read it.
        quantity: The quantity of displacement in a long table; replaces that of the recipe.
        apart: Whether stations with different intervals have grids of their own. If the recipe has a `step_s`, all
            stations share a grid.
        horizons_s: Horizons of the forecasts. Stations share a grid only if the same horizons reach their next
        readings.

    Raises:
        RecipeError: The file does not exist or does not have the form that the recipe states.
        PanelError: The table cannot be read.
    """
    name = recipe.data.get("file") if data is None else data
    if name is None:
        raise RecipeError(f"{recipe.name}: data.file: name a file here or by --data")
    path = find_file(name)
    kind = recipe.data.get("format", "long")
    if path.is_dir() and kind != "solution":
        raise RecipeError(f"{path}: is a folder, expected a file")
    drivers: Samples = {}
    samples: Samples
    if kind == "long":
        wanted = quantity or recipe.data.get("quantity")
        samples = read_long_samples(path, quantity=wanted)
        drivers = _read_long_drivers(path, wanted)
    elif kind == "wide":
        samples, drivers = _read_wide(path, recipe)
    elif kind == "solution":
        samples = _read_solutions(path, recipe)
    else:
        samples = _read_points(path, recipe)
    step_s = recipe.data.get("step_s")
    parts = split_by_interval(samples, horizons_s) if apart and step_s is None else []
    if len(parts) > 1:
        # in a table, the column of a slower station has empty cells
        parts = [({name: _drop_empty(*pair) for name, pair in part.items()}, part_s) for part, part_s in parts]
    else:
        parts = [(samples, find_step(samples, path) if step_s is None else float(step_s))]
    return [_with_drivers(panel_from_samples(*part), drivers) for part in parts]


def _read_long_drivers(path: Path, wanted: str | None) -> Samples:
    """Return the series of a long table that are neither displacement nor the wanted quantity."""
    import pandas as pd

    frame = read_sound_rows(path)
    frame = frame[frame["quantity"].notna() & ~frame["quantity"].fillna("").str.startswith("displacement")]
    drivers: Samples = {}
    for (station, quantity), rows in frame[frame["quantity"] != wanted].groupby(["station", "quantity"]):
        instants = pd.to_datetime(rows["time"], utc=True, format="ISO8601")
        times_s = ((instants - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(float)
        drivers[f"{station}.{quantity}"] = (times_s, pd.to_numeric(rows["value"], errors="coerce").to_numpy(float))
    return drivers


def _count_rain(times: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    """Return the rain of a gauge, whatever its kind, as instants and amounts."""
    times_s, readings = _drop_empty(times, values)
    order = np.argsort(times_s, kind="stable")
    rows = count_undeclared(list(zip(times_s[order].tolist(), readings[order].tolist(), strict=True)))
    return np.array([at_s for at_s, _ in rows]), np.array([mm for _, mm in rows])


def _drop_empty(times: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    numbers = np.asarray(values, dtype=float)
    finite = np.isfinite(numbers)
    return np.asarray(times, dtype=float)[finite], numbers[finite]


def _with_drivers(panel: Panel, samples: Samples) -> Record:
    measured, outlooks = outlooks_from_samples(samples)
    measured = {
        name: _count_rain(*series) if find_kind(name) == "rain" else series for name, series in measured.items()
    }
    covariates = (*covariates_from_samples(measured, panel), *lay_outlooks(outlooks, panel))
    return Record(replace(panel, drivers=rows_from_covariates(covariates, panel.step_s)), covariates)


def _read_wide(path: Path, recipe: RecordRecipe) -> tuple[Samples, Samples]:
    import pandas as pd

    try:
        time = str(recipe.data["time"])
        displacement = dict(recipe.data["displacement"])
    except (KeyError, TypeError, ValueError) as error:
        raise RecipeError(f"{recipe.name}: a wide table needs data.time and [data.displacement]") from error
    columns = {**displacement, **dict(recipe.data.get("drivers", {}))}
    if path.suffix == ".xlsx":
        from forecasting.data.workbook import read_day_zero, read_sheet

        frame = read_sheet(path)
        day_zero = read_day_zero(path)
    else:
        frame = read_table(path, encoding="utf-8-sig")
        day_zero = "1899-12-30"
    for column in (time, *columns.values()):
        if column not in frame.columns:
            raise RecipeError(f"{path}: there is no column {column!r}; there are {', '.join(map(str, frame.columns))}")
        if (frame.columns == column).sum() > 1:
            raise RecipeError(f"{path}: two columns are named {column!r}; rename one of them")
    if pd.api.types.is_numeric_dtype(frame[time]):
        # day numbers of a spreadsheet
        instants = pd.Timestamp(day_zero, tz="UTC") + pd.to_timedelta(frame[time], unit="D")
    else:
        instants = pd.to_datetime(frame[time], utc=True, errors="coerce")
    seconds = ((instants - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(float)
    samples = {
        name: (seconds, pd.to_numeric(frame[column], errors="coerce").to_numpy(float))
        for name, column in columns.items()
    }
    # `day_of_month` selects readings of displacement only: the rain of all days counts
    day = recipe.data.get("day_of_month")
    is_used = np.ones(seconds.size, dtype=bool) if day is None else (instants.dt.day == int(day)).to_numpy()
    stations = {
        name: (seconds[is_used], values[is_used]) for name, (_, values) in samples.items() if name in displacement
    }
    return stations, {name: series for name, series in samples.items() if name not in displacement}


def _read_solutions(path: Path, recipe: RecordRecipe) -> Samples:
    azimuth = np.radians(float(recipe.data.get("azimuth_deg", 0.0)))
    clock_ahead_s = float(recipe.data.get("clock_ahead_s", 0.0))
    samples: Samples = {}
    for station, name in dict(recipe.data.get("files", {})).items():
        times_s: list[float] = []
        latitudes: list[float] = []
        longitudes: list[float] = []
        for words in _iter_solution_lines(path / str(name)):
            instant = np.datetime64(f"{words[0].replace('/', '-')}T{words[1]}")
            times_s.append(float((instant - np.datetime64(0, "s")) / np.timedelta64(1, "s")) - clock_ahead_s)
            latitudes.append(float(words[2]))
            longitudes.append(float(words[3]))
        if not times_s:
            raise RecipeError(f"{path / str(name)}: contains no solution line")
        samples[station] = (
            np.array(times_s),
            _project(np.array(latitudes), np.array(longitudes), float(azimuth)),
        )
    if not samples:
        raise RecipeError(f"{recipe.name}: data.files: name one file per station")
    return samples


def _iter_solution_lines(path: Path) -> Iterator[Sequence[str]]:
    """Yield the words of each line of a solution file: date, time, latitude, longitude and others."""
    existing = find_file(path)
    check_size(existing)
    for line in existing.read_text().splitlines():
        words = line.split()
        if len(words) >= 5 and re.fullmatch(r"\d{4}/\d\d/\d\d", words[0]):
            yield words


def _project(latitudes: Floats, longitudes: Floats, azimuth: float) -> Floats:
    """Return displacement since the first point along an azimuth, mm, on the WGS 84 ellipsoid.

    Args:
        latitudes: Degrees, shape (n,).
        longitudes: Degrees, shape (n,).
        azimuth: Radians from north.
    """
    phi = np.radians(latitudes[0])
    curvature = 1.0 - 0.00669437999014 * np.sin(phi) ** 2
    meridian_radius_m = 6378137.0 * (1 - 0.00669437999014) / curvature**1.5
    normal_radius_m = 6378137.0 / np.sqrt(curvature)
    north_m = np.radians(latitudes - latitudes[0]) * meridian_radius_m
    east_m = np.radians(longitudes - longitudes[0]) * normal_radius_m * np.cos(phi)
    displacement_mm: Floats = 1000.0 * (north_m * np.cos(azimuth) + east_m * np.sin(azimuth))
    return displacement_mm


def _read_points(path: Path, recipe: RecordRecipe) -> Samples:
    import pandas as pd

    frame = read_table(_open_table(path), name=str(path), dtype={"pid": str})
    dates = [column for column in frame.columns if re.fullmatch(r"\d{8}", str(column))]
    if not dates or "pid" not in frame.columns:
        raise RecipeError(f"{path}: expected a column pid and one column per date (YYYYMMDD)")
    instants = pd.to_datetime(dates, format="%Y%m%d", utc=True)
    seconds = ((instants - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(float)
    if recipe.data.get("rows", "grid") == "acquisitions":
        seconds = seconds[0] + float(recipe.data.get("step_s", 6 * DAY_S)) * np.arange(len(dates))
    selected = frame.iloc[:: max(1, int(recipe.data.get("every", 1)))]
    values = selected[dates].to_numpy(float)
    return {name: (seconds, row) for name, row in zip(selected["pid"], values, strict=True)}


def _open_table(path: Path) -> Any:
    """Return a table as a path, or the only table of a zip as a file in memory."""
    if path.suffix != ".zip":
        return path
    import io
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            tables = [name for name in archive.namelist() if name.endswith(".csv")]
            if len(tables) != 1:
                raise RecipeError(f"{path}: expected one .csv inside, found {len(tables)}")
            return io.BytesIO(read_part(archive, tables[0]))
    except DAMAGED as error:
        raise RecipeError(f"{path}: no archive that can be read: {error}") from error
