"""Prove the story of each alert: its row must follow from its events, and every event from a person or a decision."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Column, Connection, Row, String, Table, select, type_coerce

from monitor.store.database.audit import SEAL
from monitor.store.database.seals import GoneRow, find_unsealed
from monitor.store.schema import tables as t

_ACTS: Final = tuple(
    f"alert.{act}"
    for act in ("acknowledge", "note", "close", "shelve", "unshelve", "take_out", "put_back", "suppress", "resume")
)
_RETURNED: Final = "returned_unacknowledged"


@dataclass(frozen=True, slots=True)
class _Act:
    """What the audit log says that somebody did to an alert."""

    entry_id: int
    action: str
    subject: str
    site: str
    at: str
    actor: str
    actor_kind: str
    reason: str


_OF_AN_ALERT: Final = (t.alert_event, t.alert_outcome, t.notification, t.photo)


def verify_story(c: Connection, alert_id: int, site: str) -> list[str]:
    """What is wrong with one alert, its events, outcomes and messages, who acted, what decided, and its site's level.

    A row that is gone cannot say of which alert it was: it is named here too.
    """
    mine = [f"alert {alert_id}: ", f"site_state {site}: "]
    for table in _OF_AN_ALERT:
        numbers = c.execute(select(table.c.id).where(table.c.alert_id == alert_id)).scalars()
        mine += [f"{table.name} {number}: " for number in numbers]
    e = t.alert_event.c
    acts = c.execute(select(e.actor, e.decision_id).where(e.alert_id == alert_id)).all()
    mine += [f"user_account {name}: " for name in {row.actor for row in acts}]
    mine += [f"decision {number}: " for number in {row.decision_id for row in acts}]
    parts = tuple(f"{table.name} " for table in _OF_AN_ALERT)
    return [
        line
        for line in (*verify_stories(c), *find_unsealed(c))
        if line.startswith(tuple(mine)) or (isinstance(line, GoneRow) and line.startswith(parts))
    ]


def verify_stories(c: Connection) -> Iterator[str]:
    """Compare every alert with its events, and every event with the audit log or the decision that it cites.

    Yields:
        One line per damage: table, row, and column where it is known.
    """
    acts = _load_acts(c)
    decisions = {row.id: row.site for row in c.execute(select(t.decision.c.id, t.decision.c.site))}
    alerts = {row.id: row for row in _read(c, t.alert)}
    seen: set[int] = set()
    cited: set[int] = set()
    with_events: set[int] = set()
    e = t.alert_event.c
    stream = _read(c, t.alert_event, e.alert_id, e.sequence)
    for alert_id, group in groupby(stream, key=lambda row: int(row.alert_id)):
        events = list(group)
        with_events.add(alert_id)
        seen |= {row.id for row in events}
        cited |= {row.decision_id for row in events if row.decision_id is not None}
        alert = alerts.get(alert_id)
        if alert is None:
            yield GoneRow(f"alert {alert_id}: the row is gone; {len(events)} of its events are left")
            continue
        for event in events:
            yield from _check_basis(event, alert, acts.get(event.id), decisions)
        yield from _check_steps(events)
        yield from _check_alert(alert, events, acts)
    yield from (f"alert {i}: it has no event" for i in sorted(alerts.keys() - with_events))
    for event_id in sorted(acts.keys() - seen):
        act = acts[event_id]
        logged = f"audit entry {act.entry_id} has {act.action} of {act.subject}"
        yield GoneRow(f"alert_event {event_id}: the row is gone; {logged}")
    yield from _check_orders(c, decisions.keys() - cited)
    yield from _check_outcomes(c)
    for row in c.execute(select(t.site_state.c.site, t.site_state.c.level, t.site_state.c.state)):
        if row.state.get("level", row.level) != row.level:
            yield f"site_state {row.site}: level: {row.level}, and its memory says {row.state['level']}"


def _check_orders(c: Connection, uncited: Iterable[int]) -> Iterator[str]:
    """A sealed decision that changed the hazard level has written an event of an alert."""
    d, e = t.decision.c, t.audit_entry.c
    sealed = select(e.subject).where(e.action == SEAL)
    subjects = set(c.execute(sealed.execution_options(yield_per=2000)).scalars())
    for decision_id in sorted(i for i in uncited if f"decision:{i}" in subjects):
        frozen = json.loads(c.execute(select(d.evidence).where(d.id == decision_id)).scalar_one())
        if "act" in frozen:
            if frozen["act"] != "level.set":
                continue  # an answer to a question moves the level by the evaluation that follows it
            before, after = frozen["memory"].get("level"), frozen["after"].get("level")
        else:
            evidence = frozen.get("outcome", {}).get("evidence") or {}
            before, after = evidence.get("level_before"), evidence.get("level")
        if before != after:
            yield f"decision {decision_id}: it changed the level from {before} to {after}; no alert_event cites it"


def _check_outcomes(c: Connection) -> Iterator[str]:
    """What people said that an alert turned out to be: each row against its entry of the audit log, and each entry."""
    o, e = t.alert_outcome, t.audit_entry.c
    rows: dict[tuple[str, ...], list[int]] = {}
    for row in _read(c, o, o.c.id):
        outcome = (f"alert:{row.alert_id}", row.at, row.by, row._mapping["class"], row.note)  # noqa: SLF001
        rows.setdefault(outcome, []).append(row.id)
    logged = select(e.id, e.subject, type_coerce(e.at, String).label("at"), e.actor, e.detail)
    for entry in c.execute(logged.where(e.action == "alert.outcome").order_by(e.id)):
        try:
            detail = json.loads(entry.detail)
            outcome = (entry.subject, entry.at, entry.actor, str(detail["class"]), str(detail["note"]))
        except (ValueError, KeyError, TypeError):
            continue  # an altered entry is named by the walk along the chain
        if mine := rows.get(outcome):
            mine.pop()
        else:
            name = entry.subject.replace(":", " ")
            yield f"{name}: outcome {outcome[3]!r} of audit entry {entry.id} is gone or altered"
    left = sorted(number for numbers in rows.values() for number in numbers)
    yield from (f"alert_outcome {number}: no audit entry stands behind it" for number in left)


def _check_basis(event: Row[Any], alert: Row[Any], act: _Act | None, decisions: Mapping[int, str]) -> Iterator[str]:
    name = f"alert_event {event.id}"
    if act is None:
        if event.decision_id is None:
            yield f"{name}: decision_id: no decision and no audit entry stands behind it"
        elif event.decision_id not in decisions:
            yield f"{name}: decision_id: decision {event.decision_id} is not there"
        elif decisions[event.decision_id] != alert.site:
            yield f"{name}: decision_id: decision {event.decision_id} is of another site"
        return
    wrong = [] if f"alert:{event.alert_id}" == act.subject else ["alert_id"]
    wrong += [k for k in ("at", "actor", "actor_kind", "reason") if getattr(event, k) != getattr(act, k)]
    wrong += [] if event.decision_id is None else ["decision_id"]
    wrong += [] if event.from_level == event.to_level else ["to_level"]
    yield from (f"{name}: {column}: audit entry {act.entry_id} says something else" for column in wrong)
    if alert.site != act.site:
        yield f"alert {alert.id}: site: audit entry {act.entry_id} says {act.site!r}"


def _check_steps(events: Sequence[Row[Any]]) -> Iterator[str]:
    state, level = None, None
    for number, event in enumerate(events, 1):
        expected = {"sequence": number, "from_state": state, "from_level": level}
        for column, value in expected.items():
            if (stored := getattr(event, column)) != value:
                yield f"alert_event {event.id}: {column}: {stored!r}, and {value!r} follows from those before"
        state, level = event.to_state, event.to_level


def _check_alert(alert: Row[Any], events: Sequence[Row[Any]], acts: Mapping[int, _Act]) -> Iterator[str]:
    last = events[-1]
    ordered = [row for row in events if row.id not in acts]
    signed = _signature(events, acts)
    expected = {
        "raised_at": events[0].at,
        "state": last.to_state,
        "level": last.to_level,
        "peak_level": max(row.to_level for row in events),
        "closed_at": last.at if last.to_state == "closed" else None,
        "acknowledged_at": signed[0],
        "acknowledged_by": signed[1],
    }
    if ordered:
        expected |= {"reason": ordered[-1].reason, "decision_id": ordered[-1].decision_id}
    for column, value in expected.items():
        if getattr(alert, column) != value:
            yield f"alert {alert.id}: {column}: {getattr(alert, column)!r}, and its events say {value!r}"


def _signature(events: Sequence[Row[Any]], acts: Mapping[int, _Act]) -> tuple[str | None, str | None]:
    """When and by whom it was acknowledged, as its events have it; one that worsens asks again."""
    signed: tuple[str | None, str | None] = (None, None)
    for event in events:
        act = acts.get(event.id)
        if act is not None:
            signed = (act.at, act.actor) if act.action == "alert.acknowledge" else signed
        elif event.to_level > (event.from_level or 0) or (
            event.from_state == _RETURNED and event.to_state == "unacknowledged"
        ):
            signed = (None, None)
    return signed


def _load_acts(c: Connection) -> dict[int, _Act]:
    """What was done to alerts, by the event that it made."""
    e = t.audit_entry.c
    at = type_coerce(e.at, String).label("at")
    columns = (e.id, at, e.actor, e.actor_kind, e.action, e.subject, e.detail)
    found = {}
    for row in c.execute(select(*columns).where(e.action.in_(_ACTS)).order_by(e.id)):
        try:
            detail = json.loads(row.detail)
            event_id, site, reason = int(detail["event"]), str(detail["site"]), str(detail["reason"])
        except (ValueError, KeyError, TypeError):
            continue  # an altered entry is named by the walk along the chain
        found[event_id] = _Act(row.id, row.action, row.subject, site, row.at, row.actor, row.actor_kind, reason)
    return found


def _read(c: Connection, table: Table, *order: Column[Any]) -> Iterable[Row[Any]]:
    """Rows of a table with instants as they are spelled: an altered one may be no instant at all."""
    raw = (type_coerce(k, String).label(k.name) if isinstance(k.type, t.Instant) else k for k in table.c)
    return c.execute(select(*raw).order_by(*order).execution_options(yield_per=2000))
