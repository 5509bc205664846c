"""A series that scatters far more than usual cannot be judged: its votes wait for the clock, and lower nothing.

Unless others that raised the level too, of other groups, were in sight for the whole recovery time: they speak for it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from forecasting.message import TEXT_OF
from monitor.decision.series.assessment import Assessment, DecisionContext
from monitor.decision.series.station_health import SeriesHealthMap, scatter_key
from monitor.decision.series.step_clocks import clock_s
from monitor.domain.decision import Condition
from monitor.domain.instruments.parents import Place
from monitor.domain.keys import RuleKey, VoteKey


def hold_scattering(
    windows: DecisionContext,
    assessments: Sequence[Assessment],
    scattering: Mapping[VoteKey, Place],
    senses: SeriesHealthMap,
    groups: Mapping[str, str],
) -> tuple[list[Assessment], dict[str, Condition]]:
    """What every criterion says, and why series cannot be judged; urgent where a vote is held.

    No vote on such a series rises before its clock is over, and none falls further than what others hold.

    Args:
        windows: the view at its instant.
        assessments: what every criterion says.
        scattering: votes whose series cannot be judged, with the series.
        senses: how each series does.
        groups: independence group of each witness.
    """
    found: dict[str, Condition] = {}
    if not scattering:
        return list(assessments), found
    memory, now_s = windows.memory, windows.now_s
    others = list(_list_others(windows, assessments, scattering))
    held: list[Assessment] = []
    for one in assessments:
        place = scattering.get(one.key)
        if place is None:
            held.append(one)
            continue
        key, vote = scatter_key(place), memory.votes.get(one.key)
        before = 0 if vote is None else vote.level
        since_s = memory.conditions[key].since_s if key in memory.conditions else now_s
        waits = now_s < since_s + clock_s(windows.site, one.station)
        level = min(one.raise_level, before) if waits else one.raise_level
        levels = [w.hold_level for w in others if groups.get(w.station) != groups.get(one.station)]
        hold = max([level, *(levels or [one.hold_level])])
        held.append(replace(one, raise_level=level, hold_level=hold, fresh=one.fresh and bool(levels)))
        urgency = 2 if max(before, one.raise_level) > 0 or (key in found and found[key].level == 2) else 1
        text = TEXT_OF(name=".".join(place), text=senses[place].burst or "")
        found[key] = Condition("health", urgency, since_s, text)
    return held, found


def _list_others(
    windows: DecisionContext, assessments: Sequence[Assessment], scattering: Collection[VoteKey]
) -> Iterator[Assessment]:
    """What those say that raised the level too and were in sight, without a pause, for their longest window."""
    memory = windows.memory
    behind = {k.vote if isinstance(k, RuleKey) else k for k, v in memory.supporters.items() if v >= memory.level > 0}
    followed = {c.id: c for c in windows.site.criteria if c.kind.followed}
    for one in assessments:
        criterion = followed.get(one.criterion)
        if criterion is None or one.key not in behind or one.key in scattering or not (one.has_data and one.fresh):
            continue
        spec = windows.site.series(one.station, criterion.quantity)
        from_s = windows.now_s - max([t.window_s or 0.0 for t in criterion.thresholds])
        times = [t for t in windows.track(criterion, one.station).times_s if t > from_s]
        if spec is not None and all(b - a <= spec.max_silence_s for a, b in pairwise([from_s, *times, windows.now_s])):
            yield one
