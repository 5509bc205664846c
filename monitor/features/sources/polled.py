"""What a look at a source came to, what it does to the state of the source, and when the next one is due."""

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from monitor.api.queries.ingest import FileResult
from monitor.api.text import join
from monitor.features.sources.queries import PollState, cut

AGAIN_S: Final = 300.0  # after the first failure, where the pause of the source is longer
LONGEST: Final = 4.0  # pauses of the source: no longer wait, however often it failed
JITTER: Final = 0.1
_DICE: Final = random.SystemRandom()


@dataclass(slots=True)
class PollSummary:
    """What one look came to."""

    source: str
    new: int = 0  # files or scenes
    same: int = 0
    rows: int = 0  # values stored, revisions among them
    revisions: int = 0
    rejected: int = 0
    scenes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)  # messages, and lines of servers
    held: list[str] = field(default_factory=list)  # files whose last line waits for its end

    def add(self, result: FileResult) -> None:
        """Count what a file brought."""
        self.new += 1
        self.rows += result.stored
        self.revisions += result.revisions
        self.rejected += result.rejected

    def describe(self) -> str:
        """One line."""
        parts = [f"{self.new} new, {self.same} unchanged, {self.rows} values stored"]
        parts += [f"{self.revisions} revisions"] if self.revisions else []
        parts += [f"{self.rejected} rows rejected"] if self.rejected else []
        parts += [f"scenes {', '.join(self.scenes)}"] if self.scenes else []
        waits = [f"{name}: the last line has no end yet, the next look takes it" for name in self.held]
        return f"{self.source}: {', '.join(parts)}" + "".join(f"; {line}" for line in (*waits, *self.errors))


def follow(
    before: PollState | None,
    found: PollSummary,
    name: str,
    site: str,
    kind: str,
    now: datetime,
    every_s: float,
    address: str = "",
) -> PollState:
    """The state after a look: an error stands since its beginning, and the pause grows while it lasts."""
    fresh = PollState(name, site, kind, now, None, now, None, None, 0, now, 0, 0)
    old = before or fresh
    failures = old.failures + 1 if found.errors else 0
    wait_s = pause_s(every_s, failures)
    return replace(
        old,
        site=site,
        kind=kind,
        polled_at=now,
        success_at=old.success_at if found.errors else now,
        error=cut(join(found.errors)) if found.errors else None,
        error_since=(old.error_since or now) if found.errors else None,
        failures=failures,
        next_at=now + timedelta(seconds=wait_s),
        rows_new=found.rows,
        rows_all=old.rows_all + found.rows,
        address=address or None,
        new_at=now if found.rows or found.scenes else old.new_at,
    )


def pause_s(every_s: float, failures: int) -> float:
    """Seconds until the next look: never the same for all services, so that they do not come at once.

    >>> 3240 <= pause_s(3600, 0) <= 3960, 270 <= pause_s(3600, 1) <= 330, 12960 <= pause_s(3600, 20) <= 15840
    (True, True, True)
    """
    pause = every_s
    if failures:
        pause = min(min(every_s, AGAIN_S) * 2.0 ** min(failures - 1, 30), LONGEST * every_s)
    return pause * _DICE.uniform(1.0 - JITTER, 1.0 + JITTER)
