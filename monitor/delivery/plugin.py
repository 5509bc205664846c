"""The channels of the kernel, and the jobs that send digests and test messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monitor.hookspecs import hookimpl
from monitor.registration import Channel, Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Table

    from monitor.storage.public_view import PublicView


@hookimpl
def register_channels() -> Mapping[str, Channel]:
    """Return the channels for the log, webhooks, mail, the services of Apprise, and MQTT."""
    return {
        "log": Channel(_open_log, reaches_person=False, digest_rank=5, is_english=True),
        "webhook": Channel(_open_webhook, digest_rank=4, parallel=6),
        "email": Channel(_open_mail, digest_rank=1, parallel=3),
        "apprise": Channel(_open_apprise, digest_rank=2),
        "mqtt": Channel(_open_mqtt, reaches_person=False, holds=True, of_broker=True),
    }


def _open_log(address: str, settings: Mapping[str, str]) -> Any:
    from monitor.delivery.notifiers.log import LogNotifier

    return LogNotifier(address, settings)


def _open_webhook(address: str, settings: Mapping[str, str]) -> Any:
    from monitor.delivery.notifiers.webhook import WebhookNotifier

    return WebhookNotifier(address, settings)


def _open_mail(address: str, settings: Mapping[str, str]) -> Any:
    from monitor.delivery.notifiers.mail import MailNotifier

    return MailNotifier(address, settings)


def _open_apprise(address: str, settings: Mapping[str, str]) -> Any:
    from monitor.delivery.notifiers.apprise_services import AppriseNotifier

    return AppriseNotifier(address, settings)


def _open_mqtt(address: str, settings: Mapping[str, str]) -> Any:
    from monitor.delivery.notifiers.mqtt import MqttNotifier

    return MqttNotifier(address, settings)


@hookimpl
def register_jobs() -> Iterable[Job]:
    """Return the jobs that send digests and test messages."""
    from monitor.delivery import digest, trial

    return [
        Job("digest", digest.run, lambda _: 60.0, 35.0, polls=True),
        Job("channels", trial.run, lambda _: 60.0, 75.0, per_site=False, polls=True),
    ]


@hookimpl
def register_tables() -> Iterable[Table]:
    """Return the tables of notifications."""
    from monitor.delivery import tables

    return [tables.channel_test, tables.digest]


@hookimpl
def register_views(sqlite: bool) -> Iterable[PublicView]:
    """Return the views of notifications."""
    from monitor.delivery import views
    from monitor.storage.public_view import pair_views

    return pair_views(sqlite, views.select_views)
