"""Reads measured records as they come (long or wide tables, GNSS solutions, satellite points) by a recipe in TOML."""

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
from forecasting.errors import RecipeError
from forecasting.hydrology.undeclared_rain import count_undeclared

BENCHMARKS = ("S", "SK", "G", "K")
FORMATS = ("long", "wide", "solution", "points")


@dataclass(frozen=True, slots=True)
class RecordRecipe:
    """What a configuration file says about a record and how to score it."""

    data: Mapping[str, Any] = field(default_factory=dict)  # the table `[data]`
    # the table `[backtest]`: `horizons`, `models`, `folds`, `last`, `seed`, `window`, `covariates`
    run: Mapping[str, Any] = field(default_factory=dict)
    name: str = "recipe"  # the file, for messages


@dataclass(frozen=True, slots=True)
class Record:
    """Displacement and what may drive it, on one grid."""

    panel: Panel
    covariates: tuple[Covariate, ...] = ()


DATA_KEYS = {
    "long": {"file", "format", "quantity", "step_s"},
    "wide": {"file", "format", "time", "displacement", "drivers", "step_s", "day_of_month"},
    "solution": {"file", "format", "files", "azimuth_deg", "clock_ahead_s", "step_s"},
    "points": {"file", "format", "every", "rows", "step_s"},
}
RUN_KEYS = {"horizons", "models", "folds", "last", "seed", "window", "covariates"}


_TEXT: tuple[tuple[type, ...], str] = ((str,), "text")
_NUMBER: tuple[tuple[type, ...], str] = ((int, float), "a number")
_COUNT: tuple[tuple[type, ...], str] = ((int,), "a whole number")
_TABLE: tuple[tuple[type, ...], str] = ((dict,), "a table of station = column or file")
_LIST: tuple[tuple[type, ...], str] = ((list, str), "a list")
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
}


def read_recipe(path: Path) -> RecordRecipe:
    """Read a recipe; unknown keys are refused with what was expected."""
    try:
        text = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: {error}") from error
    unknown = set(text) - {"data", "backtest"}
    if unknown:
        raise RecipeError(f"{path}: {min(unknown)}: expected [data] and [backtest]")
    data, run = dict(text.get("data", {})), dict(text.get("backtest", {}))
    kind = data.get("format", "long")
    if kind not in FORMATS:
        raise RecipeError(f"{path}: data.format: expected one of {', '.join(FORMATS)}")
    for table, given, known in (("data", data, DATA_KEYS[kind]), ("backtest", run, RUN_KEYS)):
        for key in given:
            if key not in known:
                raise RecipeError(f"{path}: {table}.{key}: expected one of {', '.join(sorted(known))}")
            kinds, words = TYPES.get(key, _TEXT)
            if not isinstance(given[key], kinds) or isinstance(given[key], bool):
                raise RecipeError(f"{path}: {table}.{key}: expected {words}")
    return RecordRecipe(data, run, str(path))


def find_file(name: str | Path) -> Path:
    """A path as given, below the data root, or the file of a benchmark (S, SK, G, K)."""
    root = Path(os.environ.get("SLOPEWARD_DATA", "../shared/data"))
    tries = [Path(name), root / name, root / "timeseries" / name]
    if str(name) in BENCHMARKS:
        tries = [root / "timeseries" / "benchmarks" / f"{name}.csv"]
    for path in tries:
        if path.exists():
            return path
    raise RecipeError(f"{name}: no such file (also looked below {root}; set SLOPEWARD_DATA)")


def read_record(data: str | Path | None, recipe: RecordRecipe, *, quantity: str | None = None) -> Record:
    """The record that `--data` and `--config` name together, on one grid; see `read_records`."""
    return read_records(data, recipe, quantity=quantity, apart=False)[0]


def read_records(
    data: str | Path | None,
    recipe: RecordRecipe,
    *,
    quantity: str | None = None,
    apart: bool = True,
    horizons_s: Sequence[float] = USUAL_HORIZONS_S,
) -> list[Record]:
    """The record that `--data` and `--config` name together, a part of it for each cadence of its stations.

    Args:
        data: File, folder or benchmark; None takes `data.file` of the recipe.
        apart: Whether stations of other intervals are on grids of their own; where the recipe names a step none is.
        horizons_s: That are asked for: stations share a grid where the same ones make sense for them.
    """
    name = recipe.data.get("file") if data is None else data
    if name is None:
        raise RecipeError(f"{recipe.name}: data.file: name a file here or by --data")
    path = find_file(name)
    kind = recipe.data.get("format", "long")
    if path.is_dir() and kind != "solution":
        raise RecipeError(f"{path}: is a folder, expected a file")
    drivers: Samples = {}
    if kind == "long":
        wanted = quantity or recipe.data.get("quantity")
        samples: Samples = read_long_samples(path, quantity=wanted)
        import pandas as pd

        frame = read_sound_rows(path)
        frame = frame[frame["quantity"].notna() & ~frame["quantity"].fillna("").str.startswith("displacement")]
        out: Samples = {}
        for (station, driver), rows in frame[frame["quantity"] != wanted].groupby(["station", "quantity"]):
            at = pd.to_datetime(rows["time"], utc=True, format="ISO8601")
            seconds = ((at - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(float)
            out[f"{station}.{driver}"] = (seconds, pd.to_numeric(rows["value"], errors="coerce").to_numpy(float))
        drivers = out
    elif kind == "wide":
        samples, drivers = _read_wide(path, recipe)
    elif kind == "solution":
        samples = _read_solutions(path, recipe)
    else:
        samples = _read_points(path, recipe)
    step_s = recipe.data.get("step_s")
    parts = split_by_interval(samples, horizons_s) if apart and step_s is None else []
    if len(parts) > 1:  # a column of a table is as long as the others, whatever its own interval
        parts = [({name: _drop_empty(*pair) for name, pair in part.items()}, own_s) for part, own_s in parts]
    else:
        parts = [(samples, find_step(samples, path) if step_s is None else float(step_s))]
    return [_with_drivers(panel_from_samples(*part), drivers) for part in parts]


def _count_rain(times: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    at, kept = _drop_empty(times, values)
    order = np.argsort(at, kind="stable")
    rows = count_undeclared(list(zip(at[order].tolist(), kept[order].tolist(), strict=True)))
    return np.array([t for t, _ in rows]), np.array([mm for _, mm in rows])


def _drop_empty(times: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    numbers = np.asarray(values, dtype=float)
    finite = np.isfinite(numbers)
    return np.asarray(times, dtype=float)[finite], numbers[finite]


def _with_drivers(panel: Panel, samples: Samples) -> Record:
    measured, outlooks = outlooks_from_samples(samples)
    measured = {name: _count_rain(*one) if find_kind(name) == "rain" else one for name, one in measured.items()}
    covariates = (*covariates_from_samples(measured, panel), *lay_outlooks(outlooks, panel))
    return Record(replace(panel, drivers=rows_from_covariates(covariates, panel.step_s)), covariates)


def _read_wide(path: Path, recipe: RecordRecipe) -> tuple[Samples, Samples]:
    import pandas as pd

    try:
        time, moved = str(recipe.data["time"]), dict(recipe.data["displacement"])
    except (KeyError, TypeError, ValueError) as error:
        raise RecipeError(f"{recipe.name}: a wide table needs data.time and [data.displacement]") from error
    columns = {**moved, **dict(recipe.data.get("drivers", {}))}
    if path.suffix == ".xlsx":
        from forecasting.data.workbook import read_day_zero, read_sheet

        frame, day_zero = read_sheet(path), read_day_zero(path)
    else:
        frame, day_zero = read_table(path, encoding="utf-8-sig"), "1899-12-30"
    for column in (time, *columns.values()):
        if column not in frame.columns:
            raise RecipeError(f"{path}: there is no column {column!r}; there are {', '.join(map(str, frame.columns))}")
        if (frame.columns == column).sum() > 1:
            raise RecipeError(f"{path}: two columns are named {column!r}; rename one of them")
    if pd.api.types.is_numeric_dtype(frame[time]):
        # days as a spreadsheet counts them
        instants = pd.Timestamp(day_zero, tz="UTC") + pd.to_timedelta(frame[time], unit="D")
    else:
        instants = pd.to_datetime(frame[time], utc=True, errors="coerce")
    seconds = ((instants - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(float)
    every = {
        name: (seconds, pd.to_numeric(frame[column], errors="coerce").to_numpy(float))
        for name, column in columns.items()
    }
    # readings of one day a month; what fell and stood on the other days still counts
    day = recipe.data.get("day_of_month")
    use = np.ones(seconds.size, dtype=bool) if day is None else (instants.dt.day == int(day)).to_numpy()
    points = {name: (seconds[use], values[use]) for name, (_, values) in every.items() if name in moved}
    return points, {name: pair for name, pair in every.items() if name not in moved}


def _read_solutions(path: Path, recipe: RecordRecipe) -> Samples:
    azimuth = np.radians(float(recipe.data.get("azimuth_deg", 0.0)))
    ahead = float(recipe.data.get("clock_ahead_s", 0.0))
    out: Samples = {}
    for station, name in dict(recipe.data.get("files", {})).items():
        times, north, east = [], [], []
        for words in _solution_lines(path / str(name)):
            stamp = np.datetime64(f"{words[0].replace('/', '-')}T{words[1]}")
            times.append(float((stamp - np.datetime64(0, "s")) / np.timedelta64(1, "s")) - ahead)
            north.append(float(words[2]))
            east.append(float(words[3]))
        if not times:
            raise RecipeError(f"{path / str(name)}: holds no solution line")
        out[station] = (np.array(times), _along(np.array(north), np.array(east), float(azimuth)))
    if not out:
        raise RecipeError(f"{recipe.name}: data.files: name one file per station")
    return out


def _solution_lines(path: Path) -> Iterator[Sequence[str]]:
    found = find_file(path)
    check_size(found)
    for line in found.read_text().splitlines():
        words = line.split()
        if len(words) >= 5 and re.fullmatch(r"\d{4}/\d\d/\d\d", words[0]):
            yield words


def _along(latitude: Floats, longitude: Floats, azimuth: float) -> Floats:
    """Metres on the WGS 84 ellipsoid about the first point, as mm along an azimuth."""
    phi = np.radians(latitude[0])
    bend = 1.0 - 0.00669437999014 * np.sin(phi) ** 2
    meridian, normal = 6378137.0 * (1 - 0.00669437999014) / bend**1.5, 6378137.0 / np.sqrt(bend)
    north = np.radians(latitude - latitude[0]) * meridian
    east = np.radians(longitude - longitude[0]) * normal * np.cos(phi)
    moved: Floats = 1000.0 * (north * np.cos(azimuth) + east * np.sin(azimuth))
    return moved


def _read_points(path: Path, recipe: RecordRecipe) -> Samples:
    import pandas as pd

    frame = read_table(_member(path), name=str(path), dtype={"pid": str})
    dates = [c for c in frame.columns if re.fullmatch(r"\d{8}", str(c))]
    if not dates or "pid" not in frame.columns:
        raise RecipeError(f"{path}: expected a column pid and one column per date (YYYYMMDD)")
    instants = pd.to_datetime(dates, format="%Y%m%d", utc=True)
    seconds = ((instants - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(float)
    if recipe.data.get("rows", "grid") == "acquisitions":
        seconds = seconds[0] + float(recipe.data.get("step_s", 6 * DAY_S)) * np.arange(len(dates))
    chosen = frame.iloc[:: max(1, int(recipe.data.get("every", 1)))]
    values = chosen[dates].to_numpy(float)
    return {name: (seconds, row) for name, row in zip(chosen["pid"], values, strict=True)}


def _member(path: Path) -> Any:
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
