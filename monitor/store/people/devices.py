"""Devices on which an account logged in before: an attack from elsewhere does not slow those down."""

import secrets
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, select, update

from monitor.domain.canonical import digest_text
from monitor.store.database.engine import add_if_absent
from monitor.store.schema.tables import known_device

DEVICE_S: Final = 180 * 86400.0  # without a login there
MOST_OF_ONE: Final = 20  # devices that an account keeps, the newest


def is_known_device(connection: Connection, token: str, name: str, now: datetime) -> bool:
    """Whether the account logged in on the device that holds this token."""
    d = known_device.c
    mine = (d.token_sha256 == digest_text(token)) & (d.user_name == name)
    return bool(token) and connection.execute(select(d.user_name).where(mine, ~is_strange(now))).first() is not None


def remember_device(connection: Connection, token: str, name: str, now: datetime) -> str:
    """Note a login on a device, whose token may serve several accounts; returns the token, new for a new device."""
    d = known_device.c
    known = connection.execute(select(d.user_name).where(d.token_sha256 == digest_text(token)).limit(1)).first()
    token = token if known is not None else secrets.token_urlsafe(32)
    row = {"token_sha256": digest_text(token), "user_name": name}
    if not add_if_absent(connection, known_device, {**row, "used_at": now}):
        mine = (d.token_sha256 == row["token_sha256"]) & (d.user_name == name)
        connection.execute(update(known_device).where(mine).values(used_at=now))
    kept = select(d.token_sha256).where(d.user_name == name).order_by(d.used_at.desc()).limit(MOST_OF_ONE)
    old = [*connection.execute(kept).scalars()]
    connection.execute(delete(known_device).where(d.user_name == name, d.token_sha256.not_in(old)))
    return token


def forget_devices(connection: Connection, name: str) -> None:
    """Make all devices of an account strange again."""
    connection.execute(delete(known_device).where(known_device.c.user_name == name))


def is_strange(now: datetime) -> ColumnElement[bool]:
    """Which devices are known no more."""
    return known_device.c.used_at <= now - timedelta(seconds=DEVICE_S)
