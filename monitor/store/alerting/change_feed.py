"""What people added beside the stream of messages: noticed within seconds, whichever process wrote it."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, or_, select, union

from monitor.store.schema import tables

_OF_SITE = (tables.report, tables.site_event, tables.event_confirmation, tables.maintenance, tables.point_delivery)
_OF_SERIES = (tables.offset_entry, tables.observation_flag)
Marks = dict[tuple[str, str], Any]  # (table, column) -> newest
# columns that are set after the row was added
_LATER = {
    tables.offset_entry.name: ("confirmed_at", "revoked_at"),
    tables.maintenance.name: ("ended_at",),
    **dict.fromkeys((tables.site_event.name, tables.event_confirmation.name), ("withdrawn_at",)),
}


class ChangeDetector:
    """Compares the newest rows of reports, events, offsets and flags with those of the last look.

    All of them are found by an index or in a table of a few rows, so that a look every second costs nothing.
    """

    def __init__(self) -> None:
        self._known: Marks | None = None

    def find_changed(self, connection: Connection) -> frozenset[str]:
        """Sites with something new since the last look; none at the first."""
        marks = [(t.name, c, func.max(t.c[c])) for t in (*_OF_SITE, *_OF_SERIES) for c in _columns(t)]
        row = connection.execute(select(*[select(newest).scalar_subquery() for _, _, newest in marks])).one()
        before, self._known = self._known, {(t, c): value for (t, c, _), value in zip(marks, row, strict=True)}
        if before is None or before == self._known:
            return frozenset()
        wanted = [select(t.c.site).where(_newer(t, before)) for t in _OF_SITE]
        wanted += [
            select(tables.series.c.site).join(t, t.c.series_id == tables.series.c.id).where(_newer(t, before))
            for t in _OF_SERIES
        ]
        return frozenset(connection.execute(union(*wanted)).scalars())


def _columns(table: Table) -> tuple[str, ...]:
    return ("id", *_LATER.get(table.name, ()))


def _newer(table: Table, before: Marks) -> ColumnElement[bool]:
    marks = ((table.c[name], before[table.name, name]) for name in _columns(table))
    return or_(*(column.is_not(None) if mark is None else column > mark for column, mark in marks))
