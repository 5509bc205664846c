"""Repeat the duties of self-monitoring in threads."""

import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, NamedTuple

from monitor.app.heartbeats import OVERDUE_S

WAKE_EVERY_S: Final = 0.25
# Pause after a duty that failed.
RETRY_S: Final = 1.0


class Duty(NamedTuple):
    """Work that a loop repeats."""

    name: str
    run: Callable[[], object]
    every_s: float


class _CurrentDuty(NamedTuple):
    started_s: float  # monotonic
    started_at: datetime


class DutyLoop:
    """Repeat duties in one thread, each when it is due.

    Args:
        name: Name of the thread.
        attempt: Calls a duty, logs an error instead of raising it, and returns whether the duty succeeded.

    Attributes:
        progress_at: When the thread ended a duty or found that none was due; None before its start.
    """

    def __init__(
        self,
        name: str,
        duties: Iterable[Duty],
        *,
        attempt: Callable[[Callable[[], object]], bool],
        clock: Callable[[], datetime],
    ) -> None:
        self._duties = tuple(duties)
        self._attempt = attempt
        self._clock = clock
        self._stopping = threading.Event()
        self._current: _CurrentDuty | None = None
        self.progress_at: datetime | None = None
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.progress_at = self._clock()
        self.thread.start()

    def request_stop(self) -> None:
        """End the thread after its current duty. Does not wait."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, but not for longer than `timeout_s`."""
        if self.thread.is_alive():
            self.thread.join(timeout_s)

    def find_hanging_since(self) -> datetime | None:
        """Return when the current duty began, if it has lasted for more than `OVERDUE_S`; None otherwise."""
        current = self._current
        if current is None or time.monotonic() - current.started_s <= OVERDUE_S:
            return None
        return current.started_at

    def _run(self) -> None:
        due_s = [0.0] * len(self._duties)
        while not self._stopping.wait(WAKE_EVERY_S):
            for number, duty in enumerate(self._duties):
                if self._stopping.is_set():
                    return
                started_s = time.monotonic()
                if started_s < due_s[number]:
                    continue
                self._current = _CurrentDuty(started_s, self._clock())
                is_done = self._attempt(duty.run)
                self._current = None
                self.progress_at = self._clock()
                due_s[number] = started_s + (duty.every_s if is_done else max(duty.every_s, RETRY_S))
            self.progress_at = self._clock()
