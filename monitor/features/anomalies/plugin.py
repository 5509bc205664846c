"""Anomalies and their labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Table

    from monitor.storage.public_view import PublicView


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of anomalies."""
    from monitor.features.anomalies import tables

    return [tables.anomaly, tables.anomaly_budget, tables.anomaly_label]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of anomalies."""
    from monitor.features.anomalies import views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, views.select_views)
