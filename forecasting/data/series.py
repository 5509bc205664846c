"""The regular panel that every model reads: stations on one UTC grid. Gaps stay gaps.

Conventions of the package `forecasting`, unless a docstring states otherwise:

* Panel: `values` are in `Panel.unit`, shape (T, S), NaN without an observation. The last row is the one nearest to the
  moment of issue.
* `origins` are row numbers, shape (N,). `steps` and `longest` are horizons in rows, `horizons_s` in seconds.
* Fans: the quantiles .025, .1, .5, .9 and .975 on the last axis. Fans of every row at H horizons have shape
  (T, S, H, 5), fans of some origins at one horizon have shape (N, S, 5).
* One series: `times_s` are ascending epoch seconds, `values` are in any unit, and `sigmas` are standard deviations, 0
  if unknown, each of shape (n,). Velocities are per day.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forecasting.data.bounds import check_size
from forecasting.data.cadence import USUAL_HORIZONS_S, list_cadences
from forecasting.data.kinds import LENGTHS, read_scale
from forecasting.errors import HorizonError, PanelError

if TYPE_CHECKING:
    import pandas as pd

    from forecasting.data.driver_rows import DriverRows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Samples = dict[str, tuple[ArrayLike, ArrayLike]]  # times in epoch seconds and values, by station

DAY_S = 86_400.0
MONTH_S = 365.25 / 12 * DAY_S
# Columns of a long table that contain text.
LONG_TEXT: Final = dict.fromkeys(("station", "quantity", "time", "observed_at", "flags"), str)
# Intervals of stations that differ by a smaller factor are one interval with missing readings.
SAME: Final = 1.5
# Flags of exported readings that count, as in the service. Readings with any other flag are left out.
HARMLESS: Final = frozenset({"late", "backfill", "replayed", "revised", "resent", "step_confirmed"})


@dataclass(frozen=True, slots=True)
class Panel:
    """One quantity of several stations on a regular grid, usually displacement."""

    start_s: float  # instant of the first row, epoch seconds UTC
    step_s: float  # interval between rows, seconds
    stations: tuple[str, ...]  # names, sorted, one per column
    values: Floats  # shape (T, S), NaN without an observation; the zero of displacement is arbitrary
    xy_m: Floats | None = None  # plan coordinates in metres, shape (S, 2); None if unknown
    drivers: "DriverRows | None" = None  # drivers of the slope on the same rows
    unit: str = "mm"  # of all values; only a panel in mm is motion

    def __post_init__(self) -> None:
        """Raise PanelError if shapes do not fit or a number is infinite."""
        if not (np.isfinite(self.step_s) and self.step_s > 0) or not np.isfinite(self.start_s):
            raise PanelError("panel: start_s must be finite and step_s positive")
        if self.values.ndim != 2 or self.values.shape[1] != len(self.stations) or not self.stations:
            raise PanelError(f"panel: values of shape {self.values.shape} do not fit {len(self.stations)} stations")
        if len(set(self.stations)) != len(self.stations):
            raise PanelError("panel: a station name occurs twice")
        if np.isinf(self.values).any():
            raise PanelError("panel: values must be finite or NaN")
        if self.xy_m is not None and self.xy_m.shape != (len(self.stations), 2):
            raise PanelError(f"panel: xy_m of shape {self.xy_m.shape} does not fit {len(self.stations)} stations")
        if self.drivers is not None and self.drivers.rows != self.values.shape[0]:
            raise PanelError(f"panel: {self.drivers.rows} rows of drivers, {self.values.shape[0]} of values")
        properties = None if self.drivers is None else self.drivers.properties
        if properties is not None and properties.shape[0] != len(self.stations):
            raise PanelError(
                f"panel: properties of {properties.shape[0]} stations do not fit {len(self.stations)} stations"
            )

    @property
    def times_s(self) -> Floats:
        """Instants of the rows, epoch seconds, shape (T,)."""
        return self.start_s + self.step_s * np.arange(self.values.shape[0], dtype=np.float64)

    @property
    def end_s(self) -> float:
        """Instant of the last row, epoch seconds."""
        return self.start_s + self.step_s * float(self.values.shape[0] - 1)

    def steps(self, horizon_s: float) -> int:
        """Return how many rows a horizon spans.

        Raises:
            HorizonError: The horizon is shorter than half a row.
        """
        count = round(horizon_s / self.step_s)
        if count < 1:
            raise HorizonError(f"a horizon of {horizon_s:g} s is shorter than the sampling interval {self.step_s:g} s")
        return count

    def head(self, rows: int) -> "Panel":
        """Return the panel as it was known after its first `rows` rows."""
        drivers = None if self.drivers is None else self.drivers.head(rows)
        return replace(self, values=self.values[:rows], drivers=drivers)


def panel_from_samples(
    samples: Mapping[str, tuple[ArrayLike, ArrayLike]],
    step_s: float,
    *,
    end_s: float | None = None,
    xy_m: Mapping[str, Sequence[float]] | None = None,
    unit: str = "mm",
) -> Panel:
    """Return irregular samples on a regular grid.

    A cell is the mean of the samples within half a step of its instant, and NaN without a sample. Nothing is
    interpolated. Of several samples with the same time, the last counts (the newest revision).

    Args:
        samples: Station to (times in epoch seconds, values in `unit`), in any order.
        step_s: Length of a cell.
        end_s: Last instant that the grid must reach (the moment of issue); default is the newest sample.
        xy_m: Plan coordinates in metres by station; used only if every station has them.
        unit: Unit of the values.

    Raises:
        PanelError: There is no finite sample, or a sample is newer than `end_s`.
    """
    if not step_s > 0:
        raise PanelError("panel: step_s must be positive")
    stations = tuple(sorted(samples))
    cleaned = {name: _clean(name, *samples[name]) for name in stations}
    times_by_station = [times for times, _ in cleaned.values() if times.size]
    if not times_by_station:
        raise PanelError("panel: there is no finite sample")
    all_times = np.concatenate(times_by_station)
    first = float(all_times.min())
    # The grid has the phase of the samples, so that a jitter of a few minutes does not move a sample to another cell.
    phase = float(np.median(np.mod(all_times - first + step_s / 2, step_s) - step_s / 2))
    start = first + phase
    last = float(all_times.max()) if end_s is None else max(float(all_times.max()), end_s)
    rows = int(np.floor((last - start) / step_s + 0.5)) + 1
    offset = int(np.floor((first - start) / step_s + 0.5))
    start += offset * step_s
    rows -= offset
    if end_s is not None and start + (rows - 1) * step_s > end_s + step_s / 2:
        raise PanelError("panel: a sample is newer than the moment of issue")
    values = np.full((rows, len(stations)), np.nan)
    for column, name in enumerate(stations):
        times, readings = cleaned[name]
        cells = np.floor((times - start) / step_s + 0.5).astype(np.int64)
        counts = np.bincount(cells, minlength=rows)[:rows]
        sums = np.bincount(cells, weights=readings, minlength=rows)[:rows]
        is_observed = counts > 0
        values[is_observed, column] = sums[is_observed] / counts[is_observed]
    coordinates = None
    if xy_m is not None and all(name in xy_m for name in stations):
        coordinates = np.array([list(xy_m[name]) for name in stations], dtype=np.float64)
    return Panel(start, float(step_s), stations, values, coordinates, unit=unit)


def read_long_csv(
    path: str | Path, *, quantity: str | None = None, step_s: float | None = None, name: str | None = None
) -> Panel:
    """Read displacement from a long CSV `time,station,quantity,value`, with a header. Other columns are ignored.

    The output of `slopeward export SITE observations` has this form. Readings with a flag that is not in `HARMLESS` are
    left out. The unit of the values is that of a column `unit`, or else of the suffix of the quantity
    (`displacement_m`). The panel is in mm.

    Args:
        quantity: The quantity to read; default is the only one whose name starts with `displacement`.
        step_s: Length of a cell; default is the usual interval of the series.
        name: Name of the file in messages; default is its path.

    Raises:
        PanelError: The file is no such table, or there are several quantities of displacement.
    """
    samples = read_long_samples(path, quantity=quantity, name=name)
    return panel_from_samples(samples, find_step(samples, name or path) if step_s is None else step_s)


def find_step(samples: Samples, name: str | Path) -> float:
    """Return the usual interval of several series, seconds."""
    gaps = np.concatenate([np.diff(np.unique(np.asarray(times, dtype=float))) for times, _ in samples.values()])
    if not gaps.size:
        raise PanelError(f"{name}: one sample per station gives no interval")
    return nominal_step(gaps)


def split_by_interval(samples: Samples, horizons_s: Sequence[float] = USUAL_HORIZONS_S) -> list[tuple[Samples, float]]:
    """Return the groups of stations that share a grid, with the step of each, the shortest first (`list_cadences`).

    A station with one sample has no interval and is added to the largest group.

    >>> hours, days = range(0, 864000, 3600), range(0, 864000, 86400)
    >>> parts = split_by_interval({"A": (hours, hours), "B": (days, days), "C": (hours, hours), "D": ([0], [1])})
    >>> [(list(part), step_s) for part, step_s in parts]
    [(['A', 'C', 'D'], 3600.0), (['B'], 86400.0)]
    """
    gaps_s = {}
    for name, (times, values) in samples.items():
        finite = np.isfinite(np.asarray(values, dtype=float))
        gaps_s[name] = np.diff(np.unique(np.asarray(times, dtype=float)[finite]))
    intervals_s = {name: nominal_step(gaps) for name, gaps in gaps_s.items() if gaps.size}
    cadences = list_cadences(intervals_s, horizons_s)
    if not cadences:
        raise PanelError("one sample per station gives no interval")
    largest = max(cadences, key=lambda cadence: len(cadence.names))
    parts = []
    for cadence in cadences:
        names = [*cadence.names, *(samples.keys() - intervals_s if cadence is largest else ())]
        # The step is the usual gap of the slowest stations, so that one long pause of a station does not change it.
        slowest = [gaps_s[name] for name in cadence.names if intervals_s[name] * SAME > cadence.interval_s]
        parts.append(({name: samples[name] for name in sorted(names)}, nominal_step(np.concatenate(slowest))))
    return parts


def read_long_samples(path: str | Path, *, quantity: str | None = None, name: str | None = None) -> Samples:
    """Return times in epoch seconds and displacement in mm by station. The arguments are those of `read_long_csv`."""
    import pandas as pd

    called = name or path
    frame = read_sound_rows(path, name)
    missing = {"time", "station", "quantity", "value"} - set(frame.columns)
    if missing:
        raise PanelError(f"{called}: column {min(missing)} is missing")
    if quantity is None:
        names = sorted(name for name in frame["quantity"].dropna().unique() if name.startswith("displacement"))
        if len(names) != 1:
            raise PanelError(f"{called}: name one quantity, displacement columns found: {', '.join(names) or 'none'}")
        quantity = names[0]
    frame = frame[frame["quantity"] == quantity]
    if frame.empty:
        raise PanelError(f"{called}: no row has quantity {quantity}")
    if not frame["time"].str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True, na=False).all():
        raise PanelError(f"{called}: every time needs a zone, such as Z")
    try:
        instants = pd.to_datetime(frame["time"], utc=True, format="ISO8601")
    except ValueError as error:
        raise PanelError(f"{called}: a time cannot be read: {str(error).splitlines()[0]}") from error
    seconds = (instants - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    samples: Samples = {}
    numbers = pd.to_numeric(frame["value"], errors="coerce") * read_scales(frame, quantity)
    for station, rows in frame.groupby("station").groups.items():
        samples[str(station)] = (seconds.loc[rows].to_numpy(float), numbers.loc[rows].to_numpy(float))
    return samples


def read_scales(rows: "pd.DataFrame", quantity: str) -> Any:
    """Return how many millimetres one unit of each row of a displacement is.

    The unit is that of the column `unit`, or else of the suffix of the quantity.

    Raises:
        PanelError: A unit is no unit of length.
    """
    scale_of_suffix = read_scale(quantity)
    if "unit" not in rows.columns:
        return scale_of_suffix
    units = rows["unit"].fillna("").str.strip()
    unknown = sorted({*units} - {"", *LENGTHS})
    if unknown:
        raise PanelError(f"{quantity} in {unknown[0]!r}; expected {', '.join(LENGTHS)}")
    return units.map(LENGTHS).fillna(scale_of_suffix)


def read_long_table(path: Any, **options: Any) -> "pd.DataFrame":
    """Read a long CSV. The column `observed_at` of exported observations is renamed to `time`."""
    frame = read_table(path, **options)
    return frame if "time" in frame.columns else frame.rename(columns={"observed_at": "time"})


def read_sound_rows(path: Any, name: str | None = None) -> "pd.DataFrame":
    """Read a long CSV without the readings that are flagged.

    The last row of an epoch counts. If it is flagged, the earlier rows of the epoch do not count either. A table
    without flags is returned unchanged.
    """
    frame = read_long_table(path, name=name, dtype=LONG_TEXT)
    key = ["station", "quantity", "time"]
    if not {"flags", *key} <= set(frame.columns):
        return frame
    newest = frame[~frame.duplicated(key, keep="last")]
    return newest[~find_flagged(newest)]


def find_flagged(frame: "pd.DataFrame") -> "pd.Series[bool]":
    """Return for each row whether a flag excludes its reading. Without a column `flags`, no reading is excluded."""
    flags = frame["flags"].fillna("") if "flags" in frame.columns else frame["station"].map(lambda _: "")
    return flags.map(lambda text: any(flag not in HARMLESS for flag in text.split(",") if flag)).astype(bool)


def read_table(path: Any, *, name: str | None = None, **options: Any) -> "pd.DataFrame":
    """Read a CSV.

    Args:
        name: Name of the file in messages; default is its path.
        options: Arguments of `pandas.read_csv`.

    Raises:
        PanelError: The file cannot be read.
    """
    import pandas as pd

    try:
        if isinstance(path, str | Path):
            check_size(Path(path), name)
        frame: pd.DataFrame = pd.read_csv(path, **options)
    except (OSError, ValueError) as error:
        raise PanelError(f"{name or path}: no table that can be read: {str(error).splitlines()[0]}") from error
    return frame


def nominal_step(gaps_s: ArrayLike) -> float:
    """Return the interval of a series: the median of its gaps, or the mean month if all gaps are calendar months.

    On a grid of 31 days, monthly readings would be off by a cell after five years.

    >>> nominal_step([86400.0 * d for d in (31, 28, 31, 30)]) / 86400.0
    30.4375
    """
    gaps = np.asarray(gaps_s, dtype=np.float64)
    median_s = float(np.median(gaps))
    is_monthly = 28 * DAY_S <= median_s <= 31 * DAY_S and float(np.ptp(gaps[gaps <= 31 * DAY_S])) >= DAY_S
    return MONTH_S if is_monthly else median_s


def horizon_key(horizon_s: float) -> str:
    """Return the key of a horizon in JSON documents.

    >>> horizon_key(604800.0)
    '604800'
    """
    return str(int(horizon_s)) if float(horizon_s).is_integer() else repr(float(horizon_s))


def _clean(name: str, times: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    """Return the finite samples in order of time. Of several with the same time, the last is kept."""
    times_s = np.asarray(times, dtype=np.float64).ravel()
    numbers = np.asarray(values, dtype=np.float64).ravel()
    if times_s.shape != numbers.shape:
        raise PanelError(f"station {name}: {times_s.size} times but {numbers.size} values")
    finite = np.isfinite(times_s) & np.isfinite(numbers)
    order = np.flatnonzero(finite)[np.argsort(times_s[finite], kind="stable")]
    times_s = times_s[order]
    numbers = numbers[order]
    if times_s.size:
        is_newest = np.append(times_s[1:] != times_s[:-1], True)
        times_s = times_s[is_newest]
        numbers = numbers[is_newest]
    return times_s, numbers
