"""Raise a separate alarm if an urgent alert reached nobody, or if nobody confirmed it.

The alarm is sent to all recipients and is repeated until somebody confirms the alert.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from monitor.alerts.notification import TAKEN, DeliveryState
from monitor.alerts.records import UNCONFIRMED, AlertState
from monitor.alerts.states import PUT_ASIDE
from monitor.decision.changes import AlertChange, health_alarm
from monitor.delivery.limits import DeliveryLimits
from monitor.delivery.queries.outbox import OpenAlert, SentNotification
from monitor.delivery.stages import (
    Chain,
    find_last_notified_at,
    find_next_step,
    find_unconfirmed_at,
    list_first_messages,
)
from monitor.sites.channels import find_channel_traits
from monitor.text.message import Message, NameList, Template, Term, Timestamp, Value

# Site and key of an alarm that an alert reached nobody, or that nobody confirmed it.
Alarm = tuple[str, str]
_URGENT: Final = 2
_NOBODY: Final = Template(
    "unconfirmed.nobody",
    "nobody confirmed alert {n}, {level} at {site}, open since {at}: {count} notified, the last one at {at2}; "
    "call {names}",
)
_UNREACHED: Final = Template(
    "unconfirmed.unreached",
    "{level} at {site} reached nobody: no channel took a message of alert {n}, open since {at}; call {names}",
)
_PUT_ASIDE: Final = Template("unconfirmed.put_aside", "alert {n} is put aside; nobody confirmed it")
_GONE: Final = Template("unconfirmed.gone", "the cause of alert {n} is gone; nobody confirmed it")
_ACKNOWLEDGED: Final = Template("unconfirmed.acknowledged", "alert {n} is acknowledged")
_CLOSED: Final = Template("unconfirmed.closed", "alert {n} is closed")
_CONFIRMED: Final = Template("unconfirmed.confirmed", "alert {n} is confirmed")


def find_alarms(
    alerts: Sequence[OpenAlert],
    chain: Chain,
    site_name: str,
    confirmed: Collection[int],
    now: datetime,
    limits: DeliveryLimits,
) -> tuple[dict[Alarm, AlertChange], dict[Alarm, AlertChange]]:
    """Return the alarms about urgent alerts of a site that nobody confirmed, and about those that reached nobody.

    An alert is unconfirmed some time after the last person was notified (`find_unconfirmed_at`). An alert reached
    nobody if no channel to a person took any of its newest messages: at once if all were refused for good and nobody is
    left to be notified, otherwise after a minute. There is no alarm about a drill.

    Args:
        chain: Who may be notified now, step by step.
        confirmed: Numbers of alerts whose newest message a recipient has confirmed.
    """
    unconfirmed: dict[Alarm, AlertChange] = {}
    unreached: dict[Alarm, AlertChange] = {}
    for alert in alerts:
        if not alert.urgent or alert.exercise or alert.is_unconfirmed_alarm or alert.alert_id in confirmed:
            continue
        key = f"{UNCONFIRMED}{alert.alert_id}"
        facts: dict[str, Value] = {
            "n": alert.alert_id,
            "level": Term(alert.level_name),
            "site": site_name,
            "at": Timestamp.of(alert.raised_at, "minute"),
        }
        if _has_reached_nobody(alert, chain, now, limits):
            names = NameList(tuple(dict.fromkeys(message.recipient for message in _list_personal(alert))))
            reason = _UNREACHED(names=names, **facts)
            unreached[alert.site, key] = health_alarm(key, _URGENT, reason, is_open=True)
            continue
        due_at = find_unconfirmed_at(alert, chain, limits)
        if due_at is not None and now >= due_at:
            names = NameList(tuple(list_first_messages(alert)))
            last_at = Timestamp.of(find_last_notified_at(alert), "minute")
            reason = _NOBODY(count=len(names.names), at2=last_at, names=names, **facts)
            unconfirmed[alert.site, key] = health_alarm(key, _URGENT, reason, is_open=True)
    return unconfirmed, unreached


def _list_personal(alert: OpenAlert) -> list[SentNotification]:
    """Return the messages of the newest event on channels to people, except those that other messages replace."""
    return [
        message
        for message in alert.sent
        if find_channel_traits(message.channel).reaches_person and message.state != DeliveryState.SUPERSEDED
    ]


def _has_reached_nobody(alert: OpenAlert, chain: Chain, now: datetime, limits: DeliveryLimits) -> bool:
    """Return whether no channel to a person delivered a message, and the alarm about that is due."""
    messages = _list_personal(alert)
    if not messages or any(message.state in TAKEN for message in messages):
        return False
    is_refused = all(message.state == DeliveryState.FAILED_FINAL for message in messages)
    if is_refused and not find_next_step(alert, chain):
        return True
    age_s = (now - min(message.queued_at for message in messages)).total_seconds()
    return age_s >= limits.unreached_after_s


def end_unconfirmed(
    open_alarms: Collection[Alarm],
    states: Mapping[int, tuple[AlertState, datetime]],
    confirmed: Collection[int],
    now: datetime,
    limits: DeliveryLimits,
) -> dict[Alarm, AlertChange]:
    """Return the change that ends each alarm whose alert has ended or was answered by a person, with the reason.

    A change of the level and new recipients do not end an alarm. An alert that ended by itself can start again.
    Therefore it ends the alarm only after `unconfirmed_after_s`, the time after which the alarm is raised.

    Args:
        states: State of each alert by its number, and since when.
    """
    wait = timedelta(seconds=limits.unconfirmed_after_s)
    ended = {}
    for site, key in open_alarms:
        number = int(key.removeprefix(UNCONFIRMED))
        state, since = states.get(number, (AlertState.CLOSED, now))
        is_confirmed = number in confirmed
        has_ended_by_itself = state is AlertState.RETURNED_UNACKNOWLEDGED and not is_confirmed
        if has_ended_by_itself and now - since < wait:
            continue
        reason = _describe_end(number, state, is_confirmed=is_confirmed)
        if reason is not None:
            ended[site, key] = health_alarm(key, 0, reason, is_open=False)
    return ended


def _describe_end(number: int, state: AlertState, *, is_confirmed: bool) -> Message | None:
    """Return why the alarm about an alert ends; None if it continues."""
    if state in PUT_ASIDE:
        return _PUT_ASIDE(n=number)
    if state is AlertState.RETURNED_UNACKNOWLEDGED and not is_confirmed:
        return _GONE(n=number)
    if state is AlertState.ACKNOWLEDGED:
        return _ACKNOWLEDGED(n=number)
    if state is AlertState.CLOSED:
        return _CLOSED(n=number)
    return _CONFIRMED(n=number) if is_confirmed else None
