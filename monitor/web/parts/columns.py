"""Readings of a range as columns that are as short as a picture allows, however long the record is."""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, Final

from sqlalchemy import Connection

from monitor.domain.instants import parse
from monitor.domain.observation import Reading
from monitor.store.readings.extremes import (
    count_up_to,
    find_nth_newest,
    list_flagged,
    list_offset_series,
    load_firsts,
    load_sound,
    load_stretches,
)
from monitor.store.readings.observations import SeriesRow, load_offsets, load_readings
from monitor.web.parts.sampling import pick, project_downslope, sample

EXACT: Final = 4_000  # readings that are read one by one; of more the database works out the extremes
COMPARED: Final = 20_000  # readings of all stations together that are read; of more one stands for a stretch
NEWEST: Final = 50  # are always read one by one
FLAGGED: Final = 60  # of a long range, the newest
COMPARE_POINTS: Final = 12_000  # of all stations together
LEAST_POINTS: Final = 60  # of each of them
TICK: Final = timedelta(microseconds=1)
Parts = list[tuple[SeriesRow, float]]
"""What a curve rests on: series and their weights."""


def load_points(
    c: Connection, parts: Parts, low: datetime, high: datetime, now: datetime, most: int
) -> tuple[dict[str, Any], int, list[Reading]]:
    """Columns of a curve, how many readings they stand for, and the readings themselves, of a long range the newest.

    Up to `EXACT` readings are read and sampled. Of more, the database finds the extremes of short stretches; a
    point then stands at the begin or end of its stretch, which a screen does not show apart.
    """
    count = max(count_up_to(c, [s.id], low, high, EXACT + 1) for s, _ in parts)
    if count <= EXACT:
        readings = load_exact(c, parts, low, high, now)
        kept = sample(readings, most)
        return make_columns(_spell(kept)), len(readings), readings
    begin = max(low, find_nth_newest(c, parts[0][0].id, high, NEWEST) or low) - TICK
    newest = load_exact(c, parts, begin, high, now)
    offsets = [load_offsets(c, s.id, now) for s, _ in parts]
    edges = spread(low, begin, most // 2)
    edges += [parse(at) - TICK for some in offsets for at, _ in some if low < parse(at) - TICK < begin]
    edges = sorted(set(edges))
    rows: list[tuple[float, float, str]] = []
    total = len(newest)
    for one in load_stretches(c, [(s.id, weight) for s, weight in parts], edges, now):
        total += one.count
        shift = sum(
            weight * size for some, (_, weight) in zip(offsets, parts, strict=True) for at, size in some
            if at <= one.last_at
        )  # fmt: skip
        ends = [one.low - shift, one.high - shift]
        if rows and abs(ends[1] - rows[-1][1]) < abs(ends[0] - rows[-1][1]):
            ends.reverse()
        first, last = (parse(at).timestamp() for at in (one.first_at, one.last_at))
        rows += [(first, ends[0], "")] + ([(last, ends[1], "")] if one.count > 1 else [])
    if len(parts) == 1:
        for at in list_flagged(c, parts[0][0].id, low, begin, FLAGGED):
            rows += _spell(load_exact(c, parts, at - TICK, at, now))
    rows += _spell(newest)
    return make_columns(sorted(rows, key=lambda row: row[0])), total, newest


def _spell(readings: Iterable[Reading]) -> list[tuple[float, float, str]]:
    return [(r.observed_at.timestamp(), r.value, ",".join(r.flags)) for r in readings]


def load_exact(c: Connection, parts: Parts, low: datetime, high: datetime, now: datetime) -> list[Reading]:
    """Readings of a curve one by one, flagged ones with their flags."""
    found = [load_readings(c, s.id, low, high, now) for s, _ in parts]
    return found[0] if len(parts) == 1 else project_downslope(found, [weight for _, weight in parts])


def load_curves(
    c: Connection, found: dict[str, Parts], low: datetime, high: datetime, now: datetime
) -> tuple[dict[str, list[tuple[float, float]]], bool]:
    """Epoch seconds and values by station; and whether the range was so long that a seek stands for each stretch."""
    ids = [s.id for parts in found.values() for s, _ in parts]
    each = max(COMPARE_POINTS // len(ids), LEAST_POINTS)
    thinned = count_up_to(c, ids, low, high, COMPARED + 1) > COMPARED
    values = load_firsts(c, ids, spread(low, high, each), now) if thinned else load_sound(c, ids, low, high, now)
    for series_id in list_offset_series(c, ids):
        steps = load_offsets(c, series_id, now)
        at = [step[0] for step in steps]
        sums = [0.0, *accumulate(size for _, size in steps)]
        values[series_id] = [(t, value - sums[bisect_right(at, t)]) for t, value in values.get(series_id, [])]
    curves: dict[str, list[tuple[float, float]]] = {}
    for station, parts in found.items():
        some = [dict(values.get(s.id, [])) for s, _ in parts]
        common = [at for at in some[0] if all(at in one for one in some)]
        total = [sum(one[at] * weight for one, (_, weight) in zip(some, parts, strict=True)) for at in common]
        curves[station] = [(parse(common[k]).timestamp(), total[k]) for k in pick(total, each)]
    return curves, thinned


def spread(low: datetime, high: datetime, count: int) -> list[datetime]:
    """`count` + 1 instants at even distances."""
    return [low + (high - low) * k / count for k in range(count + 1)]


def make_columns(rows: Iterable[tuple[float, float, str]]) -> dict[str, Any]:
    """Epoch seconds, values, and flags by position, of rows of them."""
    found = list(rows)
    return {
        "at": fold(at for at, _, _ in found), "value": [shorten(value) for _, value, _ in found],
        "flags": {str(k): flags for k, (_, _, flags) in enumerate(found) if flags},
    }  # fmt: skip


def shorten(value: float) -> float:
    """Six digits: what no screen shows finer.

    >>> shorten(1234.56789), shorten(-0.1234567891)
    (1234.57, -0.123457)
    """
    return float(f"{value:.6g}")


def fold(instants: Iterable[float | str | datetime]) -> list[float]:
    """Instants as epoch seconds: the first, then the step to each next one; equal steps pack to nearly nothing.

    >>> fold([1000.0, 1600.0, 2200.5])
    [1000, 600, 600.5]
    """
    before, steps = 0.0, list[float]()
    for value in instants:
        instant = parse(value) if isinstance(value, str) else value
        at = instant.timestamp() if isinstance(instant, datetime) else instant
        step = round(at - before, 3)
        steps.append(int(step) if step.is_integer() else step)
        before += step
    return steps


def unfold(steps: Iterable[float]) -> list[float]:
    """What `fold` folded.

    >>> unfold([1000, 600, 600.5])
    [1000.0, 1600.0, 2200.5]
    """
    return [float(at) for at in accumulate(steps)]
