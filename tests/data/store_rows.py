"""Helpers for tests: offsets, flags and outlines with default values, and calls in a separate transaction."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from detection.geojson import Geometry
from monitor.alerts.queries.offsets import add_offset
from monitor.readings.tables import observation_flag
from monitor.storage.actor import Actor
from monitor.storage.engine import Database


def square(west: float, south: float, side: float = 0.001) -> Geometry:
    """Return the geometry of a square, with the side in degrees."""
    ring = [(west, south), (west + side, south), (west + side, south + side), (west, south + side), (west, south)]
    return {"type": "Polygon", "coordinates": [[[round(x, 7), round(y, 7)] for x, y in ring]]}


def enter_offset(c: Connection, series_id: int, at: datetime, size_mm: float, now: datetime, **facts: Any) -> int:
    """Store an offset that Ada enters at `now`, and return its number."""
    usual = {"kind": "antenna", "author": Actor("Ada"), "reason": "antenna changed", "known_from": now, "unit": "mm"}
    return add_offset(c, series_id, at=at, size=size_mm, now=now, **(usual | facts))


def add_flag(
    c: Connection, series_id: int, at: datetime, flag: str, known_from: datetime, *, revision: int = 0, by: str = "Ada"
) -> None:
    """Store a flag of a reading that an operator sets (`spike`) or removes (`-spike`), effective from `known_from`."""
    facts = {"observed_at": at, "revision": revision, "flag": flag, "known_from": known_from, "by": by}
    c.execute(insert(observation_flag).values(series_id=series_id, reason="snow", **facts))


def ask(db: Database, find: Callable[..., Any], *about: Any, **more: Any) -> Any:
    """Call a function in a read transaction and return its result, an iterator as a list."""
    with db.read() as c:
        result = find(c, *about, **more)
        return list(result) if isinstance(result, Iterator) else result


def tell(db: Database, change: Callable[..., Any], *about: Any, **more: Any) -> Any:
    """Call a function in a write transaction and return its result."""
    with db.write() as c:
        return change(c, *about, **more)
