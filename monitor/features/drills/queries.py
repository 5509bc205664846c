"""Drills: who holds one, whether its process lives, and how it ends; its alerts are exercises of their own keys."""

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
DEAD_AFTER_S: Final = 60.0  # a drill that has not stamped itself for so long has no process any more
RUNNING: Final = "running"
_OVER: Final = Template("exercise.over", "the drill is over: {reason}")
_DIED: Final = Template("drill.process_died", "its process died")
_RUNS: Final = Template(
    "drill.runs_already", "drill {number} of {site} runs, held by {name}; end it with `slopeward notify drill end`"
)
REFUSED: Final = "refused"  # before anybody was told anything


@dataclass(frozen=True, slots=True)
class Drill:
    """One exercise."""

    id: int
    site: str
    started_at: datetime
    ended_at: datetime | None
    by: str
    scenario: str
    state: str  # running, ended, abandoned, refused
    outcome: Mapping[str, Any] | None


def prefix_of(drill_id: int) -> str:
    """What stands before the keys of a drill's alerts: no real alert has such a key.

    >>> prefix_of(7)
    'drill:7:'
    """
    return f"drill:{drill_id}:"


def add_drill(c: Connection, site: str, by: Actor, scenario: str, now: datetime) -> int:
    """Begin a drill; returns its id.

    Raises RefusedError: nobody is named, or another drill of the site runs.
    """
    if by.kind != "person" or not by.name.strip():
        raise RefusedError("a drill needs the name of who holds it: --by NAME")
    running = load_drills(c, site, running_only=True)
    if running:
        raise RefusedError(_RUNS(number=running[0].id, site=site, name=running[0].by))
    drill_id = add_row(c, drill_table, site=site, started_at=now, by=by.name, scenario=scenario, state=RUNNING)
    beat(c, drill_id, now)
    add_audit(c, by, "drill.start", f"drill:{drill_id}", {"site": site, "scenario": scenario}, now)
    return drill_id


def beat(c: Connection, drill_id: int, now: datetime) -> None:
    """Say that the process that holds the drill lives."""
    write_heartbeat(c, f"drill:{drill_id}", {}, now)


def find_drill(c: Connection, drill_id: int) -> Drill:
    """One drill; raises NotFoundError: there is none of that number."""
    found = find_record(c, Drill, select(drill_table).where(drill_table.c.id == drill_id))
    if found is None:
        raise NotFoundError(f"drill {drill_id} does not exist; see `slopeward notify drill list`")
    return found


def load_drills(c: Connection, site: str | Iterable[str] | None = None, *, running_only: bool = False) -> list[Drill]:
    """Drills, newest first."""
    d = drill_table.c
    wanted = (*match_given(d.site, site), *match_given(d.state, RUNNING if running_only else None))
    return load_records(c, Drill, select(drill_table).where(*wanted).order_by(d.id.desc()))


def as_exercise(drill_id: int, changes: Sequence[AlertChange]) -> list[AlertChange]:
    """The changes of a decision as those of a drill: keys and words say so."""
    return [replace(x, key=prefix_of(drill_id) + x.key, reason=EXERCISE(text=x.reason)) for x in changes]


def end_drill(
    c: Connection, drill_id: int, actor: Actor, reason: str, now: datetime, *, site: Site | None, state: str = "ended"
) -> dict[str, Any]:
    """End a drill: tell that it is over, close its alerts, write what was measured. Returns the outcome.

    Ending one that is over changes nothing.

    Args:
        site: declaration, for whom to tell; None tells nobody.
        state: ended; abandoned where its process died; refused where it could not begin.
    """
    drill = find_drill(c, drill_id)
    if drill.state != RUNNING:
        return dict(drill.outcome or {})
    open_alerts = c.execute(_alerts_of(drill_id).where(alert.c.closed_at.is_(None))).all()
    # the hazard tells that it is over; the others close without a message each
    over = [
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
        over,
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
    """How the drill went: alerts, seconds to the first message and to each acknowledgement."""
    alerts = c.execute(_alerts_of(drill.id).order_by(alert.c.id)).all()
    n, e = notification.c, alert_event.c
    delays_s, answered = [], []
    for a in alerts:
        sent = c.execute(select(func.min(n.sent_at)).where(n.alert_id == a.id)).scalar()
        delays_s += [] if sent is None else [(sent - a.raised_at).total_seconds()]
        signed = c.execute(
            select(e.at, e.actor)
            .where(e.alert_id == a.id, e.to_state == str(AlertState.ACKNOWLEDGED))
            .order_by(e.sequence)
            .limit(1)
        ).one_or_none()
        if signed is not None:
            waited_s = (signed.at - a.raised_at).total_seconds()
            answered.append({"alert_id": a.id, "ledger": a.ledger, "by": signed.actor, "after_s": waited_s})
    states = c.execute(
        select(n.state, func.count()).where(n.alert_id.in_([a.id for a in alerts])).group_by(n.state)
    ).all()
    return {
        "duration_s": (now - drill.started_at).total_seconds(),
        "alerts": len(alerts),
        "peak_level": max((a.peak_level for a in alerts if a.ledger == AlertCategory.HAZARD), default=0),
        "acknowledged": answered,
        "unanswered": len(alerts) - len(answered),
        "slowest_acknowledgement_s": max((x["after_s"] for x in answered), default=None),
        "first_message_s": min(delays_s, default=None),
        "messages": {s: int(k) for s, k in states},
    }


def end_dead_drills(c: Connection, sites: Mapping[str, Site], now: datetime) -> list[int]:
    """End drills whose process died: they stamp themselves every few seconds. Returns their ids."""
    ended = []
    for drill in load_drills(c, running_only=True):
        last = find_heartbeat(c, f"drill:{drill.id}")
        if last is None or now - last[0] > timedelta(seconds=DEAD_AFTER_S):
            site = sites.get(drill.site)
            end_drill(c, drill.id, SERVICE_ACTOR, _DIED(), now, site=site, state="abandoned")
            ended.append(drill.id)
    return ended


def end_dead(db: Database, sites: Mapping[str, Site], now: datetime) -> None:
    """What core does meanwhile: exercise alarms of a drill whose process died would be escalated for ever."""
    if db.run_read(load_drills, running_only=True):
        with db.write() as c:
            for drill_id in end_dead_drills(c, sites, now):
                _LOG.warning("drill %d is ended: its process died", drill_id)


def count_open(c: Connection, drill_id: int) -> int:
    """Alerts of a drill that nobody has acknowledged."""
    a = alert.c
    query = select(func.count()).where(
        a.exercise, a.key.like(f"{prefix_of(drill_id)}%"), a.state == str(AlertState.UNACKNOWLEDGED)
    )
    return int(c.execute(query).scalar_one())


def count_on_the_way(c: Connection, drill_id: int) -> int:
    """Messages of a drill that a channel has and whose delivery is not on record yet."""
    n = notification.c
    alerts = _alerts_of(drill_id).with_only_columns(alert.c.id)
    query = select(func.count()).where(n.alert_id.in_(alerts), n.state == str(DeliveryState.CLAIMED))
    return int(c.execute(query).scalar_one())


def _alerts_of(drill_id: int) -> Any:
    return select(alert).where(alert.c.exercise, alert.c.key.like(f"{prefix_of(drill_id)}%"))
