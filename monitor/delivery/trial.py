"""Test channels: send an exercise message to the target of each, on demand or by schedule, and store the result."""

import logging
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from monitor.alerts.notification import Notification
from monitor.delivery.notifier import channel_settings, open_notifier
from monitor.delivery.queries.receipts import add_test, has_answered, load_tested, mark_unanswered
from monitor.errors import SlopewardError
from monitor.logs import redact
from monitor.settings.service import ChannelsSection, ServiceConfig
from monitor.sites.channels import find_channel_traits
from monitor.sites.declarations import find_declaration
from monitor.sites.queries.sites import load_sites_summary
from monitor.sites.records import Site
from monitor.storage.engine import Database
from monitor.text.zones import local_day, read_minute, to_instant

_LOG = logging.getLogger(__name__)
# Stored result of a test message that the channel has delivered.
TAKEN: Final = "taken"
_POLL_S: Final = 0.5


def gather_channels(sites: Iterable[Site]) -> dict[str, list[str]]:
    """Return all channels in the order of the site files, each with its recipients as `site: recipient`."""
    names_by_channel: dict[str, list[str]] = {}
    for site in sites:
        for recipient in (person for declared in site.recipients for person in declared.everybody):
            name = f"{site.id}: {recipient.name}"
            for channel in recipient.channels:
                names = names_by_channel.setdefault(channel, [])
                if name not in names:
                    names.append(name)
    return names_by_channel


def make_test_message(channel: str, now: datetime) -> Notification:
    """Return the message that tests a channel."""
    return Notification(
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
        body=(
            f"Nothing happened. This message was sent at {now:%Y-%m-%d %H:%M:%S} UTC to check whether it arrives. "
            "You do not need to do anything."
        ),
        idempotency_key=uuid.uuid4().hex,
        attempts=1,
        queued_at=now,
    )


def send_test(channel: str, settings: Mapping[str, str], db: Database | None) -> tuple[str | None, str | None]:
    """Deliver a test message, without the outbox.

    Returns:
        The error without the name of the channel, or None if the message was delivered; and the id of the message at
        the provider, if there is one.
    """
    message = make_test_message(channel, datetime.now(UTC))
    try:
        return None, open_notifier(channel, settings, db).deliver(message)
    except SlopewardError as error:
        return error.message.removeprefix(f"channel {channel!r}: ").removeprefix(f"channel {channel}: "), None
    except Exception as error:  # a fault of a notifier is a failure of this channel only
        _LOG.exception("test of channel %s", channel.partition(":")[0])
        return redact(f"{type(error).__name__}: {error}"), None


def find_pause(config: ChannelsSection) -> timedelta | None:
    """Return the longest time between two scheduled tests of a channel; None if no tests are scheduled.

    >>> find_pause(ChannelsSection(test_at=("06:00", "14:00"))), find_pause(ChannelsSection()) is None
    (datetime.timedelta(seconds=57600), True)
    """
    pauses = [] if config.test_every_s is None else [timedelta(seconds=config.test_every_s)]
    if config.test_at:
        minutes = sorted(read_minute(time_of_day) for time_of_day in config.test_at)
        next_minutes = [*minutes[1:], minutes[0] + 1440]
        gaps = [later - earlier for earlier, later in zip(minutes, next_minutes, strict=True)]
        pauses.append(timedelta(minutes=max(gaps)))
    return min(pauses, default=None)


def is_due(config: ChannelsSection, zone: str, last_at: datetime | None, now: datetime) -> bool:
    """Return whether a channel must be tested now: `test_every` or one of the times of the day has passed.

    >>> at = datetime(2026, 3, 1, 5, 30, tzinfo=UTC)
    >>> daily = ChannelsSection(test_at=("06:00",))
    >>> [is_due(daily, "Europe/Zurich", at - timedelta(hours=h), at) for h in (0, 1)]
    [False, True]
    >>> night = ChannelsSection(test_at=("02:30",))  # a time that the clocks skip on 29 March: once, not each minute
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
    for time_of_day in config.test_at:
        minute = read_minute(time_of_day)
        today = to_instant(day, minute, zone)
        newest = today if today <= now else to_instant(day - timedelta(days=1), minute, zone)
        if last_at < newest:
            return True
    return False


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:
    """Test the channels that are due, one after the other."""
    del site
    if find_pause(config.channels) is None:
        return "channels are not tested by schedule"
    with db.read() as c:
        channels = [*gather_channels(_load_sites(c))]
        tested = load_tested(c, channels)
    last_tests = {channel: tests.last_at for channel, tests in tested.items()}
    due = [
        channel for channel in channels if is_due(config.channels, config.web.timezone, last_tests.get(channel), now)
    ]
    settings = channel_settings(config, os.environ)
    failed = 0
    siren_tests = []
    for channel in due:
        target = config.channels.test_to.get(channel, channel)
        error, provider_id = send_test(target, settings, db)
        is_taken = error is None
        with db.write() as c:
            number = add_test(
                c,
                channel,
                target,
                datetime.now(UTC),
                good=is_taken,
                found=TAKEN if error is None else error,
                provider_id=provider_id,
            )
        if not is_taken:
            failed += 1
        elif find_channel_traits(target).orders:
            siren_tests.append(number)
    failed += _await_sirens(db, siren_tests, config.siren.confirm_within_s)
    return f"{len(due)} of {len(channels)} channels tested, {failed} failed"


def _load_sites(c: Connection) -> list[Site]:
    """Return the sites in force, without those whose files this version cannot read."""
    declarations = (find_declaration(c, summary.config_sha256) for summary in load_sites_summary(c))
    return [site for site in declarations if site is not None]


def _await_sirens(db: Database, tests: list[int], within_s: float) -> int:
    """Wait for the answers of sirens to their tests and return how many did not answer."""
    until_s = time.monotonic() + within_s
    while tests and time.monotonic() < until_s:
        time.sleep(_POLL_S)
        with db.read() as c:
            tests = [number for number in tests if not has_answered(c, number)]
    if not tests:
        return 0
    with db.write() as c:
        return sum(mark_unanswered(c, number, "the device did not answer to its test") for number in tests)
