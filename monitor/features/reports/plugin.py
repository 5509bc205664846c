"""Bulletins, shift reports and the quick card as HTML and PDF, mailed by schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.api.hooks import AccessRule, Command, Job, Panel, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import APIRouter
    from sqlalchemy import Table

    from monitor.api.store import PublicView


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the routes of reports and the quick card."""
    from monitor.features.reports.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read reports. The quick card contains telephone numbers."""
    return {
        "GET /sites/{site}/reports": AccessRule("read"),
        "GET /sites/{site}/reports/{name}.{form}": AccessRule("read"),
        "GET /sites/{site}/card.{form}": AccessRule("viewer"),
    }


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the link to the reports of a site."""
    return [Panel("site.links", "reports_link.html")]


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands that write reports."""
    return {"report": Command(_load_commands, "Write bulletins and the quick card")}


def _load_commands() -> Any:
    from monitor.features.reports.cli import app

    return app


@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the job that mails reports by schedule."""
    from monitor.features.reports.issue import run

    return [Job("reports", run, lambda _: 300.0, 60.0, per_site=False, polls=True)]


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of reports."""
    from monitor.features.reports import tables

    return [tables.issued_report, tables.report_mail]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of reports."""
    from monitor.api.store import pair_views
    from monitor.features.reports import views

    return pair_views(sqlite, views.select_views)
