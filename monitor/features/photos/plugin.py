"""Photos of the slope on alerts and reports of observers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import AccessRule, Panel, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import APIRouter
    from sqlalchemy import Connection, Table

    from monitor.api.database import RetentionRule
    from monitor.api.store import PublicView
    from monitor.api.web import SiteSnapshot


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the routes that receive and show photos."""
    from monitor.features.photos.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may see and add photos."""
    return {
        "GET /sites/{site}/photos/{photo_id}/{size}": AccessRule("read"),
        "POST /alerts/{alert_id}/photos": AccessRule("operator", in_person=True),
        "POST /sites/{site}/reports/{report_id}/photos": AccessRule("operator", in_person=True),
    }


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return photos and the forms that add them."""
    return [
        Panel("alert.entry", "photo_of_alert.html"),
        Panel("note.form", "photo_of_note.html"),
        Panel("report.form", "photo_of_report.html"),
        Panel("site.alerts", "photos_of_site.html"),
    ]


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of photos."""
    from monitor.features.photos import tables

    return [tables.photo]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of photos."""
    from monitor.api.store import pair_views
    from monitor.features.photos import views

    return pair_views(sqlite, views.select_views)


@hookimpl
def retention_rules() -> Iterable[RetentionRule]:
    """Return the rule for photos."""
    from monitor.features.photos.queries import RETENTION_RULES

    return RETENTION_RULES


@hookimpl
def site_page_values(page: SiteSnapshot) -> Mapping[str, object]:
    """Return the newest photos of a site."""
    from monitor.features.photos.queries import load_photos

    return {"photos": load_photos(page.c, 6, site=page.card.id)}


@hookimpl
def alert_entries(connection: Connection, alert_id: int) -> Iterable[Mapping[str, object]]:
    """Return the photos of an alert."""
    from monitor.features.photos.queries import load_photos

    photos = load_photos(connection, alert_id=alert_id)
    return [{"kind": "photo", "at": photo["added_at"], "photo": photo} for photo in photos]


@hookimpl
def audit_pack_files(connection: Connection, alert_id: int) -> Mapping[str, bytes]:
    """Return the photos of an alert with a description of each."""
    from monitor.features.photos.queries import load_pack_files

    return load_pack_files(connection, alert_id)
