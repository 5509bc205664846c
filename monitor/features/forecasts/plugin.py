"""Forecasts, their scores, and seasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Table

    from monitor.storage.public_view import PublicView
    from monitor.storage.retention import RetentionRule


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of forecasts."""
    from monitor.features.forecasts import tables

    return [
        tables.forecast,
        tables.forecast_withheld,
        tables.forecast_score,
        tables.forecast_month,
        tables.conformal_state,
        tables.season,
    ]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of forecasts."""
    from monitor.features.forecasts import season_views, views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, views.select_views, season_views.select_views)


@hookimpl
def retention_rules() -> Iterable[RetentionRule]:
    """Return the rules for forecasts and their scores."""
    from monitor.features.forecasts.queries.retention import RETENTION_RULES

    return RETENTION_RULES


@hookimpl
def series_joined(connection: Connection, kept_id: int, removed_id: int) -> None:
    """Compute the sums of the scores again."""
    from monitor.features.forecasts.queries.score_sums import sum_up_joined

    sum_up_joined(connection, kept_id, removed_id)
