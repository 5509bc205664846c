"""Urgent alerts that nobody confirmed though all were notified: an alarm of their own, to all, again and again."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from monitor.domain.alert import UNCONFIRMED, AlertChange, health_alarm
from monitor.domain.instants import spell
from monitor.domain.site import Recipient
from monitor.notify.stages.escalated import find_next_step, list_clocks
from monitor.notify.verdict import Limits
from monitor.store.alerting.outbox import OpenAlert

Alarm = tuple[str, str]  # site and key


def find_unconfirmed(
    alerts: Sequence[OpenAlert], chains: Mapping[str, Sequence[Sequence[Recipient]]], confirmed: Collection[int],
    now: datetime, limits: Limits,
) -> dict[Alarm, AlertChange]:  # fmt: skip
    """The alarm of each urgent alert that all were notified of so long ago, and nobody confirmed.

    All were notified when nobody is left on the chain, or no clock asks for the next one. A drill makes no alarm.

    Args:
        alerts: nobody has acknowledged them.
        chains: by site: who may be notified, step by step, now.
        confirmed: alerts of which a recipient has confirmed a message.
        now: wall time.
        limits: after how long.
    """
    found = {}
    for alert in alerts:
        if not alert.urgent or alert.exercise or alert.insists or alert.alert_id in confirmed or not alert.told:
            continue
        chain = chains[alert.site]
        if find_next_step(alert, chain) and list_clocks(alert, chain, limits):
            continue
        first: dict[str, datetime] = {}
        for one in alert.told:
            first.setdefault(one.recipient, one.queued_at)
        since = max(first.values())
        if now - since < timedelta(seconds=limits.unconfirmed_after_s):
            continue
        reason = (
            f"alert {alert.alert_id} ({alert.level_name}): {len(first)} notified, the last one at "
            f"{spell(since)[:16]}Z, and nobody confirmed; call {', '.join(first)}"
        )
        key = f"{UNCONFIRMED}{alert.alert_id}"
        found[alert.site, key] = health_alarm(key, 2, reason, is_open=True)
    return found


def end_unconfirmed(key: str) -> AlertChange:
    """The end of such an alarm: somebody confirmed the alert, or it is over."""
    return health_alarm(key, 0, f"alert {key.removeprefix(UNCONFIRMED)} is confirmed or over", is_open=False)
