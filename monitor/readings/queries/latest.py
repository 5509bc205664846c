"""Maintain the table with the newest epoch of each series, so that pages need not search the history."""

from itertools import groupby
from typing import Any

from sqlalchemy import Connection, String, delete, select, type_coerce

from monitor.readings.queries.observations import (
    END,
    RANK_SQL,
    STORED_COLUMNS,
    STREAM_ROWS,
    iter_counting,
    leave_out_unsigned,
    load_later_flags,
)
from monitor.readings.tables import observation, series_latest


def renew_latest(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """Store rows of `series_latest`, each if it is newer than the stored row of its series."""
    if not rows:
        return
    names = ("series_id", "observed_at", "revision", "received_at", "value_raw", "sigma", "solution", "flags")
    placeholder = "?" if connection.dialect.name == "sqlite" else "%s"
    old, new = RANK_SQL.format("series_latest"), RANK_SQL.format("excluded")
    connection.exec_driver_sql(
        f"INSERT INTO series_latest ({', '.join(names)}) VALUES ({', '.join([placeholder] * len(names))}) "  # noqa: S608
        f"ON CONFLICT (series_id) DO UPDATE SET {', '.join(f'{n} = excluded.{n}' for n in names[1:])} "
        "WHERE excluded.observed_at > series_latest.observed_at OR (excluded.observed_at = series_latest.observed_at "
        f"AND ({new} > {old} OR ({new} = {old} AND excluded.revision > series_latest.revision)))",
        rows,
    )


def recompute_latest(connection: Connection, series_id: int) -> None:
    """Compute the newest epoch of a series from its readings, after a value has stopped counting."""
    o = observation.c
    connection.execute(delete(series_latest).where(series_latest.c.series_id == series_id))
    newest = select(*STORED_COLUMNS).where(o.series_id == series_id, o.flags.not_like("%future%"))
    newest = newest.order_by(o.observed_at.desc(), o.revision.desc())
    later = load_later_flags(connection, series_id, None, END, END)
    rows = connection.execute(newest.execution_options(yield_per=STREAM_ROWS))
    for _, revisions in groupby(leave_out_unsigned(rows, later), key=lambda row: row[0]):
        observed, received, revision, value, sigma, solution, flags, _ = next(iter_counting(list(revisions)[::-1]))[0]
        rows.close()
        renew_latest(connection, [(series_id, observed, revision, received, value, sigma, solution, flags)])
        return


def join_latest(connection: Connection, kept_id: int, removed_id: int) -> None:
    """Move the newest epoch of one series to another one, if it is newer than the epoch of the other one."""
    k = series_latest.c
    columns = [
        type_coerce(column, String) if column.name.endswith("_at") else column
        for column in k
        if column.name != "series_id"
    ]
    rows = [(kept_id, *row) for row in connection.execute(select(*columns).where(k.series_id == removed_id))]
    connection.execute(delete(series_latest).where(k.series_id == removed_id))
    renew_latest(connection, rows)
