"""Hooks of the comparison with another system that watches the same slope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.api.hooks import Command, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Table

    from monitor.api.queries.alerts import SystemAlarm
    from monitor.api.sites import Site
    from monitor.api.store import PublicView


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands that import alarms and compare both systems."""
    return {
        "second-opinion": Command(
            _load_commands,
            "Compare Slopeward with a system that an office already has",
            after="backtest",
            rules={"second-opinion import": "operator"},
            subject="Results",
            is_in_overview=False,
        )
    }


def _load_commands() -> Any:
    from monitor.features.second_opinion.cli import app

    return app


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the table of alarms of the other system."""
    from monitor.features.second_opinion import tables

    return [tables.other_alarm]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the view of alarms of the other system."""
    from monitor.api.store import pair_views
    from monitor.features.second_opinion import views

    return pair_views(sqlite, views.select_views)


@hookimpl
def other_alarms(connection: Connection, site: Site, from_at: datetime, to_at: datetime) -> Sequence[SystemAlarm]:
    """Return the alarms of the other system in a range, for backtests."""
    from monitor.features.second_opinion.queries import load_other_alarms

    return load_other_alarms(connection, site.id, from_at, to_at)
