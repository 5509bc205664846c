"""Read one curve from a CSV of almost any form, for commands that need no database."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from itertools import pairwise
from math import isfinite
from pathlib import Path

from forecasting.data.bounds import check_size
from forecasting.data.kinds import LENGTHS
from monitor.api.errors import PayloadError
from monitor.api.ingest import Heads, doubt_span, normalise_number, normalise_time
from monitor.api.readings import find_fills
from monitor.api.text import epoch_s, from_epoch_s, list_names, read_iso

TIMES = ("time", "date", "datetime", "timestamp", "observed_at", "day", "at")
COLUMNS = {
    "displacement": ("displacement", "disp", "total", "value"),
    "velocity": ("velocity", "speed", "rate", "value"),
}
PER = re.compile(r"(?<![a-z])([µu]?m|[mcdk]m|in|ft)(?:[/_ ]|[/_ ]per[_ ])(d|days?|hr?|hours?|a|yr?|years?)$")
PER_DAY = {"d": 1.0, "h": 24.0, "a": 1 / 365.25, "y": 1 / 365.25}
RATE = re.compile(r"velocit|speed|geschwind|vitesse|velocidad|(?<![a-z])(?:rate|vel)(?![a-z])")
INCREMENT = re.compile(r"increment|inkrement|incr(?![a-z])")
INVERSE = re.compile(r"inverse|(?<![a-z\d])1[ _]?/[ _]?v|(?<![a-z])(?:d|days?|h|hours?)[/_ ](?:mm|cm|m)(?![a-z])")
# A number with a decimal comma, in a file whose cells are not separated by commas.
COMMA = re.compile(r"[-+]?\d*,\d+")
MARKED = re.compile(r"[-+]?\d+(?:[ ,.'\u2019\u00a0\u202f]\d+)+")
DAY_S = 86_400.0
# The values of a curve have at least this many steps, and at least this share of them has the same sign.
CURVE_LEAST = 6
CURVE_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class DisplacementCurve:
    """Displacement of one series, in order of time.

    Attributes:
        times_s: Epoch seconds.
        values: Displacement, mm.
        column: Name of the column of the values.
        notes: Texts that state which rows were left out and what was assumed.
    """

    times_s: list[float]
    values: list[float]
    column: str
    notes: tuple[str, ...]


def read_curve(path: Path, column: str, *, station: str | None = None, value: str | None = None) -> DisplacementCurve:
    """Read one curve.

    The file has a time column and a value column with any usual heading (comma, semicolon or tab; units such as `_mm`,
    `(cm)`, `/m`), or it is a long CSV `time,station,quantity,value`. A velocity is integrated to a displacement by the
    trapezoid rule.

    Args:
        path: The file.
        column: `displacement` or `velocity`: what the values are.
        station: Station of a long CSV, if it has several.
        value: Name of the value column, or of the quantity of a long CSV, if several are possible.

    Raises:
        PayloadError: The file cannot be read as one curve. The text states what to do.
    """
    header, rows = _read_table(path)
    lower = [h.strip().lower() for h in header]
    at = next((lower.index(name) for name in TIMES if name in lower), None)
    if at is None:
        raise _refuse(path, f"no time column: name it one of {', '.join(TIMES)}; there are {', '.join(header)}")
    if {"station", "quantity", "value"} <= set(lower):
        of, what = lower.index("station"), lower.index("quantity")
        rows = _choose_station(path, of, [r for r in rows if len(r) > max(of, what)], station)
        rows, name = _choose_quantity(path, what, rows, column, value)
        place = lower.index("value")
        label = _add_unit(path, name, rows, lower)
    else:
        if station is not None:
            raise _refuse(path, "holds one curve without a station column: leave --station away")
        place = _choose_wide(path, header, at, column, value)
        name = label = header[place].strip()
        if value is None and column == "displacement" and INCREMENT.search(name.lower()):
            raise _refuse(path, f"column {name!r} holds what came each time: add it up, or say --value {name!r}")
    _refuse_rate(path, label, column)
    ordered, notes = _order_readings(*_read_pairs(path, rows, at, place), _scale(label))
    if not ordered:
        others = [h.strip() for i, h in enumerate(header) if i not in {at, place}]
        raise _refuse(
            path, f"no row of column {name!r} holds a number; choose another by --value: {list_names(others)}"
        )
    if len(ordered) < 8:
        raise _refuse(path, f"{len(ordered)} usable rows in column {name!r}; 8 are the least")
    times_s, values = [p[0] for p in ordered], [p[1] for p in ordered]
    if (doubt := doubt_span(from_epoch_s(times_s[0]), from_epoch_s(times_s[-1]), datetime.now(UTC))) is not None:
        notes.append(f"can the times be right? {doubt}")
    if column == "velocity":
        values = _add_up(times_s, values)
        notes.append("velocity in mm/day added up to a displacement")
    return DisplacementCurve(times_s, values, name, tuple(notes))


def _order_readings(
    pairs: list[tuple[float, float]], skipped: int, zoneless: bool, scale: float
) -> tuple[list[tuple[float, float]], list[str]]:
    """Return the readings times `scale` in order of time, one for each time, and notes on what was left out."""
    notes = [f"{skipped} rows without a number left out"] if skipped else []
    fills = find_fills([number for _, number in pairs])
    words = {format(number, "g"): n for number, n in fills.items()}
    notes += [f"{n} rows with {fill} left out: it stands for no measurement" for fill, n in words.items()]
    pairs = [(at_s, scale * number) for at_s, number in pairs if number not in fills]
    if zoneless:
        notes.append("times without a zone read as UTC")
    ordered = sorted(dict(pairs).items())
    if len(ordered) < len(pairs):
        notes.append(f"{len(pairs) - len(ordered)} rows repeat a time: the last of each is used")
    return ordered, notes + _check_order(pairs)


def _read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        check_size(path)
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise _refuse(path, error.strerror or "cannot be read") from error
    except UnicodeDecodeError as error:
        raise _refuse(path, "is no UTF-8 text") from error
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = enumerate(csv.reader(StringIO(text), delimiter=delimiter), 1)
        table = [(n, row) for n, row in lines if any(map(str.strip, row))]
        if delimiter != ",":
            table = [(n, [c.replace(",", ".") if COMMA.fullmatch(c.strip()) else c for c in row]) for n, row in table]
    except csv.Error as error:
        raise _refuse(path, f"is no CSV: {error}") from error
    if len(table) < 2 or len(table[0][1]) < 2:
        raise _refuse(path, "holds no table: a header with a time and a value column and rows beneath are needed")
    header = table[0][1]
    return header, [[str(cell or "") for cell in row] for _, row in Heads(str(path), header).follow(table[1:])]


def _choose_station(path: Path, of: int, rows: list[list[str]], station: str | None) -> list[list[str]]:
    stations = sorted({r[of] for r in rows})
    if station is None and len(stations) > 1:
        raise _refuse(path, f"holds several stations, choose one by --station: {list_names(stations)}")
    if station is not None and station not in stations:
        raise _refuse(path, f"holds no station {station!r}; there are: {list_names(stations)}")
    return [r for r in rows if station is None or r[of] == station]


def _choose_quantity(
    path: Path, what: int, rows: list[list[str]], column: str, value: str | None
) -> tuple[list[list[str]], str]:
    """Return the rows of one quantity of a long CSV, and the name of the quantity, which is in the column `what`."""
    quantities = sorted({r[what] for r in rows})
    fitting = [q for q in quantities if q == value] if value else [q for q in quantities if q.startswith(column)]
    if value is not None and not fitting:
        raise _refuse(path, f"holds no quantity {value!r}, choose one by --value: {list_names(quantities)}")
    if len(fitting) != 1:
        raise _refuse(path, f"holds {len(fitting)} fitting quantities, choose one by --value: {list_names(quantities)}")
    return [r for r in rows if r[what] == fitting[0]], fitting[0]


def _add_unit(path: Path, name: str, rows: list[list[str]], lower: list[str]) -> str:
    """Return the name of a quantity with the unit of its rows."""
    at = lower.index("unit") if "unit" in lower else len(lower)
    units = sorted({row[at].strip() for row in rows if len(row) > at} - {""})
    if len(units) > 1:
        raise _refuse(path, f"has {name!r} in several units: {list_names(units)}")
    return f"{name} ({units[0]})" if units else name


def _choose_wide(path: Path, header: list[str], at: int, column: str, value: str | None) -> int:
    if value is not None:
        names = [h.strip() for h in header]
        if value not in names:
            raise _refuse(path, f"has no column {value!r}; there are: {list_names(names)}")
        return names.index(value)
    others = [i for i in range(len(header)) if i != at]
    fitting = [i for i in others if header[i].strip().lower().startswith(COLUMNS[column])]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting and len(others) == 1:
        return others[0]
    names = [header[i].strip() for i in (fitting or others)]
    raise _refuse(path, f"several columns could be the {column}, choose one by --value: {list_names(names)}")


def _refuse_rate(path: Path, name: str, column: str) -> None:
    text = name.lower()
    if INVERSE.search(text) is not None:
        raise _refuse(path, f"column {name!r} holds inverse velocity: give the displacement or the velocity")
    is_rate = RATE.search(text) is not None or PER.search(text.strip().rstrip(")]")) is not None
    if column == "displacement" and is_rate:
        raise _refuse(path, f"column {name!r} holds a velocity: say --column velocity")


def _read_pairs(
    path: Path, rows: Sequence[list[str]], at: int, place: int
) -> tuple[list[tuple[float, float]], int, bool]:
    """Return times and values, how many rows contain no number, and whether a time had no zone."""
    pairs, skipped, zoneless = [], 0, False
    for number, row in enumerate(rows, 2):
        text = row[place].strip() if len(row) > max(at, place) else ""
        try:
            reading = float(normalise_number(text))
        except ValueError:
            if MARKED.fullmatch(text) is not None:  # left out, the greatest values would be those that are missing
                raise _refuse(
                    path, f"line {number}: {text!r} has a mark of thousands or of decimals: write 1234.5"
                ) from None
            reading = float("nan")
        if not isfinite(reading):
            skipped += 1
            continue
        try:
            moment = _moment(row[at].strip())
        except ValueError:
            raise _refuse(path, f"line {number}: time {row[at]!r} is not of the form 2026-03-01T06:00:00Z") from None
        zoneless |= moment.tzinfo is None
        pairs.append((epoch_s(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment), reading))
    return pairs, skipped, zoneless


def _check_order(pairs: Sequence[tuple[float, float]]) -> list[str]:
    """Return a note if rows are not in order of time.

    If the values rise or fall steadily in the order of the rows, a time is probably wrong. The note is then a warning.
    """
    back = [k for k in range(1, len(pairs)) if pairs[k][0] < pairs[k - 1][0]]
    if not back:
        return []
    steps = [b - a for (_, a), (_, b) in pairwise(pairs) if a != b]
    one_way = max(sum(step > 0.0 for step in steps), sum(step < 0.0 for step in steps))
    is_curve = len(steps) >= CURVE_LEAST and one_way >= CURVE_SHARE * len(steps)
    if not is_curve or 2 * len(back) >= len(pairs):  # newest first is an order too
        return ["rows were not in order of time"]
    text = (
        f"WARNING: {len(back)} times lie before that of the row above, first "
        f"{from_epoch_s(pairs[back[0]][0]):%Y-%m-%d %H:%M}, though the values run one way in the order of the rows: a "
        "time may be wrong, or day and month changed places. The rows are used in order of time"
    )
    return [text]


def _moment(text: str) -> datetime:
    """Read a date such as 2026-3-1 or 2026/3/1, or an instant in ISO 8601. A year has four digits."""
    text = normalise_time(text).replace("/", "-")
    if text.count("-") == 2 and len(text) <= 10:
        return datetime.strptime(text, "%Y-%m-%d")  # noqa: DTZ007 - the zone is for the caller to say
    return read_iso(text)


def _scale(name: str) -> float:
    """Return how many mm, or mm/day, the unit in the name of a column is; 1 if the name contains no unit.

    >>> _scale("Disp (cm)"), _scale("velocity_m_per_day"), _scale("speed [mm/h]"), _scale("total")
    (10.0, 1000.0, 24.0, 1.0)
    """
    label = name.strip().lower().rstrip(")]")
    per_day = 1.0
    if (per := PER.search(label)) is not None:
        label, per_day = label[: per.end(1)], PER_DAY[per[2][0]]
    for mark in ("_", "(", "[", "/", " "):
        unit = label.rsplit(mark, 1)[-1] if mark in label else ""
        if unit in LENGTHS:
            return LENGTHS[unit] * per_day
    return 1.0


def _add_up(times_s: list[float], velocities: list[float]) -> list[float]:
    total, values = 0.0, [0.0]
    for i in range(1, len(times_s)):
        total += (velocities[i] + velocities[i - 1]) / 2.0 * (times_s[i] - times_s[i - 1]) / DAY_S
        values.append(total)
    return values


def _refuse(path: Path, why: str) -> PayloadError:
    return PayloadError("curve_file", f"{path}: {why}")
