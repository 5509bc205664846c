"""Urgent alerts that reached nobody, or that nobody confirmed: an alarm of their own, to all, again and again."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from forecasting.message import Message, NameList, Template, Term, Timestamp
from monitor.domain.alert import UNCONFIRMED, AlertChange, AlertState, DeliveryState, health_alarm
from monitor.domain.alerts.states import PUT_ASIDE
from monitor.domain.duty.channels import traits_of
from monitor.domain.site import Recipient
from monitor.notify.escalated import find_next_step, list_clocks
from monitor.notify.verdict import DeliveryLimits
from monitor.store.alerting.outbox import OpenAlert

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


def find_unconfirmed(
    alerts: Sequence[OpenAlert],
    chains: Mapping[str, Sequence[Sequence[Recipient]]],
    names: Mapping[str, str],
    confirmed: Collection[int],
    now: datetime,
    limits: DeliveryLimits,
) -> dict[Alarm, AlertChange]:
    """The alarm of each urgent alert that all were notified of so long ago, and nobody confirmed.

    All were notified when nobody is left on the chain, or no clock asks for the next one. A drill makes no alarm. Of an
    alert that comes and goes the first message counts that reached a person and that nobody has answered since.

    Args:
        chains: by site: who may be notified, step by step, now.
        confirmed: alerts of which a recipient has confirmed the newest message.
    """
    found: dict[Alarm, AlertChange] = {}
    for alert in alerts:
        if not alert.sent or not _needs_a_person(alert, confirmed):
            continue
        chain, name = chains[alert.site], names.get(alert.site, alert.site)
        if find_next_step(alert, chain) and list_clocks(alert, chain, limits):
            continue
        first: dict[str, datetime] = {}
        for one in alert.sent:
            first.setdefault(one.recipient, one.queued_at)
        since = max(min(at, alert.reached.get(name, at)) for name, at in first.items())
        if now - since < timedelta(seconds=limits.unconfirmed_after_s):
            continue
        reason = _NOBODY(
            n=alert.alert_id,
            level=Term(alert.level_name),
            site=name,
            at=Timestamp.of(alert.raised_at, "minute"),
            count=len(first),
            at2=Timestamp.of(since, "minute"),
            names=NameList(tuple(first)),
        )
        found |= _open_alarm(alert, reason)
    return found


def find_unreached(
    alerts: Sequence[OpenAlert],
    chains: Mapping[str, Sequence[Sequence[Recipient]]],
    names: Mapping[str, str],
    confirmed: Collection[int],
    now: datetime,
    limits: DeliveryLimits,
) -> dict[Alarm, AlertChange]:
    """The alarm of each urgent alert of whose newest message no channel to a person took anything.

    It is one at once where all were refused for good and nobody is left to be notified, else after a minute. A drill
    makes no alarm. Arguments are those of `find_unconfirmed`.
    """
    found: dict[Alarm, AlertChange] = {}
    for alert in alerts:
        sent = [t for t in alert.sent if traits_of(t.channel).reaches_person and t.state != DeliveryState.SUPERSEDED]
        if not sent or not _needs_a_person(alert, confirmed):
            continue
        age_s = (now - min(one.queued_at for one in sent)).total_seconds()
        refused = all(one.state == DeliveryState.FAILED_FINAL for one in sent)
        refused = refused and not find_next_step(alert, chains[alert.site])
        if any(one.state in _TAKEN for one in sent) or not (refused or age_s >= limits.unreached_after_s):
            continue
        reason = _UNREACHED(
            n=alert.alert_id,
            level=Term(alert.level_name),
            site=names.get(alert.site, alert.site),
            at=Timestamp.of(alert.raised_at, "minute"),
            names=NameList(tuple(dict.fromkeys(t.recipient for t in sent))),
        )
        found |= _open_alarm(alert, reason)
    return found


def _needs_a_person(alert: OpenAlert, confirmed: Collection[int]) -> bool:
    """Whether an alert is urgent and nobody has confirmed it; a drill needs nobody."""
    return alert.urgent and not (alert.exercise or alert.insists or alert.alert_id in confirmed)


def _open_alarm(alert: OpenAlert, reason: Message) -> dict[Alarm, AlertChange]:
    key = f"{UNCONFIRMED}{alert.alert_id}"
    return {(alert.site, key): health_alarm(key, 2, reason, is_open=True)}


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
