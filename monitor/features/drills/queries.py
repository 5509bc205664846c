"""Stored drills: start and end them, and measure how quickly people acknowledged.

Alerts of a drill are exercises with keys of their own, so that they cannot touch real alerts.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, select, update

from monitor.api.alerts import AlertState, DeliveryState
from monitor.api.database import (
    SERVICE_ACTOR,
    Actor,
    Database,
    add_audit,
    add_row,
    find_heartbeat,
    find_record,
    load_records,
    match_given,
    remove_heartbeat,
    write_heartbeat,
)
from monitor.api.decision import EXERCISE, AlertCategory, AlertChange
from monitor.api.errors import NotFoundError, RefusedError
from monitor.api.queries.alerts import ChangeContext, apply_changes, close_alert
from monitor.api.sites import Site
from monitor.api.tables import alert, alert_event, notification
from monitor.api.text import Template, code_version
from monitor.features.drills.tables import drill as drill_table

_LOG: Final = logging.getLogger(__name__)
DEAD_AFTER_S: Final = 60.0  # a drill without a heartbeat for this time has lost its process
RUNNING: Final = "running"
_OVER: Final = Template("exercise.over", "the drill is over: {reason}")
_DIED: Final = Template("drill.process_died", "its process ended unexpectedly")
_RUNS: Final = Template(
    "drill.runs_already",
    "drill {number} of {site} is running, started by {name}; end it with `slopeward notify drill end`",
)
REFUSED: Final = "refused"  # the drill ended before any message was sent


@dataclass(frozen=True, slots=True)
class Drill:
    """A stored drill. `state` is running, ended, abandoned (its process died) or refused."""

    id: int
    site: str
    started_at: datetime
    ended_at: datetime | None
    by: str
    scenario: str
    state: str
    outcome: Mapping[str, Any] | None


def prefix_of(drill_id: int) -> str:
    """Return the prefix of the keys of a drill's alerts. No real alert has such a key.

    >>> prefix_of(7)
    'drill:7:'
    """
    return f"drill:{drill_id}:"


def add_drill(c: Connection, site: str, by: Actor, scenario: str, now: datetime) -> int:
    """Start a drill. Return its id.

    Raises:
        RefusedError: no person is named, or another drill of the site is running.
    """
    if by.kind != "person" or not by.name.strip():
        raise RefusedError("a drill needs the name of the person who holds it: --by NAME")
    running = load_drills(c, site, running_only=True)
    if running:
        raise RefusedError(_RUNS(number=running[0].id, site=site, name=running[0].by))
    drill_id = add_row(c, drill_table, site=site, started_at=now, by=by.name, scenario=scenario, state=RUNNING)
    beat(c, drill_id, now)
    add_audit(c, by, "drill.start", f"drill:{drill_id}", {"site": site, "scenario": scenario}, now)
    return drill_id


def beat(c: Connection, drill_id: int, now: datetime) -> None:
    """Write the heartbeat of the process that holds a drill."""
    write_heartbeat(c, f"drill:{drill_id}", {}, now)


def find_drill(c: Connection, drill_id: int) -> Drill:
    """Return a drill; raises NotFoundError if there is none with this number."""
    drill = find_record(c, Drill, select(drill_table).where(drill_table.c.id == drill_id))
    if drill is None:
        raise NotFoundError(f"drill {drill_id} does not exist; see `slopeward notify drill list`")
    return drill


def load_drills(c: Connection, site: str | Iterable[str] | None = None, *, running_only: bool = False) -> list[Drill]:
    """Load drills, newest first."""
    d = drill_table.c
    wanted = (*match_given(d.site, site), *match_given(d.state, RUNNING if running_only else None))
    return load_records(c, Drill, select(drill_table).where(*wanted).order_by(d.id.desc()))


def as_exercise(drill_id: int, changes: Sequence[AlertChange]) -> list[AlertChange]:
    """Return the changes with keys of the drill, and with reasons that are marked as an exercise."""
    return [
        replace(change, key=prefix_of(drill_id) + change.key, reason=EXERCISE(text=change.reason)) for change in changes
    ]


def end_drill(
    c: Connection, drill_id: int, actor: Actor, reason: str, now: datetime, *, site: Site | None, state: str = "ended"
) -> dict[str, Any]:
    """End a drill: notify that it is over, close its alerts, and store the outcome. Return the outcome.

    A drill that is over does not change.

    Args:
        c: a write transaction.
        drill_id: id of the drill.
        actor: who ends it.
        reason: why it ends.
        now: the present.
        site: the site with its recipients; None notifies nobody.
        state: ended, abandoned (its process died) or refused (it could not start).
    """
    drill = find_drill(c, drill_id)
    if drill.state != RUNNING:
        return dict(drill.outcome or {})
    open_alerts = c.execute(_alerts_of(drill_id).where(alert.c.closed_at.is_(None))).all()
    # Only the end of the hazard alert is sent. Otherwise each alert would send a message.
    closing_changes = [
        AlertChange(
            AlertCategory(a.ledger),
            a.key,
            a.level,
            open=False,
            reason=EXERCISE(text=_OVER(reason=reason)),
            data_time=None,
            evidence="{}",
            notify=a.ledger == AlertCategory.HAZARD,
        )
        for a in open_alerts
    ]
    apply_changes(
        c,
        closing_changes,
        ChangeContext(drill.site, site, site.recipients if site else (), actor, now, code_version(), exercise=True),
    )
    person = Actor(actor.name or "slopeward", actor.kind)
    for a in c.execute(_alerts_of(drill_id).where(alert.c.closed_at.is_(None))).all():
        close_alert(c, a.id, person, _OVER(reason=reason), now)
    outcome = measure(c, drill, now) | {"reason": reason}
    c.execute(
        update(drill_table).where(drill_table.c.id == drill_id).values(state=state, ended_at=now, outcome=outcome)
    )
    remove_heartbeat(c, f"drill:{drill_id}")
    add_audit(c, actor, "drill.end", f"drill:{drill_id}", {"site": drill.site, "reason": reason, "state": state}, now)
    return outcome


def measure(c: Connection, drill: Drill, now: datetime) -> dict[str, Any]:
    """Return the outcome of a drill: alerts, messages by state, and seconds to first message and acknowledgements."""
    alerts = c.execute(_alerts_of(drill.id).order_by(alert.c.id)).all()
    n, e = notification.c, alert_event.c
    first_messages_s: list[float] = []
    acknowledged: list[dict[str, Any]] = []
    for a in alerts:
        sent_at = c.execute(select(func.min(n.sent_at)).where(n.alert_id == a.id)).scalar()
        if sent_at is not None:
            first_messages_s.append((sent_at - a.raised_at).total_seconds())
        first = c.execute(
            select(e.at, e.actor)
            .where(e.alert_id == a.id, e.to_state == str(AlertState.ACKNOWLEDGED))
            .order_by(e.sequence)
            .limit(1)
        ).one_or_none()
        if first is not None:
            after_s = (first.at - a.raised_at).total_seconds()
            acknowledged.append({"alert_id": a.id, "ledger": a.ledger, "by": first.actor, "after_s": after_s})
    states = c.execute(
        select(n.state, func.count()).where(n.alert_id.in_([a.id for a in alerts])).group_by(n.state)
    ).all()
    return {
        "duration_s": (now - drill.started_at).total_seconds(),
        "alerts": len(alerts),
        "peak_level": max((a.peak_level for a in alerts if a.ledger == AlertCategory.HAZARD), default=0),
        "acknowledged": acknowledged,
        "unanswered": len(alerts) - len(acknowledged),
        "slowest_acknowledgement_s": max((item["after_s"] for item in acknowledged), default=None),
        "first_message_s": min(first_messages_s, default=None),
        "messages": {state: int(count) for state, count in states},
    }


def end_dead_drills(c: Connection, sites: Mapping[str, Site], now: datetime) -> list[int]:
    """End drills whose process died. Return their ids."""
    ended = []
    for drill in load_drills(c, running_only=True):
        heartbeat = find_heartbeat(c, f"drill:{drill.id}")
        if heartbeat is None or now - heartbeat[0] > timedelta(seconds=DEAD_AFTER_S):
            site = sites.get(drill.site)
            end_drill(c, drill.id, SERVICE_ACTOR, _DIED(), now, site=site, state="abandoned")
            ended.append(drill.id)
    return ended


def end_and_log_dead_drills(db: Database, sites: Mapping[str, Site], now: datetime) -> None:
    """End drills whose process died, and log each of them. Otherwise their alarms would be escalated without end."""
    if db.run_read(load_drills, running_only=True):
        with db.write() as c:
            for drill_id in end_dead_drills(c, sites, now):
                _LOG.warning("drill %d is ended, because its process died", drill_id)


def count_unacknowledged(c: Connection, drill_id: int) -> int:
    """Return the number of alerts of a drill that nobody has acknowledged."""
    a = alert.c
    query = select(func.count()).where(
        a.exercise, a.key.like(f"{prefix_of(drill_id)}%"), a.state == str(AlertState.UNACKNOWLEDGED)
    )
    return int(c.execute(query).scalar_one())


def count_sending(c: Connection, drill_id: int) -> int:
    """Return the number of messages of a drill that a channel is sending."""
    n = notification.c
    alerts = _alerts_of(drill_id).with_only_columns(alert.c.id)
    query = select(func.count()).where(n.alert_id.in_(alerts), n.state == str(DeliveryState.CLAIMED))
    return int(c.execute(query).scalar_one())


def _alerts_of(drill_id: int) -> Any:
    return select(alert).where(alert.c.exercise, alert.c.key.like(f"{prefix_of(drill_id)}%"))
