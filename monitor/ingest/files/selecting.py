"""Chosen series of a neutral table as plain numbers, for commands that calculate and store nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monitor.errors import ConfigError, PayloadError, RefusedError
from monitor.ingest.decoders.strict_json import read_cell, read_time
from monitor.ingest.files.mapping import is_missing
from monitor.ingest.files.tables import open_rows
from monitor.sites.quantities import QUANTITIES, convert, read_trace, split_suffix
from monitor.text.instants import epoch_s


@dataclass(frozen=True, slots=True)
class SelectedSeries:
    """One series: epoch seconds rising, values in the canonical unit (`index` where the file says so)."""

    name: str
    unit: str
    times_s: tuple[float, ...]
    values: tuple[float, ...]


def read_selected(path: Path, names: Sequence[str]) -> list[SelectedSeries]:
    """Read series named `STATION.quantity` from a neutral long table; quantities carry their unit as a suffix.

    Raises:
        ConfigError: the file is no such table, or a row of a series cannot be read (with its number).
        RefusedError: a series is not in the file; those that are, are named.
    """
    found: dict[str, dict[float, float]] = {n: {} for n in names}
    units: dict[str, str] = {}
    seen: dict[str, None] = {}
    with open_rows(path) as (columns, rows):
        absent = [c for c in ("time", "station", "quantity", "value") if c not in columns]
        if absent:
            raise ConfigError(f"{path}: column {absent[0]!r} is missing; expected time, station, quantity, value")
        for number, row in enumerate(rows, 2):
            quantity, unit = split_suffix(str(row["quantity"])) or (str(row["quantity"]), str(row.get("unit") or ""))
            name = f"{row['station']}.{quantity}"
            seen[name] = None
            if name not in found or is_missing(row["value"]):
                continue
            try:
                at = row["time"] if not isinstance(row["time"], str) else read_time(row["time"], live=False)
                trace = read_trace(row["value"], quantity)
                read = read_cell(row["value"], "value") if trace is None else trace
                value, units[name] = _canonical(read, quantity, unit)
            except (PayloadError, ValueError) as error:
                raise ConfigError(f"{path}: row {number}: {error}") from None
            found[name][epoch_s(at)] = value
    missing = [n for n in names if not found[n]]
    if missing:
        raise RefusedError(f"{path}: no series {missing[0]!r}; there are: {', '.join(list(seen)[:20]) or 'none'}")
    return [
        SelectedSeries(n, units[n], tuple(sorted(found[n])), tuple(found[n][t] for t in sorted(found[n])))
        for n in names
    ]


def _canonical(value: float, quantity: str, unit: str) -> tuple[float, str]:
    if unit == "index":
        return value, "index"
    known = QUANTITIES.get(quantity)
    if not unit or known is None:
        raise ValueError(f"quantity {quantity!r}: expected a known quantity with its unit, such as rain_mm")
    return convert(value, unit, known.unit), known.unit
