"""Hazard alerts as CAP 1.2 messages for other warning systems: posted to a server, or read from a feed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.api.hooks import AccessRule, Channel, Command, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import APIRouter
    from sqlalchemy import Connection

    from monitor.api.checks import Check
    from monitor.api.settings import ServiceConfig


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the feeds and messages."""
    from monitor.features.cap.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may read feeds and messages."""
    return {
        "GET /cap/feed.atom": AccessRule("read", names_no_site=True),
        "GET /sites/{site}/cap/feed.atom": AccessRule("read"),
        "GET /alerts/{alert_id}/cap/{name}.xml": AccessRule("read"),
    }


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands that print and verify messages and create keys."""
    return {
        "alerts": Command(_load_alert_commands, "Print an alert as a CAP message"),
        "notify cap": Command(
            _load_commands, "Verify CAP messages; create the key that signs them", after="notify channels"
        ),
    }


def _load_alert_commands() -> Any:
    from monitor.features.cap.alerts_cli import app

    return app


def _load_commands() -> Any:
    from monitor.features.cap.cli import app

    return app


@hookimpl
def register_checks() -> Iterable[Check]:
    """Return the check of the key for signatures."""
    from monitor.features.cap.checks import CHECKS

    return CHECKS


@hookimpl
def register_channels() -> Mapping[str, Channel]:
    """Return the channel that posts messages to a server."""
    return {"cap": Channel(_open_notifier, write_document=_compose_event)}


def _open_notifier(address: str, settings: Mapping[str, str]) -> Any:
    from monitor.features.cap.notifier import CapNotifier

    return CapNotifier(address, settings)


def _compose_event(connection: Connection, config: ServiceConfig, event_id: int) -> str:
    from monitor.features.cap.chain import compose_event

    return compose_event(connection, config, event_id)
