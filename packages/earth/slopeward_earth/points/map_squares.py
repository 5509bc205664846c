"""Make what the map draws of satellite points when a file of them has come in: the line of each, squares of many."""

from collections.abc import Iterator
from datetime import datetime
from math import cos, radians
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.stages import Array
from monitor.api.database import Database
from monitor.api.queries.readings import PointSetRequest, list_point_ids
from monitor.api.settings import ServiceConfig
from monitor.api.sites import Site
from slopeward_earth.points.looks import AT_ONCE, go_through
from slopeward_earth.points.store import maps as point_maps
from slopeward_earth.points.store.maps import BLOCK, POINTS_MOST, save_map
from slopeward_earth.points.store.rates import fit_points

Whole = NDArray[np.int64]
FINEST: Final = 22  # level at which a square is 10 m wide at the equator
FULL: Final = 4.0  # points of a square at the finest level, on average: with fewer, points are drawn
FEW: Final = 500  # squares that any view may hold: a coarser level is of no use


def run(db: Database, config: ServiceConfig, site: Site, now: datetime) -> str:  # noqa: ARG001 - as all jobs
    """Make the map of every set of which something came in; returns one line that says what was done."""
    due = db.run_read(point_maps.list_due, site.id)
    return go_through(due, lambda point_set: _make(db, point_set, now))


def _make(db: Database, point_set: PointSetRequest, now: datetime) -> str:
    with db.read() as c:
        ids = list_point_ids(c, point_set.point_set_id, point_set.last_point_id)
        kept = point_maps.find_kept(c, point_set.point_set_id)
    oldest, newest = [], []
    for first in range(0, len(ids), AT_ONCE):
        lines = db.run_read(fit_points, ids[first : first + AT_ONCE], point_set.unit, point_set.known_at)
        oldest += [min(at)] if (at := [one.from_at for one in lines.values() if one.from_at is not None]) else []
        newest += [max(at)] if (at := [one.newest_at for one in lines.values() if one.newest_at is not None]) else []
        db.run_write(point_maps.save_rates, lines)
    squash, levels, count = 1.0, list[int](), 0
    if len(ids) > POINTS_MOST:
        with db.read() as c:
            table = np.vstack([np.array(block, dtype=np.float64) for block in point_maps.stream_rates(c, point_set)])
        squash = max(0.01, cos(radians(float(np.median(table[:, 0])))))
        db.run_write(point_maps.clear_squares, point_set, keep=kept)  # of a run that did not end
        for level, squares in make_squares(table, squash):
            levels.append(level)
            count += len(squares)
            for first in range(0, len(squares), BLOCK):
                db.run_write(point_maps.save_squares, point_set.delivery_id, squares[first : first + BLOCK])
    drawn = point_maps.PointMap(
        len(ids),
        min(oldest, default=None),
        max(newest, default=None),
        squash,
        min(levels, default=None),
        max(levels, default=None),
    )
    db.run_write(save_map, point_set, drawn, now)
    db.run_write(point_maps.clear_squares, point_set, keep=point_set.delivery_id)
    return f"{len(ids)} points, {count} squares"


def make_squares(table: Array, squash: float) -> Iterator[tuple[int, list[point_maps.Square]]]:
    """Squares level by level, the finest first, that hold `FULL` points on average or more.

    Args:
        table: latitude, longitude and rate of each point; NaN without one.
        squash: height of a square by its width, in degrees.
    """
    wide, high = point_maps.find_sides(FINEST, squash)
    y, x = np.floor(table[:, 0] / high).astype(np.int64), np.floor(table[:, 1] / wide).astype(np.int64)
    rates = table[:, 2]
    for up in range(FINEST + 1):
        key = ((y >> up) << 32) + (x >> up)  # sides double, so squares lie in squares
        order = np.lexsort((rates, key))  # NaN comes last
        ordered = key[order]
        begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]).astype(np.int64)
        if len(begins) * FULL > len(key) and len(begins) > FEW:
            continue
        yield FINEST - up, _count(ordered[begins], begins, rates[order], FINEST - up)
        if len(begins) <= FEW:
            return


def _count(keys: Whole, begins: Whole, rates: Array, level: int) -> list[point_maps.Square]:
    """The squares of one level, of rates that are ordered by square and size."""
    points = np.diff(np.r_[begins, len(rates)])
    rated = np.add.reduceat((~np.isnan(rates)).astype(np.int64), begins)
    last = begins + np.maximum(rated, 1) - 1
    middle = (rates[(begins + last) // 2] + rates[(begins + last + 1) // 2]) / 2.0
    x = ((keys + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
    columns = ((keys - x) >> 32, x, points, rated)
    numbers = np.column_stack([middle, rates[begins], rates[last]])
    rows = zip(*(column.tolist() for column in columns), numbers.round(4).tolist(), strict=True)
    return [
        point_maps.Square(level, y, x, n, known, *(of if known else (None, None, None))) for y, x, n, known, of in rows
    ]
