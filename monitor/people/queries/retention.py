"""Retention of sessions, known devices and counts of wrong passwords. Expired rows are deleted."""

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement

from monitor.people.queries.sessions import is_forgotten_attempt, is_forgotten_device
from monitor.people.tables import known_device, password_guess, web_session
from monitor.storage.retention import RetentionRule, Sweep, sweep_table


def _expired_sessions(_sweep: Sweep, now: datetime) -> ColumnElement[bool]:
    return web_session.c.expires_at <= now


def _forgotten_devices(_sweep: Sweep, now: datetime) -> ColumnElement[bool]:
    return is_forgotten_device(now)


def _forgotten_attempts(_sweep: Sweep, now: datetime) -> ColumnElement[bool]:
    return is_forgotten_attempt(now)


RETENTION_RULES: Final = (
    RetentionRule(None, "expired sessions", sweep_table(web_session, _expired_sessions)),
    RetentionRule(None, "devices that were not used for long", sweep_table(known_device, _forgotten_devices)),
    RetentionRule(None, "counts of wrong passwords", sweep_table(password_guess, _forgotten_attempts)),
)
