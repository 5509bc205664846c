"""Rows that may not change unseen: each write chains the digests of the rows it touched into the audit log.

`Database.write` keeps one `Sealing` per transaction. It sees every insert, update and delete of SQLAlchemy Core on a
table of `SEALED`, and as the transaction's last act appends one entry `rows.seal` to the audit log. `find_unsealed`
compares all rows with those entries, both ways. What is written past the service, with another program or as plain SQL,
leaves no entry and is found.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Delete,
    Insert,
    Select,
    String,
    Table,
    Update,
    bindparam,
    func,
    select,
    true,
    tuple_,
    type_coerce,
)

from monitor.domain.actor import SERVICE
from monitor.domain.canonical import canonical_json
from monitor.domain.instants import format_iso
from monitor.store.database.audit import append_entry, lock_log
from monitor.store.schema.alerts import alert, alert_event, alert_outcome
from monitor.store.schema.anomalies import anomaly_budget, anomaly_label
from monitor.store.schema.audit import audit_entry
from monitor.store.schema.drills import drill
from monitor.store.schema.duty import duty_handover, duty_override, duty_rota
from monitor.store.schema.evaluations import decision, site_state
from monitor.store.schema.models import model_proof, model_transition
from monitor.store.schema.outbox import notification
from monitor.store.schema.outlines import footprint_review, scene_outline
from monitor.store.schema.people import api_token, first_signature, recovery_code, second_factor, user_account
from monitor.store.schema.photos import photo
from monitor.store.schema.readings import offset_entry
from monitor.store.schema.reports import issued_report
from monitor.store.schema.site_events import event_confirmation, report, site_event
from monitor.store.schema.sites import config_version, maintenance, site_proposal
from monitor.store.schema.types import Instant, Json

ACTION: Final = "rows.seal"
SUBJECT: Final = "database"
AT_ONCE: Final = 500  # rows in one entry
# what became of a message for good; the states before are those of its sending, and are not sealed
_SETTLED: Final = frozenset({"delivered", "confirmed", "failed_final", "superseded"})
# what persons and decisions put into the memory of a site; the rest of it each evaluation makes anew
_HELD: Final[Mapping[str, Any]] = {"floor": 0, **{k: {} for k in ("answers", "signed", "asked", "heights", "unheard")}}
_DIGITS: Final = 32  # hexadecimal, of a SHA-256

Key = tuple[Any, ...]
Rows = dict[Key, str]


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table whose rows are sealed."""

    table: Table  # the table
    # columns that change without an act: progress of a delivery, what the next evaluation makes anew, and long
    # texts whose own hash stands beside them
    left_out: frozenset[str] = frozenset()
    only_added: bool = False  # rows never change; a second seal that differs is the work of somebody else

    @property
    def columns(self) -> list[Any]:
        """The sealed columns, instants and JSON as they are spelled: an altered one may be neither."""
        return [
            type_coerce(k, String).label(k.name) if isinstance(k.type, Instant | Json) else k
            for k in self.table.c
            if k.name not in self.left_out
        ]

    @property
    def keys(self) -> list[Any]:
        """The columns of the primary key."""
        return list(self.table.primary_key.columns)

    def name(self, key: Sequence[Any]) -> str:
        """How findings and entries name a row.

        >>> SEALED["alert"].name((12,))
        'alert 12'
        """
        return " ".join([self.table.name, *map(str, key)])


SEALED: Final = {
    one.table.name: one
    for one in (
        SealedTable(alert),
        SealedTable(alert_event, only_added=True),
        SealedTable(alert_outcome, only_added=True),
        SealedTable(
            notification,
            frozenset({"attempts", "undelivered", "next_attempt_at", "last_error", "lease_owner", "lease_until"}),
        ),
        SealedTable(decision, frozenset({"evidence"}), only_added=True),
        SealedTable(site_state, frozenset(site_state.c.keys()) - {"site", "level", "level_source", "since", "state"}),
        SealedTable(user_account),
        SealedTable(api_token),
        SealedTable(first_signature),
        SealedTable(second_factor, frozenset({"last_step"})),
        SealedTable(recovery_code),
        SealedTable(config_version, frozenset({"source"}), only_added=True),
        SealedTable(site_event),
        SealedTable(event_confirmation),
        SealedTable(report),
        SealedTable(photo, frozenset({"picture", "small"}), only_added=True),
        SealedTable(offset_entry),
        SealedTable(maintenance),
        SealedTable(site_proposal, frozenset({"source"})),
        SealedTable(drill),
        SealedTable(duty_rota, only_added=True),
        SealedTable(duty_override),
        SealedTable(duty_handover),
        SealedTable(footprint_review, frozenset({"geometry"}), only_added=True),
        SealedTable(
            scene_outline, frozenset({"min_lon", "min_lat", "max_lon", "max_lat"})
        ),  # they follow from its geometry
        SealedTable(model_transition, only_added=True),
        SealedTable(anomaly_label, only_added=True),
        SealedTable(anomaly_budget, only_added=True),
        SealedTable(model_proof, only_added=True),
        SealedTable(issued_report, frozenset({"facts"}), only_added=True),
    )
}


def digest_row(table: str, row: Mapping[str, Any]) -> str:
    """The digest of a row by its sealed columns.

    Empty columns are left out, so that a column that a later version adds leaves old digests as they are.

    Args:
        row: its columns by name; instants as `datetime` or spelled.
    """
    left_out = SEALED[table].left_out
    values = {k: format_iso(v) if isinstance(v, datetime) else v for k, v in row.items() if v is not None}
    values = {k: v for k, v in values.items() if k not in left_out}
    if table == "notification" and values.get("state") not in _SETTLED:
        values.pop("state", None)
    if table == "site_state":
        values |= _find_held(str(values.pop("state", "{}")), values)
    return hashlib.sha256(canonical_json([table, values]).encode()).hexdigest()[:_DIGITS]


def _find_held(memory: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is sealed of a memory, as far as it is not empty and not what its row says as well."""
    try:
        state = json.loads(memory)
        usual = {**_HELD, **{k: row.get(k) for k in ("level", "level_source")}}
        return {f"state.{k}": v for k, v in state.items() if k in usual and v != usual[k]}
    except (ValueError, AttributeError):
        return {"state": memory}  # no memory that the service wrote


class Sealing:
    """The acts and the touched rows of one write transaction, until its end."""

    def __init__(self) -> None:
        self.acts: list[tuple[Any, ...]] = []
        self._before: dict[str, dict[Key, str | None]] = {}
        self._floors: dict[str, int] = {}  # highest id before the first insert

    def watch(self, c: Connection, statement: Any, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Note the rows that a statement is about to touch, as they were before it.

        Args:
            statement: what is about to be executed; nothing is noted unless it changes a sealed table.
            parameters: what is given with it, one mapping for each row of an insert.
        """
        if not isinstance(statement, Insert | Update | Delete):
            return
        sealed = SEALED.get(getattr(statement.table, "name", ""))
        if sealed is None:
            return
        name = sealed.table.name
        if not isinstance(statement, Insert):
            some = true() if statement.whereclause is None else statement.whereclause
            self._note(sealed, c.execute(_plan_all(name).where(some).with_for_update()), ())
        elif (key := sealed.keys[0]).name != "id":
            if not all(key.name in row for row in parameters):
                parameters = [statement.compile(dialect=c.dialect).params]
            names = [row[key.name] for row in parameters]
            self._note(sealed, c.execute(_plan_by_name(name), {"keys": names}), [(one,) for one in names])
        elif name not in self._floors:
            self._floors[name] = c.execute(select(func.max(key))).scalar() or 0

    def _note(self, sealed: SealedTable, rows: Iterable[Any], absent: Iterable[Key]) -> None:
        known = self._before.setdefault(sealed.table.name, {})
        for key, digest in {**dict.fromkeys(absent), **_digest_all(sealed, rows)}.items():
            known.setdefault(key, digest)

    def close(self, c: Connection, now: datetime) -> None:
        """Write the acts into the audit log, and behind them the seals of what was touched: the last act of all."""
        changed: dict[str, dict[Key, str | None]] = {}
        for name, before in self._before.items():
            found, keys = dict[Key, str](), list(before)
            for start in range(0, len(keys), AT_ONCE):
                rows = c.execute(_plan_by_keys(name), {"keys": keys[start : start + AT_ONCE]})
                found |= _digest_all(SEALED[name], rows)
            changed[name] = {key: found.get(key) for key, digest in before.items() if found.get(key) != digest}
        if not self.acts and not self._floors and not any(changed.values()):
            return
        lock_log(c)
        # under the lock, or a row of another transaction that is not through yet would be sealed as it was
        for name, floor in self._floors.items():
            sealed = SEALED[name]
            rows = c.execute(_plan_all(name).where(sealed.keys[0] > floor))
            changed[name] = {**changed.get(name, {}), **_digest_all(sealed, rows)}
        for act in self.acts:
            append_entry(c, *act)
        seals = {SEALED[name].name(key): digest for name, rows in changed.items() for key, digest in rows.items()}
        write_seals(c, seals, now)


def write_seals(c: Connection, seals: Mapping[str, str | None], now: datetime, **more: str) -> None:
    """Append the seals of rows to the audit log; None stands for a row that was deleted."""
    names = list(seals)
    for start in range(0, len(names), AT_ONCE):
        detail = {"rows": {name: seals[name] for name in names[start : start + AT_ONCE]}, **more}
        append_entry(c, SERVICE, ACTION, SUBJECT, detail, now)


class GoneRow(str):
    """What is said of a row that is gone, and so cannot say itself what it belonged to."""

    __slots__ = ()


def load_seals(c: Connection, resealed: list[str] | None = None) -> dict[str, tuple[str | None, int]]:
    """The newest seal of each row by its name, with the number of its audit entry.

    `resealed`: takes a line for each row that never changes and was sealed again with another content.
    """
    e = audit_entry.c
    fixed = tuple(f"{name} " for name, sealed in SEALED.items() if sealed.only_added)
    found: dict[str, tuple[str | None, int]] = {}
    wanted = select(e.id, e.detail).where(e.action == ACTION).order_by(e.id).execution_options(yield_per=500)
    for entry_id, detail in c.execute(wanted):
        for name, digest in read_seals(detail).items():
            if resealed is not None and name.startswith(fixed) and found.get(name, (digest, 0))[0] != digest:
                resealed.append(f"{name}: audit entry {entry_id} seals another content; such a row never changes")
            found[name] = (digest, entry_id)
    return found


def read_seals(detail: str) -> dict[str, str | None]:
    """The seals that one entry bears; none where it was altered, which the walk along the chain names."""
    try:
        return {str(name): digest for name, digest in json.loads(detail)["rows"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def find_unsealed(c: Connection) -> Iterator[str]:
    """Compare every sealed row with the audit log, both ways.

    Yields:
        One line for each row that is altered, that no entry knows, or that is gone.
    """
    resealed: list[str] = []
    seals = load_seals(c, resealed)
    yield from resealed
    for sealed in SEALED.values():
        for key, digest in _digest_each(sealed, _stream(c, sealed)):
            name = sealed.name(key)
            seal, entry_id = seals.pop(name, (None, 0))
            if entry_id == 0:
                yield f"{name}: no entry of the audit log knows this row; it was not written by the service"
            elif seal != digest:
                yield f"{name}: the row was altered; audit entry {entry_id} has it otherwise"
    for name, (seal, entry_id) in seals.items():
        if seal is not None:
            yield GoneRow(f"{name}: the row is gone; audit entry {entry_id} has it")


@cache  # put together once, as those below: each transaction asks
def _plan_all(name: str) -> Select[Any]:
    return select(*SEALED[name].columns)


@cache
def _plan_by_name(name: str) -> Select[Any]:
    keys: Any = bindparam("keys", expanding=True)
    return _plan_all(name).where(SEALED[name].keys[0].in_(keys)).with_for_update()


@cache
def _plan_by_keys(name: str) -> Select[Any]:
    keys: Any = bindparam("keys", expanding=True)
    return _plan_all(name).where(tuple_(*SEALED[name].keys).in_(keys))


def _digest_each(sealed: SealedTable, rows: Iterable[Any]) -> Iterator[tuple[Key, str]]:
    name, keys = sealed.table.name, [key.name for key in sealed.keys]
    for row in rows:
        values = row._mapping  # noqa: SLF001 - the public name of a row's mapping
        yield tuple(values[key] for key in keys), digest_row(name, values)


def _digest_all(sealed: SealedTable, rows: Iterable[Any]) -> Rows:
    return dict(_digest_each(sealed, rows))


def _stream(c: Connection, sealed: SealedTable) -> Iterator[Any]:
    query = _plan_all(sealed.table.name).order_by(*sealed.keys).execution_options(yield_per=2000)
    with c.execute(query) as rows:  # who has heard enough leaves no cursor open in the server
        yield from rows
