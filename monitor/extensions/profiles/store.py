"""Queries on the series of boreholes and on what the quarantine holds of them."""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from monitor.domain.topics import ROOT
from monitor.store.readings.observations import find_series_id
from monitor.store.schema.ingest import rejected_message
from monitor.store.schema.readings import observation

# Codes of values whose name or unit the site file does not know.
UNKNOWN_NAMES: Final = ("unknown_quantity", "unknown_key", "unit_mismatch", "no_unit")


def find_epoch(
    c: Connection, series_id: int, since: datetime, until: datetime, *, last: bool = False
) -> datetime | None:
    """The first epoch, or the last, in a time, ends included."""
    at = observation.c.observed_at
    query = select(at).where(observation.c.series_id == series_id, at >= since, at <= until)
    found: datetime | None = c.execute(query.order_by(at.desc() if last else at).limit(1)).scalar()
    return found


def find_newest_count(c: Connection, site: str, station: str, quantity: str) -> int | None:
    """Find how many depths the newest survey of a borehole has; None before its first one."""
    series_id = find_series_id(c, site, station, quantity)
    if series_id is None:
        return None
    o = observation.c
    query = (
        select(o.value_raw).where(o.series_id == series_id).order_by(o.observed_at.desc(), o.revision.desc()).limit(1)
    )
    count = c.execute(query).scalar()
    return None if count is None else round(count)


def list_refused_reasons(c: Connection, site: str, station: str, since: datetime, *, limit: int = 3) -> list[str]:
    """List the newest different reasons for which values of a station are in the quarantine."""
    r = rejected_message.c
    topics = [f"{ROOT}/{site}/{station}/obs", f"{ROOT}/{site}/{station}/backfill/obs"]
    query = (
        select(r.reason, func.max(r.id).label("newest"))
        .where(r.topic.in_(topics), r.code.in_(UNKNOWN_NAMES), r.received_at >= since, r.replayed_at.is_(None))
        .group_by(r.reason)
        .order_by(func.max(r.id).desc())
        .limit(limit)
    )
    return [row.reason for row in c.execute(query)]
