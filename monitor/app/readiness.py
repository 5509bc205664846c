"""Whether the service can decide at this moment, known without asking the database."""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from monitor.app.checks.decisions import CoreProgress
from monitor.app.checks.table import run_checks
from monitor.text.message import Message

TEXT_MOST: Final = 400
WRITE: Final = "write"
LEASE: Final = "lease"  # a core that cannot renew it may not send what it writes: that counts as no write


class CommitMark(NamedTuple):
    """When something was last done, and what kept it from being done again."""

    at_s: float
    at: datetime
    error: str = ""


class CommitMonitor:
    """The last writes that were committed, and what kept the next one from being so.

    Thread-safe. Durations run on the monotonic clock; the wall clock only spells when it began.
    """

    def __init__(
        self, clock: Callable[[], datetime], tick_s: float, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock, self._monotonic_s, self._tick_s = clock, monotonic_s, tick_s
        self._lock = threading.Lock()
        now_s = monotonic_s()
        self._marks = {WRITE: CommitMark(now_s, clock())}
        self._evaluated_s, self._evaluated_at = now_s, clock()
        self._watching = False

    def note_write(self, what: str = WRITE) -> None:
        """A transaction was committed, or the lease of the core renewed."""
        with self._lock:
            self._marks[what] = CommitMark(self._monotonic_s(), self._clock())

    def note_evaluation(self) -> None:
        """An evaluation was committed."""
        self.note_write()
        with self._lock:
            self._evaluated_s, self._evaluated_at, self._watching = self._monotonic_s(), self._clock(), True

    def note_error(self, error: str, what: str = WRITE) -> None:
        """A transaction was not committed, or the lease not renewed, and why."""
        text = error if isinstance(error, Message) else " ".join(error.split())[:TEXT_MOST]
        with self._lock:
            mark = self._marks.get(what) or CommitMark(self._monotonic_s(), self._clock())
            self._marks[what] = mark._replace(error=text)

    def has_evaluated(self) -> bool:
        """Whether an evaluation was committed since the start."""
        with self._lock:
            return self._watching

    def trouble(self, *, busy: bool = False) -> str:
        """Why nothing can be decided now, in one line; empty when all is well.

        Args:
            busy: an evaluation is computing at this moment: it is slow and not stuck.
        """
        with self._lock:
            now_s, last = self._monotonic_s(), min(self._marks.values())
            pulse = CoreProgress(
                now_s - last.at_s,
                last.at,
                last.error,
                now_s - self._evaluated_s - self._tick_s,
                self._evaluated_at,
                self._watching and not busy,
            )
        return next((one.text for one in run_checks(pulse) if one.is_wrong), "")
