"""Tests of channels: an exercise message to the target of each, by hand or each shift, and what came of it."""

import os
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from monitor.alerts.notification import Notification
from monitor.delivery.notifier import channel_settings, open_notifier
from monitor.delivery.queries.receipts import add_test, has_answered, load_tested, mark_unanswered
from monitor.errors import SlopewardError
from monitor.settings.service import ChannelsSection, ServiceConfig
from monitor.sites.channels import find_channel_traits
from monitor.sites.declarations import find_declaration
from monitor.sites.queries.sites import load_sites_summary
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.text.zones import local_day, read_minute, to_instant

TAKEN: Final = "taken"
_POLL_S: Final = 0.5


def gather_channels(sites: Iterable[Site]) -> dict[str, list[str]]:
    """Channel -> `site: recipient` of all who are notified by it, in the order of the files."""
    found: dict[str, list[str]] = {}
    for site in sites:
        for recipient in (one for r in site.recipients for one in r.everybody):
            for channel in recipient.channels:
                users = found.setdefault(channel, [])
                users += [] if (user := f"{site.id}: {recipient.name}") in users else [user]
    return found


def send_test(channel: str, settings: Mapping[str, str], db: Database | None) -> tuple[str | None, str | None]:
    """Deliver a test message, past the outbox; returns the error in words or None, and what the provider calls it."""
    now = datetime.now(UTC)
    message = Notification(
        id=0,
        alert_id=0,
        event_id=0,
        site="status",
        ledger="health",
        level=0,
        level_name="test",
        recipient="test",
        channel=channel,
        exercise=True,
        subject="EXERCISE: Slopeward tests this channel",
        body=f"Nothing happened. This message was sent at {now:%Y-%m-%d %H:%M:%S} UTC to see whether it arrives.",
        idempotency_key=uuid.uuid4().hex,
        attempts=1,
        queued_at=now,
    )
    try:
        return None, open_notifier(channel, settings, db).deliver(message)
    except SlopewardError as error:
        return error.message, None


def find_pause(config: ChannelsSection) -> timedelta | None:
    """The longest time between two tests of a channel; None where they are not tested by schedule.

    >>> find_pause(ChannelsSection(test_at=("06:00", "14:00"))), find_pause(ChannelsSection()) is None
    (datetime.timedelta(seconds=57600), True)
    """
    found = [] if config.test_every_s is None else [timedelta(seconds=config.test_every_s)]
    if config.test_at:
        minutes = sorted(read_minute(one) for one in config.test_at)
        gaps = [later - one for one, later in zip(minutes, [*minutes[1:], minutes[0] + 1440], strict=True)]
        found.append(timedelta(minutes=max(gaps)))
    return min(found, default=None)


def is_due(config: ChannelsSection, zone: str, last_at: datetime | None, now: datetime) -> bool:
    """Whether a channel is to be tested now: after `test_every`, or since one of the times of the day has passed.

    >>> at = datetime(2026, 3, 1, 5, 30, tzinfo=UTC)
    >>> daily = ChannelsSection(test_at=("06:00",))
    >>> [is_due(daily, "Europe/Zurich", at - timedelta(hours=h), at) for h in (0, 1)]
    [False, True]
    >>> night = ChannelsSection(test_at=("02:30",))  # left out in the night of 29 March: once, not each minute
    >>> last = datetime(2026, 3, 29, 1, 0, 30, tzinfo=UTC)
    >>> [is_due(night, "Europe/Zurich", last - timedelta(minutes=m), last + timedelta(minutes=5)) for m in (0, 2)]
    [False, True]
    """
    if find_pause(config) is None:
        return False
    if last_at is None:
        return True
    if config.test_every_s is not None and (now - last_at).total_seconds() >= config.test_every_s:
        return True
    day = local_day(now, zone)
    for one in config.test_at:
        today, before = (to_instant(day - timedelta(days=k), read_minute(one), zone) for k in (0, 1))
        if last_at < (today if today <= now else before):
            return True
    return False


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:
    """Job: test the channels that are due, one after the other; one that fails holds the others up for seconds only."""
    del site
    if find_pause(config.channels) is None:
        return "channels are not tested by schedule"
    with db.read() as c:
        channels = [*gather_channels(_load_sites(c))]
        known = load_tested(c, channels)
    due = [
        one
        for one in channels
        if is_due(config.channels, config.web.timezone, known[one].last_at if one in known else None, now)
    ]
    settings, bad, waiting = channel_settings(config, os.environ), 0, []
    for channel in due:
        target = config.channels.test_to.get(channel, channel)
        error, provider_id = send_test(target, settings, db)
        bad += error is not None
        with db.write() as c:
            result: Any = {"found": error or TAKEN, "provider_id": provider_id}
            number = add_test(c, channel, target, datetime.now(UTC), good=error is None, **result)
        if error is None and find_channel_traits(target).orders:
            waiting.append(number)
    bad += _await_sirens(db, waiting, config.siren.confirm_within_s)
    return f"{len(due)} of {len(channels)} channels tested, {bad} failed"


def _load_sites(c: Connection) -> list[Site]:
    """The sites in force; a file that this program cannot read any more has no channel to test."""
    found = (find_declaration(c, one.config_sha256) for one in load_sites_summary(c))
    return [site for site in found if site is not None]


def _await_sirens(db: Database, numbers: list[int], within_s: float) -> int:
    until = time.monotonic() + within_s
    while numbers and time.monotonic() < until:
        time.sleep(_POLL_S)
        with db.read() as c:
            numbers = [number for number in numbers if not has_answered(c, number)]
    if numbers:
        with db.write() as c:
            return sum(mark_unanswered(c, number, "the device did not answer to its test") for number in numbers)
    return 0
