"""Recordings: columns of figures over looks, written small, and compared so that another processor finds them equal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import groupby
from math import fsum
from typing import Any, Final

ROUNDED: Final = 5e-7  # of the size: what seven digits are off by
TOLERANCE: Final = 1e-6
FITTED: Final = 5e-5
LEAST: Final = 1e-9  # sizes below count as this size
EVERY: Final = 16
ABSENT: Final = "-"
SKIPPED: Final = "~"
CLOCK_S: Final = 1e8  # seconds beyond this are an instant
Row = tuple[str, float, Mapping[str, Any]]
Column = list[Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of one look that is not as it was."""

    record: str
    site: str
    at_s: float
    figure: str
    kept: str
    now: str

    def __str__(self) -> str:
        """One line."""
        at = datetime.fromtimestamp(self.at_s, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
        return f"{self.record}: {self.site} at {at}: {self.figure}: {self.kept} was kept, {self.now} now"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Differences that are meant: of one record, in the figures that a pattern names."""

    record: str
    figure: str
    reason: str

    def covers(self, found: Difference) -> bool:
        """Whether it is this difference."""
        return found.record == self.record and fnmatchcase(found.figure, self.figure)


def read_accepted(text: str) -> list[Accepted]:
    """Lines `record | figure | reason`; empty ones and those that begin with # say nothing."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found = [Accepted(*(part.strip() for part in line.split("|", 2))) for line in lines if line.count("|") >= 2]
    if len(found) < len(lines) or not all(x.reason for x in found):
        raise ValueError("accepted.txt: each line is `record | figure | reason`")
    return found


def _flatten(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, one in value.items():
        inner = dict(enumerate(one)) if isinstance(one, list | tuple) else one
        if isinstance(inner, Mapping):
            yield from _flatten({str(k): v for k, v in inner.items()}, f"{path}{key}/")
        else:
            yield f"{path}{key}", one


def _tidy(value: Any) -> Any:
    """Instants as whole milliseconds in a tuple, other figures as they are."""
    if isinstance(value, float) and abs(value) > CLOCK_S:
        return (round(value * 1000.0),)
    if isinstance(value, str) and value[10:11] == "T" and value.endswith("Z"):
        return (round(datetime.fromisoformat(value).timestamp() * 1000.0),)
    return value


def lay_out(rows: Sequence[Row]) -> dict[str, Column]:
    """Columns by path, `-` where a look has no such figure."""
    looks_ms = [(round(at_s * 1000.0),) for _, at_s, _ in rows]
    columns: dict[str, Column] = {"look": looks_ms, "site": [site for site, _, _ in rows]}
    for k, (_, _, figures) in enumerate(rows):
        for path, value in _flatten(figures):
            if value is not None:
                columns.setdefault(path, [ABSENT] * len(rows))[k] = _tidy(value)
    return columns


def _spell(value: Any) -> str:
    text = f"{value:.7g}" if isinstance(value, float) else str(value)
    if set(text) & set(" *~:@#|"):
        raise ValueError(f"{text!r} is no figure: prose does not belong into a recording")
    return text


def _pack(tokens: Iterable[str]) -> str:
    runs = [(token, len(list(group))) for token, group in groupby(tokens)]
    return " ".join(token if n == 1 else f"{token}*{n}" for token, n in runs)


def _choose_looks(columns: Mapping[str, Column]) -> set[int]:
    """Every sixteenth look, the last, and those at which a level, or another figure of the whole site, is another."""
    top = [c for path, c in columns.items() if "/" not in path and not any(isinstance(v, tuple | float) for v in c)]
    told = [c for path, c in columns.items() if path.startswith("change/")]
    n = len(columns["look"])
    return {
        k
        for k in range(n)
        if k % EVERY == 0 or k == n - 1 or any(c[k] != c[k - 1] for c in top) or any(c[k] != ABSENT for c in told)
    }


def encode(rows: Sequence[Row]) -> dict[str, str]:
    """What is kept of a record: a text per column."""
    columns = lay_out(rows)
    looks_ms = [v[0] for v in columns["look"]]
    chosen = _choose_looks(columns)
    kept = {}
    for path, column in columns.items():
        if any(isinstance(v, tuple) for v in column):
            by_first = _pack(f"#{v[0] - looks_ms[0]}" if isinstance(v, tuple) else _spell(v) for v in column)
            pairs = zip(column, looks_ms, strict=True)
            by_look = _pack(f"@{v[0] - at}" if isinstance(v, tuple) else _spell(v) for v, at in pairs)
            kept[path] = by_first if path == "look" else min(by_look, by_first, key=len)
        else:
            whole = _pack(map(_spell, column))
            kept[path] = min(whole, _pack(_thin(column, chosen)), key=len)
    return kept | {"first": str(looks_ms[0])}


def _thin(column: Column, chosen: set[int]) -> Iterator[str]:
    skipped: list[float] = []
    for k, value in enumerate(column):
        if isinstance(value, float) and k not in chosen:
            skipped.append(value)
            yield SKIPPED
        else:
            yield _spell(value) + (f":{fsum(skipped):.7g}" if skipped else "")
            skipped = []


def compare(
    record: str, kept: Mapping[str, str], rows: Sequence[Row], tolerance: float = TOLERANCE
) -> Iterator[Difference]:
    """Per figure the first look at which it differs, by rising instant."""
    columns = lay_out(rows)
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
    found = []
    for path in dict.fromkeys([*kept, *columns]):
        if path in ("first", "look", "site"):
            continue
        tokens = _unpack(kept[path])[:same] if path in kept else [ABSENT] * same
        column = columns.get(path, [ABSENT] * len(rows))[:same]
        at = _find_first(tokens, column, looks_ms, tolerance + ROUNDED)
        if at is not None:
            k, was, now = at
            found.append(Difference(record, sites[k], looks_ms[k] / 1000.0, path, was, now))
    yield from sorted(found, key=lambda d: d.at_s)


def _unpack(text: str) -> list[str]:
    found: list[str] = []
    for run in text.split(" "):
        token, _, n = run.partition("*")
        found += [token] * int(n or 1)
    return found


def _find_first(
    tokens: Sequence[str], column: Column, looks_ms: Sequence[int], tolerance: float
) -> tuple[int, str, str] | None:
    skipped: list[float] = []
    for k, (token, value) in enumerate(zip(tokens, column, strict=True)):
        if token == SKIPPED:
            if not isinstance(value, float):
                return k, "a figure", _spell_plain(value)
            skipped.append(value)
            continue
        was, _, total = token.partition(":")
        if total:
            size = fsum(map(abs, skipped))
            if not skipped or abs(float(total) - fsum(skipped)) > tolerance * max(size, LEAST):
                return k - len(skipped), f"a sum of {total} over {len(skipped)} looks", f"{fsum(skipped):.7g}"
        skipped = []
        if was[0] in "@#":
            was = f"{(int(was[1:]) + (looks_ms[k] if was[0] == '@' else looks_ms[0])) / 1000.0:.3f}"
        if not _is_equal(was, value, tolerance):
            return k, was, _spell_plain(value)
    return None


def _spell_plain(value: Any) -> str:
    return f"{value[0] / 1000.0:.3f}" if isinstance(value, tuple) else _spell(value)


def _is_equal(was: str, value: Any, tolerance: float) -> bool:
    if not isinstance(value, float):
        return was == _spell_plain(value)
    try:
        return abs(float(was) - value) <= tolerance * max(abs(value), abs(float(was)), LEAST)
    except ValueError:
        return False
