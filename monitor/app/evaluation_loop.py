"""The thread that evaluates: soon after data of a site was stored, and on a tick, so that silence is seen as well."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, Protocol

from monitor.alerts.evaluate import EvaluationResult, Evaluator
from monitor.errors import OutdatedSiteError, StoreBusyError
from monitor.sites.records import Site
from monitor.storage.engine import Database

log = logging.getLogger(__name__)
# between two evaluations of one site on data: a burst is one evaluation, and an alert row is there within a second
SHORTEST_GAP_S: Final = 0.25
# the same where nothing came on which a vote may rest, and by how much later such news and ticks count as arrived
UNVOTED_GAP_S: Final = 2.0
UNVOTED_LATER_S: Final = 10.0
# after an outage, silence is judged and levels may fall when the queue is drained, at the latest after this
DRAIN_LIMIT_S: Final = 300.0
BUSY_PAUSE_S: Final = 1.0
NEWS_EVERY_S: Final = 2.0  # for what people added
SLOW_S: Final = 30.0  # an evaluation that takes longer is told
# a thread that computes is slow, not stuck: no fresh process would be faster; beyond this it is given up
LONGEST_S: Final = 900.0
COMPUTES: Final = 0.1  # of its time: one that waits for the database is not slow, and shorter windows help nobody
WORK_S: Final = 0.1  # processor time by which a thread is seen to compute
AGAIN_WHEN_DRAINED_S: Final = 2.0  # nothing falls while draining: look soon after


class Evaluate(Protocol):
    """The decision, as `monitor.alerts.evaluate.evaluate_site` is."""

    def __call__(self, db: Database, site: Site, now: datetime, trigger: str, *, draining: bool) -> EvaluationResult:
        """Decide once and store; raises StoreBusyError when that must be tried again."""


class EvaluationLoop:
    """Evaluates each site when it is dirty or due, one after the other.

    1. `mark(sites)` makes sites dirty; many marks before its turn are one evaluation. The site that has waited longest
       comes first. New readings that may vote count as if they had waited `UNVOTED_LATER_S` longer than all else.
    2. Without data a site is due after the tick, or earlier where its stage of movement or its last evaluation said so
       (a dwell, an expiry).
    3. While a backlog is being read, at most five minutes, evaluations are `draining`: levels rise, nothing falls.
    4. What people add by any process (a report, an event, an offset, a flag) makes its site dirty within seconds.
    5. A site whose evaluation raises is poisoned: told to `on_poisoned`, tried again on the tick; the others go on.

    Args:
        is_drained: True when ingest has caught up with the broker's queue.
        on_changed: called with the site's id after an evaluation that changed something.
        on_poisoned: called with site id and reason when a site cannot be evaluated; reason None when it can again.
        evaluate: the decision; None takes an `Evaluator`, which keeps in memory what saves work.
        find_news: sites to which something was added since the last call, by whichever process.
        on_outdated: called when another version of a site's file is in force than the one it has here.
        is_behind: whether readings of a site are stored that a feature still has to process, such as inputs of
            calculated series. The evaluation of that site is `draining` meanwhile.
        find_pace: longest time in seconds between two evaluations of a site that its stage of movement asks for.
    """

    def __init__(
        self,
        db: Database,
        sites: Mapping[str, Site],
        tick_s: float,
        *,
        is_drained: Callable[[], bool],
        on_changed: Callable[[str], None],
        on_poisoned: Callable[[str, str | None], None],
        clock: Callable[[], datetime],
        evaluate: Evaluate | None = None,
        find_news: Callable[[], frozenset[str]] = frozenset,
        find_pace: Callable[[str], float | None] = lambda _: None,
        on_evaluated: Callable[[], None] = lambda: None,
        on_outdated: Callable[[], None] = lambda: None,
        is_behind: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._is_behind = is_behind
        self._find_news, self._next_news_s, self._find_pace = find_news, 0.0, find_pace
        self._on_evaluated, self._on_outdated = on_evaluated, on_outdated
        self._db, self._sites, self._tick_s, self._clock = db, sites, tick_s, clock
        self._evaluate: Evaluate = Evaluator() if evaluate is None else evaluate
        self._is_drained, self._on_changed, self._on_poisoned = is_drained, on_changed, on_poisoned
        self._dirty: dict[str, float] = {}  # since when, monotonic
        self._unvoted: set[str] = set()  # of the dirty ones: nothing came on which a vote may rest
        self._was_unvoted = False  # whether the evaluation in hand is of such a site, or of the tick
        self._condition = threading.Condition()
        self._stopping = False
        self._poisoned: set[str] = set()
        self._due: dict[str, float] = {}  # monotonic
        self._not_before: dict[str, tuple[float, float]] = {}  # monotonic: for news that may vote, and for others
        self._behind_since: float | None = None
        self._progress: dict[str, datetime] = {}
        self._in_hand: tuple[str, float, float] | None = None  # site, since (monotonic, processor time)
        self._slow: dict[str, float] = {}
        self._computed_s = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._progress["evaluate"] = self._clock()
        self._thread = threading.Thread(target=self._run, name="evaluate", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End after the evaluation in hand."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def mark(self, sites: frozenset[str], without_votes: frozenset[str] = frozenset()) -> None:
        """Note that data of these sites was stored; returns at once.

        `without_votes`: those of them where nothing came on which a vote may rest.
        """
        now = time.monotonic()
        with self._condition:
            for site in sites:
                if site not in without_votes:
                    if site in self._unvoted:  # its turn comes no later than it would have without
                        self._dirty[site] = min(now, self._dirty[site] + UNVOTED_LATER_S)
                    self._unvoted.discard(site)
                elif site not in self._dirty:
                    self._unvoted.add(site)
                self._dirty.setdefault(site, now)
            self._condition.notify_all()

    def progress(self) -> dict[str, datetime]:
        """When the thread last went round, finished a site, or was seen computing on one."""
        self._note_work()
        return dict(self._progress)

    def is_busy(self) -> bool:
        """Whether a site is being evaluated at this moment."""
        return self._in_hand is not None

    def find_slow(self) -> dict[str, float]:
        """Site -> seconds of evaluations that compute for too long: the last one, or the one in hand.

        Nothing while an outage is caught up with: what piled up takes its time once.
        """
        if self._behind_since is not None:
            return {}
        found, in_hand = dict(self._slow), self._in_hand
        if in_hand is not None and (taken_s := self._find_slowness(in_hand)):
            found[in_hand[0]] = taken_s
        return found

    def _find_slowness(self, in_hand: tuple[str, float, float]) -> float:
        taken_s, computed_s = time.monotonic() - in_hand[1], self._read_computed_s()
        is_slow = taken_s > SLOW_S and (computed_s is None or computed_s - in_hand[2] > COMPUTES * taken_s)
        return taken_s if is_slow else 0.0

    def _read_computed_s(self) -> float | None:
        thread = self._thread
        if thread is None or thread.ident is None or not thread.is_alive():
            return None
        try:
            return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        except (AttributeError, OSError):  # there the watchdog knows finished sites only
            return None

    def _note_work(self) -> None:
        in_hand, computed_s = self._in_hand, self._read_computed_s()
        if in_hand is None or computed_s is None:
            return
        if computed_s - self._computed_s > WORK_S and time.monotonic() - in_hand[1] < LONGEST_S:
            self._computed_s = computed_s
            self._progress["evaluate"] = self._clock()

    def _run(self) -> None:
        self._mark_changed()  # what comes from here on is noticed
        for site_id in list(self._sites):
            self._evaluate_once(site_id, "start")
        while not self._stopping:
            self._mark_changed()
            if taken := self._take_due():
                self._evaluate_once(*taken)
            self._progress["evaluate"] = self._clock()

    def _mark_changed(self) -> None:
        if time.monotonic() < self._next_news_s:
            return
        self._next_news_s = time.monotonic() + NEWS_EVERY_S
        try:
            self.mark(self._find_news())
        except StoreBusyError as error:
            log.warning("cannot look for reports and events yet: %s", error)
        except Exception:  # loop edge: the tick looks at everything anyway
            log.exception("cannot look for reports and events")

    def _is_draining(self) -> bool:
        if self._is_drained():
            self._behind_since = None
            return False
        now = time.monotonic()
        self._behind_since = now if self._behind_since is None else self._behind_since
        return now - self._behind_since < DRAIN_LIMIT_S

    def _take_due(self) -> tuple[str, str] | None:
        """Wait until something is due, at most one second, and take what waits longest: site, and data or tick."""
        with self._condition:
            now = time.monotonic()
            taken = self._find_first(now)
            if taken is None:
                self._condition.wait(max(0.01, min(1.0, self._next(now) - now)))
                taken = self._find_first(time.monotonic())
            if taken is not None:
                self._dirty.pop(taken[0], None)
                self._was_unvoted = taken[1] == "tick" or taken[0] in self._unvoted
                self._unvoted.discard(taken[0])
            return taken

    def _find_first(self, now: float) -> tuple[str, str] | None:
        """Return the site to evaluate next, and why; None if none is due.

        After a start, all sites become due at once again and again. Readings that may vote do not wait for all of
        these evaluations, unless one of them has already waited for `UNVOTED_LATER_S`.
        """
        ready = []
        for site_id in self._sites:
            since = self._dirty.get(site_id)
            if since is not None and now >= self._open_at(site_id):
                ready.append((since + UNVOTED_LATER_S * (site_id in self._unvoted), site_id, "data"))
            elif now >= (due := self._due.get(site_id, 0.0)):
                ready.append((due + UNVOTED_LATER_S, site_id, "tick"))
        return min(ready)[1:] if ready else None

    def _open_at(self, site_id: str) -> float:
        """From when on news of a site may be looked at; what may vote waits for nothing but the last that could."""
        return self._not_before.get(site_id, (0.0, 0.0))[site_id in self._unvoted]

    def _next(self, now: float) -> float:
        moments = [self._due.get(s, now) for s in self._sites]
        moments += [self._open_at(s) for s in self._dirty if s in self._sites]
        return min(moments, default=now + 1.0)

    def _evaluate_once(self, site_id: str, trigger: str) -> None:
        if self._stopping:
            return
        started = time.monotonic()
        self._in_hand = in_hand = (site_id, started, self._read_computed_s() or 0.0)
        pause_s = self._tick_s
        try:
            pause_s = min(pause_s, self._find_pace(site_id) or pause_s)
            now = self._clock()
            draining = self._is_draining() or self._is_behind(site_id)
            result = self._evaluate(self._db, self._sites[site_id], now, trigger, draining=draining)
            self._on_evaluated()
            if draining:
                pause_s = min(pause_s, AGAIN_WHEN_DRAINED_S)
            if result.next_due_at is not None:
                pause_s = min(pause_s, max(SHORTEST_GAP_S, (result.next_due_at - now).total_seconds()))
            if result.changes:
                self._on_changed(site_id)
            if site_id in self._poisoned:
                self._poisoned.discard(site_id)
                self._on_poisoned(site_id, None)
        except StoreBusyError as error:
            log.warning("%s not evaluated, again in %g s: %s", site_id, BUSY_PAUSE_S, error)
            pause_s = BUSY_PAUSE_S
        except OutdatedSiteError as error:
            log.info("%s", error)
            pause_s = BUSY_PAUSE_S
            self._on_outdated()
        except Exception as error:  # loop edge: one poisoned site must not silence the others
            log.exception("site %s cannot be evaluated", site_id)
            self._poisoned.add(site_id)
            self._on_poisoned(site_id, f"{type(error).__name__}: {' '.join(str(error).split())}")
        ended = time.monotonic()
        self._in_hand = None
        self._slow.pop(site_id, None)
        if self._behind_since is None and (taken_s := self._find_slowness(in_hand)):
            self._slow[site_id] = taken_s
            log.warning("evaluation of %s took %.0f s", site_id, ended - started)
        # a slow evaluation leaves as much time as it took to ingest and the others
        taken_s = ended - started
        gap_s = taken_s if self._was_unvoted else max(SHORTEST_GAP_S, taken_s)
        self._not_before[site_id] = (ended + gap_s, ended + max(UNVOTED_GAP_S, taken_s))
        self._due[site_id] = ended + pause_s
        self._progress["evaluate"] = self._clock()
