"""Expected rain as it was known at each row of a panel: archived weather forecasts, never what fell afterwards."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.data.covariates import Covariate
from forecasting.data.series import DAY_S, Floats, Panel
from forecasting.errors import PanelError

_UNIT_S = {"m": 60.0, "h": 3600.0, "d": DAY_S}
_SLACK_S = 1e-3  # instants of rows are sums of floats


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one source said, issue by issue, of the time ahead."""

    name: str  # `station.quantity`
    reach_s: float  # how far each issue looks ahead, seconds
    issued_s: Floats  # instants of issue, epoch seconds, shape (N,), in any order
    known_s: Floats  # when each could be read, not before its issue, shape (N,)
    expected_mm: Floats  # rain expected in the reach after the issue, shape (N,)

    def __post_init__(self) -> None:
        """Refuse issues that cannot be laid on a grid."""
        shapes = {self.issued_s.shape, self.known_s.shape, self.expected_mm.shape}
        if len(shapes) != 1 or self.issued_s.ndim != 1 or not self.reach_s > 0:
            raise PanelError(f"outlook {self.name}: one issue, one instant and one amount each, and a reach above 0")


def find_reach_s(name: str) -> float | None:
    """How far a quantity of a file looks ahead by its name, or None where it is no outlook.

    >>> find_reach_s("R1.rain_next_24h_mm"), find_reach_s("R1.rain_next_3d"), find_reach_s("R1.rain_mm")
    (86400.0, 259200.0, None)
    """
    found = re.search(r"_next_(\d+)([mhd])(?:_|$)", name)
    return None if found is None or int(found[1]) == 0 else int(found[1]) * _UNIT_S[found[2]]


def lay_outlook(outlook: Outlook, panel: Panel) -> Covariate:
    """The newest issue that could be read at each row and whose reach is not over; NaN where there is none.

    Row t rests on no issue that was known after t: what the weather office said later, and the rain that fell, are not
    looked at. An amount below zero or without a value is left out.
    """
    use = np.isfinite(outlook.expected_mm) & (outlook.expected_mm >= 0.0)
    issued, expected = outlook.issued_s[use], outlook.expected_mm[use]
    known = np.maximum(outlook.known_s[use], issued)
    made = np.full(panel.values.shape[0], np.nan)
    if not issued.size:
        return Covariate(outlook.name, "outlook", made)
    by_issue = np.lexsort((known, issued))
    rank = np.empty(issued.size, dtype=np.int64)
    rank[by_issue] = np.arange(issued.size)
    by_known = np.lexsort((rank, known))
    newest = by_issue[np.maximum.accumulate(rank[by_known])]
    times = panel.times_s
    place = np.searchsorted(known[by_known], times + _SLACK_S, side="right") - 1
    spoken = newest[np.maximum(place, 0)]
    valid = (place >= 0) & (issued[spoken] + outlook.reach_s > times + _SLACK_S)
    made[valid] = expected[spoken[valid]]
    return Covariate(outlook.name, "outlook", made)


def outlooks_from_samples(samples: Mapping[str, tuple[Any, Any]]) -> tuple[dict[str, tuple[Any, Any]], list[Outlook]]:
    """Samples of a file parted into what was measured and what was expected, by the names of the quantities.

    A file knows one time per value: that of the issue, at which it counts as known.
    """
    measured, outlooks = {}, []
    for name, (times, values) in samples.items():
        reach_s = find_reach_s(name)
        if reach_s is None:
            measured[name] = (times, values)
            continue
        issued, expected = (np.asarray(part, dtype=np.float64).ravel() for part in (times, values))
        finite = np.isfinite(issued)
        outlooks.append(Outlook(name, reach_s, issued[finite], issued[finite], expected[finite]))
    return measured, outlooks


def lay_outlooks(outlooks: Sequence[Outlook], panel: Panel) -> tuple[Covariate, ...]:
    """Every outlook on the grid of a panel, by name."""
    return tuple(lay_outlook(one, panel) for one in sorted(outlooks, key=lambda o: o.name))
