"""Which series share a panel, on which grid, and how far they are forecast. The service and files use the same rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

# Largest ratio of the intervals on one panel. On the grid of a much faster series, a daily series is mostly gaps.
LIKE: Final = 3.0
# A horizon reaches the next reading if it is at least this share of the interval: 30 days for monthly readings.
NEARLY: Final = 0.95
# Steps of the grid of the service in the shortest horizon, at most.
MOST_STEPS: Final = 4
USUAL_HORIZONS_S: Final = (86_400.0, 604_800.0, 2_592_000.0)
# Readings ahead that are forecast if no horizon reaches the next reading.
READINGS: Final = (1, 3)


@dataclass(frozen=True, slots=True)
class Cadence:
    """Series that share a panel."""

    names: tuple[str, ...]  # sorted
    interval_s: float  # of the slowest series
    horizons_s: tuple[float, ...]  # that reach the next reading, ascending

    @property
    def step_s(self) -> float:
        """The step of the grid of the service: a quarter of the shortest horizon, but at least the interval.

        >>> [Cadence((), interval_s, (86400.0,)).step_s for interval_s in (3600.0, 28800.0, 86400.0)]
        [21600.0, 28800.0, 86400.0]
        """
        return max(self.interval_s, self.horizons_s[0] / MOST_STEPS)


def list_cadences(intervals_s: Mapping[str, float], horizons_s: Sequence[float] = USUAL_HORIZONS_S) -> list[Cadence]:
    """Return which series share a panel, the fastest first.

    Series share a panel if the interval of the slowest is at most three times that of the fastest, and the same
    horizons reach their next readings. A slower series therefore neither coarsens the panel of a faster series nor
    removes a horizon.

    >>> intervals_s = {"gnss": 3600.0, "insar": 518400.0, "crack": 604800.0, "total": 7200.0, "daily": 86400.0}
    >>> [cadence.names for cadence in list_cadences(intervals_s)]
    [('gnss', 'total'), ('daily',), ('crack', 'insar')]
    """
    groups: list[list[str]] = []
    for name in sorted(intervals_s, key=lambda series: (intervals_s[series], series)):
        interval_s = intervals_s[name]
        fastest_s = intervals_s[groups[-1][0]] if groups else 0.0
        has_other_horizons = keep_horizons(interval_s, horizons_s) != keep_horizons(fastest_s, horizons_s)
        if interval_s > LIKE * fastest_s or has_other_horizons:
            groups.append([])
        groups[-1].append(name)
    cadences = []
    for group in groups:
        slowest_s = intervals_s[group[-1]]
        cadences.append(Cadence(tuple(sorted(group)), slowest_s, choose_horizons(slowest_s, horizons_s)))
    return cadences


def keep_horizons(interval_s: float, horizons_s: Sequence[float]) -> tuple[float, ...]:
    """Return the horizons that reach the next reading, ascending."""
    return tuple(sorted(h for h in horizons_s if h >= NEARLY * interval_s))


def choose_horizons(interval_s: float, horizons_s: Sequence[float] = USUAL_HORIZONS_S) -> tuple[float, ...]:
    """Return the horizons of a series, seconds; if none reaches its next reading, the next and the third reading.

    >>> choose_horizons(3600.0), choose_horizons(950400.0), choose_horizons(3e6)
    ((86400.0, 604800.0, 2592000.0), (2592000.0,), (3000000.0, 9000000.0))
    """
    return keep_horizons(interval_s, horizons_s) or tuple(k * interval_s for k in READINGS)
