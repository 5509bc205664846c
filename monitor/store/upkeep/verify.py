"""Prove that the database still says what was written: chain, hashes, references, finite numbers, spelled times."""

import hashlib
from collections.abc import Iterator
from typing import Final

from sqlalchemy import ColumnElement, Connection, Double, String, Table, case, func, select, type_coerce

from monitor.store.alerting.stories import verify_stories
from monitor.store.database.audit import SEAL, verify_chain
from monitor.store.database.seals import find_unsealed
from monitor.store.schema import tables as t
from monitor.store.schema.types import INSTANT_WIDTH, Instant

# child column -> parent table: references that are no foreign keys, because their rows come by the million
_REFERENCES: Final = tuple(
    (table.c.series_id, t.series.c.id)
    for table in (
        t.observation, t.observation_flag, t.series_latest, t.offset_entry, t.forecast, t.forecast_withheld,
        t.failure_time, t.anomaly,
    )
)  # fmt: skip


def verify(connection: Connection, audit_head: str | None = None) -> list[str]:
    """Read the whole database and name everything that is not as it was written.

    Args:
        connection: a read transaction.
        audit_head: a head of the audit log noted earlier; it must still be in the chain.

    Returns:
        One line per finding; empty when all is well.
    """
    return [
        *verify_chain(connection, audit_head),
        *_verify_hashes(connection),
        *verify_stories(connection),
        *find_unsealed(connection),
        *_verify_references(connection),
        *(finding for table in t.metadata.sorted_tables for finding in _verify_values(connection, table)),
    ]


def _verify_hashes(connection: Connection) -> Iterator[str]:
    d, v = t.decision.c, t.config_version.c
    frozen = connection.execute(select(d.id, d.evidence, d.evidence_sha256).execution_options(yield_per=500))
    for row in frozen:
        if hashlib.sha256(row.evidence.encode()).hexdigest() != row.evidence_sha256:
            yield f"decision {row.id}: the frozen evidence does not match its hash"
    yield from _verify_seals(connection)
    for version in connection.execute(select(v.id, v.site, v.source, v.sha256)):
        if hashlib.sha256(version.source.encode()).hexdigest() != version.sha256:
            yield f"config version {version.id} of {version.site}: the stored file does not match its hash"
    r = t.issued_report.c
    kept = select(r.id, r.facts, r.facts_sha256).execution_options(yield_per=50)
    for issued in connection.execute(kept):
        if hashlib.sha256(issued.facts.encode()).hexdigest() != issued.facts_sha256:
            yield f"issued_report {issued.id}: the facts stored with it do not match their hash"


def _verify_seals(connection: Connection) -> Iterator[str]:
    """Frozen inputs against the hash that the audit log chains: who alters both must rewrite the log."""
    d, e = t.decision.c, t.audit_entry.c
    hashes = {f"decision:{row.id}": row.evidence_sha256 for row in connection.execute(select(d.id, d.evidence_sha256))}
    sealed = connection.execute(select(e.subject, e.detail).where(e.action == SEAL).execution_options(yield_per=2000))
    for subject, detail in sealed:
        if subject not in hashes:
            yield f"{subject}: its frozen inputs are gone"
        elif f'"evidence_sha256":"{hashes[subject]}"' not in detail:
            yield f"{subject}: the audit log names another hash of its frozen inputs"


def _verify_references(connection: Connection) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        if (state := connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()) != "ok":
            yield f"file: {state}"
        for row in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            yield f"{row[0]} row {row[1]}: refers to a row of {row[2]} that is not there"
    for child, parent in _REFERENCES:
        lost = connection.execute(
            select(func.count()).select_from(child.table).where(~select(parent).where(parent == child).exists())
        ).scalar_one()
        if lost:
            yield f"{child.table.name}: {lost} rows refer to a series that is not there"


def _verify_values(connection: Connection, table: Table) -> Iterator[str]:
    checks: dict[str, ColumnElement[bool]] = {}
    for column in table.columns:
        if isinstance(column.type, Double):
            checks[f"{column.name}: {{}} values are not finite"] = ~column.between(-1e300, 1e300)
        elif isinstance(column.type, Instant):
            spelled = type_coerce(column, String)
            checks[f"{column.name}: {{}} times are not in the one spelling"] = (
                func.length(spelled) != INSTANT_WIDTH
            ) | (func.substr(spelled, INSTANT_WIDTH, 1) != "Z")
    if not checks:
        return
    counts = connection.execute(select(*(func.count(case((bad, 1))) for bad in checks.values()))).one()
    for text, count in zip(checks, counts, strict=True):
        if count:
            yield f"{table.name}.{text.format(count)}"
