"""Parameters that a night found for the statistical models of each series: one row per series and model, replaced."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from forecasting.message import gather
from forecasting.simple.night_fit import NightFit
from monitor.domain.canonical import code_version
from monitor.store.database.rows import read_record, save_rows
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
            "series_id": row.series_id, "model": row.fit.model, "tried_at": row.tried_at, "reason": row.reason,
            "fitted_at": row.fitted_at if row.fit.params else None, "settled": row.fit.settled,
            "drivers": ", ".join(row.fit.columns), "fit": kept, "code_version": code_version(),
        }  # fmt: skip
        save_rows(c, t.model_fit, [values])


def load_fits(c: Connection, site: str) -> list[FitRow]:
    """What is kept of a site, by series and model."""
    f = t.model_fit.c
    asked = select(t.model_fit).join(t.series, t.series.c.id == f.series_id).where(t.series.c.site == site)
    return [
        read_record(FitRow, r, fit=_read(r.fit), fitted_at=r.fitted_at or r.tried_at)
        for r in c.execute(asked.order_by(f.series_id, f.model))
    ]


def _read(kept: dict[str, Any]) -> NightFit:
    return NightFit(**{**gather(kept), "columns": tuple(kept["columns"]), "params": tuple(kept["params"])})
