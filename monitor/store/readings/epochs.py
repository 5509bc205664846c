"""Epochs of one series as the outside reads them: page by page, each with the revision that speaks."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from monitor.domain.instants import spell
from monitor.store.readings.observations import find_series_id, rank
from monitor.store.schema.tables import observation
from monitor.store.schema.views import stream_view


def count_epochs(
    c: Connection,
    site: str,
    station: str,
    quantity: str,
    *,
    after: datetime | None = None,
    until: datetime | None = None,
) -> int:
    """How many epochs a series has in [after, until)."""
    which = _plan(c, site, station, quantity, after, until)
    return int(c.execute(select(func.count(observation.c.observed_at.distinct())).where(*which)).scalar_one())


def load_epochs(
    c: Connection, site: str, station: str, quantity: str, *, after: datetime | None = None,
    until: datetime | None = None, newest_first: bool = False, skip: int = 0, limit: int = 100,
) -> list[dict[str, Any]]:  # fmt: skip
    """Rows of `observation_history`, one for each epoch in [after, until): the revision that speaks.

    Args:
        c: a read transaction.
        site: site.
        station: station.
        quantity: quantity.
        after: first instant; None: from the first reading.
        until: instant before which epochs lie; None: to the last.
        newest_first: the order.
        skip: epochs passed over.
        limit: epochs at most.
    """
    o = observation.c
    order = o.observed_at.desc() if newest_first else o.observed_at
    which = _plan(c, site, station, quantity, after, until)
    epochs: Sequence[datetime] = (
        c.execute(select(o.observed_at).where(*which).distinct().order_by(order).offset(skip).limit(limit))
        .scalars()
        .all()
    )
    if not epochs:
        return []
    rows = stream_view(
        c, "observation_history", order_by=["observed_at", "revision"], column="observed_at",
        after=spell(min(epochs) - timedelta(microseconds=1)), until=spell(max(epochs)), site=site, station=station,
        quantity=quantity,
    )  # fmt: skip
    found = [
        max(revisions, key=lambda row: (rank(row["solution"]), row["revision"]))
        for _, revisions in groupby(rows, key=lambda row: row["observed_at"])
    ]
    return found[::-1] if newest_first else found


def _plan(
    c: Connection, site: str, station: str, quantity: str, after: datetime | None, until: datetime | None
) -> list[ColumnElement[bool]]:
    o = observation.c
    terms: list[ColumnElement[bool]] = [o.series_id == (find_series_id(c, site, station, quantity) or 0)]
    if after is not None:
        terms.append(o.observed_at >= after)
    if until is not None:
        terms.append(o.observed_at < until)
    return terms
