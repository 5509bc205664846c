"""One line an hour in the log: what came in, what went out, and how each site stands."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from monitor.domain.alert import DeliveryState
from monitor.store.database.engine import Database
from monitor.store.schema.views import load_view

log: Final = logging.getLogger(__name__)
MOST: Final = 20  # sites that are named
_COUNTED: Final = ("messages", "stored", "rejected")


class HourlySummary:
    """What was done since the line before."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._before: dict[str, int] | None = None

    def write(self, ingest: Mapping[str, Any], sent: int) -> None:
        """Log the line; the first call only begins to count.

        Args:
            ingest: counts since the start of the process, as ingest shows them.
            sent: messages to people since the start of the process.
        """
        now = {name: int(ingest.get(name, 0)) for name in _COUNTED} | {"sent": sent}
        before, self._before = self._before, now
        if before is None:
            return
        done = {name: max(0, count - before[name]) for name, count in now.items()}
        with self._db.read() as c:
            sites = _describe_sites(c)
        log.info(
            "the last hour: %d messages in, %d readings stored, %d refused; %d messages to people; %s",
            done["messages"],
            done["stored"],
            done["rejected"],
            done["sent"],
            sites,
        )


def count_sent(dispatcher: Mapping[str, Any]) -> int:
    """Messages that a channel took, of all that the dispatcher shows."""
    return sum(dispatcher["states"].get(state, 0) for state in (DeliveryState.DELIVERED, DeliveryState.CONFIRMED))


def _describe_sites(c: Connection) -> str:
    """Those above the lowest level or not wholly seen by name, the others by their number."""
    rows = load_view(c, "site_status", order_by=("-level", "site"))
    calm = [row for row in rows if row["level"] == 0 and row["observability"] == "full"]
    described = [
        f"{row['site']} {row['level_name']}, sight {row['observability']}"
        if row["evaluated_at"]
        else f"{row['site']} not evaluated yet"
        for row in rows
        if row["level"] != 0 or row["observability"] != "full"
    ]
    described[MOST:] = [f"{len(described) - MOST} more"] if len(described) > MOST else []
    if calm:
        described.append(
            f"{len(calm)} of {len(rows)} sites all seen, {'/'.join(sorted({str(r['level_name']) for r in calm}))}"
        )
    return "; ".join(described) or "no site"
