"""Logins through the OpenID Connect provider in `[oidc]` of the service file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.api.hooks import AccessRule, Panel, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import APIRouter


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the routes of a login through the provider."""
    from monitor.features.single_sign_on.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return that everybody may log in."""
    return dict.fromkeys(("GET /login/oidc", "GET /login/oidc/back", "POST /login/oidc/code"), AccessRule("open"))


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the link to the provider on the login page."""
    return [Panel("login.ways", "login_elsewhere.html")]
