"""Store and load the alarms of another system, and load the hazard alerts of a site."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from monitor.api.database import Actor, add_audit, add_if_absent
from monitor.api.queries.alerts import SystemAlarm
from monitor.api.tables import alert, alert_event, alert_outcome
from monitor.api.text import canonical_json, digest_text, format_iso
from monitor.features.second_opinion.reading import AlarmRow
from monitor.features.second_opinion.tables import other_alarm


def store_alarms(
    c: Connection, site: str, rows: Sequence[AlarmRow], actor: Actor, file: str, now: datetime
) -> tuple[int, int]:
    """Store the alarms of a table, with one entry in the audit log.

    An alarm that is stored already is not added again. Its outcome is replaced if the table has another one.

    Args:
        c: Connection in a write transaction.
        site: Site id.
        rows: The alarms.
        actor: Who imports them.
        file: Name of the table, for the audit log.
        now: The present.

    Returns:
        The number of new alarms, and of changed outcomes.
    """
    a = other_alarm.c
    added = 0
    changed = 0
    for row in rows:
        digest = _make_digest(site, row)
        values = {"site": site, "at": row.at, "to_at": row.to_at, "station": row.station, "level": row.level}
        values |= {"text": row.text, "outcome": row.outcome, "received_at": now, "by": actor.name, "digest": digest}
        if add_if_absent(c, other_alarm, values):
            added += 1
        elif row.outcome is not None:
            differs = (a.digest == digest, a.outcome.is_distinct_from(row.outcome))
            changed += c.execute(update(other_alarm).where(*differs).values(outcome=row.outcome)).rowcount
    if added or changed:
        detail = {"file": file, "rows": len(rows), "added": added, "outcomes": changed}
        add_audit(c, actor, "other_alarms.import", f"site:{site}", detail, now)
    return added, changed


def _make_digest(site: str, row: AlarmRow) -> str:
    facts = {"site": site, "at": format_iso(row.at), "to_at": format_iso(row.to_at)}
    facts |= {"station": row.station, "level": row.level, "text": row.text}
    return digest_text(canonical_json(facts))


def load_other_alarms(
    c: Connection, site: str, from_at: datetime, to_at: datetime, levels: Sequence[str] = ()
) -> list[SystemAlarm]:
    """Return the alarms of the other system that lasted at some time in a range, the oldest first.

    Args:
        levels: Only alarms with these levels; empty for all.
    """
    a = other_alarm.c
    query = select(other_alarm).where(a.site == site, a.at < to_at, a.to_at >= from_at)
    if levels:
        query = query.where(a.level.in_(levels))
    return [
        SystemAlarm(row.at, row.to_at, row.id, row.level, row.station, row.text, row.outcome)
        for row in c.execute(query.order_by(a.at, a.id))
    ]


def find_last_import(c: Connection, site: str) -> datetime | None:
    """Return when an import last added an alarm of the other system; None if none are stored."""
    a = other_alarm.c
    query = select(a.received_at).where(a.site == site).order_by(a.received_at.desc()).limit(1)
    return c.execute(query).scalar()


def list_levels(c: Connection, site: str) -> list[str]:
    """Return the levels of the alarms of the other system."""
    a = other_alarm.c
    return sorted(c.execute(select(a.level).where(a.site == site).distinct()).scalars())


def load_own_alarms(
    c: Connection, site: str, from_at: datetime, to_at: datetime, level: int, level_names: Sequence[str]
) -> list[SystemAlarm]:
    """Return the times of hazard alerts at a level or above in a range, without drills, the oldest first.

    An alert that falls below the level and rises again counts twice. Levels are those of the events of the alert, so
    that each time is the one at which people of the trial were notified. The outcome of an alert counts for the alarm
    that was the newest one when a person recorded it.
    """
    a, e, o = alert.c, alert_event.c, alert_outcome.c
    of_site = (a.site == site, a.ledger == "hazard", a.exercise.is_(False), a.raised_at < to_at)
    query = select(e.alert_id, e.at, e.to_level, e.reason).join(alert, a.id == e.alert_id).where(*of_site)
    outcomes: dict[int, list[tuple[datetime, str]]] = {}
    recorded = select(o.alert_id, o.at, o["class"]).join(alert, a.id == o.alert_id).where(*of_site).order_by(o.id)
    for alert_id, at, outcome in c.execute(recorded):
        outcomes.setdefault(alert_id, []).append((at, outcome))
    chains: dict[int, list[Any]] = {}
    for row in c.execute(query.where(e.at < to_at).order_by(e.alert_id, e.sequence)):
        chains.setdefault(row.alert_id, []).append(row)
    alarms = []
    for alert_id, events in chains.items():
        alarms += _add_outcomes(_split(events, alert_id, level, level_names), outcomes.get(alert_id, ()))
    in_range = [alarm for alarm in alarms if alarm.to_at is None or alarm.to_at >= from_at]
    return sorted(in_range, key=lambda alarm: (alarm.at, alarm.number))


def _add_outcomes(alarms: list[SystemAlarm], outcomes: Sequence[tuple[datetime, str]]) -> list[SystemAlarm]:
    """Add to each alarm of an alert the newest outcome that was recorded after it began and before the next began."""
    with_outcomes = []
    for number, alarm in enumerate(alarms):
        next_at = alarms[number + 1].at if number + 1 < len(alarms) else None
        own = [outcome for at, outcome in outcomes if at >= alarm.at and (next_at is None or at < next_at)]
        with_outcomes.append(replace(alarm, outcome=own[-1]) if own else alarm)
    return with_outcomes


def _split(events: Sequence[Any], alert_id: int, level: int, level_names: Sequence[str]) -> list[SystemAlarm]:
    """Return the times at which an alert had a level or a higher one."""
    alarms = []
    first: Any = None
    peak = 0
    for event in events:
        if event.to_level >= level:
            first = first or event
            peak = max(peak, event.to_level)
        elif first is not None:
            alarms.append(_make_alarm(first, event.at, alert_id, level_names[peak]))
            first = None
            peak = 0
    if first is not None:
        alarms.append(_make_alarm(first, None, alert_id, level_names[peak]))
    return alarms


def _make_alarm(first: Any, to_at: datetime | None, alert_id: int, level: str) -> SystemAlarm:
    return SystemAlarm(first.at, to_at, alert_id, level, "", str(first.reason))
