"""Outcome of a poll, the state of its source, and the time of the next poll."""

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from monitor.api.queries.ingest import FileResult
from monitor.api.text import join
from monitor.features.sources.queries import PollState, truncate

FIRST_RETRY_S: Final = 300.0
# The longest pause of a source that fails, as a multiple of its usual interval.
MAX_PAUSE_FACTOR: Final = 4.0
# Polls of many services are spread by this share of the interval, so that a server does not receive them at once.
JITTER: Final = 0.1
_RANDOM: Final = random.SystemRandom()


@dataclass(slots=True)
class PollSummary:
    """Counts and errors of a poll.

    Attributes:
        source: Name of the source.
        new: New or changed files, or new scenes.
        same: Unchanged files.
        rows: Values stored, including revisions.
        revisions: Stored values that changed an earlier one.
        rejected: Rows that were rejected.
        scenes: Names of new scenes.
        errors: Messages, and texts of servers.
        unfinished: Files whose last line has no end yet.
        notes: What was not read, and is no error.
        has_more: Whether a limit ended the poll before the newest row of a table.
    """

    source: str
    new: int = 0
    same: int = 0
    rows: int = 0
    revisions: int = 0
    rejected: int = 0
    scenes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    has_more: bool = False

    def add(self, result: FileResult) -> None:
        """Add the result of a file."""
        self.new += 1
        self.rows += result.stored
        self.revisions += result.revisions
        self.rejected += result.rejected

    def describe(self) -> str:
        """Return the outcome as one line."""
        parts = [f"{self.new} new, {self.same} unchanged, {self.rows} values stored"]
        if self.revisions:
            parts.append(f"{self.revisions} revisions")
        if self.rejected:
            parts.append(f"{self.rejected} rows rejected")
        if self.scenes:
            parts.append(f"scenes {', '.join(self.scenes)}")
        lines = [f"{name}: the last line has no end yet, the next poll reads it" for name in self.unfinished]
        if self.has_more:
            lines.append("newer rows follow with the next poll")
        lines += [*self.notes, *self.errors]
        return f"{self.source}: {', '.join(parts)}" + "".join(f"; {line}" for line in lines)


def update_state(
    before: PollState | None,
    summary: PollSummary,
    site: str,
    kind: str,
    now: datetime,
    every_s: float,
    address: str = "",
) -> PollState:
    """Return the state of a source after a poll.

    Args:
        before: State before the poll; None for the first poll.
        every_s: Interval of the source. The pause is longer while polls fail.
        address: Address without secrets.
    """
    if before is None:
        before = PollState(
            summary.source,
            site,
            kind,
            polled_at=now,
            success_at=None,
            since_at=now,
            error=None,
            error_since=None,
            failures=0,
            next_at=now,
            rows_new=0,
            rows_all=0,
        )
    failures = before.failures + 1 if summary.errors else 0
    # A source that has not reached the newest row is polled again at once.
    pause_s = 0.0 if summary.has_more else choose_pause_s(every_s, failures)
    return replace(
        before,
        site=site,
        kind=kind,
        polled_at=now,
        success_at=before.success_at if summary.errors else now,
        error=truncate(join(summary.errors)) if summary.errors else None,
        error_since=(before.error_since or now) if summary.errors else None,
        failures=failures,
        next_at=now + timedelta(seconds=pause_s),
        rows_new=summary.rows,
        rows_all=before.rows_all + summary.rows,
        address=address or None,
        new_at=now if summary.rows or summary.scenes else before.new_at,
    )


def choose_pause_s(every_s: float, failures: int) -> float:
    """Return a random pause until the next poll. It doubles with each failure in a row, up to `MAX_PAUSE_FACTOR`.

    >>> 3240 <= choose_pause_s(3600, 0) <= 3960, 270 <= choose_pause_s(3600, 1) <= 330
    (True, True)
    >>> 12960 <= choose_pause_s(3600, 20) <= 15840
    True
    """
    pause_s = every_s
    if failures:
        doubled_s = min(every_s, FIRST_RETRY_S) * 2.0 ** min(failures - 1, 30)
        pause_s = min(doubled_s, MAX_PAUSE_FACTOR * every_s)
    return pause_s * _RANDOM.uniform(1.0 - JITTER, 1.0 + JITTER)
