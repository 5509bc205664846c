"""The daily digest: the state of a site to each recipient who asked for it, also when all is well: proof of life."""

import logging
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Connection

from monitor.alerts.notification import Notification
from monitor.alerts.queries.overview import load_cards, load_open_alerts
from monitor.alerts.queries.recipients import find_on_duty
from monitor.decision.alert_texts import join_lines, split_lines
from monitor.decision.changes import AlertCategory
from monitor.decision.subjects import make_subject
from monitor.delivery.message import deliver_in
from monitor.delivery.notifier import channel_settings, open_notifier
from monitor.delivery.queries import outbox
from monitor.errors import ConfigError, DeliveryError
from monitor.readings.instrument_views import InstrumentRow
from monitor.settings.service import ServiceConfig
from monitor.sites.channels import find_channel_traits, split_channel
from monitor.sites.records import Recipient, Site
from monitor.storage.engine import Database
from monitor.storage.views import load_view
from monitor.text.instants import parse_time
from monitor.text.message import Message, NameList, Template, Term, Timestamp, Value
from monitor.text.zones import format_minute, local_day, to_instant

_LOG = logging.getLogger(__name__)
LATEST: Final = timedelta(hours=6)  # what could not be sent for so long is left to the next day
LISTED: Final = 8
_ESSENCE: Final = Template("digest.essence", "daily digest, open alerts: {n}")
_LEVEL: Final = Template("digest.level", "Level {level} since {at}, evaluated {at2}")
_NOT_EVALUATED: Final = Template("digest.not_evaluated", "the site was not evaluated so far")
_NEWEST: Final = Template("digest.newest", "Newest datum: {at}")
_ALERTS: Final = Template("digest.alerts", "open alerts: {n}, not acknowledged: {n2}, suggestions: {n3}")
_ALERT: Final = Template("digest.alert", "Alert {n}: {text}")
_SUGGESTION: Final = Template("digest.suggestion", "Suggestion {n}: {text}")
_MORE: Final = Template("digest.more", "{n} more")
_INSTRUMENTS: Final = Template("digest.instruments", "{n} of {n2} instruments ok")
_SEE: Final = Template("digest.look_at", "look at {names}")
_MESSAGES: Final = Template("digest.messages", "messages of the last day: {n} sent, {n2} failed for good, {n3} wait")
_ON_DUTY: Final = Template("digest.on_duty", "on duty, {team}: {names}")
_EVERY_DAY: Final = Template(
    "digest.every_day",
    "This message comes every day at {at}, also when all is well; when it does not come, look at the service",
)


def run(db: Database, config: ServiceConfig, site: Site | None, now: datetime) -> str:
    """Send the digests of the site that are due and were not sent today.

    One that its channel refuses is tried again at the next run, by the next channel of its recipient.

    Raises:
        DeliveryError: somebody could not be reached; all others were.
    """
    due = [] if site is None else [(r, m) for r in site.recipients if (m := _find_due(r, site, now)) is not None]
    if site is None or not due:
        return "none due"
    sent, failed = 0, list[str]()
    for recipient, day in due:
        with db.read() as c:
            tries = outbox.count_tries(c, site.id, recipient.name, day)
            message = None if tries is None else _write(c, site, recipient, now)
        channels = sorted((k for k in recipient.channels if _rank(k)), key=_rank)
        if message is None or not channels:
            continue
        channel = channels[(tries or 0) % len(channels)]
        error = _send(db, config, site, recipient, channel, message, day, now)
        db.do(outbox.note_try, site.id, recipient.name, day, channel, error, now)
        sent += error is None
        failed += [] if error is None else [f"{recipient.name} by {split_channel(channel)[0]}: {error}"]
    if failed:
        raise DeliveryError(f"daily digest: {'; '.join(failed)}")
    return f"{sent} sent"


def _rank(channel: str) -> int:
    return find_channel_traits(channel).digest_rank


def _find_due(recipient: Recipient, site: Site, now: datetime) -> str | None:
    if recipient.digest is None:
        return None
    today = local_day(now, site.timezone)
    for day in (today, today - timedelta(days=1)):  # one of the evening may come after midnight
        if timedelta(0) <= now - to_instant(day, recipient.digest, site.timezone) < LATEST:
            return day.isoformat()
    return None


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
    language, settings = recipient.language or config.language.default, channel_settings(config, os.environ)
    try:
        deliver_in(language, open_notifier(channel, settings, db), notification, zone=site.timezone)
    except (ConfigError, DeliveryError) as error:
        return error.message
    except Exception as error:  # a notifier's bug is a failure of this channel only
        _LOG.exception("digest by %s", channel.partition(":")[0])
        return f"{type(error).__name__}: {error}"
    return None


def _write(c: Connection, site: Site, recipient: Recipient, now: datetime) -> tuple[Message, Message]:
    cards = load_cards(c, site.id)
    status: Mapping[str, Any] = cards[0].status if cards else {}
    name = status.get("level_name") or "unknown"
    alerts = [a for a in load_open_alerts(c, site.id) if not a["exercise"]]
    alarms = [a for a in alerts if a["ledger"] != AlertCategory.ADVICE]
    advice = [a for a in alerts if a["ledger"] == AlertCategory.ADVICE]
    lines: list[Value] = [
        _LEVEL(level=Term(name), at=_minute(status["since"]), at2=_minute(status["evaluated_at"]))
        if status.get("evaluated_at")
        else _NOT_EVALUATED(),
        _NEWEST(at=_minute(status.get("newest_at"))),
        _ALERTS(n=len(alarms), n2=status.get("unacknowledged") or 0, n3=len(advice)),
    ]
    for each, some in ((_ALERT, alarms), (_SUGGESTION, advice)):
        lines += [each(n=a["alert_id"], text=a["reason"]) for a in some[:LISTED]]
        lines += [_MORE(n=len(some) - LISTED)] if len(some) > LISTED else []
    board = load_view(c, "instrument_health", InstrumentRow, order_by=("instrument",), site=site.id)
    sick = [row["instrument"] for row in board if row["state"] not in {"ok", "unknown"}]
    lines.append(_INSTRUMENTS(n=len(board) - len(sick), n2=len(board)))
    lines += [_SEE(names=NameList(tuple(sick[:LISTED])))] if sick else []
    taken, lost, waiting = outbox.count_messages(c, site.id, now - timedelta(days=1), now)
    lines.append(_MESSAGES(n=taken, n2=lost, n3=waiting))
    for (_, team), people in find_on_duty(c, site.teams, now).items():
        lines.append(_ON_DUTY(team=team, names=NameList(people or ("nobody",))))
    lines.append(_EVERY_DAY(at=format_minute(recipient.digest or 0)))
    subject = make_subject(Term(str(name).upper()), site.name, "", _ESSENCE(n=len(alarms)), now)
    return subject, join_lines(lines)


def _minute(text: str | None) -> Value:
    return Timestamp.of(parse_time(text), "minute") if text else "never"
