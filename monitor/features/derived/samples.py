"""Readings of the inputs of calculated series, and which of them represents an instant."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from operator import attrgetter
from typing import Any, Final, Protocol

from monitor.api.readings import INCOMPLETE

Series = tuple[str, str]  # station and quantity


@dataclass(slots=True, eq=False)
class Sample:
    """One reading, in base units; no two are the same."""

    series: Series
    at_s: float
    value: float
    sigma: float | None
    flags: tuple[str, ...] = ()
    is_changed: bool = False  # after it had come


find_at_s: Final = attrgetter("at_s")


class SampleWindow(Protocol):
    """Many readings of one series that a value uses; see `monitor.features.derived.windows.LineWindow`."""

    series: Series
    columns: Any
    picks: Any  # indices of the readings
    slopes: Any  # change of the value per unit of each of them

    @property
    def newest_s(self) -> float:
        """Return the instant of the newest reading."""

    @property
    def is_changed(self) -> bool:
        """Return whether one of the readings was corrected after it had arrived."""

    def list_flags(self) -> set[str]:
        """Return the flags of the readings."""


# By reading how much the value changes with it; of a window the factor by which its slopes are multiplied.
Used = dict[Sample | SampleWindow, float]
Value = tuple[float, Used]


@dataclass(slots=True)
class InputSamples:
    """Readings of the series of an expression, and which of them stands for an instant."""

    by_series: Mapping[Series, Sequence[Sample]]  # by rising instant
    within_s: float  # how far away the nearest may lie
    hold_s: float = 0.0  # instead the last one up to the instant counts, so old at most; 0 = the nearest
    columns: dict[Series, Any] = field(default_factory=dict)  # `SampleColumns`, filled when a window needs them
    # Parameters of total stations by round, filled when a prism is corrected; see `stable_points`.
    estimates: dict[Any, Any] = field(default_factory=dict)
    silences_s: Mapping[Series, float] = field(default_factory=dict)  # how long each series may be silent
    _stale: dict[Sample, Sample] = field(default_factory=dict)

    def find(self, series: Series, at_s: float) -> Sample | None:
        """Return the reading that represents an instant; None if none is near enough.

        A reading that is farther away than its series may be silent has the flag `incomplete`: since then the series
        may have moved, and a value that is computed from it must not count as rest.
        """
        one = self._find_near(series, at_s)
        if one is None or abs(at_s - one.at_s) <= self.silences_s.get(series, inf):
            return one
        if one not in self._stale:
            self._stale[one] = replace(one, flags=(*one.flags, INCOMPLETE))
        return self._stale[one]

    def _find_near(self, series: Series, at_s: float) -> Sample | None:
        rows = self.by_series[series]
        after = bisect_right(rows, at_s, key=find_at_s)
        one = rows[after - 1] if after else None
        if self.hold_s:
            return one if one is not None and at_s - one.at_s <= self.hold_s else None
        if after < len(rows) and (one is None or rows[after].at_s - at_s < at_s - one.at_s):
            one = rows[after]
        return one if one is not None and abs(one.at_s - at_s) <= self.within_s else None
