"""Encode recorded figures of decisions compactly, and compare them within the rounding errors of other processors.

A recording has a column per figure and an entry per decision, here called a look. Repeated values are counted. In
some columns, floating-point values between chosen looks are replaced by their sum.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import groupby
from math import fsum
from typing import Any, Final

ROUNDED: Final = 5e-7  # relative rounding error of seven digits
TOLERANCE: Final = 1e-6
FITTED: Final = 5e-5
LEAST: Final = 1e-9  # smaller magnitudes are compared as if they had this one
EVERY: Final = 16
ABSENT: Final = "-"
SKIPPED: Final = "~"
CLOCK_S: Final = 1e8  # larger numbers are times in epoch seconds
Row = tuple[str, float, Mapping[str, Any]]
Column = list[Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of one look that differs from the recording."""

    record: str
    site: str
    at_s: float
    figure: str
    kept: str
    now: str

    def __str__(self) -> str:
        """Return the difference as one line."""
        at = datetime.fromtimestamp(self.at_s, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
        return f"{self.record}: {self.site} at {at}: {self.figure}: {self.kept} was kept, {self.now} now"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Intended differences of one record, in the figures whose path matches a pattern."""

    record: str
    figure: str
    reason: str

    def covers(self, difference: Difference) -> bool:
        """Return whether a difference belongs to this line."""
        return difference.record == self.record and fnmatchcase(difference.figure, self.figure)


def read_accepted(text: str) -> list[Accepted]:
    """Read lines `record | figure | reason`. Empty lines and lines that start with # are ignored."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    entries = [Accepted(*(part.strip() for part in line.split("|", 2))) for line in lines if line.count("|") >= 2]
    if len(entries) < len(lines) or not all(entry.reason for entry in entries):
        raise ValueError("accepted.txt: each line is `record | figure | reason`")
    return entries


def _flatten(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        inner = dict(enumerate(item)) if isinstance(item, list | tuple) else item
        if isinstance(inner, Mapping):
            yield from _flatten({str(k): v for k, v in inner.items()}, f"{path}{key}/")
        else:
            yield f"{path}{key}", item


def _normalise(value: Any) -> Any:
    """Return a time as a tuple with whole milliseconds, and any other figure unchanged."""
    if isinstance(value, float) and abs(value) > CLOCK_S:
        return (round(value * 1000.0),)
    if isinstance(value, str) and value[10:11] == "T" and value.endswith("Z"):
        return (round(datetime.fromisoformat(value).timestamp() * 1000.0),)
    return value


def build_columns(rows: Sequence[Row]) -> dict[str, Column]:
    """Return the columns by path, with `-` for a look without the figure."""
    looks_ms = [(round(at_s * 1000.0),) for _, at_s, _ in rows]
    columns: dict[str, Column] = {"look": looks_ms, "site": [site for site, _, _ in rows]}
    for k, (_, _, figures) in enumerate(rows):
        for path, value in _flatten(figures):
            if value is not None:
                columns.setdefault(path, [ABSENT] * len(rows))[k] = _normalise(value)
    return columns


def _format_figure(value: Any) -> str:
    text = f"{value:.7g}" if isinstance(value, float) else str(value)
    if set(text) & set(" *~:@#|"):
        raise ValueError(f"{text!r} is no figure: prose does not belong into a recording")
    return text


def _pack(tokens: Iterable[str]) -> str:
    runs = [(token, len(list(group))) for token, group in groupby(tokens)]
    return " ".join(token if n == 1 else f"{token}*{n}" for token, n in runs)


def _choose_looks(columns: Mapping[str, Column]) -> set[int]:
    """Choose every `EVERY`-th look, the last one, and those at which a level or another figure of the site changes."""
    top = [c for path, c in columns.items() if "/" not in path and not any(isinstance(v, tuple | float) for v in c)]
    change_columns = [c for path, c in columns.items() if path.startswith("change/")]
    n = len(columns["look"])
    return {
        k
        for k in range(n)
        if k % EVERY == 0
        or k == n - 1
        or any(c[k] != c[k - 1] for c in top)
        or any(c[k] != ABSENT for c in change_columns)
    }


def encode(rows: Sequence[Row]) -> dict[str, str]:
    """Return the encoded columns of a record, one text per column."""
    columns = build_columns(rows)
    looks_ms = [v[0] for v in columns["look"]]
    chosen = _choose_looks(columns)
    texts = {}
    for path, column in columns.items():
        if any(isinstance(v, tuple) for v in column):
            by_first = _pack(f"#{v[0] - looks_ms[0]}" if isinstance(v, tuple) else _format_figure(v) for v in column)
            pairs = zip(column, looks_ms, strict=True)
            by_look = _pack(f"@{v[0] - at}" if isinstance(v, tuple) else _format_figure(v) for v, at in pairs)
            texts[path] = by_first if path == "look" else min(by_look, by_first, key=len)
        else:
            whole = _pack(map(_format_figure, column))
            texts[path] = min(whole, _pack(_thin(column, chosen)), key=len)
    return texts | {"first": str(looks_ms[0])}


def _thin(column: Column, chosen: set[int]) -> Iterator[str]:
    skipped: list[float] = []
    for k, value in enumerate(column):
        if isinstance(value, float) and k not in chosen:
            skipped.append(value)
            yield SKIPPED
        else:
            yield _format_figure(value) + (f":{fsum(skipped):.7g}" if skipped else "")
            skipped = []


def compare(
    record: str, kept: Mapping[str, str], rows: Sequence[Row], tolerance: float = TOLERANCE
) -> Iterator[Difference]:
    """Yield for each figure the first look at which it differs, in order of time."""
    columns = build_columns(rows)
    first_ms = int(kept["first"])
    looks_ms = [first_ms + int(t[1:]) for t in _unpack(kept["look"])]
    sites = _unpack(kept["site"])
    n = min(len(rows), len(looks_ms))
    same = next((k for k in range(n) if (sites[k], looks_ms[k]) != (rows[k][0], columns["look"][k][0])), n)
    if same < max(len(rows), len(looks_ms)):
        was = f"{sites[same]} {looks_ms[same] / 1000.0:.3f}" if same < len(looks_ms) else "no look"
        now = f"{rows[same][0]} {rows[same][1]:.3f}" if same < len(rows) else "no look"
        where = rows[min(same, len(rows) - 1)]
        yield Difference(record, where[0], where[1], "look", was, now)
    differences = []
    for path in dict.fromkeys([*kept, *columns]):
        if path in ("first", "look", "site"):
            continue
        tokens = _unpack(kept[path])[:same] if path in kept else [ABSENT] * same
        column = columns.get(path, [ABSENT] * len(rows))[:same]
        at = _find_first(tokens, column, looks_ms, tolerance + ROUNDED)
        if at is not None:
            k, was, now = at
            differences.append(Difference(record, sites[k], looks_ms[k] / 1000.0, path, was, now))
    yield from sorted(differences, key=lambda d: d.at_s)


def _unpack(text: str) -> list[str]:
    tokens: list[str] = []
    for run in text.split(" "):
        token, _, n = run.partition("*")
        tokens += [token] * int(n or 1)
    return tokens


def _find_first(
    tokens: Sequence[str], column: Column, looks_ms: Sequence[int], tolerance: float
) -> tuple[int, str, str] | None:
    skipped: list[float] = []
    for k, (token, value) in enumerate(zip(tokens, column, strict=True)):
        if token == SKIPPED:
            if not isinstance(value, float):
                return k, "a figure", _format_value(value)
            skipped.append(value)
            continue
        stored, _, total = token.partition(":")
        if total:
            size = fsum(map(abs, skipped))
            if not skipped or abs(float(total) - fsum(skipped)) > tolerance * max(size, LEAST):
                return k - len(skipped), f"a sum of {total} over {len(skipped)} looks", f"{fsum(skipped):.7g}"
        skipped = []
        if stored[0] in "@#":
            stored = f"{(int(stored[1:]) + (looks_ms[k] if stored[0] == '@' else looks_ms[0])) / 1000.0:.3f}"
        if not _is_equal(stored, value, tolerance):
            return k, stored, _format_value(value)
    return None


def _format_value(value: Any) -> str:
    return f"{value[0] / 1000.0:.3f}" if isinstance(value, tuple) else _format_figure(value)


def _is_equal(was: str, value: Any, tolerance: float) -> bool:
    if not isinstance(value, float):
        return was == _format_value(value)
    try:
        return abs(float(was) - value) <= tolerance * max(abs(value), abs(float(was)), LEAST)
    except ValueError:
        return False
