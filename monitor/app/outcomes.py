"""Record whether repeated work succeeds, such as the evaluation of a site or a job.

Self-monitoring reads these records, and the table of checks (`monitor.app.checks.live`) decides which are alarms.
"""

import threading
from typing import NamedTuple


class Outcome(NamedTuple):
    """How often a piece of work has failed in a row, and why it failed last. 0 failures: it succeeded."""

    failures: int
    problem: str = ""

    def is_wrong(self, failures_before_alarm: int) -> bool | None:
        """Return whether the work fails; None if it failed, but not often enough in a row."""
        if self.failures >= failures_before_alarm:
            return True
        return None if self.failures else False


class OutcomeLog:
    """The last outcome of each piece of work since the start of this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: dict[str, Outcome] = {}
        # Failures since the last call of `take`, also those that were followed by a success.
        self._new_failures: dict[str, Outcome] = {}

    def note_success(self, name: str) -> None:
        """Record that the work succeeded."""
        with self._lock:
            self._outcomes[name] = Outcome(0)

    def note_failure(self, name: str, problem: str) -> None:
        """Record that the work failed once more."""
        with self._lock:
            failures = self._outcomes.get(name, Outcome(0)).failures + 1
            self._outcomes[name] = self._new_failures[name] = Outcome(failures, problem)

    def take(self) -> dict[str, Outcome]:
        """Return the last outcome by name of the work. A failure is returned at least once, also if it is over."""
        with self._lock:
            outcomes = {**self._outcomes, **self._new_failures}
            self._new_failures.clear()
            return outcomes
