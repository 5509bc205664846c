"""Readings that people took, as they were typed: what a new one is compared with, and the newest that looks wrong."""

import json
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, select

from forecasting.message import gather
from monitor.store.readings.observations import rank
from monitor.store.schema.tables import observation

MISTYPED: Final = "mistyped"  # flag, and in `extra` why
REVISIONS: Final = 2  # of an epoch, that are usual: a mistyped one and what replaced it


class Typed(NamedTuple):
    """One reading as it was typed, in the unit of its series."""

    at: datetime
    value: float
    is_mistyped: bool
    why: str = ""


def load_typed(c: Connection, series_id: int, before: datetime, until: datetime, count: int) -> list[Typed]:
    """The newest readings of a series before an instant and all from it until another one, oldest first.

    Args:
        c: the connection.
        series_id: of the series.
        before: `count` readings before it are read.
        until: readings from `before` to it, that included, are read as well.
        count: how many readings before.
    """
    o = observation.c
    query = select(o.observed_at, o.revision, o.value_raw, o.solution, o.flags, o.extra).where(o.series_id == series_id)
    order = o.observed_at.desc(), o.revision.desc()
    earlier = c.execute(query.where(o.observed_at < before).order_by(*order).limit(REVISIONS * count)).all()
    later = c.execute(query.where(o.observed_at >= before, o.observed_at <= until).order_by(*order)).all()
    speaks: dict[datetime, Any] = {}
    for row in (*later, *earlier):  # of each epoch the newest revision comes first
        held = speaks.get(row.observed_at)
        if held is None or rank(row.solution) > rank(held.solution):
            speaks[row.observed_at] = row
    newest = [_read(row) for _, row in sorted(speaks.items())]
    return newest[max(0, len(newest) - count - sum(t.at >= before for t in newest)) :]


def find_mistyped(c: Connection, series_id: int, now: datetime) -> Typed | None:
    """The newest reading of a series, where it looks like a typing error."""
    newest = load_typed(c, series_id, now, now, 1)
    return newest[-1] if newest and newest[-1].is_mistyped else None


def _read(row: Any) -> Typed:
    wrong = MISTYPED in row.flags.split(",")
    why = gather(json.loads(row.extra)).get(MISTYPED, "") if wrong and row.extra else ""
    return Typed(row.observed_at, float(row.value_raw), wrong, why)
