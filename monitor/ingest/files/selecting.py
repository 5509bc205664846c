"""Selected series of a neutral table as numbers, for commands that compute and store nothing."""

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
    """One series: rising epoch seconds, and values in the canonical unit, or in `index` if the file contains it."""

    name: str
    unit: str
    times_s: tuple[float, ...]
    values: tuple[float, ...]


def read_selected(path: Path, names: Sequence[str]) -> list[SelectedSeries]:
    """Read series named `STATION.quantity` from a neutral long table; quantities carry their unit as a suffix.

    Raises:
        ConfigError: The file does not have this form, or a row of a series cannot be read.
        RefusedError: A series is missing; the message lists the series of the file.
    """
    series: dict[str, dict[float, float]] = {name: {} for name in names}
    units: dict[str, str] = {}
    file_series: dict[str, None] = {}
    with open_rows(path) as (columns, rows):
        absent = [column for column in ("time", "station", "quantity", "value") if column not in columns]
        if absent:
            raise ConfigError(f"{path}: column {absent[0]!r} is missing; expected time, station, quantity, value")
        for row_number, row in enumerate(rows, 2):
            quantity, unit = split_suffix(str(row["quantity"])) or (str(row["quantity"]), str(row.get("unit") or ""))
            name = f"{row['station']}.{quantity}"
            file_series[name] = None
            if name not in series or is_missing(row["value"]):
                continue
            try:
                at = row["time"] if not isinstance(row["time"], str) else read_time(row["time"], live=False)
                trace = read_trace(row["value"], quantity)
                number = read_cell(row["value"], "value") if trace is None else trace
                value, units[name] = _convert_to_canonical(number, quantity, unit)
            except (PayloadError, ValueError) as error:
                raise ConfigError(f"{path}: row {row_number}: {error}") from None
            series[name][epoch_s(at)] = value
    missing = [name for name in names if not series[name]]
    if missing:
        others = ", ".join(list(file_series)[:20]) or "none"
        raise RefusedError(f"{path}: no series {missing[0]!r}; there are: {others}")
    return [_sort_series(name, units[name], series[name]) for name in names]


def _sort_series(name: str, unit: str, values: dict[float, float]) -> SelectedSeries:
    times_s = sorted(values)
    return SelectedSeries(name, unit, tuple(times_s), tuple(values[at_s] for at_s in times_s))


def _convert_to_canonical(value: float, quantity: str, unit: str) -> tuple[float, str]:
    if unit == "index":
        return value, "index"
    known = QUANTITIES.get(quantity)
    if not unit or known is None:
        raise ValueError(f"quantity {quantity!r}: expected a known quantity with its unit, such as rain_mm")
    return convert(value, unit, known.unit), known.unit
