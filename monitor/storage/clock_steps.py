"""Repair instants after the clock of the service was set back.

A clock that was ahead stored instants of the future. They are moved back by as much as the clock. Columns with such
instants have `own_clock` or `own_clock_keys` in their `info`. Instants that were frozen as evidence, alerts and their
events stay as they are.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Column, Connection, and_, select, update

from monitor.plugins import hooks
from monitor.storage.actor import SERVICE_ACTOR
from monitor.storage.audit import add_audit
from monitor.storage.branches import list_tables
from monitor.text.instants import epoch_s

# Instants up to this much in the future are not moved.
SLACK: Final = timedelta(seconds=2)


def set_back(c: Connection, back_s: float, now: datetime) -> dict[str, int]:
    """Move instants of the future back, and add an entry to the audit log.

    Args:
        c: an open write transaction.
        back_s: by how many seconds the clock was set back. Greater than 0.
        now: The current time after the clock was set.

    Returns:
        How many rows were changed in each table.
    """
    back, limit = timedelta(seconds=back_s), now + SLACK
    moved: dict[str, int] = {}
    for rows in hooks().move_instants_back(connection=c, back=back, limit=limit):
        moved.update(rows)
    for table in list_tables(c):
        changed = 0
        for column in table.c:
            if column.info.get("own_clock"):
                changed += _move_column(c, column, back, limit)
            elif keys := column.info.get("own_clock_keys"):
                changed += _move_json(c, column, keys, epoch_s(limit), back_s)
        if changed:
            moved[table.name] = moved.get(table.name, 0) + changed
    add_audit(c, SERVICE_ACTOR, "clock.set_back", "service:clock", {"seconds": back_s, "rows": moved}, now)
    return moved


def _move_column(c: Connection, column: Column[Any], back: timedelta, limit: datetime) -> int:
    table = column.table
    keys = list(table.primary_key.columns)
    rows = c.execute(select(*keys, column.label("instant")).where(column > limit)).all()
    for row in rows:
        is_row = and_(*(key == value for key, value in zip(keys, row, strict=False)))
        c.execute(update(table).where(is_row).values({column.name: row.instant - back}))
    return len(rows)


def _move_json(c: Connection, column: Column[Any], own_keys: frozenset[str], limit_s: float, back_s: float) -> int:
    table = column.table
    keys = list(table.primary_key.columns)
    changed = 0
    for row in c.execute(select(*keys, column.label("value"))).all():
        value = _move_back(row.value, own_keys, limit_s, back_s)
        if value != row.value:
            is_row = and_(*(key == key_value for key, key_value in zip(keys, row, strict=False)))
            c.execute(update(table).where(is_row).values({column.name: value}))
            changed += 1
    return changed


def _move_back(value: Any, own_keys: frozenset[str], limit_s: float, back_s: float, *, is_own: bool = False) -> Any:
    """Return a JSON value whose instants under certain keys are moved back if they are later than a limit.

    >>> state = {"since_s": 100.0, "votes": {"a|b": {"valid_until_s": 100.0}}, "asked": {"q": 95.0}}
    >>> _move_back(state, frozenset({"since_s", "asked"}), 90.0, 10.0)
    {'since_s': 90.0, 'votes': {'a|b': {'valid_until_s': 100.0}}, 'asked': {'q': 85.0}}
    """
    if isinstance(value, dict):
        return {
            key: _move_back(part, own_keys, limit_s, back_s, is_own=is_own or key in own_keys)
            for key, part in value.items()
        }
    if is_own and isinstance(value, float) and value > limit_s:
        return value - back_s
    return value
