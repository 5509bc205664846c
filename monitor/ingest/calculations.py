"""Run the computation of values that follow from stored readings in a thread of the service.

Ingest notes in its own transaction what has to be computed. A `Calculation` of a feature reads these notes and
computes the values in short pieces. `CalculationThread` calls it, limits its share of the processor, and reports which
sites are behind.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

from monitor.errors import SlopewardError, StoreBusyError
from monitor.ingest.message import StoredSites
from monitor.registration import ServicePart

log: Final = logging.getLogger(__name__)
# Readings that arrive within this time are computed together.
COALESCE_S: Final = 0.1
# Notes of other processes, such as imports on the command line, are read at this interval.
POLL_S: Final = 2.0
BUSY_PAUSE_S: Final = 1.0
# A site whose present values wait longer than this is behind: its evaluation lowers nothing.
BEHIND_S: Final = 5.0
# After this time the evaluation continues with the stored values. The waiting series count as silent then.
BEHIND_LIMIT_S: Final = 300.0


class WaitingValues(NamedTuple):
    """Values of one site that still have to be computed. Times are those of the monotonic clock."""

    since_s: float  # start of the longest wait of a value
    present_since_s: float | None  # the same among values of the present; None if only values of the past wait
    dearest: str  # the waiting series or borehole whose values take longest to compute


class Calculation(Protocol):
    """Computes the values of all sites. Used by one thread at a time."""

    def load(self) -> None:
        """Read new notes."""

    def compute_piece(self) -> StoredSites | None:
        """Compute and store the next piece.

        Returns:
            The site if it has new values; a `StoredSites` without a site if it has none; None if nothing waits.

        Raises:
            StoreBusyError: the database is locked or unreachable; the piece waits again.
        """

    def list_waiting(self) -> Mapping[str, WaitingValues]:
        """Return the waiting values by site."""


class CalculationThread:
    """Call a `Calculation` inside the service.

    Args:
        what: name of the computed values in the log.
        share: largest share of the time of one processor that the thread uses.
        on_stored: called after values were stored, so that the sites are evaluated.
    """

    def __init__(
        self, what: str, calculation: Calculation, on_stored: Callable[[StoredSites], None], share: float
    ) -> None:
        self._what = what
        self._calculation = calculation
        self._on_stored = on_stored
        self._share = share
        self._condition = threading.Condition()
        self._stopping = False
        self._is_woken = True
        self._load_due_s = 0.0
        self._behind_since_s: dict[str, float] = {}
        # Replaced as a whole after each piece, because other threads read it.
        self._waiting: Mapping[str, WaitingValues] = {}
        self._thread = threading.Thread(target=self._run, name=what, daemon=True)

    def make_part(self, status: object) -> ServicePart:
        """Return the thread as a part of the service.

        Args:
            status: state that the health checks of the feature read.
        """
        return ServicePart(
            start=self.start, stop=self.stop, on_readings=self.wake, is_behind=self.is_behind, subjects=(status,)
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End after the current piece. Waiting values are computed after the next start."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def wake(self) -> None:
        """Note that readings were stored. Return at once."""
        with self._condition:
            self._is_woken = True
            self._condition.notify_all()

    def is_behind(self, site_id: str) -> bool:
        """Return whether the newest values of a site still have to be computed, for at most five minutes."""
        waiting, now_s = self._waiting.get(site_id), time.monotonic()
        since_s = None if waiting is None else waiting.present_since_s
        if since_s is None or now_s - since_s <= BEHIND_S:
            self._behind_since_s.pop(site_id, None)
            return False
        return now_s - self._behind_since_s.setdefault(site_id, now_s) < BEHIND_LIMIT_S

    def list_waits_s(self) -> dict[str, tuple[float, str]]:
        """Return by site for how many seconds its longest waiting value waits, and which of them takes longest."""
        now_s = time.monotonic()
        return {site_id: (now_s - one.since_s, one.dearest) for site_id, one in self._waiting.items()}

    def _run(self) -> None:
        while not self._stopping:
            started_s = time.thread_time()
            pause_s = 0.0
            try:
                has_worked = self._work()
            except StoreBusyError as error:
                log.warning("%s wait for the database: %s", self._what, error)
                has_worked, pause_s = False, BUSY_PAUSE_S
            except SlopewardError as error:
                log.warning("%s wait: %s", self._what, error)
                has_worked, pause_s = False, BUSY_PAUSE_S
            except Exception:  # loop edge: the other sites go on
                log.exception("%s", self._what)
                has_worked, pause_s = False, BUSY_PAUSE_S
            pause_s = max(pause_s, (time.thread_time() - started_s) * (1.0 - self._share) / self._share)
            self._pause(pause_s, until_woken=not has_worked)

    def _work(self) -> bool:
        now_s = time.monotonic()
        with self._condition:
            is_due = now_s >= self._load_due_s and (self._is_woken or now_s >= self._load_due_s + POLL_S)
            if is_due:
                self._is_woken = False
        if is_due:
            self._load_due_s = now_s + COALESCE_S
            self._calculation.load()
        stored = self._calculation.compute_piece()
        self._waiting = self._calculation.list_waiting()
        if stored is not None and stored.sites:
            self._on_stored(stored)
        return stored is not None

    def _pause(self, pause_s: float, *, until_woken: bool) -> None:
        """Leave the processor to ingest and evaluation; without work, sleep until readings arrive."""
        deadline_s = time.monotonic() + pause_s
        with self._condition:
            self._condition.wait_for(lambda: self._stopping, timeout=pause_s)
            if until_woken and not self._stopping:
                self._condition.wait_for(lambda: self._stopping or self._is_woken, timeout=POLL_S)
                remaining_s = max(self._load_due_s, deadline_s) - time.monotonic()
                if remaining_s > 0.0:
                    self._condition.wait_for(lambda: self._stopping, timeout=remaining_s)
