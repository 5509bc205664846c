"""Accounts, sessions and duty."""

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
    """Return the tables of accounts and duty."""
    from monitor.people import duty_tables, tables

    return [
        tables.user_account,
        tables.first_signature,
        tables.second_factor,
        tables.recovery_code,
        tables.api_token,
        tables.web_session,
        tables.password_guess,
        tables.known_device,
        duty_tables.duty_rota,
        duty_tables.duty_override,
        duty_tables.duty_turn,
        duty_tables.duty_handover,
    ]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of accounts and duty."""
    from monitor.people import duty_views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, duty_views.select_views)


@hookimpl
def retention_rules() -> Iterable[RetentionRule]:
    """Return the rules for sessions, devices and counts of wrong passwords."""
    from monitor.people.queries.retention import RETENTION_RULES

    return RETENTION_RULES
