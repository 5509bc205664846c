"""Failure windows in a replay: computed when the service would have computed them, from what was known then.

The movement job of the service (`monitor.features.movement.update`) stores its windows. A replay of imported readings
has none, so it calls the same function and keeps the results in memory.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from monitor.api.alerts import IssuedWindow
from monitor.api.decision import DecisionInputs, FailureFact, Memory, OffsetFact
from monitor.api.queries.alerts import History
from monitor.api.sites import Site
from monitor.features.movement import movement_state
from monitor.features.movement.movement_state import (
    BelievedWindow,
    MovementAssessment,
    MovementSeries,
    PathCache,
    PathWatch,
)
from monitor.features.movement.queries import INVERSE_VELOCITY, MovementMemory


@dataclass(slots=True)
class _SeriesState:
    """What the replay keeps of one series between two looks."""

    watch: PathWatch
    cache: PathCache = field(default_factory=PathCache)
    memory: MovementMemory | None = None
    assessed_at_s: float = float("-inf")
    fact: FailureFact | None = None
    issued: list[IssuedWindow] = field(default_factory=list)


class FailureWindowReplay:
    """Computes the failure windows of a site as the simulated clock moves on.

    Attributes:
        looks: How many times each series was assessed, by station and declared quantity.
    """

    def __init__(self, history: History) -> None:
        self.looks: Counter[tuple[str, str]] = Counter()
        self._history = history
        self._site: Site | None = None
        self._states: dict[tuple[str, str], _SeriesState] = {}
        self._series: tuple[int, list[MovementSeries]] = (0, [])  # with how many stored series were known then
        self._facts: tuple[FailureFact, ...] = ()

    def add_to(self, inputs: DecisionInputs, site: Site, memory: Memory, now_s: float) -> DecisionInputs:
        """Return the inputs with the failure windows that stand at an instant, after the looks that are due by then.

        A view of stored windows, and one of a site file that reads none, is returned unchanged.
        """
        if self._history.stored_windows or not movement_state.list_window_stations(site):
            return inputs
        if self._site is not site:
            self._site = site
            self._states = {}
            self._series = (0, [])
            self._facts = ()
        if self._series[0] != len(inputs.newest):
            self._series = (len(inputs.newest), self._list_series(site))
        has_changed = False
        for moving in self._series[1]:
            has_changed |= self._follow(moving, inputs.offsets, site, memory, now_s)
        if has_changed:
            facts = (state.fact for state in self._states.values())
            self._facts = tuple(
                sorted((f for f in facts if f is not None), key=lambda f: (f.station, f.quantity, f.method))
            )
        return replace(inputs, failures=self._facts)

    def list_issued(self) -> list[IssuedWindow]:
        """Return every window that was issued, by station, quantity and instant."""
        return [window for key in sorted(self._states) for window in self._states[key].issued]

    def _list_series(self, site: Site) -> list[MovementSeries]:
        stations = movement_state.list_window_stations(site)
        known = self._history.list_known_series()
        return [m for m in movement_state.list_moving(site, known) if m.station.id in stations]

    def _follow(
        self, moving: MovementSeries, offsets: Sequence[OffsetFact], site: Site, memory: Memory, now_s: float
    ) -> bool:
        """Take the looks at one series that are due; return whether the window that stands has changed."""
        key = (moving.station.id, moving.spec.quantity)
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = _SeriesState(movement_state.make_watch(site, moving))
        mark = self._make_mark(moving, offsets)
        has_risen = memory.level > 0 and state.memory is not None and state.assessed_at_s < memory.since_s
        newest_s = self._history.find_newest_s(moving.keys)
        is_due = movement_state.is_due(site, moving, state.memory, newest_s, now_s, mark, rose=has_risen)
        if not is_due and not movement_state.may_be_silent(moving, state.memory, now_s):
            return False
        readings = self._history.read(moving.keys, movement_state.find_history_s(site, moving.spec))
        path = movement_state.build_path(site, moving, readings, memory, now_s, state.cache)
        if not is_due and path.is_fresh(now_s) and not path.stuck:
            return False
        before = state.fact
        is_behind = True
        while is_behind:
            found = movement_state.assess_movement(
                site,
                moving,
                path,
                state.memory,
                None,
                now_s,
                mark,
                rose=has_risen,
                watch=state.watch,
                with_stage=movement_state.has_stage_cadence(site, moving),
            )
            if found is not None:
                self.looks[key] += 1
                _keep(state, moving, found, now_s)
            is_behind = found is not None and found.behind
        return state.fact is not before

    def _make_mark(self, moving: MovementSeries, offsets: Sequence[OffsetFact]) -> str:
        """Return a text that changes with every offset and flag of the series, as the movement job does."""
        changes = self._history.count_changes(moving.keys)
        counting = sum(offset.station == moving.station.id and offset.counts for offset in offsets)
        return f"{changes}:{counting}" if changes or counting else ""


def _keep(state: _SeriesState, moving: MovementSeries, found: MovementAssessment, now_s: float) -> None:
    """Keep an assessment as the movement job stores it: first what is withdrawn, then what is issued."""
    state.memory = found.state
    state.assessed_at_s = now_s
    reason = found.withdrawn.get(INVERSE_VELOCITY)
    if reason is not None:
        state.fact = None
        state.issued = [
            one if one.withdrawn_s is not None else replace(one, withdrawn_s=now_s, withdrawn_reason=reason)
            for one in state.issued
        ]
    for window in found.issues:
        if window.method != INVERSE_VELOCITY:
            continue
        state.issued.append(
            IssuedWindow(
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


def _make_fact(moving: MovementSeries, window: BelievedWindow, now_s: float) -> FailureFact:
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
