"""Readings, series and instruments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from sqlalchemy import Connection, Table

    from monitor.storage.public_view import PublicView
    from monitor.storage.retention import RetentionRule


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of readings and instruments."""
    from monitor.readings import instrument_tables, point_tables, tables

    return [
        tables.series,
        tables.observation,
        tables.observation_flag,
        tables.series_latest,
        tables.offset_entry,
        tables.reading_gap,
        tables.observation_summary,
        instrument_tables.instrument_finding,
        instrument_tables.instrument,
        instrument_tables.instrument_month,
        point_tables.point_set,
        point_tables.point,
        point_tables.point_observation,
        point_tables.point_delivery,
    ]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of readings and instruments."""
    from monitor.readings import instrument_views, views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, views.select_views, instrument_views.select_views)


@hookimpl
def retention_rules() -> Iterable[RetentionRule]:
    """Return the rule for readings."""
    from monitor.readings.queries.retention import RETENTION_RULES

    return RETENTION_RULES


@hookimpl
def move_instants_back(connection: Connection, back: timedelta, limit: datetime) -> Mapping[str, int]:
    """Move the reception of readings back."""
    from monitor.readings.queries.clock_steps import move_receptions_back

    changed = move_receptions_back(connection, back, limit)
    return {"observation": changed} if changed else {}
