"""The documentation on the page, with search, without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import AccessRule, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import APIRouter


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the pages of the documentation."""
    from monitor.features.help.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read the documentation."""
    routes = ("GET /help", "GET /help/{page}", "GET /help/{folder}/{page}")
    return dict.fromkeys(routes, AccessRule("read", names_no_site=True))
