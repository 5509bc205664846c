"""The simulated clock: decide at every instant at which the service would have evaluated the site."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf
from typing import Final

from monitor.alerts.acts.answer_acts import TAKEN_BACK, reopen_questions
from monitor.alerts.acts.operator_acts import set_level_in_memory
from monitor.alerts.replay.failure_windows import WindowReplay, start_window_replay
from monitor.alerts.replay.history import History
from monitor.alerts.replay.queries import PastAct
from monitor.decision.changes import AlertCategory, AlertChange
from monitor.decision.decide import decide
from monitor.decision.prepared_site import PreparedSite
from monitor.decision.records import Decision, DecisionInputs, Memory
from monitor.decision.series.assessment import EvaluationCache
from monitor.sites.records import Site
from monitor.text.instants import epoch_s, from_epoch_s

# Shortest time between two evaluations, as in the service.
SHORTEST_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class ReplaySchedule:
    """When the replay decides.

    Attributes:
        coalesce_s: Arrivals within this time after the first are evaluated once, at the last of them.
        tick_s: Longest time between two evaluations, so that silence is noticed. Decisions name further times.
        instants: Evaluate at exactly these times, in epoch seconds: the stored evaluations of the service.
    """

    coalesce_s: float = 60.0
    tick_s: float = 86400.0
    instants: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class ReplayDecision:
    """A decision of the replay; `acted` contains the level changes by people since the decision before."""

    at: datetime
    site: Site
    before: Memory
    decision: Decision
    inputs: DecisionInputs
    acted: tuple[tuple[datetime, AlertChange], ...] = ()


def choose_tick_s(site: Site) -> float:
    """Return the longest time between two evaluations: the shortest interval of a series, from 15 minutes to a day."""
    shortest = min((spec.interval_s for s in site.stations for spec in s.series), default=86400.0)
    return min(max(shortest, 900.0), 86400.0)


def choose_coalesce_s(site: Site) -> float:
    """Return how long arrivals are evaluated together: a minute, at most a quarter of the shortest interval.

    The readings of one epoch arrive within seconds of each other. For instruments that report every two seconds, a
    minute would show a level up to a minute late.
    """
    shortest = min((spec.interval_s for s in site.stations for spec in s.series), default=240.0)
    return min(60.0, max(SHORTEST_S, shortest / 4.0))


def play(
    history: History,
    plan: Sequence[tuple[float, Site]],
    from_s: float,
    to_s: float,
    schedule: ReplaySchedule,
    *,
    acts: Sequence[PastAct] = (),
    windows: WindowReplay | None = None,
) -> Iterator[ReplayDecision]:
    """Decide at every instant at which the service would have evaluated the site.

    Args:
        plan: Site files with the instants from which they are in force, by rising instant. The first one is also in
            force before its instant.
        windows: Computes the failure windows. Pass one to read afterwards which windows it issued.

    Yields:
        Every decision, in order of time.
    """
    memory = Memory()
    pending_acts = _PendingActs(acts)
    windows = start_window_replay(history) if windows is None else windows
    # By version of the site file.
    prepared: dict[str, PreparedSite] = {}
    caches: dict[str, EvaluationCache] = {}
    instants = iter(schedule.instants or ())
    now_s = next(instants, inf) if schedule.instants is not None else from_s
    while now_s <= to_s:
        history.move(now_s)
        site = plan[0][1]
        for since_s, other in plan[1:]:
            if since_s <= now_s:
                site = other
        memory, acted = pending_acts.apply(memory, now_s, site)
        inputs = windows.add_to(history.find_inputs(site), site, memory, now_s)
        if site.version not in prepared:
            prepared[site.version] = PreparedSite(site)
            caches[site.version] = EvaluationCache()
        decision = decide(prepared[site.version], memory, inputs, from_epoch_s(now_s), caches[site.version])
        yield ReplayDecision(from_epoch_s(now_s), site, memory, decision, inputs, acted)
        # The database returns the memory in this order.
        memory = decision.memory.sort_mappings()
        if schedule.instants is not None:
            now_s = next(instants, inf)
        else:
            now_s = find_next_s(history, plan, pending_acts, decision, now_s, schedule)


def find_next_s(
    history: History,
    plan: Sequence[tuple[float, Site]],
    pending_acts: "_PendingActs",
    decision: Decision,
    now_s: float,
    schedule: ReplaySchedule,
) -> float:
    """Return the next instant to evaluate, in epoch seconds.

    That is when readings or other facts become known, a decision is due, a person acts, another site file comes into
    force, or the longest time has passed.
    """
    due_s = decision.next_due_s if decision.next_due_s is not None else inf
    others = [now_s + schedule.tick_s, max(due_s, now_s + SHORTEST_S), pending_acts.next_s()]
    others += [since_s for since_s, _ in plan if since_s > now_s]
    limit_s = min(others)
    first_s = min(history.next_arrival_s(), history.next_news_s())
    if first_s > limit_s:
        return limit_s
    # Arrivals in quick succession are evaluated once, unless something else is due before the last of them.
    return min(history.last_arrival_s(first_s, first_s + schedule.coalesce_s), limit_s)


class _PendingActs:
    """The acts of people that the clock has not reached yet, oldest first."""

    def __init__(self, acts: Sequence[PastAct]) -> None:
        self._acts = list(acts)

    def next_s(self) -> float:
        return epoch_s(self._acts[0].at) if self._acts else inf

    def apply(
        self, memory: Memory, now_s: float, site: Site
    ) -> tuple[Memory, tuple[tuple[datetime, AlertChange], ...]]:
        """Return the memory after all acts up to now, and the changes of the level among them."""
        changes = []
        while self._acts and epoch_s(self._acts[0].at) <= now_s:
            act = self._acts.pop(0)
            before = memory.level
            memory = repeat_act(memory, act, site)
            if memory.level != before:
                changes.append(
                    (
                        act.at,
                        AlertChange(
                            AlertCategory.HAZARD, "hazard", memory.level, memory.level > 0, act.sentence, None, "{}"
                        ),
                    )
                )
        return memory, tuple(changes)


def repeat_act(memory: Memory, act: PastAct, site: Site) -> Memory:
    """Apply an act of a person to a memory. The same memory as then gives the same result as then."""
    if act.act == "level.set":
        level = min(int(act.after["level"]), site.top_level)
        return set_level_in_memory(memory, level, epoch_s(act.at)).sort_mappings()
    if act.act == TAKEN_BACK:
        withdrawn = act.before["answers"].keys() - act.after["answers"].keys()
        return reopen_questions(memory, withdrawn, epoch_s(act.at)).sort_mappings()
    old: Mapping[str, str] = act.before.get("answers", {})
    new_answers = {k: v for k, v in act.after.get("answers", {}).items() if old.get(k) != v}
    states = {k: s["state"] for k, s in act.after.get("steps", {}).items()}
    old_states = {k: s["state"] for k, s in act.before.get("steps", {}).items()}
    steps = {
        k: replace(s, state=states[k]) if k in states and states[k] != old_states.get(k) else s
        for k, s in memory.steps.items()
    }
    heights = {k: h for k, h in act.after.get("heights", {}).items() if k in new_answers and "@" in k}
    return replace(
        memory,
        answers={**memory.answers, **new_answers},
        steps=steps,
        heights={**memory.heights, **heights},
    ).sort_mappings()
