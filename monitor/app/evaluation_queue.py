"""Decide which site to evaluate next.

`EvaluationQueue` contains the scheduling rules and no thread, clock or database, so that tests can drive it with plain
numbers. `EvaluationLoop` owns the thread.

All times are seconds of the monotonic clock.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

# Readings arrive in bursts. Waiting this long after an evaluation turns a burst into one evaluation, and an alert is
# still stored within a second of the reading that caused it.
VOTING_DATA_DEBOUNCE_S: Final = 0.25

# Data that cannot change a vote, such as a battery voltage, is evaluated less often and yields to data that can.
OTHER_DATA_DEBOUNCE_S: Final = 2.0

# Data that cannot change a vote, and ticks, count as having become due this much later.
OTHER_DATA_PENALTY_S: Final = 10.0


class Trigger(StrEnum):
    """Why a site is evaluated."""

    START = "start"
    DATA = "data"
    TICK = "tick"


class EvaluationTask(NamedTuple):
    """A site whose turn it is.

    Attributes:
        has_voting_data: Whether its data can change a vote.
        data_since_s: Since when its data has been waiting; None without data.
    """

    site_id: str
    trigger: Trigger
    has_voting_data: bool
    data_since_s: float | None = None


@dataclass(slots=True)
class _SiteSchedule:
    """Scheduling state of one site.

    Attributes:
        tick_due_s: When the site is evaluated even without data.
        data_since_s: Since when data waits; None without data.
        has_voting_data: Whether data that can change a vote waits.
        voting_data_due_s: Earliest evaluation of data that can change a vote.
        other_data_due_s: Earliest evaluation of other data.
    """

    tick_due_s: float = 0.0
    data_since_s: float | None = None
    has_voting_data: bool = False
    voting_data_due_s: float = 0.0
    other_data_due_s: float = 0.0

    @property
    def data_due_s(self) -> float:
        """Earliest evaluation of the data that waits."""
        return self.voting_data_due_s if self.has_voting_data else self.other_data_due_s

    def add_data(self, since_s: float, *, can_change_vote: bool) -> None:
        """Record that data has been waiting since this time."""
        if self.data_since_s is None:
            self.data_since_s = since_s
        elif can_change_vote and not self.has_voting_data:
            # The site must not lose its place in the queue because its first data could not change a vote.
            self.data_since_s = min(since_s, self.data_since_s + OTHER_DATA_PENALTY_S)
        self.has_voting_data = self.has_voting_data or can_change_vote


class _Candidate(NamedTuple):
    """A site that is due. Candidates are compared by their fields in this order."""

    waiting_since_s: float
    site_id: str
    trigger: Trigger


class EvaluationQueue:
    """Order the evaluations of many sites.

    * New data makes a site due after a short debounce. Several readings before its turn lead to one evaluation.
    * Without data a site is due at its tick, so that silence is noticed.
    * Sites are evaluated in the order in which they started to wait. Data that cannot change a vote, and ticks, count
      as having started `OTHER_DATA_PENALTY_S` later: after a start, the ticks of all sites become due together, and
      readings must not wait for all of them.
    """

    def __init__(self, site_ids: Iterable[str]) -> None:
        self._schedules = {site_id: _SiteSchedule() for site_id in site_ids}

    def add_data(self, site_ids: Iterable[str], without_votes: Collection[str], now_s: float) -> None:
        """Record that readings of these sites were stored. Sites that do not exist are ignored.

        Args:
            without_votes: The sites whose readings cannot change a vote.
        """
        for site_id in site_ids:
            schedule = self._schedules.get(site_id)
            if schedule is not None:
                schedule.add_data(now_s, can_change_vote=site_id not in without_votes)

    def next_task(self, now_s: float) -> EvaluationTask | None:
        """Return the due site that has waited longest, and clear its waiting data. Return None if no site is due."""
        candidates = [
            candidate
            for site_id, schedule in self._schedules.items()
            if (candidate := _make_candidate(site_id, schedule, now_s)) is not None
        ]
        if not candidates:
            return None
        first = min(candidates)
        schedule = self._schedules[first.site_id]
        task = EvaluationTask(first.site_id, first.trigger, schedule.has_voting_data, schedule.data_since_s)
        schedule.data_since_s = None
        schedule.has_voting_data = False
        return task

    def seconds_until_next(self, now_s: float, *, at_most_s: float) -> float:
        """Return how long the thread may sleep before a site is due."""
        due_s = [schedule.tick_due_s for schedule in self._schedules.values()]
        due_s += [schedule.data_due_s for schedule in self._schedules.values() if schedule.data_since_s is not None]
        return min(max(min(due_s, default=now_s + at_most_s) - now_s, 0.0), at_most_s)

    def finish(self, task: EvaluationTask, *, started_s: float, ended_s: float, pause_s: float) -> None:
        """Record that an evaluation ended, and schedule the next tick of its site after a pause.

        A slow evaluation is followed by a pause of the same length, so that ingest and the other sites get at least
        half of the processor. Data that can change a vote waits for no other debounce than its own.
        """
        duration_s = ended_s - started_s
        schedule = self._schedules[task.site_id]
        debounce_s = VOTING_DATA_DEBOUNCE_S if task.has_voting_data else 0.0
        schedule.voting_data_due_s = ended_s + max(debounce_s, duration_s)
        schedule.other_data_due_s = ended_s + max(OTHER_DATA_DEBOUNCE_S, duration_s)
        schedule.tick_due_s = ended_s + pause_s

    def put_back(self, task: EvaluationTask, *, due_s: float) -> None:
        """Schedule the site again, because its evaluation could not be stored.

        Its data counts as waiting since it was received, so that the site keeps its place in the order.
        """
        schedule = self._schedules[task.site_id]
        newer_since_s = schedule.data_since_s
        can_newer_change_vote = schedule.has_voting_data
        schedule.data_since_s = task.data_since_s
        schedule.has_voting_data = task.has_voting_data
        if newer_since_s is not None:
            schedule.add_data(newer_since_s, can_change_vote=can_newer_change_vote)
        schedule.voting_data_due_s = due_s
        schedule.other_data_due_s = due_s
        schedule.tick_due_s = due_s


def _make_candidate(site_id: str, schedule: _SiteSchedule, now_s: float) -> _Candidate | None:
    if schedule.data_since_s is not None and now_s >= schedule.data_due_s:
        penalty_s = 0.0 if schedule.has_voting_data else OTHER_DATA_PENALTY_S
        return _Candidate(schedule.data_since_s + penalty_s, site_id, Trigger.DATA)
    if now_s >= schedule.tick_due_s:
        return _Candidate(schedule.tick_due_s + OTHER_DATA_PENALTY_S, site_id, Trigger.TICK)
    return None
