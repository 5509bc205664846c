"""Text messages and calls with their replies, push messages on devices, sirens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.api.hooks import AccessRule, Channel, Command, Panel, ServicePart, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from fastapi import APIRouter
    from sqlalchemy import Connection, Table

    from monitor.api.alerts import Notification
    from monitor.api.checks import Check
    from monitor.api.database import Database
    from monitor.api.settings import ServiceConfig
    from monitor.api.sites import Site
    from monitor.api.store import PublicView


@hookimpl
def register_routes() -> Iterable[APIRouter]:
    """Return the routes of devices and of the providers of telephony."""
    from monitor.features.telephony.routes import router

    return [router]


@hookimpl
def register_access_rules() -> Mapping[str, AccessRule]:
    """Return who may register devices. Requests of the provider are signed, because it has no account."""
    return {
        "POST /account/devices": AccessRule("viewer", in_person=True, names_no_site=True),
        "POST /account/devices/{number}/remove": AccessRule("viewer", in_person=True, names_no_site=True),
        "POST /gateway/status": AccessRule("open"),
        "POST /gateway/reply": AccessRule("open"),
        "POST /gateway/digit": AccessRule("open"),
    }


@hookimpl
def register_panels() -> Iterable[Panel]:
    """Return the list of devices of an account."""
    return [Panel("account.devices", "devices.html")]


@hookimpl
def account_page_values(connection: Connection, account: str) -> Mapping[str, object]:
    """Return the devices of an account."""
    from monitor.features.telephony.routes import collect_devices

    return collect_devices(connection, account)


@hookimpl
def register_commands() -> Mapping[str, Command]:
    """Return the commands of push messages."""
    return {
        "notify push": Command(
            _load_commands, "Create the key of push messages; list the devices", after="notify channels"
        )
    }


def _load_commands() -> Any:
    from monitor.features.telephony.cli import app

    return app


@hookimpl
def register_checks() -> Iterable[Check]:
    """Return the checks of modem and sirens."""
    from monitor.features.telephony.parts import CHECKS

    return CHECKS


@hookimpl
def register_channels() -> Mapping[str, Channel]:
    """Return the channels of push messages, text messages, calls and sirens."""
    return {
        "push": Channel(_open_push, digest_rank=3, needs_database=True, holds=True),
        "sms": Channel(_open_sms, digest_rank=6, make_reply_code=_make_reply_code),
        "voice": Channel(_open_voice, rings=True, make_reply_code=_make_reply_code),
        "siren": Channel(
            _open_siren, orders=True, reaches_person=False, needs_database=True, holds=True, of_broker=True
        ),
    }


def _open_push(address: str, settings: Mapping[str, str], database: Database) -> Any:
    from monitor.features.telephony.push import PushNotifier

    return PushNotifier(address, settings, database)


def _open_sms(address: str, settings: Mapping[str, str]) -> Any:
    from monitor.features.telephony.telephone import SmsNotifier

    return SmsNotifier(address, settings)


def _open_voice(address: str, settings: Mapping[str, str]) -> Any:
    from monitor.features.telephony.telephone import VoiceNotifier

    return VoiceNotifier(address, settings)


def _open_siren(address: str, settings: Mapping[str, str], database: Database) -> Any:
    from monitor.features.telephony.sirens import SirenNotifier

    return SirenNotifier(address, settings, database)


def _make_reply_code(
    connection: Connection,
    message: Notification,
    person: str,
    language: str,
    settings: Mapping[str, str],
    now: datetime,
) -> str:
    from monitor.features.telephony.telephone import make_reply_code

    return make_reply_code(connection, message, person, language, settings, now)


@hookimpl
def service_parts(
    db: Database, config: ServiceConfig, sites: Mapping[str, Site], clock: Callable[[], datetime]
) -> Iterable[ServicePart]:
    """Return the parts that publish the push key, watch the modem and listen to sirens."""
    from monitor.features.telephony.parts import build_parts

    return build_parts(db, config, sites, clock)


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of replies, devices and sirens."""
    from monitor.features.telephony import tables

    return [tables.reply_code, tables.reply, tables.push_subscription, tables.siren_order]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of replies, devices and sirens."""
    from monitor.api.store import pair_views
    from monitor.features.telephony import views

    return pair_views(sqlite, views.select_views)
