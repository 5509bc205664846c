"""Expected rain as it was known at each row of a panel, from archived weather forecasts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.data.covariates import Covariate
from forecasting.data.series import DAY_S, Floats, Panel
from forecasting.errors import PanelError

_UNIT_S = {"m": 60.0, "h": 3600.0, "d": DAY_S}
_ROUNDING_S = 1e-3  # the instants of rows are sums of floats


@dataclass(frozen=True, slots=True)
class Outlook:
    """The weather forecasts of one source.

    Attributes:
        name: `station.quantity`.
        reach_s: Time after the issue in which the rain is expected, seconds.
        issued_s: Instants of issue in any order, epoch seconds, shape (N,).
        known_s: When each issue could be read, epoch seconds, shape (N,).
        expected_mm: Rain expected within the reach, shape (N,).
    """

    name: str
    reach_s: float
    issued_s: Floats
    known_s: Floats
    expected_mm: Floats

    def __post_init__(self) -> None:
        """Raise PanelError if the shapes differ or the reach is not positive."""
        shapes = {self.issued_s.shape, self.known_s.shape, self.expected_mm.shape}
        if len(shapes) != 1 or self.issued_s.ndim != 1 or not self.reach_s > 0:
            raise PanelError(f"outlook {self.name}: one issue, one instant and one amount each, and a reach above 0")


def find_reach_s(name: str) -> float | None:
    """Return how far a quantity looks ahead by its name, seconds; None if it is no expected rain.

    >>> find_reach_s("R1.rain_next_24h_mm"), find_reach_s("R1.rain_next_3d"), find_reach_s("R1.rain_mm")
    (86400.0, 259200.0, None)
    """
    match = re.search(r"_next_(\d+)([mhd])(?:_|$)", name)
    if match is None or int(match[1]) == 0:
        return None
    return int(match[1]) * _UNIT_S[match[2]]


def lay_outlook(outlook: Outlook, panel: Panel) -> Covariate:
    """Return the newest forecast at each row of a panel: the last issue that could be read and whose reach is not over.

    Row t depends on no issue that was known after t, and not on the rain that fell. Negative and missing amounts are
    left out. A row without a forecast is NaN.
    """
    is_usable = np.isfinite(outlook.expected_mm) & (outlook.expected_mm >= 0.0)
    issued_s = outlook.issued_s[is_usable]
    expected_mm = outlook.expected_mm[is_usable]
    known_s = np.maximum(outlook.known_s[is_usable], issued_s)
    values = np.full(panel.values.shape[0], np.nan)
    if not issued_s.size:
        return Covariate(outlook.name, "outlook", values)
    by_issue = np.lexsort((known_s, issued_s))
    rank_by_issue = np.empty(issued_s.size, dtype=np.int64)
    rank_by_issue[by_issue] = np.arange(issued_s.size)
    by_known = np.lexsort((rank_by_issue, known_s))
    # the newest issue among those that are known, in the order in which they became known
    newest = by_issue[np.maximum.accumulate(rank_by_issue[by_known])]
    times_s = panel.times_s + _ROUNDING_S
    known_count = np.searchsorted(known_s[by_known], times_s, side="right")
    issue_of_row = newest[np.maximum(known_count - 1, 0)]
    is_valid = (known_count > 0) & (issued_s[issue_of_row] + outlook.reach_s > times_s)
    values[is_valid] = expected_mm[issue_of_row[is_valid]]
    return Covariate(outlook.name, "outlook", values)


def outlooks_from_samples(samples: Mapping[str, tuple[Any, Any]]) -> tuple[dict[str, tuple[Any, Any]], list[Outlook]]:
    """Separate the samples of a file into measured series and expected rain, by the names of the quantities.

    A file has one time for each value. For expected rain it is the issue, at which the value counts as known.
    """
    measured: dict[str, tuple[Any, Any]] = {}
    outlooks = []
    for name, (times, values) in samples.items():
        reach_s = find_reach_s(name)
        if reach_s is None:
            measured[name] = (times, values)
            continue
        issued_s = np.asarray(times, dtype=np.float64).ravel()
        expected_mm = np.asarray(values, dtype=np.float64).ravel()
        finite = np.isfinite(issued_s)
        outlooks.append(Outlook(name, reach_s, issued_s[finite], issued_s[finite], expected_mm[finite]))
    return measured, outlooks


def lay_outlooks(outlooks: Sequence[Outlook], panel: Panel) -> tuple[Covariate, ...]:
    """Return every outlook on the grid of a panel, by name."""
    return tuple(lay_outlook(outlook, panel) for outlook in sorted(outlooks, key=lambda outlook: outlook.name))
