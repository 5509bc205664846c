"""The acts on alerts, levels, sites, reports and accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection, Table

    from monitor.alerts.acts.table import Act, ActResult
    from monitor.storage.public_view import PublicView
    from monitor.storage.retention import RetentionRule
    from monitor.text.instants import Span


@hookimpl
def register_acts() -> Iterable[Act]:
    """Return the acts."""
    from monitor.alerts.acts.kernel_acts import ACTS
    from monitor.alerts.acts.table import make_act_factory

    proposals = make_act_factory("/sites/{site}/proposals", "sites")
    return [*ACTS, proposals("site.propose", "propose", "", _load_propose)]


def _load_propose() -> Callable[..., ActResult]:
    # This act replays the past of the site. `monitor.alerts.replay` imports the other acts.
    from monitor.alerts.replay.proposals import propose

    return propose


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of alerts, decisions and events."""
    from monitor.alerts import evaluation_tables, event_tables, outbox_tables, tables

    return [
        tables.alert,
        tables.alert_event,
        tables.alert_outcome,
        evaluation_tables.site_state,
        evaluation_tables.station_state,
        evaluation_tables.forecast_chance,
        evaluation_tables.rate_now,
        evaluation_tables.evaluation,
        evaluation_tables.decision,
        evaluation_tables.outage,
        event_tables.report,
        event_tables.site_event,
        event_tables.event_confirmation,
        outbox_tables.notification,
    ]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of alerts, decisions and events."""
    from monitor.alerts import event_views, views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, views.select_views, event_views.select_views)


@hookimpl
def retention_rules() -> Iterable[RetentionRule]:
    """Return the rule for evaluations."""
    from monitor.alerts.queries.retention import RETENTION_RULES

    return RETENTION_RULES


@hookimpl
def cited_spans(connection: Connection) -> Iterable[Span]:
    """Return the spans that the frozen evidence of decisions names."""
    from monitor.alerts.queries.cited_spans import load_cited_spans

    return load_cited_spans(connection)


@hookimpl
def verify_database(connection: Connection, report_progress: Callable[[int, int], None]) -> Iterable[str]:
    """Compare decisions with the audit log and with their readings."""
    from monitor.alerts.queries.verification import verify_decisions

    return verify_decisions(connection, report_progress)
