"""The first and the last epoch of a series, by one seek."""

from datetime import datetime

from sqlalchemy import Connection, select

from monitor.store.schema.readings import observation


def find_epoch(
    c: Connection, series_id: int, since: datetime, until: datetime, *, last: bool = False
) -> datetime | None:
    """The first epoch, or the last, in a time, ends included."""
    at = observation.c.observed_at
    query = select(at).where(observation.c.series_id == series_id, at >= since, at <= until)
    found: datetime | None = c.execute(query.order_by(at.desc() if last else at).limit(1)).scalar()
    return found
