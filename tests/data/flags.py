"""Rows that tests lay beside readings: what a person said of one, an offset of a series."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from monitor.domain.alert import Actor
from monitor.store.alerting.offsets import add_offset
from monitor.store.schema.tables import observation_flag


def add_flag(
    c: Connection, series_id: int, at: datetime, flag: str, known_from: datetime, *, revision: int = 0, by: str = "Ada"
) -> None:
    """A person sets (`spike`) or takes back (`-spike`) a flag of a reading, known from an instant on."""
    facts = {
        "observed_at": at,
        "revision": revision,
        "flag": flag,
        "known_from": known_from,
        "by": by,
        "reason": "snow",
    }
    c.execute(insert(observation_flag).values(series_id=series_id, **facts))


def declare_offset(
    c: Connection, series_id: int, at: datetime, size: float, now: datetime, *, author: Actor, **more: Any
) -> int:
    """An offset of a new antenna, mm, known from `now` unless said; its number."""
    facts = {"known_from": now, "unit": "mm", "kind": "antenna", "reason": "new mast"} | more
    return add_offset(c, series_id, at=at, size=size, author=author, now=now, **facts)
