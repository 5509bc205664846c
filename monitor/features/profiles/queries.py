"""Queries on the series of boreholes, on surveys that still have to be computed, and on the quarantine.

A row of `profile_pending` is written in the transaction that stores the readings, and deleted after every profile in
its span is stored. A crash in between leaves the row, and the profiles are computed after the next start.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection, and_, delete, func, insert, or_, select

from monitor.api.queries.ingest import FILE_TOPIC
from monitor.api.queries.readings import find_series_id, in_chunks
from monitor.api.sites import TOPIC_ROOT
from monitor.api.tables import observation, profile_pending, rejected_message
from monitor.api.text import Span

# Codes of values whose name or unit the site file does not know.
UNKNOWN_NAMES: Final = ("unknown_quantity", "unknown_key", "unit_mismatch", "no_unit")
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class PendingProfiles:
    """One row of `profile_pending`: the surveys of a borehole in a span, ends included, have to be computed."""

    site: str
    station: str
    span: Span
    id: str = ""  # random, so that no id is used twice


def add_pending(c: Connection, rows: Sequence[PendingProfiles]) -> None:
    """Add rows, in the transaction that makes them necessary."""
    if rows:
        values = [
            {
                "id": uuid4().hex,
                "site": row.site,
                "station": row.station,
                "from_at": row.span[0],
                "to_at": row.span[1],
            }
            for row in rows
        ]
        c.execute(insert(profile_pending), values)


def load_pending(c: Connection) -> list[PendingProfiles]:
    """Load all rows."""
    return [
        PendingProfiles(row.site, row.station, (row.from_at, row.to_at), row.id)
        for row in c.execute(select(profile_pending))
    ]


def load_pending_ids(c: Connection, site: str, station: str) -> set[str]:
    """Load the ids of all rows of a borehole."""
    p = profile_pending.c
    return set(c.execute(select(p.id).where(p.site == site, p.station == station)).scalars())


def delete_pending(c: Connection, ids: Collection[str]) -> None:
    """Delete rows whose profiles are stored."""
    for some in in_chunks(sorted(ids), _AT_ONCE):
        c.execute(delete(profile_pending).where(profile_pending.c.id.in_(some)))


def find_epoch(
    c: Connection, series_id: int, since: datetime, until: datetime, *, last: bool = False
) -> datetime | None:
    """Return the first epoch of a series in a span, ends included, or the last one; None where it has none."""
    at = observation.c.observed_at
    query = select(at).where(observation.c.series_id == series_id, at >= since, at <= until)
    found: datetime | None = c.execute(query.order_by(at.desc() if last else at).limit(1)).scalar()
    return found


def find_newest_count(c: Connection, site: str, station: str, quantity: str) -> int | None:
    """Return the number of depths in the newest survey of a borehole; None before its first one."""
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
    """List the newest different reasons for which values of a station are in the quarantine.

    Topics of the station contain only its readings. Files and messages of other decoders may contain several stations:
    they count if their reason states that this station has no such depth.
    """
    r = rejected_message.c
    topics = [f"{TOPIC_ROOT}/{site}/{station}/obs", f"{TOPIC_ROOT}/{site}/{station}/backfill/obs"]
    is_own = or_(
        r.topic.in_(topics),
        and_(
            or_(r.topic == f"{FILE_TOPIC}{site}", r.topic.not_like(f"{TOPIC_ROOT}/%")),
            r.reason.contains(f"{station} has no depth ", autoescape=True),
        ),
    )
    query = (
        select(r.reason, func.max(r.id).label("newest"))
        .where(is_own, r.code.in_(UNKNOWN_NAMES), r.received_at >= since, r.replayed_at.is_(None))
        .group_by(r.reason)
        .order_by(func.max(r.id).desc())
        .limit(limit)
    )
    return [row.reason for row in c.execute(query)]
