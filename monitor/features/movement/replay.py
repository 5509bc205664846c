"""Failure windows in a replay: computed when the service would have computed them, from what was known then.

The movement job (`monitor.features.movement.update`) stores its windows. A replay of imported readings has none, so it
calls the same function as the job and keeps the results in memory.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from monitor.api import alerts
from monitor.api.decision import DecisionInputs, FailureFact, Memory, OffsetFact
from monitor.api.queries.alerts import History
from monitor.api.sites import Site
from monitor.features.movement.assessment import IssuedWindow, MovementAssessment, SeriesWatch, assess_movement
from monitor.features.movement.cadence import has_stage_cadence, is_due, may_be_silent
from monitor.features.movement.moving_series import (
    MovementSeries,
    find_history_s,
    list_moving,
    list_window_stations,
)
from monitor.features.movement.path import PathCache, build_path
from monitor.features.movement.queries import INVERSE_VELOCITY, MovementMemory


@dataclass(slots=True)
class _SeriesState:
    """What the replay keeps of one series between two assessments."""

    watch: SeriesWatch
    cache: PathCache = field(default_factory=PathCache)
    memory: MovementMemory | None = None
    assessed_at_s: float = float("-inf")
    fact: FailureFact | None = None
    issued: list[alerts.IssuedWindow] = field(default_factory=list)


class FailureWindowReplay:
    """Compute the failure windows of a site as the simulated clock advances.

    Attributes:
        looks: How many times each series was assessed, by station and declared quantity.
    """

    def __init__(self, history: History) -> None:
        self.looks: Counter[tuple[str, str]] = Counter()
        self._history = history
        self._site: Site | None = None
        self._states: dict[tuple[str, str], _SeriesState] = {}
        self._series: list[MovementSeries] = []
        self._stored_count = 0  # stored series when `_series` was made
        self._facts: tuple[FailureFact, ...] = ()

    def add_to(self, inputs: DecisionInputs, site: Site, memory: Memory, now_s: float) -> DecisionInputs:
        """Return the inputs with the failure windows that stand at an instant, after the assessments that are due.

        Inputs of a history with stored windows, or of a site file that reads none, are returned unchanged.
        """
        if self._history.stored_windows or not list_window_stations(site):
            return inputs
        if self._site is not site:
            self._site = site
            self._states = {}
            self._series = []
            self._stored_count = 0
            self._facts = ()
        if self._stored_count != len(inputs.newest):
            self._stored_count = len(inputs.newest)
            self._series = self._list_series(site)
        has_changed = False
        for moving in self._series:
            has_changed |= self._update(moving, inputs.offsets, site, memory, now_s)
        if has_changed:
            facts = [state.fact for state in self._states.values() if state.fact is not None]
            self._facts = tuple(sorted(facts, key=lambda fact: (fact.station, fact.quantity, fact.method)))
        return replace(inputs, failures=self._facts)

    def list_issued(self) -> list[alerts.IssuedWindow]:
        """Return every window that was issued, by station, quantity and instant."""
        return [window for key in sorted(self._states) for window in self._states[key].issued]

    def _list_series(self, site: Site) -> list[MovementSeries]:
        stations = list_window_stations(site)
        moving = list_moving(site, self._history.list_known_series())
        return [series for series in moving if series.station.id in stations]

    def _update(
        self, moving: MovementSeries, offsets: Sequence[OffsetFact], site: Site, memory: Memory, now_s: float
    ) -> bool:
        """Make the assessments of one series that are due; return whether the window that stands has changed."""
        key = (moving.station.id, moving.spec.quantity)
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = _SeriesState(SeriesWatch(site, moving))
        entries_mark = self._make_entries_mark(moving, offsets)
        has_risen = memory.level > 0 and state.memory is not None and state.assessed_at_s < memory.since_s
        newest_s = self._history.find_newest_s(moving.keys)
        has_news = is_due(site, moving, state.memory, newest_s, now_s, entries_mark, has_risen=has_risen)
        if not has_news and not may_be_silent(moving, state.memory, now_s):
            return False
        readings = self._history.read(moving.keys, find_history_s(site, moving.spec))
        path = build_path(site, moving, readings, memory, now_s, state.cache)
        if not has_news and path.is_fresh(now_s) and not path.stuck:
            return False
        fact_before = state.fact
        is_behind = True
        while is_behind:
            result = assess_movement(
                site,
                moving,
                path,
                state.memory,
                None,
                now_s,
                entries_mark,
                has_risen=has_risen,
                watch=state.watch,
                with_stage=has_stage_cadence(site, moving),
            )
            if result is not None:
                self.looks[key] += 1
                _store(state, moving, result, now_s)
            is_behind = result is not None and result.behind
        return state.fact is not fact_before

    def _make_entries_mark(self, moving: MovementSeries, offsets: Sequence[OffsetFact]) -> str:
        """Return a text that changes with every offset and flag of the series, as the movement job does."""
        changes = self._history.count_changes(moving.keys)
        counting = sum(offset.station == moving.station.id and offset.counts for offset in offsets)
        return f"{changes}:{counting}" if changes or counting else ""


def _store(state: _SeriesState, moving: MovementSeries, result: MovementAssessment, now_s: float) -> None:
    """Keep an assessment as the movement job stores it: first what is withdrawn, then what is issued."""
    state.memory = result.state
    state.assessed_at_s = now_s
    reason = result.withdrawn.get(INVERSE_VELOCITY)
    if reason is not None:
        state.fact = None
        state.issued = [
            window if window.withdrawn_s is not None else replace(window, withdrawn_s=now_s, withdrawn_reason=reason)
            for window in state.issued
        ]
    for window in result.issues:
        if window.method != INVERSE_VELOCITY:
            continue
        state.issued.append(
            alerts.IssuedWindow(
                moving.station.id,
                moving.spec.quantity,
                now_s,
                window.data_until_s,
                window.from_s,
                window.mid_s,
                window.to_s,
                window.trusted,
                window.reasons,
                None if window.withdrawn is None else now_s,
                window.withdrawn,
            )
        )
        if window.withdrawn is None:
            state.fact = _make_fact(moving, window, now_s)


def _make_fact(moving: MovementSeries, window: IssuedWindow, now_s: float) -> FailureFact:
    return FailureFact(
        moving.station.id,
        moving.quantities[0],
        window.method,
        now_s,
        window.data_until_s,
        window.from_s,
        window.mid_s,
        window.to_s,
        window.velocity or 0.0,
        window.trusted,
        window.reasons,
    )
