"""What the page asks of a worker about a table from outside: what it says, and all its rows in a plain form.

Nothing else reads such a file: the libraries that open workbooks and Parquet stay behind the walls of the worker. What
comes back is text and numbers, and rows that the page's own process reads as JSON, a line each.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, Final

from monitor.errors import ConfigError, PayloadError
from monitor.ingest.files.lines import open_wide
from monitor.ingest.files.mapping import TableMapping, load_mapping
from monitor.ingest.files.plain_lines import write_lines
from monitor.ingest.files.reader import Said
from monitor.ingest.guess.guess import Guess, Sensor, guess
from monitor.ingest.guess.look import Look, look_at
from monitor.ingest.guess.questions import Question
from monitor.ingest.guess.site_file import ask_place
from monitor.ingest.guess.spell import spell_mapping

ROWS_SHOWN: Final = 8
COLUMNS_SHOWN: Final = 12
CURVES_MOST: Final = 24
POINTS_MOST: Final = 300  # of a curve: the lowest and the highest of each piece
KEPT_MOST: Final = 100_000  # of a series while a file is read: a large one must not fill the memory
CELL_MOST: Final = 60  # characters


@dataclass(frozen=True, slots=True)
class AskedTable:
    """A table, the name its owner gave it, and what was answered so far."""

    table: str
    name: str
    answers: Mapping[str, str]
    is_new: bool  # the site is: its place must be asked


@dataclass(frozen=True, slots=True)
class Curve:
    """A series of a table, few points of it; instants in seconds since 1970."""

    series: str
    unit: str
    times_s: tuple[float, ...]
    values: tuple[float, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Understood:
    """What a table says; `trouble`: the one line why it says nothing."""

    trouble: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    questions: tuple[Question, ...] = ()
    sensors: tuple[Sensor, ...] = ()
    mapping: str = ""  # as TOML; "" while a question is open
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()  # the first: as cells while a question is open, then as they are read
    curves: tuple[Curve, ...] = ()


def understand(asked: AskedTable) -> Understood:
    """The job: what a table says, its first rows, and a curve of each series."""
    path = Path(asked.table)
    try:
        look = look_at(path)
        found = _guess(replace(look, path=Path(asked.name)), asked)
        known = Understood(facts=found.facts, questions=found.questions, sensors=found.sensors)
        if found.mapping is None:
            return replace(known, head=tuple(map(_cut, look.names[:COLUMNS_SHOWN])), rows=tuple(_list_cells(look)))
        head = ("time", "station", "quantity", "value", "unit")
        rows, curves = _read_rows(path, found.mapping)
    except ConfigError as error:
        return Understood(str(error).replace(str(path), asked.name))
    return replace(known, mapping=spell_mapping(found.mapping, asked.name), head=head, rows=rows, curves=curves)


def _guess(look: Look, asked: AskedTable) -> Guess:
    found = guess(look, asked.answers)
    return ask_place(found, asked.answers) if asked.is_new else found


def _cut(text: str) -> str:
    return text if len(text) <= CELL_MOST else f"{text[:CELL_MOST]}…"


def _list_cells(look: Look) -> Iterator[tuple[str, ...]]:
    for k in range(min(ROWS_SHOWN, look.rows)):
        cells = (look.columns[name][k] for name in look.names[:COLUMNS_SHOWN])
        yield tuple("" if cell is None else _cut(str(cell)) for cell in cells)


def _read_rows(path: Path, mapping: TableMapping) -> tuple[tuple[tuple[str, ...], ...], tuple[Curve, ...]]:
    """The first rows as they are read, and curves of the first series."""
    first: list[tuple[str, ...]] = []
    series: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    counts: dict[tuple[str, str, str], int] = {}
    with open_wide(path, Said(mapping)) as lines:
        for row, error in (judged for line in lines for judged in line.rows):
            if len(first) < ROWS_SHOWN:
                first.append(_spell_row(row, error))
            key = (str(row["station"]), str(row["quantity"]), str(row["unit"]))
            if error is not None or (key not in series and len(series) >= CURVES_MOST):
                continue
            try:
                point = (row["time"].timestamp(), float(row["value"]))
            except (ValueError, TypeError):
                continue
            if isfinite(point[1]):
                points = series.setdefault(key, [])
                points.append(point)
                counts[key] = counts.get(key, 0) + 1
                if len(points) >= KEPT_MOST:
                    points[:] = _thin(points)
    return tuple(first), tuple(_draw(key, series[key], counts[key]) for key in series)


def _spell_row(row: Mapping[str, Any], error: PayloadError | None) -> tuple[str, ...]:
    at = row["time"]
    when = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if isinstance(at, datetime) and at.tzinfo else str(at)
    value = str(row["value"]) if error is None else f"{row['value']}: {error}"
    return tuple(map(_cut, (when, str(row["station"]), str(row["quantity"]), value, str(row["unit"]))))


def _draw(key: tuple[str, str, str], points: list[tuple[float, float]], count: int) -> Curve:
    kept = _thin(points)
    return Curve(f"{key[0]} {key[1]}", key[2], tuple(p[0] for p in kept), tuple(p[1] for p in kept), count)


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Few points of many, in order of time: the lowest and the highest of each piece."""
    points = sorted(points)
    if len(points) <= POINTS_MOST:
        return points
    size = -(-len(points) // (POINTS_MOST // 2))
    pieces = [points[k : k + size] for k in range(0, len(points), size)]
    return [p for piece in pieces for p in sorted({min(piece, key=lambda p: p[1]), max(piece, key=lambda p: p[1])})]


# ---- the rows as plain lines -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AskedRows:
    """A table, what its columns mean, and where its rows go."""

    table: str
    mapping: str
    out: str


@dataclass(frozen=True, slots=True)
class Unfolded:
    """How many lines were written; `trouble`: the one line why not all."""

    lines: int
    trouble: str = ""


def unfold(asked: AskedRows) -> Unfolded:
    """The job: every line of a table as JSON, its rows in the neutral form, each with the error that is known."""
    try:
        mapping = load_mapping(Path(asked.mapping))
        with open_wide(Path(asked.table), Said(mapping)) as lines, Path(asked.out).open("w", encoding="utf-8") as out:
            return Unfolded(write_lines(lines, out.write))
    except ConfigError as error:
        return Unfolded(0, str(error).replace(str(asked.table), Path(asked.table).name))
