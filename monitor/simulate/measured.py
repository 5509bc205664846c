"""Measured series played as if they happened now: read from neutral long files, moved in time as one block."""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from monitor.domain.instants import parse, spell, spell_duration
from monitor.domain.quantities import QUANTITIES, convert, split_suffix
from monitor.domain.topics import ROOT
from monitor.errors import PayloadError
from monitor.simulate.publish import Sent

SITE_ID: Final = "measured"
NEEDED: Final = ("time", "station", "quantity", "value")
# epochs in a velocity window of the written site file
WINDOW: Final = 10


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value; `name` carries the unit as its suffix."""

    at: datetime
    station: str
    name: str
    value: float
    sigma: float | None


def read_rows(folder: Path) -> list[Row]:
    """All neutral long CSV and Parquet files of a folder, in time order.

    Raises:
        PayloadError: no such file, or a row that cannot be read; names file and row.
    """
    rows: list[Row] = []
    for path in sorted([*folder.glob("*.csv"), *folder.glob("*.parquet")]):
        for number, record in enumerate(_read_records(path), 2):
            try:
                row = _read_row(record)
            except (KeyError, ValueError, TypeError) as error:
                raise PayloadError("bad_row", f"{path.name}, row {number}: {error}") from None
            if row is not None:
                rows.append(row)
    if not rows:
        raise PayloadError("no_data", f"{folder} holds no neutral file (CSV or Parquet with {', '.join(NEEDED)})")
    return sorted(rows, key=lambda r: (r.at, r.station, r.name))


def _read_records(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        yield from pyarrow.parquet.read_table(path).to_pylist()
        return
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in NEEDED if name not in (reader.fieldnames or ())]
        if missing:
            raise PayloadError(
                "no_column", f"{path.name}: column {missing[0]!r} is missing; needed: {', '.join(NEEDED)}"
            )
        yield from reader


def _read_row(record: dict[str, Any]) -> Row | None:
    if record["value"] in ("", None):
        return None  # a missing value says nothing
    value = float(record["value"])
    if not math.isfinite(value):
        return None
    at = record["time"] if isinstance(record["time"], datetime) else parse(str(record["time"]))
    if at.tzinfo is None:
        raise ValueError("time without zone")
    split = split_suffix(str(record["quantity"]))
    if split is None or split[0] not in QUANTITIES:
        raise ValueError(f"quantity {record['quantity']!r} is not a known one with a unit suffix (displacement_mm)")
    sigma = record.get("sigma")
    return Row(
        at, str(record["station"]), str(record["quantity"]), value, float(sigma) if sigma not in ("", None) else None
    )


def move_to(rows: Sequence[Row], now: datetime) -> list[Row]:
    """The same rows with the newest one at `now`: distances in time stay, dates do not."""
    shift = now - rows[-1].at
    return [Row(r.at + shift, r.station, r.name, r.value, r.sigma) for r in rows]


def spell_rows(rows: Sequence[Row], site: str) -> Iterator[Sent]:
    """Messages as a logger would send them, one per station and epoch."""
    groups: dict[tuple[datetime, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.at, row.station].append(row)
    for number, ((at, station), group) in enumerate(groups.items()):
        payload: dict[str, Any] = {"time": spell(at), **{r.name: r.value for r in group}}
        sigma = {r.name: r.sigma for r in group if r.sigma is not None}
        if sigma:
            payload["sigma"] = sigma
        yield Sent(at, f"{ROOT}/{site}/{station}/obs", json.dumps(payload).encode(), str(number))


def write_site(rows: Sequence[Row], live: timedelta) -> str:
    """A site file for these series; its bounds are quantiles of the record itself, and it says so.

    Args:
        rows: in time order.
        live: the part that is played; silence shorter than it is no alarm.
    """
    series: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        series[row.station, row.name].append(row)
    lines = [
        "# written for measured series: their own quantiles are the bounds; it shows the way, and proves nothing",
        f'[site]\nid = "{SITE_ID}"\nname = "Measured series, moved to the present"\nlatitude = 0.0\nlongitude = 0.0',
    ]
    speeds, slowest_s = [], 0.0
    for station in dict.fromkeys(r.station for r in rows):
        lines.append(f'\n[[station]]\nid = "{station}"\nlogger = "{station}"')
        names = [n for s, n in series if s == station]
        for name in names:
            quantity, unit = split_suffix(name) or ("", "")
            if quantity.startswith("displacement_") and quantity != names_first(names):
                continue  # east, north and up are one declared series
            interval_s = _interval_s(series[station, name])
            declared = "displacement" if quantity in COMPONENTS else quantity
            lines.append(
                f'[[station.series]]\nquantity = "{declared}"\nunit = "{unit}"\n'
                f'interval = "{spell_duration(interval_s)}"\n'
                f'max_silence = "{spell_duration(round(max(3 * interval_s, 1.2 * live.total_seconds())))}"'
            )
            if declared.startswith("displacement"):
                slowest_s = max(slowest_s, interval_s)
                speeds += _speeds([(r.at, convert(r.value, unit, "mm")) for r in series[station, name]])
    lines.append(_write_criterion(speeds, slowest_s, live))
    return "\n".join(lines)


COMPONENTS: Final = ("displacement_east", "displacement_north", "displacement_up")


def names_first(names: Sequence[str]) -> str:
    """The first displacement among the names of a station's series, without its unit."""
    found = [s[0] for n in names if (s := split_suffix(n)) is not None and s[0].startswith("displacement")]
    return found[0] if found else ""


def _interval_s(rows: Sequence[Row]) -> float:
    gaps = [(b.at - a.at).total_seconds() for a, b in pairwise(rows) if b.at > a.at]
    return max(1.0, float(round(float(np.median(gaps))))) if gaps else 86400.0


def _speeds(points: Sequence[tuple[datetime, float]]) -> list[float]:
    """Absolute least-squares velocities, mm/day, over every window of WINDOW epochs."""
    if len(points) <= WINDOW:
        return []
    days = np.array([(at - points[0][0]).total_seconds() / 86400.0 for at, _ in points])
    values = np.array([v for _, v in points])
    t = np.lib.stride_tricks.sliding_window_view(days, WINDOW)
    y = np.lib.stride_tricks.sliding_window_view(values, WINDOW)
    t = t - t.mean(axis=1, keepdims=True)
    spread = (t**2).sum(axis=1)
    slopes = (t * y).sum(axis=1)[spread > 0] / spread[spread > 0]
    return [abs(float(v)) for v in slopes]


def _write_criterion(speeds: Sequence[float], interval_s: float, live: timedelta) -> str:
    recipient = '\n[[recipient]]\nname = "duty engineer"\nchannels = ["log"]\n'
    forecast = '\n[forecast]\nmodels = ["auto"]\nhorizons = ["1d", "7d"]\nevery = "1m"\n\n[anomaly]\nevery = "1m"\n'
    if not speeds:
        return forecast + recipient
    bounds = [max(1e-3, float(np.quantile(speeds, q))) for q in (0.90, 0.97, 0.995)]
    window = spell_duration(WINDOW * interval_s)
    text = '\n[[criterion]]\nkind = "velocity"\nstations = ["*"]\ndirection = "norm"\nmin_sigma = 0.0\n'
    for level, bound in zip(("yellow", "orange", "red"), bounds, strict=True):
        text += f'{level} = {{over = {bound:.6g}, window = "{window}"}}\n'
    text += (
        f'dwell = {{hits = 2, of = 3}}\nvalid_for = "{spell_duration(round(1.2 * live.total_seconds()))}"\n'
        'author = "demo"\nreason = "90, 97 and 99.5 % quantiles of the velocities of this very record"\n'
    )
    return text + forecast + recipient
