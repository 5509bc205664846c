"""A series that scatters far more than usual cannot be judged: its votes may rise, and lower nothing.

Unless others that raised the level too, of other groups, were in sight for the whole recovery time: they speak for it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from monitor.domain.keys import RuleKey, VoteKey
from monitor.series.assessment import Assessment, Windows


def hold_scattering(
    windows: Windows, assessments: Sequence[Assessment], scattering: Collection[VoteKey], groups: Mapping[str, str]
) -> list[Assessment]:
    """What every criterion says, where what rests on a scattering series lowers nothing, or as far as others do.

    Args:
        windows: the view at its instant.
        assessments: what every criterion says.
        scattering: votes whose series cannot be judged.
        groups: independence group of each witness.
    """
    others = list(_list_others(windows, assessments, scattering)) if scattering else []

    def hold(one: Assessment) -> Assessment:
        if one.key not in scattering:
            return one
        group = groups.get(one.station)
        levels = [other.hold_level for other in others if groups.get(other.station) != group]
        if not levels:
            return replace(one, fresh=False)
        return replace(one, hold_level=max(one.raise_level, *levels))

    return [hold(one) for one in assessments]


def _list_others(
    windows: Windows, assessments: Sequence[Assessment], scattering: Collection[VoteKey]
) -> Iterator[Assessment]:
    """What those say that raised the level too and were in sight, without a pause, for their longest window."""
    memory = windows.memory
    behind = {k.vote if isinstance(k, RuleKey) else k for k, v in memory.supporters.items() if v >= memory.level > 0}
    followed = {c.id: c for c in windows.site.criteria if c.kind.followed}
    for one in assessments:
        criterion = followed.get(one.criterion)
        if criterion is None or one.key not in behind or one.key in scattering or not (one.heard and one.fresh):
            continue
        spec = windows.site.series(one.station, criterion.quantity)
        from_s = windows.now_s - max([t.window_s or 0.0 for t in criterion.thresholds])
        times = [t for t in windows.track(criterion, one.station).times_s if t > from_s]
        if spec is not None and all(b - a <= spec.max_silence_s for a, b in pairwise([from_s, *times, windows.now_s])):
            yield one
