"""Decide which values of calculated series to compute next.

`SiteQueue` contains the order within a site and `choose_site` the order among sites. Both are free of threads, clocks
and databases, so that tests can drive them with plain values. Times named `now_s` are seconds of the monotonic clock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from monitor.api.text import Span
from monitor.features.derived.cost import estimate_value_s
from monitor.features.derived.pending import limit_spans
from monitor.features.derived.plans import Plan
from monitor.features.derived.queries import Cause
from monitor.features.derived.values import Task, count_instants

# Series whose newest waiting value is at most this much older than that of the site are computed together.
TOGETHER: Final = timedelta(seconds=60)
# Waiting values that are at most this much older than the newest ones belong to the present, all others to the past.
PRESENT: Final = timedelta(minutes=10)
# Measured costs replace estimates slowly, and only from pieces that are long enough to measure.
LEAST_MEASURED: Final = 100
MOST_CORRECTION: Final = 2.0


@dataclass(slots=True)
class _WaitingSeries:
    """The spans of one calculated series that wait."""

    plan: Plan
    cause: Cause
    keep_before: datetime | None
    spans: list[Span]
    waiting_since_s: float
    newest_since_s: float  # since when the newest of the spans waits


Key = tuple[str, Cause, datetime | None]


@dataclass(slots=True)
class SiteQueue:
    """Order the values of one site that have to be computed.

    * The newest values come first: an alarm does not wait for the past. A site that cannot keep up computes its newest
      values, and gaps behind them are filled as time permits.
    * A series is computed after the series that it reads.
    * Spans that overlap are joined: many late readings lead to one computation.
    """

    _waiting: dict[Key, _WaitingSeries] = field(default_factory=dict)
    _value_s: dict[str, float] = field(default_factory=dict)  # measured seconds per value
    _frontier: datetime | None = None  # newest value that was ever added

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, plan: Plan, spans: Iterable[Span], cause: Cause, keep_before: datetime | None, now_s: float) -> None:
        """Add spans of a series."""
        cause = Cause.READINGS if cause is Cause.VALUES else cause
        key = (plan.name, cause, keep_before)
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = _WaitingSeries(plan, cause, keep_before, [], now_s, now_s)
        newest_before = waiting.spans[-1][1] if waiting.spans else None
        waiting.spans = limit_spans([*waiting.spans, *spans])
        if not waiting.spans:
            del self._waiting[key]
            return
        newest = waiting.spans[-1][1]
        if newest_before is None or newest_before < newest - PRESENT:
            waiting.newest_since_s = now_s
        self._frontier = newest if self._frontier is None else max(self._frontier, newest)

    def take(self, piece_s: float) -> list[Task]:
        """Take the next tasks, about `piece_s` seconds of work. None of them reads a series of another."""
        newest = max((one.spans[-1][1] for one in self._waiting.values()), default=None)
        if newest is None:
            return []
        ready = [(key, one) for key, one in self._waiting.items() if one.spans[-1][1] >= newest - TOGETHER]
        level = min(one.plan.level for _, one in ready)
        tasks: list[Task] = []
        remaining_s = piece_s
        for key, one in ready:
            if one.plan.level != level or remaining_s <= 0.0:
                continue
            value_s = self.estimate_value_s(one.plan)
            most = max(1, int(remaining_s / value_s))
            begin, end = one.spans.pop()
            cut = end - timedelta(seconds=most * one.plan.interval_s)
            if cut > begin:
                one.spans.append((begin, cut))
                begin = cut + timedelta(microseconds=1)
            if not one.spans:
                del self._waiting[key]
            task = Task(one.plan, (begin, end), one.cause, one.keep_before, 2 * most)
            tasks.append(task)
            remaining_s -= value_s * min(most, count_instants(one.plan, task.span))
        return tasks

    def estimate_value_s(self, plan: Plan) -> float:
        """Return the seconds of a processor that one value takes."""
        return self._value_s.get(plan.name) or estimate_value_s(plan)

    def note_cost(self, counts: Mapping[Plan, int], spent_s: float) -> None:
        """Correct the estimates by what a piece took; `counts`: how many values of each series it computed."""
        expected_s = sum(self.estimate_value_s(plan) * count for plan, count in counts.items())
        if sum(counts.values()) < LEAST_MEASURED or not expected_s:
            return
        factor = min(max(spent_s / expected_s, 1.0 / MOST_CORRECTION), MOST_CORRECTION)
        for plan in counts:
            self._value_s[plan.name] = self.estimate_value_s(plan) * factor

    def list_waiting(self) -> list[tuple[Plan, Cause, datetime | None, list[Span]]]:
        """Return everything that waits, to be stored in place of the rows that it came from."""
        return [(one.plan, one.cause, one.keep_before, list(one.spans)) for one in self._waiting.values()]

    def find_oldest_s(self) -> float | None:
        """Return since when the longest waiting value waits; None where none waits."""
        return min((one.waiting_since_s for one in self._waiting.values()), default=None)

    def find_present_s(self) -> float | None:
        """Return since when the longest waiting value of the present waits; None where only the past waits."""
        if self._frontier is None:
            return None
        present = [one for one in self._waiting.values() if one.spans[-1][1] >= self._frontier - PRESENT]
        return min((one.newest_since_s for one in present), default=None)

    def is_present(self, at: datetime) -> bool:
        """Return whether a value belongs to the present of the site."""
        return self._frontier is None or at >= self._frontier - PRESENT

    def find_dearest(self) -> str:
        """Return the name of the waiting series whose values take longest; empty where none waits."""
        plans = [one.plan for one in self._waiting.values()]
        return max(plans, key=self.estimate_value_s).name if plans else ""


def choose_site(waiting: Iterable[str], used_s: Mapping[str, float]) -> str | None:
    """Return the site whose turn it is: of those with waiting values the one that used least processor time."""
    return min(waiting, key=lambda site_id: (used_s.get(site_id, 0.0), site_id), default=None)
