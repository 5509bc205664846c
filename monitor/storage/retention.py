"""Rules of retention: which rows may be deleted, declared by the subject that owns the table.

    RETENTION_RULES = (
        RetentionRule("forecasts", "finished job runs", sweep_table(job_run, _finished_runs)),
    )

The hook `retention_rules` returns the rules of a package or plugin. `monitor.storage.prune` applies all rules.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, not_, select

from monitor.plugins import implementations
from monitor.storage.engine import Database
from monitor.text.instants import Span

# A transaction should hold the lock for about this long, so that ingest waits for it at most once.
TARGET_TRANSACTION_S: Final = 0.03
FEWEST_ROWS: Final = 20
FIRST_ROWS: Final = 200
MOST_ROWS: Final = 4000
# Keys that are looked up at once. The lookup holds no lock.
KEYS_AT_ONCE: Final = 20_000

SUMMARY_SPANS_S: Final = {"hourly": 3600, "daily": 86400}

Spans = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Thinning:
    """Readings of one quantity before an instant are deleted, and leave a summary for each span of `span_s` seconds.

    If `span_s` is 0, they leave nothing.
    """

    before_at: datetime
    span_s: int


@dataclass(frozen=True, slots=True)
class RetentionLimits:
    """Instants before which rows may be deleted.

    Attributes:
        before_at: the limit for each key of `[retention]`. A key without a limit keeps all rows.
        quantities: what becomes of readings of these quantities, instead of the limit of `observations`.
        needed_from: for each site the instant from which decisions may still read its readings.
    """

    before_at: Mapping[str, datetime] = field(default_factory=dict)
    quantities: Mapping[str, Thinning] = field(default_factory=dict)
    needed_from: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(slots=True)
class RetentionResult:
    """What a run deleted from one table, or of the readings of one quantity."""

    before_at: datetime | None
    removed: int = 0
    summaries: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0


class Deleted(NamedTuple):
    """What one transaction deleted, and how many summaries it stored."""

    rows: int
    summaries: int = 0


class Sweep:
    """Delete rows of one run in short transactions.

    Args:
        db: the database.
        limits: which rows may be deleted.
        cited: spans of time that frozen evidence names. Rows within them are kept.
        now: The current time.
        pause: sleeps, so that other processes get the lock between two transactions.
    """

    def __init__(
        self, db: Database, limits: RetentionLimits, cited: Spans, now: datetime, pause: Callable[[float], object]
    ) -> None:
        self.limits = limits
        self.cited = cited
        self.now = now
        self.rows_at_once = FIRST_ROWS
        self.results: dict[str, RetentionResult] = {}
        self._db = db
        self._pause = pause

    def read(self) -> AbstractContextManager[Connection]:
        """Open a transaction that only reads."""
        return self._db.read()

    def step(self, what: str, before_at: datetime, act: Callable[[Connection], Deleted]) -> int:
        """Run `act` in one transaction and return how many rows it deleted.

        `rows_at_once` is adapted so that the next transaction takes about `TARGET_TRANSACTION_S`.

        Args:
            what: the table or quantity under which the result is reported.
            before_at: the limit that is reported with it.
            act: deletes about `rows_at_once` rows.
        """
        result = self.results.setdefault(what, RetentionResult(before_at))
        with self._db.write() as connection:
            start = time.monotonic()
            deleted = act(connection)
            held_s = time.monotonic() - start
        whole_s = time.monotonic() - start
        result.removed += deleted.rows
        result.summaries += deleted.summaries
        result.seconds += whole_s
        result.longest_s = max(result.longest_s, whole_s)
        factor = min(2.0, max(0.25, TARGET_TRANSACTION_S / max(held_s, 1e-4)))
        self.rows_at_once = round(min(max(self.rows_at_once * factor, FEWEST_ROWS), MOST_ROWS))
        if deleted.rows:
            self._pause(whole_s)
        return deleted.rows

    def not_cited(self, instant: Any, before_at: datetime) -> list[ColumnElement[bool]]:
        """Return the conditions that no frozen evidence names an instant before the limit.

        Args:
            instant: a column or a scalar subquery.
            before_at: the limit. Later spans need no condition.
        """
        return [not_(instant.between(start, end)) for start, end in self.cited if start < before_at]


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """Rows of one table that may be deleted.

    Attributes:
        key: the key of `[retention]` with the age, or None if the rows expire by themselves.
        rows: which rows, in words, for the command line and the documentation.
        sweep: deletes them. Its second argument is the limit of the key, or the current time without a key.
        by_quantity: the rule also applies `RetentionLimits.quantities`. It runs without a limit of its key too, and
            then gets the current time as the limit.
    """

    key: str | None
    rows: str
    sweep: Callable[[Sweep, datetime], None]
    by_quantity: bool = False


def sweep_table(
    table: Table,
    select_rows: Callable[[Sweep, datetime], ColumnElement[bool]],
    *,
    order: Callable[[Select[Any]], Select[Any]] = lambda keys: keys,
    delete_rows: Callable[[Connection, ColumnElement[bool]], int] | None = None,
) -> Callable[[Sweep, datetime], None]:
    """Return a `RetentionRule.sweep` that deletes rows of one table.

    The rows are looked up without a lock, and checked again in the transaction that deletes them.

    Args:
        table: the table.
        select_rows: returns the condition for rows that may be deleted.
        order: sorts a query of keys, so that rows that belong together are deleted together.
        delete_rows: deletes the rows that meet a condition and returns their number, if more is to be done than a
            DELETE.
    """
    key = next(iter(table.primary_key.columns))

    def delete_plainly(connection: Connection, which: ColumnElement[bool]) -> int:
        return int(connection.execute(delete(table).where(which)).rowcount)

    remove = delete_rows or delete_plainly

    def run(sweep: Sweep, before_at: datetime) -> None:
        may_be_deleted = select_rows(sweep, before_at)
        while True:
            with sweep.read() as connection:
                keys = list(connection.execute(order(select(key).where(may_be_deleted).limit(KEYS_AT_ONCE))).scalars())
            position = 0
            while position < len(keys):
                chunk = keys[position : position + sweep.rows_at_once]
                position += len(chunk)
                which = and_(key.in_(chunk), may_be_deleted)
                sweep.step(table.name, before_at, lambda c, which=which: Deleted(remove(c, which)))  # type: ignore[misc]
            if len(keys) < KEYS_AT_ONCE:
                return

    return run


def list_retention_rules() -> list[RetentionRule]:
    """Return the rules of all plugins, in the order in which they are applied.

    The plugins come in the reverse order of `monitor.plugins`: third-party plugins, features, then the packages of the
    kernel; the rules of one plugin keep their order. A plugin may refer to rows of a plugin before it, so rows are
    deleted before the rows to which they refer, in the same run.

    Safety does not depend on this order, because the condition of every rule excludes rows that are still needed.
    Another order would only leave rows for the next run.
    """
    return [
        rule for implementation in reversed(implementations("retention_rules")) for rule in implementation.call() or ()
    ]


def list_keys(rules: Iterable[RetentionRule]) -> dict[str, list[str]]:
    """Return which rows each key of `[retention]` deletes, in words."""
    rows: dict[str, list[str]] = {}
    for rule in rules:
        if rule.key is not None:
            rows.setdefault(rule.key, []).append(rule.rows)
    return rows
