"""Measure whether the core can decide: whether transactions and evaluations are committed.

This works without the database, so that it also works while the database is the problem.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from monitor.app.checks.decisions import CoreProgress
from monitor.app.checks.table import run_checks
from monitor.errors import SlopewardError, StoreError
from monitor.text.message import Message

LONGEST_ERROR: Final = 400
WRITE: Final = "write"
# A core that cannot renew its lease must not deliver what it writes, so this counts as if it could not write.
LEASE: Final = "lease"
log = logging.getLogger(__name__)


class _TimedEvent(NamedTuple):
    monotonic_s: float
    at: datetime
    error: str = ""  # error of the newest attempt after this commit; empty if no attempt has failed


class CommitMonitor:
    """The last commits, and the errors that prevented further ones.

    Thread-safe. Durations are measured by the monotonic clock. The wall clock is used in texts only.

    Args:
        tick_s: Longest time between two evaluations of a site.
    """

    def __init__(
        self, clock: Callable[[], datetime], tick_s: float, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._monotonic_s = monotonic_s
        self._tick_s = tick_s
        self._lock = threading.Lock()
        self._last_commits = {WRITE: self._now()}
        self._last_evaluation = self._now()
        self._has_evaluated = False
        self._core_start: _TimedEvent | None = None  # None unless the core is starting
        self._upgrade_start: _TimedEvent | None = None  # None while no upgrade of the database runs

    def _now(self) -> _TimedEvent:
        return _TimedEvent(self._monotonic_s(), self._clock())

    def note_write(self, kind: str = WRITE) -> None:
        """Record that a transaction was committed, or that the lease of the core was renewed."""
        with self._lock:
            self._last_commits[kind] = self._now()

    def note_evaluation(self) -> None:
        """Record that an evaluation was committed."""
        self.note_write()
        with self._lock:
            self._last_evaluation = self._now()
            self._has_evaluated = True

    def begin_start(self) -> None:
        """Record that the core has begun its start, during which it may write nothing for a long time."""
        with self._lock:
            self._core_start = self._now()

    def end_start(self) -> None:
        """Record that the start of the core has ended. From now on it writes every few seconds."""
        with self._lock:
            self._core_start = None
            self._last_commits[WRITE] = self._now()

    def start_upgrade(self) -> None:
        """Record that an upgrade of the database has started, in one transaction that may last for minutes."""
        with self._lock:
            self._upgrade_start = self._now()

    def end_upgrade(self, *, is_committed: bool) -> None:
        """Record that no upgrade of the database runs any more. Does nothing if none was started."""
        with self._lock:
            if self._upgrade_start is not None and is_committed:
                self._last_commits[WRITE] = self._now()
            self._upgrade_start = None
            if self._core_start is not None:
                # The upgrade has a limit of its own.
                self._core_start = self._now()

    def note_error(self, error: str, kind: str = WRITE) -> None:
        """Record why a transaction was not committed, or why the lease was not renewed."""
        text = error if isinstance(error, Message) else " ".join(error.split())[:LONGEST_ERROR]
        with self._lock:
            last = self._last_commits.get(kind) or self._now()
            self._last_commits[kind] = last._replace(error=text)

    def attempt(self, action: Callable[[], object], kind: str = WRITE) -> bool:
        """Call a function and log its error instead of raising it. Return whether the function succeeded.

        Only an error of the database is recorded, because it may be the cause of a missing commit.
        """
        try:
            action()
        except StoreError as error:
            log.warning("%s; trying again", error)
            self.note_error(error.message, kind)
        except SlopewardError as error:
            log.warning("%s; trying again", error)
        except SQLAlchemyError as error:
            log.exception("unexpected error of the database; trying again")
            self.note_error(f"{type(error).__name__}: {error}", kind)
        except Exception:  # The other duties of the thread must go on.
            log.exception("unexpected error; trying again")
        else:
            return True
        return False

    def has_evaluated(self) -> bool:
        """Return whether an evaluation was committed since the start."""
        with self._lock:
            return self._has_evaluated

    def find_trouble(self, *, is_evaluating: bool = False) -> str:
        """Return in one line why nothing can be decided now; empty if decisions are made.

        Args:
            is_evaluating: An evaluation computes at this moment. It may be slow, but it does not hang.
        """
        with self._lock:
            now = self._now()
            last_commits = dict(self._last_commits)
            upgrade_start = self._upgrade_start
            core_start = None if upgrade_start is not None else self._core_start
            is_start_undisturbed = core_start is not None and not last_commits[WRITE].error
            if upgrade_start is not None or is_start_undisturbed:
                # The core writes nothing meanwhile, so a missing commit is no fault of the database.
                last_commits[WRITE] = now
            oldest = min(last_commits.values())
            progress = CoreProgress(
                since_write_s=now.monotonic_s - oldest.monotonic_s,
                written_at=oldest.at,
                write_error=oldest.error,
                evaluation_delay_s=now.monotonic_s - self._last_evaluation.monotonic_s - self._tick_s,
                evaluated_at=self._last_evaluation.at,
                is_evaluation_expected=self._has_evaluated and not is_evaluating,
                upgrade_s=0.0 if upgrade_start is None else now.monotonic_s - upgrade_start.monotonic_s,
                upgrade_began_at=None if upgrade_start is None else upgrade_start.at,
                start_s=0.0 if core_start is None else now.monotonic_s - core_start.monotonic_s,
                start_began_at=None if core_start is None else core_start.at,
            )
        return next((finding.text for finding in run_checks(progress) if finding.is_wrong), "")
