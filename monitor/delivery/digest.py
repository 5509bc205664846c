"""Send the daily digest: the state of a site to each recipient with `digest`, also when all is well.

A digest that does not come shows that the service or the channel does not work.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection

from monitor.alerts.notification import Notification
from monitor.alerts.queries.overview import load_cards, load_open_alerts
from monitor.alerts.queries.recipients import find_on_duty
from monitor.alerts.queries.station_states import NO_STATES, NOT_RECEIVED
from monitor.decision.alert_texts import TRIAL_NOTE, join_lines, split_lines
from monitor.decision.changes import AlertCategory
from monitor.decision.subjects import make_subject, mark_trial
from monitor.delivery.message import deliver_in
from monitor.delivery.notifier import channel_settings, open_notifier
from monitor.delivery.queries import digests
from monitor.delivery.stages import find_digest_at, list_digest_channels
from monitor.errors import ConfigError, DeliveryError
from monitor.readings.instrument_views import InstrumentRow
from monitor.settings.service import ServiceConfig
from monitor.sites.channels import split_channel
from monitor.sites.records import Recipient, Site
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.text.instants import parse_time
from monitor.text.message import Message, NameList, Template, Term, Timestamp, Value
from monitor.text.zones import format_minute, local_day

_LOG = logging.getLogger(__name__)
# A digest that could not be sent for this long is given up. The next one is sent the next day.
LATEST: Final = timedelta(hours=6)
# At most this many alerts, suggestions and instruments are listed.
LISTED: Final = 8
_HEALTHY: Final = frozenset({"ok", "unknown"})
_ESSENCE: Final = Template("digest.essence", "daily digest, open alerts: {n}")
_LEVEL: Final = Template("digest.level", "Level {level} since {at}, evaluated {at2}")
_NOT_EVALUATED: Final = Template("digest.not_evaluated", "The site has not been evaluated yet")
_NEWEST: Final = Template("digest.newest", "Newest reading: {at}")
_ALERTS: Final = Template("digest.alerts", "Open alerts: {n}, not acknowledged: {n2}, suggestions: {n3}")
_ALERT: Final = Template("digest.alert", "Alert {n}: {text}")
_SUGGESTION: Final = Template("digest.suggestion", "Suggestion {n}: {text}")
_MORE: Final = Template("digest.more", "{n} more")
_INSTRUMENTS: Final = Template("digest.instruments", "{n} of {n2} instruments ok")
_SEE: Final = Template("digest.look_at", "Check {names}")
_MESSAGES: Final = Template("digest.messages", "Messages of the last day: {n} sent, {n2} failed, {n3} waiting")
_ON_DUTY: Final = Template("digest.on_duty", "On duty, {team}: {names}")
_EVERY_DAY: Final = Template(
    "digest.every_day",
    "This message comes every day at {at}, also when all is well. If it does not come, check the service",
)


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:
    """Send the digests of a site that are due and were not sent today.

    A digest that a channel refuses is tried again at the next run, by the next channel of its recipient.

    Raises:
        DeliveryError: A recipient could not be reached; the digests of the others were sent.
    """
    due = [] if site is None else _list_due(site, now)
    if site is None or not due:
        return "none due"
    sent = 0
    failed: list[str] = []
    for recipient, day in due:
        channels = list_digest_channels(recipient)
        if not channels:
            continue
        with db.read() as c:
            attempts = digests.count_attempts(c, site.id, recipient.name, day)
            if attempts is None:  # sent already
                continue
            message = _write(c, site, recipient, now)
        channel = channels[attempts % len(channels)]
        error = _send(db, config, site, recipient, channel, message, day, now)
        db.run_write(digests.store_attempt, site.id, recipient.name, day, channel, error, now)
        if error is None:
            sent += 1
        else:
            failed.append(f"{recipient.name} by {split_channel(channel)[0]}: {error}")
    if failed:
        raise DeliveryError(f"daily digest: {'; '.join(failed)}")
    return f"{sent} sent"


def _list_due(site: Site, now: datetime) -> list[tuple[Recipient, str]]:
    """Return the recipients whose digest is due, each with the local day of the digest."""
    today = local_day(now, site.timezone)
    due = []
    for recipient in site.recipients:
        if recipient.digest is None:
            continue
        # The digest of an evening may be sent after midnight.
        for day in (today, today - timedelta(days=1)):
            delay = now - find_digest_at(recipient.digest, site.timezone, day)
            if timedelta(0) <= delay < LATEST:
                due.append((recipient, day.isoformat()))
                break
    return due


def _send(
    db: Database,
    config: ServiceConfig,
    site: Site,
    recipient: Recipient,
    channel: str,
    message: tuple[Message, Message],
    day: str,
    now: datetime,
) -> str | None:
    """Send a digest, without the outbox. Return the error, or None if the channel delivered it."""
    url = config.web.public_url.rstrip("/")
    link = f"{url}/sites/{site.id}" if url else ""
    notification = Notification(
        id=0,
        alert_id=0,
        event_id=0,
        site=site.id,
        ledger=str(AlertCategory.ADVICE),
        level=0,
        level_name="digest",
        recipient=recipient.name,
        channel=channel,
        exercise=False,
        subject=message[0],
        body=join_lines([*split_lines(message[1]), link]) if link else message[1],
        link=link,
        idempotency_key=sha256(f"digest\n{site.id}\n{recipient.name}\n{day}".encode()).hexdigest(),
        attempts=1,
        queued_at=now,
    )
    language = recipient.language or config.language.default
    settings = channel_settings(config, os.environ)
    try:
        deliver_in(language, open_notifier(channel, settings, db), notification, zone=site.timezone)
    except (ConfigError, DeliveryError) as error:
        return error.message
    except Exception as error:  # a fault of a notifier is a failure of this channel only
        _LOG.exception("digest by %s", channel.partition(":")[0])
        return f"{type(error).__name__}: {error}"
    return None


def _write(c: Connection, site: Site, recipient: Recipient, now: datetime) -> tuple[Message, Message]:
    """Return subject and body: the level, open alerts, instruments to check, messages and the people on duty."""
    cards = load_cards(c, site.id, now=now)
    status: Mapping[str, Any] = cards[0].status if cards else {}
    stations = cards[0].stations if cards else NO_STATES
    level_name = str(status.get("level_name") or "unknown")
    alerts = [alert for alert in load_open_alerts(c, site.id) if not alert["exercise"]]
    alarms = [alert for alert in alerts if alert["ledger"] != AlertCategory.ADVICE]
    advice = [alert for alert in alerts if alert["ledger"] == AlertCategory.ADVICE]
    lines: list[Value] = []
    if site.shadow:
        lines.append(TRIAL_NOTE())
    if status.get("evaluated_at"):
        since, evaluated_at = _to_minute(status["since"]), _to_minute(status["evaluated_at"])
        lines.append(_LEVEL(level=Term(level_name), at=since, at2=evaluated_at))
    else:
        lines.append(_NOT_EVALUATED())
    lines.append(_NEWEST(at=_to_minute(status.get("newest_at"))))
    lines.append(_ALERTS(n=len(alarms), n2=status.get("unacknowledged") or 0, n3=len(advice)))
    lines += _list_first(_ALERT, alarms)
    lines += _list_first(_SUGGESTION, advice)
    board = load_view(c, "instrument_health", InstrumentRow, order_by=("instrument",), site=site.id)
    missing = {name for name, state in stations.states.items() if state in NOT_RECEIVED}
    unhealthy = [row["instrument"] for row in board if row["state"] not in _HEALTHY or row["instrument"] in missing]
    lines.append(_INSTRUMENTS(n=len(board) - len(unhealthy), n2=len(board)))
    if unhealthy:
        lines.append(_SEE(names=NameList(tuple(unhealthy[:LISTED]))))
    delivered, failed, waiting = digests.count_messages(c, site.id, now - timedelta(days=1), now)
    lines.append(_MESSAGES(n=delivered, n2=failed, n3=waiting))
    for (_, team), people in find_on_duty(c, site.teams, now).items():
        lines.append(_ON_DUTY(team=team, names=NameList(people or ("nobody",))))
    lines.append(_EVERY_DAY(at=format_minute(recipient.digest or 0)))
    subject = make_subject(Term(level_name.upper()), site.name, "", _ESSENCE(n=len(alarms)), now)
    return mark_trial(subject) if site.shadow else subject, join_lines(lines)


def _list_first(line: Template, alerts: Sequence[Mapping[str, Any]]) -> list[Value]:
    """Return a line for each of the first alerts, and one with the number of the others."""
    lines: list[Value] = [line(n=alert["alert_id"], text=alert["reason"]) for alert in alerts[:LISTED]]
    if len(alerts) > LISTED:
        lines.append(_MORE(n=len(alerts) - LISTED))
    return lines


def _to_minute(text: str | None) -> Value:
    return Timestamp.of(parse_time(text), "minute") if text else "never"
