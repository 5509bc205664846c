"""Models, their changes of state and their proofs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Table

    from monitor.storage.public_view import PublicView


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of models."""
    from monitor.models import tables

    return [tables.model, tables.model_transition, tables.model_proof]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of models."""
    from monitor.models import views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, views.select_views)
