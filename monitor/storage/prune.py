"""Delete the rows that the rules of retention allow, in short transactions, and never rows that evidence cites."""

import time
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import insert

from monitor.plugins import hooks
from monitor.storage.backup_tables import retention_run
from monitor.storage.engine import Database
from monitor.storage.retention import RetentionLimits, RetentionResult, Sweep, list_retention_rules


class RetentionRun:
    """One run over all rules of retention.

    Args:
        db: the database.
        limits: which rows may be deleted.
        now: The current time.
        pause: sleeps, so that other processes get the lock between two transactions.
    """

    def __init__(
        self, db: Database, limits: RetentionLimits, now: datetime, pause: Callable[[float], object] = time.sleep
    ) -> None:
        self._db = db
        self._limits = limits
        self._now = now
        self._pause = pause
        self.results: dict[str, RetentionResult] = {}

    def run(self) -> dict[str, RetentionResult]:
        """Delete until no row is left that may be deleted, and store the results in `retention_run`."""
        with self._db.read() as connection:
            cited = tuple(span for spans in hooks().cited_spans(connection=connection) for span in spans)
        sweep = Sweep(self._db, self._limits, cited, self._now, self._pause)
        self.results = sweep.results
        for rule in list_retention_rules():
            before_at = self._now if rule.key is None else self._limits.before_at.get(rule.key)
            if before_at is not None:
                rule.sweep(sweep, before_at)
            elif rule.by_quantity and self._limits.quantities:
                rule.sweep(sweep, self._now)
        self._store_results()
        return self.results

    def _store_results(self) -> None:
        rows = [
            {
                "at": self._now,
                "what": what,
                "before_at": result.before_at,
                "removed": result.removed,
                "summaries": result.summaries,
                "seconds": result.seconds,
                "longest_ms": result.longest_s * 1000,
            }
            for what, result in self.results.items()
            if result.removed
        ]
        if rows:
            with self._db.write() as connection:
                connection.execute(insert(retention_run), rows)

    def count_removed(self) -> dict[str, int]:
        """Return how many rows were deleted by table or quantity, and how many summaries were stored."""
        removed = {what: result.removed for what, result in self.results.items()}
        summaries = sum(result.summaries for result in self.results.values())
        return removed | ({"summaries made": summaries} if summaries else {})
