"""The view on what was wrong with slopes, instruments and the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.storage.public_view import PublicView


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the view."""
    from monitor.app import views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, views.select_views)
