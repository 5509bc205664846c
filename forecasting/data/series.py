"""The regular panel that every model reads: stations on one UTC grid, gaps left as gaps.

In all of `forecasting`, where nothing else is said: `values` of a panel are in mm, shape (T, S), NaN where nothing was
observed; its last row is the moment of issue; `origins` are row numbers, shape (N,); `steps` and `longest` are horizons
in rows, `horizons_s` in seconds; fans have the quantiles .025, .1, .5, .9, .975 on their last axis, shape (N, S, 5),
and what was observed is NaN where unknown. Of one series `times_s` are rising epoch seconds, `values` displacement in
any unit and `sigmas` its standard deviations, 0 where unknown, each of shape (n,); velocities are per day.
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
Samples = dict[str, tuple[ArrayLike, ArrayLike]]  # times in epoch seconds and values

DAY_S = 86_400.0
MONTH_S = 365.25 / 12 * DAY_S
LONG_TEXT: Final = dict.fromkeys(("station", "quantity", "time", "observed_at", "flags"), str)  # hold no numbers
SAME: Final = 1.5  # intervals that differ by less are one interval of stations that miss readings now and then
HARMLESS: Final = frozenset({"late", "backfill", "replayed", "revised", "resent", "step_confirmed"})
"""Flags of exported readings that count all the same, as in the service; any other takes the reading out."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Displacement of several stations on one regular grid."""

    start_s: float  # instant of the first row, epoch seconds UTC
    step_s: float  # interval between rows, seconds
    stations: tuple[str, ...]  # names, sorted, one per column
    values: Floats  # displacement in mm since a stated zero, shape (T, S), NaN where nothing was observed
    xy_m: Floats | None = None  # plan coordinates in metres, shape (S, 2), or None where unknown
    drivers: "DriverRows | None" = None  # what may drive the slope, on the same rows, or None
    unit: str = "mm"  # of all values; only a panel in mm is motion

    def __post_init__(self) -> None:
        """Refuse shapes and numbers that no model could read."""
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
        facts = None if self.drivers is None else self.drivers.static
        if facts is not None and facts.shape[0] != len(self.stations):
            raise PanelError(f"panel: fixed facts of {facts.shape[0]} stations, {len(self.stations)} are here")

    @property
    def times_s(self) -> Floats:
        """Instants of the rows, epoch seconds, shape (T,)."""
        return self.start_s + self.step_s * np.arange(self.values.shape[0], dtype=np.float64)

    @property
    def end_s(self) -> float:
        """Instant of the last row, epoch seconds."""
        return self.start_s + self.step_s * float(self.values.shape[0] - 1)

    def steps(self, horizon_s: float) -> int:
        """Rows that a horizon spans."""
        count = round(horizon_s / self.step_s)
        if count < 1:
            raise HorizonError(f"a horizon of {horizon_s:g} s is shorter than the sampling interval {self.step_s:g} s")
        return count

    def head(self, rows: int) -> "Panel":
        """The same panel as it was known after its first `rows` rows."""
        known = None if self.drivers is None else self.drivers.head(rows)
        return replace(self, values=self.values[:rows], drivers=known)


def panel_from_samples(
    samples: Mapping[str, tuple[ArrayLike, ArrayLike]],
    step_s: float,
    *,
    end_s: float | None = None,
    xy_m: Mapping[str, Sequence[float]] | None = None,
    unit: str = "mm",
) -> Panel:
    """Lay irregular samples on a regular grid without inventing a value.

    A grid cell takes the mean of the samples within half a step of its instant; a cell without a sample is NaN.
    Of several samples with the same time the last one given wins (the newest revision). Nothing is interpolated.

    Args:
        samples: Station to (times in epoch seconds, values in `unit`), in any order.
        end_s: Last instant the grid must reach (the moment of issue); default is the newest sample.
        xy_m: Station to plan coordinates in metres; used only where every station has one.
    """
    if not step_s > 0:
        raise PanelError("panel: step_s must be positive")
    stations = tuple(sorted(samples))
    cleaned = {name: _clean(name, *samples[name]) for name in stations}
    filled = [times for times, _ in cleaned.values() if times.size]
    if not filled:
        raise PanelError("panel: there is no finite sample")
    every = np.concatenate(filled)
    first = float(every.min())
    # the grid takes the samples' own phase, so that a jitter of a few minutes moves no sample to a neighbour cell
    phase = float(np.median(np.mod(every - first + step_s / 2, step_s) - step_s / 2))
    start = first + phase
    last = float(every.max()) if end_s is None else max(float(every.max()), end_s)
    rows = int(np.floor((last - start) / step_s + 0.5)) + 1
    offset = int(np.floor((first - start) / step_s + 0.5))
    start, rows = start + offset * step_s, rows - offset
    if end_s is not None and start + (rows - 1) * step_s > end_s + step_s / 2:
        raise PanelError("panel: a sample is newer than the moment of issue")
    values = np.full((rows, len(stations)), np.nan)
    for column, name in enumerate(stations):
        times, readings = cleaned[name]
        cells = np.floor((times - start) / step_s + 0.5).astype(np.int64)
        counts = np.bincount(cells, minlength=rows)[:rows]
        sums = np.bincount(cells, weights=readings, minlength=rows)[:rows]
        seen = counts > 0
        values[seen, column] = sums[seen] / counts[seen]
    places = None
    if xy_m is not None and all(name in xy_m for name in stations):
        places = np.array([list(xy_m[name]) for name in stations], dtype=np.float64)
    return Panel(start, float(step_s), stations, values, places, unit=unit)


def read_long_csv(
    path: str | Path, *, quantity: str | None = None, step_s: float | None = None, name: str | None = None
) -> Panel:
    """Read displacement from a long CSV `time,station,quantity,value` (header required, extra columns ignored).

    What `slopeward export SITE observations` writes is one too; readings that bear a flag are left out,
    except for `HARMLESS` ones.

    A column `unit`, else the suffix of the quantity, states the unit of values (`displacement_m`); the panel is in mm.
    `quantity`: which quantity to take; default is the only one whose name starts with `displacement`.
    """
    samples = read_long_samples(path, quantity=quantity, name=name)
    return panel_from_samples(samples, find_step(samples, name or path) if step_s is None else step_s)


def find_step(samples: Samples, name: str | Path) -> float:
    """The usual interval of several series."""
    gaps = np.concatenate([np.diff(np.unique(np.asarray(times, dtype=float))) for times, _ in samples.values()])
    if not gaps.size:
        raise PanelError(f"{name}: one sample per station gives no interval")
    return nominal_step(gaps)


def split_by_interval(samples: Samples, horizons_s: Sequence[float] = USUAL_HORIZONS_S) -> list[tuple[Samples, float]]:
    """Stations that share a grid with its step, the shortest first (`list_cadences`); one sample has no interval.

    >>> hours, days = range(0, 864000, 3600), range(0, 864000, 86400)
    >>> parts = split_by_interval({"A": (hours, hours), "B": (days, days), "C": (hours, hours), "D": ([0], [1])})
    >>> [(list(part), step_s) for part, step_s in parts]
    [(['A', 'C', 'D'], 3600.0), (['B'], 86400.0)]
    """
    gaps = {}
    for name, (times, values) in samples.items():
        finite = np.isfinite(np.asarray(values, dtype=float))
        gaps[name] = np.diff(np.unique(np.asarray(times, dtype=float)[finite]))
    own = {name: nominal_step(one) for name, one in gaps.items() if one.size}
    cadences = list_cadences(own, horizons_s)
    if not cadences:
        raise PanelError("one sample per station gives no interval")
    parts = []
    for one in cadences:
        lone = [*(samples.keys() - own)] if one is max(cadences, key=lambda c: len(c.names)) else []
        # the usual gap of those that come as seldom as the slowest: one long pause of a station moves no grid
        seldom = [gaps[name] for name in one.names if own[name] * SAME > one.interval_s]
        parts.append(
            ({name: samples[name] for name in sorted([*one.names, *lone])}, nominal_step(np.concatenate(seldom)))
        )
    return parts


def read_long_samples(path: str | Path, *, quantity: str | None = None, name: str | None = None) -> Samples:
    """Times in epoch seconds and displacement in mm by station; arguments as those of `read_long_csv`."""
    import pandas as pd

    called = name or path
    frame = read_sound_rows(path, name)
    missing = {"time", "station", "quantity", "value"} - set(frame.columns)
    if missing:
        raise PanelError(f"{called}: column {min(missing)} is missing")
    if quantity is None:
        found = sorted(name for name in frame["quantity"].dropna().unique() if name.startswith("displacement"))
        if len(found) != 1:
            raise PanelError(f"{called}: name one quantity, displacement columns found: {', '.join(found) or 'none'}")
        quantity = found[0]
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
    """How many millimetres one unit of each row of a displacement is: by its `unit`, else by the quantity's suffix.

    Raises PanelError: a unit is none of length.
    """
    usual = read_scale(quantity)
    if "unit" not in rows.columns:
        return usual
    units = rows["unit"].fillna("").str.strip()
    if unknown := sorted({*units} - {"", *LENGTHS}):
        raise PanelError(f"{quantity} in {unknown[0]!r}; expected {', '.join(LENGTHS)}")
    return units.map(LENGTHS).fillna(usual)


def read_long_table(path: Any, **options: Any) -> "pd.DataFrame":
    """A long CSV as a frame, its instants in `time`; exported observations call them `observed_at`."""
    frame = read_table(path, **options)
    return frame if "time" in frame.columns else frame.rename(columns={"observed_at": "time"})


def read_sound_rows(path: Any, name: str | None = None) -> "pd.DataFrame":
    """A long CSV without the rows whose `flags` say that their reading does not count; all rows where there are none.

    The last row of an epoch is the one that speaks: where it is flagged the rows before it do not count either.
    """
    frame = read_long_table(path, name=name, dtype=LONG_TEXT)
    key = ["station", "quantity", "time"]
    if not {"flags", *key} <= set(frame.columns):
        return frame
    speaking = frame[~frame.duplicated(key, keep="last")]
    return speaking[~find_flagged(speaking)]


def find_flagged(frame: "pd.DataFrame") -> "pd.Series[bool]":
    """Which rows have a flag that takes their reading out; none where there is no column of flags."""
    words = frame["flags"].fillna("") if "flags" in frame.columns else frame["station"].map(lambda _: "")
    return words.map(lambda text: any(flag not in HARMLESS for flag in text.split(",") if flag)).astype(bool)


def read_table(path: Any, *, name: str | None = None, **options: Any) -> "pd.DataFrame":
    """A CSV as a frame."""
    import pandas as pd

    try:
        if isinstance(path, str | Path):
            check_size(Path(path), name)
        frame: pd.DataFrame = pd.read_csv(path, **options)
    except (OSError, ValueError) as error:
        raise PanelError(f"{name or path}: no table that can be read: {str(error).splitlines()[0]}") from error
    return frame


def nominal_step(gaps_s: ArrayLike) -> float:
    """The interval a set of sampling gaps stands for: their median, or a mean month where all are calendar months.

    On a grid of 31 days monthly readings would slip by a cell in five years.

    >>> nominal_step([86400.0 * d for d in (31, 28, 31, 30)]) / 86400.0
    30.4375
    """
    gaps = np.asarray(gaps_s, dtype=np.float64)
    middle = float(np.median(gaps))
    monthly = 28 * DAY_S <= middle <= 31 * DAY_S and float(np.ptp(gaps[gaps <= 31 * DAY_S])) >= DAY_S
    return MONTH_S if monthly else middle


def horizon_key(horizon_s: float) -> str:
    """The text under which a horizon is filed in JSON.

    >>> horizon_key(604800.0)
    '604800'
    """
    return str(int(horizon_s)) if float(horizon_s).is_integer() else repr(float(horizon_s))


def _clean(name: str, times: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    when = np.asarray(times, dtype=np.float64).ravel()
    what = np.asarray(values, dtype=np.float64).ravel()
    if when.shape != what.shape:
        raise PanelError(f"station {name}: {when.size} times but {what.size} values")
    finite = np.isfinite(when) & np.isfinite(what)
    when, what = when[finite], what[finite]
    order = np.argsort(when, kind="stable")
    when, what = when[order], what[order]
    if when.size:
        newest = np.append(when[1:] != when[:-1], True)
        when, what = when[newest], what[newest]
    return when, what
