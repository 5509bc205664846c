"""The registry of trained models: which checkpoint serves which task of which site."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from monitor.store.engine import add_if_absent
from monitor.store.tables import model


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A checkpoint on disk (`path`) with its card; `state` is candidate, shadow, active or retired."""

    model_hash: str
    kind: str  # gru, lstm-ae, unet, ...
    task: str  # forecast, anomaly, scene
    site: str | None
    state: str
    path: str
    card: Mapping[str, Any]
    created_at: datetime


def add_model(
    c: Connection,
    model_hash: str,
    *,
    kind: str,
    task: str,
    site: str | None,
    path: str,
    card: Mapping[str, Any],
    now: datetime,
    reason: str,
) -> bool:
    """Register a checkpoint as active and retire its predecessor of the same kind, task and site.

    Returns False when the same checkpoint was registered before (nothing is changed).
    """
    values = {
        "model_hash": model_hash, "kind": kind, "task": task, "site": site, "state": "active", "path": path,
        "card": dict(card), "created_at": now, "promoted_at": now, "reason": reason,
    }  # fmt: skip
    if not add_if_absent(c, model, values):
        return False
    c.execute(
        update(model)
        .where(
            model.c.task == task, model.c.kind == kind, model.c.site.is_not_distinct_from(site),
            model.c.state == "active", model.c.model_hash != model_hash,
        )
        .values(state="retired", retired_at=now, reason=f"replaced by {model_hash[:12]}"),
    )  # fmt: skip
    return True


def find_active(c: Connection, *, task: str, kind: str, site: str | None) -> ModelRow | None:
    """The checkpoint that serves, or None."""
    row = c.execute(
        select(model).where(
            model.c.task == task, model.c.kind == kind,
            model.c.site.is_not_distinct_from(site), model.c.state == "active",
        ),
    ).first()  # fmt: skip
    return None if row is None else _model(row)


def load_models(c: Connection, *, task: str | None = None, site: str | None = None) -> list[ModelRow]:
    """All registered checkpoints, newest first."""
    query = select(model).order_by(model.c.created_at.desc(), model.c.model_hash)
    if task is not None:
        query = query.where(model.c.task == task)
    if site is not None:
        query = query.where(model.c.site == site)
    return [_model(row) for row in c.execute(query)]


def _model(row: Row[Any]) -> ModelRow:
    return ModelRow(row.model_hash, row.kind, row.task, row.site, row.state, row.path, row.card, row.created_at)
