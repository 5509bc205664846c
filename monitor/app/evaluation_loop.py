"""The thread that evaluates sites: soon after their data was stored, and regularly, so that silence is noticed.

`EvaluationLoop` owns the thread. `EvaluationQueue` decides which site is next.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from monitor.alerts.evaluate import EvaluationResult, Evaluator
from monitor.app.evaluation_queue import EvaluationQueue, EvaluationTask, Trigger
from monitor.app.outcomes import OutcomeLog
from monitor.errors import OutdatedSiteError, StoreBusyError
from monitor.sites.records import Site
from monitor.storage.engine import Database

log = logging.getLogger(__name__)

SHORTEST_PAUSE_S: Final = 0.25
# Pause before the evaluation of a site is repeated that could not be stored.
BUSY_PAUSE_S: Final = 1.0
SLEEP_AT_MOST_S: Final = 1.0
SLEEP_AT_LEAST_S: Final = 0.01
FIND_CHANGES_EVERY_S: Final = 2.0

# After an outage no level falls before all waiting readings are stored, but at most for this long.
DRAIN_LIMIT_S: Final = 300.0
# No level falls while draining, so the next evaluation follows soon.
PAUSE_WHILE_DRAINING_S: Final = 2.0

# An evaluation that takes longer than this is reported.
SLOW_S: Final = 30.0
# An evaluation that computes for a smaller part of its time is not reported, because it mostly waits for the database.
# The alarm advises shorter windows, which would not help in this case.
LEAST_COMPUTING_FRACTION: Final = 0.1

# A thread that computes is slow but does not hang, and a new process would not be faster. An evaluation that computes
# for longer than this counts as hanging.
LONGEST_COMPUTATION_S: Final = 900.0
# A thread that has used more processor time than this since the last call of `progress` has been computing.
COMPUTED_S: Final = 0.1


class Evaluate(Protocol):
    """The decision, such as `monitor.alerts.evaluate.evaluate_site`."""

    def __call__(self, db: Database, site: Site, now: datetime, trigger: str, *, draining: bool) -> EvaluationResult:
        """Decide once and store the result; raises StoreBusyError if it has to be repeated."""


class _CurrentEvaluation(NamedTuple):
    site_id: str
    started_s: float
    started_processor_s: float


class EvaluationLoop:
    """Evaluate one site after the other. `EvaluationQueue` contains the order.

    1. `mark` makes sites due whose data was stored. Data that a person added in another process is found within
       seconds (`find_changed_sites`).
    2. Without data a site is due after the tick, or earlier if its stage of movement or its last evaluation requires it
       (a dwell, an expiry).
    3. While waiting readings are being stored, for at most five minutes, evaluations are `draining`: levels rise, none
       falls. The page and the SQL views call this `catching_up`. `is_behind` makes the evaluations of one site draining
       while a feature processes its readings; this has no limit.
    4. If the evaluation of a site raises an error, the site is tried again at its tick. The other sites go on.

    Args:
        is_drained: Whether ingest has stored everything that waited at the broker.
        on_changed: Called with the site id after an evaluation that changed an alert.
        evaluate: The decision; the default is an `Evaluator`, which caches what later evaluations need.
        find_changed_sites: Returns the sites to which any process has added something since the last call.
        find_pace: Returns the longest time between two evaluations at the current stage of movement of a site.
        on_evaluated: Called after an evaluation was committed.
        on_outdated: Called if another version of a site file is in force than the one in `sites`.
        is_behind: Whether readings of a site are stored that a feature still has to process, such as inputs of
            calculated series. The evaluation of that site is `draining` meanwhile.

    Attributes:
        outcomes: Whether each site could be evaluated. An evaluation that waits for the database has no outcome.
    """

    def __init__(
        self,
        db: Database,
        sites: Mapping[str, Site],
        tick_s: float,
        *,
        is_drained: Callable[[], bool],
        on_changed: Callable[[str], None],
        clock: Callable[[], datetime],
        evaluate: Evaluate | None = None,
        find_changed_sites: Callable[[], frozenset[str]] = frozenset,
        find_pace: Callable[[str], float | None] = lambda _: None,
        on_evaluated: Callable[[], None] = lambda: None,
        on_outdated: Callable[[], None] = lambda: None,
        is_behind: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._db = db
        self._sites = sites
        self._tick_s = tick_s
        self._clock = clock
        self._evaluate: Evaluate = Evaluator() if evaluate is None else evaluate
        self._is_drained = is_drained
        self._is_behind = is_behind
        self._find_changed_sites = find_changed_sites
        self._find_pace = find_pace
        self._on_changed = on_changed
        self._on_evaluated = on_evaluated
        self._on_outdated = on_outdated
        self.outcomes = OutcomeLog()
        self._queue = EvaluationQueue(sites)
        # Protects the queue, and is notified when it changes.
        self._condition = threading.Condition()
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._next_search_s = 0.0
        self._draining_since_s: float | None = None  # None if no reading waits
        self._is_draining = False
        self._current: _CurrentEvaluation | None = None
        self._slow: dict[str, float] = {}
        # Sites whose last evaluation was measured. It is not measured while waiting readings are being stored.
        self._measured: set[str] = set()
        # When the thread made progress last; None before its start.
        self._progress_at: datetime | None = None
        self._progress_processor_s = 0.0

    # ---- start and stop ----------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the thread."""
        self._progress_at = self._clock()
        self._thread = threading.Thread(target=self._run, name="evaluate", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End the thread after its current evaluation."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def mark(self, sites: frozenset[str], without_votes: frozenset[str] = frozenset()) -> None:
        """Record that data of these sites was stored. Returns at once.

        Args:
            without_votes: The sites whose data cannot change a vote.
        """
        with self._condition:
            self._queue.add_data(sites, without_votes, time.monotonic())
            self._condition.notify_all()

    # ---- the thread --------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        # The first call only marks where the search starts. The first evaluations include all earlier changes.
        self._mark_changed_sites()
        # Readings that were stored before the start may not have been evaluated.
        started_s = time.monotonic()
        for site_id in list(self._sites):
            self._evaluate_task(EvaluationTask(site_id, Trigger.START, has_voting_data=True, data_since_s=started_s))
        while not self._is_stopping:
            self._mark_changed_sites()
            if task := self._wait_for_task():
                self._evaluate_task(task)
            self._progress_at = self._clock()

    def _mark_changed_sites(self) -> None:
        if time.monotonic() < self._next_search_s:
            return
        self._next_search_s = time.monotonic() + FIND_CHANGES_EVERY_S
        try:
            self.mark(self._find_changed_sites())
        except StoreBusyError as error:
            log.warning("cannot search for reports and events yet: %s", error)
        except Exception:  # The tick evaluates every site anyway.
            log.exception("cannot search for reports and events")

    def _wait_for_task(self) -> EvaluationTask | None:
        """Return the next task; wait up to a second until there is one."""
        with self._condition:
            task = self._queue.next_task(time.monotonic())
            if task is None:
                sleep_s = self._queue.seconds_until_next(time.monotonic(), at_most_s=SLEEP_AT_MOST_S)
                self._condition.wait(max(SLEEP_AT_LEAST_S, sleep_s))
                task = self._queue.next_task(time.monotonic())
            return task

    def _evaluate_task(self, task: EvaluationTask) -> None:
        if self._is_stopping:
            return
        current = _CurrentEvaluation(task.site_id, time.monotonic(), self._read_processor_s() or 0.0)
        self._current = current
        pause_s = self._evaluate_site(task)
        ended_s = time.monotonic()
        self._current = None
        self._note_duration(current, ended_s)
        with self._condition:
            if pause_s is None:
                self._queue.put_back(task, due_s=ended_s + BUSY_PAUSE_S)
            else:
                self._queue.finish(task, started_s=current.started_s, ended_s=ended_s, pause_s=pause_s)
        self._progress_at = self._clock()

    def _evaluate_site(self, task: EvaluationTask) -> float | None:
        """Evaluate a site and return the time until its next tick; None if the evaluation must be repeated soon."""
        site_id = task.site_id
        pause_s = self._tick_s
        try:
            pace_s = self._find_pace(site_id)
            if pace_s:
                pause_s = min(pause_s, pace_s)
            now = self._clock()
            is_draining = self._update_draining() or self._is_behind(site_id)
            result = self._evaluate(self._db, self._sites[site_id], now, task.trigger.value, draining=is_draining)
            self._on_evaluated()
            if is_draining:
                pause_s = min(pause_s, PAUSE_WHILE_DRAINING_S)
            if result.next_due_at is not None:
                pause_s = min(pause_s, max(SHORTEST_PAUSE_S, (result.next_due_at - now).total_seconds()))
            if result.changes:
                self._on_changed(site_id)
            self.outcomes.note_success(site_id)
        except StoreBusyError as error:
            log.warning("site %s was not evaluated and is tried again in %g s: %s", site_id, BUSY_PAUSE_S, error)
            return None
        except OutdatedSiteError as error:
            log.info("%s", error)
            self._on_outdated()
            return None
        except Exception as error:  # The other sites must still be evaluated.
            log.exception("site %s cannot be evaluated", site_id)
            self.outcomes.note_failure(site_id, f"{type(error).__name__}: {' '.join(str(error).split())}")
        return pause_s

    def _update_draining(self) -> bool:
        """Determine whether waiting readings are being stored, for `DRAIN_LIMIT_S` at most."""
        if self._is_drained():
            self._draining_since_s = None
            self._is_draining = False
            return False
        now_s = time.monotonic()
        if self._draining_since_s is None:
            self._draining_since_s = now_s
        self._is_draining = now_s - self._draining_since_s < DRAIN_LIMIT_S
        return self._is_draining

    # ---- what self-monitoring reads ----------------------------------------------------------------------------------
    def is_busy(self) -> bool:
        """Return whether a site is being evaluated at this moment."""
        return self._current is not None

    def progress(self) -> dict[str, datetime]:
        """Return the time of the thread's last progress, by the name of the thread.

        Progress is an evaluation that ended, a wait for a task, or computation since the last call.
        """
        current = self._current
        processor_s = self._read_processor_s()
        if current is not None and processor_s is not None:
            has_computed = processor_s - self._progress_processor_s > COMPUTED_S
            if has_computed and time.monotonic() - current.started_s < LONGEST_COMPUTATION_S:
                self._progress_processor_s = processor_s
                self._progress_at = self._clock()
        return {} if self._progress_at is None else {"evaluate": self._progress_at}

    def find_slow(self) -> dict[str, float]:
        """Return the seconds of slow evaluations by site: the last one, or the one that runs.

        Empty while waiting readings are being stored, for `DRAIN_LIMIT_S` at most: their number makes an evaluation
        slow once.
        """
        if self._is_draining:
            return {}
        slow = dict(self._slow)
        current = self._current
        if current is not None and self._is_slow(current):
            slow[current.site_id] = time.monotonic() - current.started_s
        return slow

    def list_measured(self) -> frozenset[str]:
        """Return the sites whose last evaluation was measured; the state of all others is unknown."""
        return frozenset() if self._is_draining else frozenset(self._measured)

    def _note_duration(self, evaluation: _CurrentEvaluation, ended_s: float) -> None:
        self._slow.pop(evaluation.site_id, None)
        if self._is_draining:
            self._measured.discard(evaluation.site_id)
            return
        self._measured.add(evaluation.site_id)
        if self._is_slow(evaluation):
            duration_s = ended_s - evaluation.started_s
            self._slow[evaluation.site_id] = duration_s
            log.warning("evaluation of %s took %.0f s", evaluation.site_id, duration_s)

    def _is_slow(self, evaluation: _CurrentEvaluation) -> bool:
        duration_s = time.monotonic() - evaluation.started_s
        if duration_s <= SLOW_S:
            return False
        processor_s = self._read_processor_s()
        if processor_s is None:
            return True
        return processor_s - evaluation.started_processor_s > LEAST_COMPUTING_FRACTION * duration_s

    def _read_processor_s(self) -> float | None:
        """Return the processor time of the thread; None if the system does not measure it."""
        thread = self._thread
        if thread is None or thread.ident is None or not thread.is_alive():
            return None
        try:
            return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        except (AttributeError, OSError):
            return None
