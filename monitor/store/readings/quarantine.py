"""How much rubbish is kept: a quota for each source and for all, so that no sender fills the disk with it.

What goes beyond a quota is counted by source and not kept; the count is as public as the messages are.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, case, delete, func, select, update

from monitor.store.database.engine import insert
from monitor.store.schema.tables import quarantine_source, rejected_message

ROW_BYTES: Final = 512  # that a row takes beside its payload: the smallest messages are not free
MOST_SOURCES: Final = 1000  # senders choose topics; behind so many, all others are one
OTHERS: Final = "(all others)"
_MEGABYTE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Quota:
    """Bytes that the quarantine may keep."""

    total_bytes: int = 256 * _MEGABYTE
    source_bytes: int = 32 * _MEGABYTE


@lru_cache(4096)
def find_source(topic: str, client: str) -> str:
    """Who sent a message, by the part of its topic that a broker can bind to a credential.

    >>> find_source("slopeward/v1/north/G1/obs", "live"), find_source("app/7/device/3/up", "live")
    ('slopeward/v1/north/G1', 'app/7/device/3')
    >>> find_source("file/north", "file:a.csv")
    'file/north'
    """
    return "/".join(topic.split("/")[:4])[:200] if not client.startswith("file:") else topic[:200]


class Room:
    """The room left in the quarantine, within one write transaction; `close` writes what became of it."""

    def __init__(self, connection: Connection, quota: Quota) -> None:
        q = quarantine_source.c
        self._connection, self._quota = connection, quota
        kept = connection.execute(select(q.source, q.kept_bytes))
        self._kept: dict[str, int] = {row.source: row.kept_bytes for row in kept}
        self._total = sum(self._kept.values())
        self._added: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])  # bytes kept, rows kept, messages not kept

    def take(self, source: str, payload_bytes: int, times: int) -> bool:
        """Whether a message may be kept; either way it is counted."""
        if source not in self._kept:
            source = source if len(self._kept) < MOST_SOURCES else OTHERS
            self._kept.setdefault(source, 0)
        size = ROW_BYTES + payload_bytes
        added = self._added[source]
        if self._kept[source] + size > self._quota.source_bytes or self._total + size > self._quota.total_bytes:
            added[2] += times
            return False
        self._kept[source] += size
        self._total += size
        added[0], added[1] = added[0] + size, added[1] + 1
        return True

    def close(self, now: datetime) -> int:
        """Write the counts; returns how many messages were not kept."""
        facts = [
            {"source": source, "kept_bytes": size, "kept_rows": rows, "unkept": unkept,
             "unkept_at": now if unkept else None}
            for source, (size, rows, unkept) in sorted(self._added.items())  # one order: two writers never cross
        ]  # fmt: skip
        if facts:
            row = insert(self._connection, quarantine_source)
            own, new = quarantine_source.c, row.excluded
            grown: dict[str, Any] = {name: own[name] + new[name] for name in ("kept_bytes", "kept_rows", "unkept")}
            grown["unkept_at"] = func.coalesce(new.unkept_at, own.unkept_at)
            self._connection.execute(row.on_conflict_do_update(index_elements=["source"], set_=grown), facts)
        return sum(unkept for _, _, unkept in self._added.values())


def prune_quarantine(connection: Connection, before_at: datetime, rows: int) -> int:
    """Delete at most so many of the messages received before an instant, and give their room back."""
    r, q = rejected_message.c, quarantine_source.c
    count = _drop(connection, r.received_at < before_at, rows)
    if not count:  # names of sources are the senders' too: those with nothing left go with their last message
        stale = (q.kept_rows == 0) & (q.unkept_at.is_(None) | (q.unkept_at < before_at))
        connection.execute(delete(quarantine_source).where(stale))
    return count


def drop_waiting(connection: Connection, topic: str, client: str) -> int:
    """Delete what waits of an earlier version of a file that is about to be read again as a whole."""
    r = rejected_message.c
    return _drop(connection, (r.topic == topic) & (r.client == client) & r.replayed_at.is_(None), None)


def _drop(connection: Connection, which: ColumnElement[bool], most: int | None) -> int:
    """Delete messages and give their room back; returns how many."""
    r, q = rejected_message.c, quarantine_source.c
    doomed = connection.execute(
        select(r.id, r.topic, r.client, func.length(r.payload).label("size")).where(which).limit(most)
    ).all()
    freed: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    known = set(connection.execute(select(q.source)).scalars())
    for row in doomed:
        source = find_source(row.topic, row.client)
        of = freed[source if source in known else OTHERS]
        of[0], of[1] = of[0] + ROW_BYTES + row.size, of[1] + 1
    for source, (size, count) in freed.items():
        left = {"kept_bytes": _less(q.kept_bytes, size), "kept_rows": _less(q.kept_rows, count)}
        connection.execute(update(quarantine_source).where(q.source == source).values(left))
    for start in range(0, len(doomed), 300):
        connection.execute(delete(rejected_message).where(r.id.in_([d.id for d in doomed[start : start + 300]])))
    return len(doomed)


def _less(column: Any, by: int) -> Any:
    return case((column > by, column - by), else_=0)
