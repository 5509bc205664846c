"""The audit log, backups, and the state of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Table

    from monitor.storage.public_view import PublicView
    from monitor.storage.retention import RetentionRule


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of the audit log, backups and the service."""
    from monitor.storage import audit_tables, backup_tables, service_tables

    return [
        audit_tables.audit_entry,
        backup_tables.backup_run,
        backup_tables.retention_run,
        service_tables.service_state,
        service_tables.service_check,
        service_tables.job_run,
    ]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of the audit log, backups and the service."""
    from monitor.storage import audit_views, backup_views, service_views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, audit_views.select_views, backup_views.select_views, service_views.select_views)


@hookimpl
def retention_rules() -> Iterable[RetentionRule]:
    """Return the rule for finished job runs."""
    from monitor.storage.service_state import RETENTION_RULES

    return RETENTION_RULES
