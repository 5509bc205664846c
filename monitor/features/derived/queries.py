"""Store which calculated series still have to be computed.

A row of `calculation_pending` is written in the transaction that stores the readings, and deleted after everything that
follows from them is stored. A crash in between leaves the row, and the values are computed after the next start.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection, delete, insert, select

from monitor.api.queries.readings import in_chunks
from monitor.api.tables import calculation_pending

_AT_ONCE: Final = 500


class Cause(StrEnum):
    """Why values have to be computed."""

    READINGS = "readings"  # readings of the named input series were stored
    VALUES = "values"  # the same, already resolved to the named calculated series
    REDEFINED = "redefined"  # the expression of the named calculated series, or an offset of an input, has changed


@dataclass(frozen=True, slots=True)
class PendingRow:
    """One row of `calculation_pending`."""

    site: str
    series: Sequence[str]  # `STATION.quantity`
    from_at: datetime
    to_at: datetime
    cause: Cause
    # Stored values before this instant stay even if they can no longer be computed; None: no value stays.
    keep_before: datetime | None = None
    id: str = ""  # random: an id that was used again would make an old note look like a new one


def add_pending(c: Connection, rows: Sequence[PendingRow]) -> None:
    """Add rows, in the transaction that makes them necessary."""
    if rows:
        values = [
            {
                "id": uuid4().hex,
                "site": row.site,
                "series": list(row.series),
                "from_at": row.from_at,
                "to_at": row.to_at,
                "cause": row.cause.value,
                "keep_before": row.keep_before,
            }
            for row in rows
        ]
        c.execute(insert(calculation_pending), values)


def load_pending_ids(c: Connection, site: str) -> set[str]:
    """Return the ids of all rows of a site."""
    return set(c.execute(select(calculation_pending.c.id).where(calculation_pending.c.site == site)).scalars())


def load_pending(c: Connection, known: Collection[str] = ()) -> list[PendingRow]:
    """Return all rows but those whose ids are known."""
    ids = set(c.execute(select(calculation_pending.c.id)).scalars()) - set(known)
    found: list[PendingRow] = []
    for some in in_chunks(sorted(ids), _AT_ONCE):
        for row in c.execute(select(calculation_pending).where(calculation_pending.c.id.in_(some))):
            cause = Cause(row.cause)
            found.append(PendingRow(row.site, row.series, row.from_at, row.to_at, cause, row.keep_before, row.id))
    return found


def delete_pending(c: Connection, ids: Collection[str]) -> None:
    """Delete rows whose values are stored."""
    for some in in_chunks(sorted(ids), _AT_ONCE):
        c.execute(delete(calculation_pending).where(calculation_pending.c.id.in_(some)))
