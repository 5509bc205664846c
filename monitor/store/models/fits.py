"""Parameters that a night found for the statistical models of each series: one row per series and model, replaced."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from forecasting.message import gather, message_columns, read_columns
from forecasting.simple.night_fit import NightFit
from monitor.domain.canonical import code_version
from monitor.store.database.engine import insert
from monitor.store.schema import tables as t


@dataclass(frozen=True, slots=True)
class FitRow:
    """What is kept of one series and model.

    Attributes:
        series_id: The series.
        fit: The parameters in force.
        fitted_at: When they were found.
        tried_at: When it was tried last.
        reason: Why that found nothing better; empty where it did.
    """

    series_id: int
    fit: NightFit
    fitted_at: datetime
    tried_at: datetime
    reason: str


def save_fits(c: Connection, rows: Sequence[FitRow]) -> None:
    """Keep these in the place of what was kept before."""
    for row in rows:
        kept = asdict(row.fit)
        values: dict[str, Any] = {
            "fitted_at": row.fitted_at if row.fit.params else None, "tried_at": row.tried_at,
            **message_columns("reason", row.reason),
            "settled": row.fit.settled, "drivers": ", ".join(row.fit.columns), "fit": kept,
            "code_version": code_version(),
        }  # fmt: skip
        statement = insert(c, t.model_fit).values(series_id=row.series_id, model=row.fit.model, **values)
        c.execute(statement.on_conflict_do_update(index_elements=["series_id", "model"], set_=values))


def load_fits(c: Connection, site: str) -> list[FitRow]:
    """What is kept of a site, by series and model."""
    f = t.model_fit.c
    asked = select(t.model_fit).join(t.series, t.series.c.id == f.series_id).where(t.series.c.site == site)
    return [
        FitRow(
            r.series_id,
            _read(r.fit),
            r.fitted_at or r.tried_at,
            r.tried_at,
            read_columns(r, "reason"),
        )
        for r in c.execute(asked.order_by(f.series_id, f.model))
    ]


def _read(kept: dict[str, Any]) -> NightFit:
    return NightFit(**{**gather(kept), "columns": tuple(kept["columns"]), "params": tuple(kept["params"])})
