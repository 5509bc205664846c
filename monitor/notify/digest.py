"""The daily digest: the state of a site to each recipient who asked for it, also when all is well: proof of life."""

import logging
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection

from monitor.config.service import ServiceConfig
from monitor.domain.alert import Ledger, Notification
from monitor.domain.duty.channels import split_channel, traits_of
from monitor.domain.duty.local_time import local_day, spell_minute, to_instant
from monitor.domain.duty.rota import who_is_on_duty
from monitor.domain.instants import spell
from monitor.domain.site import Recipient, Site
from monitor.errors import ConfigError, DeliveryError
from monitor.language.sayings import keep
from monitor.notify.message import deliver_in
from monitor.notify.notifier import channel_settings, open_notifier
from monitor.store.alerting import digests
from monitor.store.alerting.duty import load_rosters
from monitor.store.database.engine import Database
from monitor.store.pages import load_cards, load_open_alerts
from monitor.store.schema.views import load_view

_LOG = logging.getLogger(__name__)
LATEST: Final = timedelta(hours=6)  # what could not be sent for so long is left to the next day
LISTED: Final = 8


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:
    """Send the digests of the site that are due and were not sent today.

    One that its channel refuses is tried again at the next run, by the next channel of its recipient.

    Raises:
        DeliveryError: somebody could not be reached; all others were.
    """
    due = [] if site is None else [(r, m) for r in site.recipients if (m := _find_due(r, site, now)) is not None]
    if site is None or not due:
        return "none due"
    settings, sent, failed = channel_settings(config, os.environ), 0, list[str]()
    for recipient, day in due:
        with db.read() as c:
            tries = digests.count_tries(c, site.id, recipient.name, day)
            message = None if tries is None else _write(c, site, recipient, now)
        channels = sorted((k for k in recipient.channels if _rank(k)), key=_rank)
        if message is None or not channels:
            continue
        channel = channels[(tries or 0) % len(channels)]
        error = _send(db, config, settings, site, recipient, channel, message, day, now)
        with db.write() as c:
            digests.note_try(c, site.id, recipient.name, day, channel, error, now)
        sent += error is None
        failed += [] if error is None else [f"{recipient.name} by {split_channel(channel)[0]}: {error}"]
    if failed:
        raise DeliveryError(f"daily digest: {'; '.join(failed)}")
    return f"{sent} sent"


def _rank(channel: str) -> int:
    return traits_of(channel).digest_rank


def _find_due(recipient: Recipient, site: Site, now: datetime) -> str | None:
    """The local day whose digest is due, None where none is."""
    if recipient.digest is None:
        return None
    today = local_day(now, site.timezone)
    for day in (today, today - timedelta(days=1)):  # one of the evening may come after midnight
        if timedelta(0) <= now - to_instant(day, recipient.digest, site.timezone) < LATEST:
            return day.isoformat()
    return None


def _send(
    db: Database, config: ServiceConfig, settings: Mapping[str, str], site: Site, recipient: Recipient, channel: str,
    message: tuple[str, str], day: str, now: datetime,
) -> str | None:  # fmt: skip
    """Deliver it; why it was not taken, or None."""
    url = config.web.public_url.rstrip("/")
    link = f"{url}/sites/{site.id}" if url else ""
    notification = Notification(
        id=0, alert_id=0, event_id=0, site=site.id, ledger=str(Ledger.ADVICE), level=0, level_name="digest",
        recipient=recipient.name, channel=channel, exercise=False, subject=message[0],
        body=f"{message[1]}\n{link}" if link else message[1], link=link,
        idempotency_key=sha256(f"digest\n{site.id}\n{recipient.name}\n{day}".encode()).hexdigest(), attempts=1,
        queued_at=now,
    )  # fmt: skip
    language = recipient.language or config.language.default
    kept = keep((station.id for station in site.stations), [site.name])
    try:
        deliver_in(language, open_notifier(channel, settings, db), notification, kept, zone=site.timezone)
    except (ConfigError, DeliveryError) as error:
        return str(error)
    except Exception as error:  # a notifier's bug is a failure of this channel only
        _LOG.exception("digest by %s", channel.partition(":")[0])
        return f"{type(error).__name__}: {error}"
    return None


def _write(c: Connection, site: Site, recipient: Recipient, now: datetime) -> tuple[str, str]:
    """Subject and body: one fact a line."""
    cards = load_cards(c, site.id)
    status: Mapping[str, Any] = cards[0].status if cards else {}
    name = status.get("level_name") or "unknown"
    alerts = [a for a in load_open_alerts(c, site.id) if not a["exercise"]]
    alarms = [a for a in alerts if a["ledger"] != Ledger.ADVICE]
    advice = len(alerts) - len(alarms)
    lines = [
        f"Level {name} since {_minute(status['since'])}, evaluated {_minute(status['evaluated_at'])}"
        if status.get("evaluated_at")
        else "the site was not evaluated so far",
        f"Newest datum: {_minute(status.get('newest_at'))}",
        f"open alerts: {len(alarms)}, not acknowledged: {status.get('unacknowledged') or 0}, suggestions: {advice}",
    ]
    lines += [f"Alert {a['alert_id']}: {a['reason']}" for a in alarms[:LISTED]]
    lines += [f"{len(alarms) - LISTED} more"] if len(alarms) > LISTED else []
    board = load_view(c, "instrument_health", order_by=("instrument",), site=site.id)
    sick = [row["instrument"] for row in board if row["state"] not in {"ok", "unknown"}]
    lines.append(f"{len(board) - len(sick)} of {len(board)} instruments ok")
    lines += [f"look at {', '.join(sick[:LISTED])}"] if sick else []
    taken, lost, waiting = digests.count_messages(c, site.id, now - timedelta(days=1), now)
    lines.append(f"messages of the last day: {taken} sent, {lost} failed for good, {waiting} wait")
    rosters = load_rosters(c, site.teams, now)
    for team in site.teams:
        people = who_is_on_duty(rosters[team.site, team.name], now)
        lines.append(f"on duty, {team.name}: {', '.join(people) or 'nobody'}")
    every = f"This message comes every day at {spell_minute(recipient.digest or 0)}, also when all is well"
    lines.append(f"{every}; when it does not come, look at the service")
    head = f"{str(name).upper()} {site.name}"
    return f"{head}: daily digest, open alerts: {len(alarms)}. {spell(now)[:16]}Z", "\n".join(lines)


def _minute(text: str | None) -> str:
    """An instant to the minute, as sentences hold it."""
    return f"{text[:16]}Z" if text else "never"
