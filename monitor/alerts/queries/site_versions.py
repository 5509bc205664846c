"""Detect changes of what the page shows about each site.

The version of a site is derived from rows of the database alone. Two processes that read the same rows, or one process
before and after a restart, compute the same version.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, func, select

from monitor.alerts.evaluation_tables import site_state
from monitor.alerts.outbox_tables import notification
from monitor.alerts.tables import alert, alert_event
from monitor.canonical import digest_text

_STATE: Final = site_state.c
# The page shows a change of these columns at once.
_LEVEL_COLUMNS: Final = (
    _STATE.level,
    _STATE.level_source,
    _STATE.since,
    _STATE.observability,
    _STATE.reachable_level,
    _STATE.movement_stage,
    _STATE.config_sha256,
)
# Each evaluation changes these columns. A site with readings every second is evaluated every second.
_EVALUATION_COLUMNS: Final = (
    _STATE.evaluated_at,
    _STATE.newest_at,
    _STATE.health,
    _STATE.witnesses_available,
    _STATE.trend,
    _STATE.catching_up,
)


@dataclass(frozen=True, slots=True)
class SiteVersion:
    """Digests of the stored state of a site. A digest changes when a row behind it changes.

    Attributes:
        urgent: Digest of level, observability, open alerts and the deliveries of their messages.
        readings: Digest of the newest evaluation, which follows new readings within seconds.
    """

    urgent: str
    readings: str


def load_site_versions(connection: Connection) -> dict[str, SiteVersion]:
    """Return the version of every site that has a level or an open alert, by site id.

    The result includes the alerts of the service itself, whose site is `status`. The queries count rows instead of
    remembering the highest id of the previous call: transactions on PostgreSQL may commit in another order than that
    of their ids.
    """
    urgent: defaultdict[str, list[tuple[object, ...]]] = defaultdict(list)
    readings: defaultdict[str, list[tuple[object, ...]]] = defaultdict(list)
    for site, *values in connection.execute(select(_STATE.site, *_LEVEL_COLUMNS)):
        urgent[site].append(("level", *values))
    for site, *values in connection.execute(_select_open_alerts()):
        urgent[site].append(("alerts", *values))
    for site, *values in connection.execute(_select_deliveries()):
        urgent[site].append(("deliveries", *values))
    for site, *values in connection.execute(select(_STATE.site, *_EVALUATION_COLUMNS)):
        readings[site].append(("evaluation", *values))
    return {
        site: SiteVersion(digest_text(repr(urgent[site])), digest_text(repr(readings[site])))
        for site in urgent.keys() | readings.keys()
    }


def _select_open_alerts() -> Select[Any]:
    """Select how many alerts are open and how many events they have, per site."""
    counts = (func.count(alert.c.id.distinct()), func.count(alert_event.c.id), func.max(alert_event.c.id))
    return (
        select(alert.c.site, *counts)
        .join(alert_event, alert_event.c.alert_id == alert.c.id)
        .where(alert.c.closed_at.is_(None))
        .group_by(alert.c.site)
    )


def _select_deliveries() -> Select[Any]:
    """Select the progress of the messages of open alerts, per site and state of delivery."""
    n = notification.c
    return (
        select(
            n.site,
            n.state,
            func.count(),
            func.sum(n.attempts),
            func.max(n.sent_at),
            func.max(n.received_at),
            func.max(n.confirmed_at),
        )
        .join(alert, alert.c.id == n.alert_id)
        .where(alert.c.closed_at.is_(None))
        .group_by(n.site, n.state)
        .order_by(n.site, n.state)
    )
