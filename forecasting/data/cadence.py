"""Which series share a panel, at which step, and how far ahead: one rule for the service and for files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

LIKE: Final = 3.0
"""Intervals on one panel differ by this factor at most: on the grid of another a daily series is mostly gaps."""
NEARLY: Final = 0.95  # of an interval: a horizon of 30 days reaches the next of monthly readings
MOST_STEPS: Final = 4  # of the grid of the service in the shortest horizon
USUAL_HORIZONS_S: Final = (86_400.0, 604_800.0, 2_592_000.0)
READINGS: Final = (1, 3)  # readings ahead that are forecast where no horizon reaches the next one


@dataclass(frozen=True, slots=True)
class Cadence:
    """Series that share a panel."""

    names: tuple[str, ...]  # sorted
    interval_s: float  # of the slowest of them
    horizons_s: tuple[float, ...]  # that make sense for them, rising

    @property
    def step_s(self) -> float:
        """Of the grid that the service lays: a quarter of the shortest horizon where readings come that often.

        Where they do not, it is their own interval, and each row has one reading.

        >>> [Cadence((), interval_s, (86400.0,)).step_s for interval_s in (3600.0, 28800.0, 86400.0)]
        [21600.0, 28800.0, 86400.0]
        """
        return max(self.interval_s, self.horizons_s[0] / MOST_STEPS)


def list_cadences(intervals_s: Mapping[str, float], horizons_s: Sequence[float] = USUAL_HORIZONS_S) -> list[Cadence]:
    """Panels of series by their intervals, the fastest first.

    Series share one where the slowest comes at most three times as seldom as the fastest, and the same horizons make
    sense for them. So a slower series neither coarsens the panel of a faster one nor takes a horizon from it.

    >>> known = {"gnss": 3600.0, "insar": 518400.0, "crack": 604800.0, "total": 7200.0, "daily": 86400.0}
    >>> [one.names for one in list_cadences(known)]
    [('gnss', 'total'), ('daily',), ('crack', 'insar')]
    """
    groups: list[list[str]] = []
    for name in sorted(intervals_s, key=lambda one: (intervals_s[one], one)):
        own, first = intervals_s[name], intervals_s[groups[-1][0]] if groups else 0.0
        if own > LIKE * first or keep_horizons(own, horizons_s) != keep_horizons(first, horizons_s):
            groups.append([])
        groups[-1].append(name)
    slowest = [intervals_s[group[-1]] for group in groups]
    return [
        Cadence(tuple(sorted(group)), interval_s, choose_horizons(interval_s, horizons_s))
        for group, interval_s in zip(groups, slowest, strict=True)
    ]


def keep_horizons(interval_s: float, horizons_s: Sequence[float]) -> tuple[float, ...]:
    """Those that reach the next reading, rising."""
    return tuple(sorted(h for h in horizons_s if h >= NEARLY * interval_s))


def choose_horizons(interval_s: float, horizons_s: Sequence[float] = USUAL_HORIZONS_S) -> tuple[float, ...]:
    """Horizons that make sense for a series; where none reaches its next reading, the next and the third one.

    >>> choose_horizons(3600.0), choose_horizons(950400.0), choose_horizons(3e6)
    ((86400.0, 604800.0, 2592000.0), (2592000.0,), (3000000.0, 9000000.0))
    """
    return keep_horizons(interval_s, horizons_s) or tuple(k * interval_s for k in READINGS)
