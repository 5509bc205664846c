"""Values of many InSAR points as one table, as they were known at an instant."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from monitor.api.text import format_iso

AT_ONCE: Final = 500  # points of one statement: what the driver gives stays small
KEPT: Final = 400  # acquisitions of a table, the newest


def load_point_table(c: Connection, ids: Sequence[int], known_at: datetime) -> tuple[list[str], NDArray[np.float64]]:
    """Acquisitions (spelled, in order) and values in the unit of the set; shape (points, acquisitions), NaN unknown.

    Of each value the newest revision that had come in by `known_at`.
    """
    mark = "?" if c.dialect.name == "sqlite" else "%s"
    dates: dict[str, int] = {}
    cells: list[tuple[Any, Any, Any]] = []
    for first in range(0, len(ids), AT_ONCE):
        some = ids[first : first + AT_ONCE]
        rows = c.exec_driver_sql(
            "SELECT point_id, observed_at, value_raw FROM point_observation WHERE point_id IN "  # noqa: S608 - marks
            f"({','.join([mark] * len(some))}) AND received_at <= {mark} ORDER BY point_id, observed_at, revision",
            (*some, format_iso(known_at)),
        ).all()
        row_of = {point: first + k for k, point in enumerate(some)}
        cells.append(
            (
                np.fromiter((row_of[r[0]] for r in rows), np.int64, len(rows)),
                np.fromiter((dates.setdefault(r[1], len(dates)) for r in rows), np.int64, len(rows)),
                np.fromiter((r[2] for r in rows), np.float64, len(rows)),
            )
        )
    ordered = sorted(dates)
    place = np.empty(len(dates), dtype=np.int64)
    place[[dates[at] for at in ordered]] = np.arange(len(ordered))
    values = np.full((len(ids), len(ordered)), np.nan)
    for rows_of, columns, numbers in cells:
        values[rows_of, place[columns]] = numbers  # the newest revision of a cell comes last
    return ordered[-KEPT:], values[:, -KEPT:]
