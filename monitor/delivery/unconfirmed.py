"""Urgent alerts that reached nobody, or that nobody confirmed: an alarm of their own, to all, again and again."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from monitor.alerts.notification import DeliveryState
from monitor.alerts.records import UNCONFIRMED, AlertState
from monitor.alerts.states import PUT_ASIDE
from monitor.decision.changes import AlertChange, health_alarm
from monitor.delivery.escalated import find_next_step, list_clocks
from monitor.delivery.queries.outbox import OpenAlert
from monitor.delivery.verdict import DeliveryLimits
from monitor.sites.channels import find_channel_traits
from monitor.sites.records import Recipient
from monitor.text.message import Message, NameList, Template, Term, Timestamp, Value

Alarm = tuple[str, str]  # site and key
_TAKEN: Final = frozenset({DeliveryState.DELIVERED, DeliveryState.CONFIRMED})
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
    chain: Sequence[Sequence[Recipient]],
    name: str,
    confirmed: Collection[int],
    now: datetime,
    limits: DeliveryLimits,
) -> tuple[dict[Alarm, AlertChange], dict[Alarm, AlertChange]]:
    """The alarms of urgent alerts of a site that nobody confirmed, and of those that reached nobody; a drill has none.

    An alert is unconfirmed where all were notified of it so long ago: nobody is left on the chain, or no clock asks for
    the next one. It reached nobody where no channel to a person took anything of its newest message: at once where all
    were refused for good and nobody is left to be notified, else after a minute. Of an alert that comes and goes the
    first message counts that reached a person and that nobody has answered since.

    Args:
        chain: who may be notified, step by step, now.
        name: of the site.
        confirmed: alerts of which a recipient has confirmed the newest message.
    """
    unconfirmed: dict[Alarm, AlertChange] = {}
    unreached: dict[Alarm, AlertChange] = {}
    for alert in alerts:
        if not alert.urgent or alert.exercise or alert.insists or alert.alert_id in confirmed:
            continue
        key = f"{UNCONFIRMED}{alert.alert_id}"
        facts: dict[str, Value] = {"n": alert.alert_id, "level": Term(alert.level_name), "site": name}
        facts["at"] = Timestamp.of(alert.raised_at, "minute")
        sent = [
            t
            for t in alert.sent
            if find_channel_traits(t.channel).reaches_person and t.state != DeliveryState.SUPERSEDED
        ]
        is_left = bool(find_next_step(alert, chain))
        refused = not is_left and all(one.state == DeliveryState.FAILED_FINAL for one in sent)
        if sent and not any(one.state in _TAKEN for one in sent):
            age_s = (now - min(one.queued_at for one in sent)).total_seconds()
            if refused or age_s >= limits.unreached_after_s:
                names = NameList(tuple(dict.fromkeys(t.recipient for t in sent)))
                unreached[alert.site, key] = health_alarm(key, 2, _UNREACHED(names=names, **facts), is_open=True)
                continue
        if not alert.sent or (is_left and list_clocks(alert, chain, limits)):
            continue
        first: dict[str, datetime] = {}
        for one in alert.sent:
            first.setdefault(one.recipient, one.queued_at)
        since = max(min(at, alert.reached.get(who, at)) for who, at in first.items())
        if now - since >= timedelta(seconds=limits.unconfirmed_after_s):
            facts |= {"count": len(first), "at2": Timestamp.of(since, "minute"), "names": NameList(tuple(first))}
            unconfirmed[alert.site, key] = health_alarm(key, 2, _NOBODY(**facts), is_open=True)
    return unconfirmed, unreached


def end_unconfirmed(
    standing: Collection[Alarm],
    states: Mapping[int, tuple[AlertState, datetime]],
    confirmed: Collection[int],
    now: datetime,
    limits: DeliveryLimits,
) -> dict[Alarm, AlertChange]:
    """The end of each such alarm that is answered or has lost its cause, and which of these it was.

    That the level rose or fell, or that somebody else may be notified by now, ends none; neither does a cause that is
    gone for a shorter time than it took to make the alarm: it may come back.
    """
    stays_away = timedelta(seconds=limits.unconfirmed_after_s)
    ended = {}
    for site, key in standing:
        number = int(key.removeprefix(UNCONFIRMED))
        state, since = states.get(number, (AlertState.CLOSED, now))
        is_confirmed = number in confirmed
        if state is AlertState.RETURNED_UNACKNOWLEDGED and now - since < stays_away and not is_confirmed:
            continue
        if why := _describe_end(number, state, is_confirmed=is_confirmed):
            ended[site, key] = health_alarm(key, 0, why, is_open=False)
    return ended


def _describe_end(number: int, state: AlertState, *, is_confirmed: bool) -> Message | None:
    if state in PUT_ASIDE:
        return _PUT_ASIDE(n=number)
    if state is AlertState.RETURNED_UNACKNOWLEDGED and not is_confirmed:
        return _GONE(n=number)
    if state in {AlertState.ACKNOWLEDGED, AlertState.CLOSED}:
        return (_ACKNOWLEDGED if state is AlertState.ACKNOWLEDGED else _CLOSED)(n=number)
    return _CONFIRMED(n=number) if is_confirmed else None
