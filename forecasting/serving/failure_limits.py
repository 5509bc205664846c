"""Stations that accelerate towards failure: how far ahead they can be forecast, and what their failure window predicts.

No target after the late edge of a trusted failure window is forecast. Up to that edge the failure window gives the
combination a further expert, the displacement that it predicts (`forecasting.kinematics.extrapolation`), and the
interval of the combination is at least as wide as that of this expert. It exists only while a window does, because the
failure methods take most of the time of an issue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final

import numpy as np

from forecasting.data.series import Floats, Ints, Panel
from forecasting.kinematics.extrapolation import extrapolate, is_boundless, measure_grid_noise
from forecasting.kinematics.failure import FailureIssue, FailureSpec, Watch
from forecasting.reasons import Reason
from forecasting.serving.experience import PAST_ROWS, Experience

LOOK_BACK_ROWS: Final = 24
"""Newest rows that are searched for an earlier failure window, and that give the direction of the motion."""
SCORED_ROWS: Final = 48
"""Newest rows at which the forecast of the failure window is made, so that its past errors give it a weight."""
NEAR_LIMIT: Final = 0.5  # a motion whose novelty is below this share of the limit has no failure window


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """The failure window of one station now.

    A trusted window of one of the newest rows that has passed, while the motion is still unusual and has not slowed
    down, gives its late edge as `latest_s` with `is_expected=False`: every target is withheld, although no window
    exists now.
    """

    is_expected: bool = False  # whether a failure window exists now, trusted or not
    # late edge of the window if it is trusted, epoch seconds; targets after it are withheld. Infinite without one
    latest_s: float = inf
    is_boundless: bool = False  # whether readings are too large to compute with
    # fans predicted at the newest rows in the unit of the panel, shape (T, H, 5), NaN elsewhere; None: no window
    fans: Floats | None = None

    def refuse(self, horizon_s: float, target_s: float, end_s: float) -> Reason | None:
        """Return why a target cannot be forecast; None if it can.

        Args:
            horizon_s: Horizon in seconds.
            target_s: Instant of the target, epoch seconds.
            end_s: Moment of issue, epoch seconds.
        """
        if self.latest_s <= end_s:
            return Reason("forecast.window_passed")
        if target_s > self.latest_s:
            return Reason("forecast.window_ends", {"horizon": horizon_s})
        return None


def find_failure_limits(
    panel: Panel,
    steps: Sequence[int],
    experiences: Sequence[Experience],
    window_ends: Mapping[str, float] | None = None,
) -> dict[str, FailureLimit]:
    """Return the failure limit of each station, by the window in the panel or by that of the caller, the earlier one.

    Args:
        panel: The record up to the moment of issue.
        steps: Horizons in rows.
        experiences: How unusual the present motion of each station is, in the order of the panel. A station that moves
            as usual is not examined.
        window_ends: Late edge of the failure window that the caller has found at a station, epoch seconds; infinite if
            that window is not trusted. A station without a window is absent. A coarse grid may not show the
            acceleration between its rows, so that the caller can know of a window that the panel does not show.
    """
    limits: dict[str, FailureLimit] = {}
    for name, values, experience in zip(panel.stations, panel.values.T, experiences, strict=True):
        limit = _find_limit(panel, values, steps, experience)
        latest_s = (window_ends or {}).get(name)
        if latest_s is not None:
            limit = replace(limit, is_expected=True, latest_s=min(limit.latest_s, latest_s))
        limits[name] = limit
    return limits


def join_failure_fans(panel: Panel, steps: Sequence[int], limits: dict[str, FailureLimit]) -> Floats | None:
    """Return the fans of all failure windows, shape (T, S, H, 5), NaN elsewhere; None if no station has a window."""
    if all(limit.fans is None for limit in limits.values()):
        return None
    joined = np.full((*panel.values.shape, len(steps), 5), np.nan)
    for column, name in enumerate(panel.stations):
        fans = limits[name].fans
        if fans is not None:
            joined[:, column] = fans
    return joined


def _find_limit(panel: Panel, values: Floats, steps: Sequence[int], experience: Experience) -> FailureLimit:
    if is_boundless(values[np.isfinite(values)]):
        return FailureLimit(is_boundless=True)
    observed = np.flatnonzero(np.isfinite(values))[-PAST_ROWS:]
    is_usual = experience.novelty is not None and experience.novelty < NEAR_LIMIT
    # only displacement leads to a failure
    if observed.size < 2 or is_usual or panel.unit != "mm":
        return FailureLimit()
    moved = values[observed[-1]] - values[observed[max(0, observed.size - LOOK_BACK_ROWS)]]
    times_s = (panel.start_s + panel.step_s * observed).tolist()
    displacement = (values[observed] * (1.0 if moved >= 0.0 else -1.0)).tolist()
    watch = Watch(times_s, displacement, [0.0] * len(times_s), FailureSpec(panel.step_s, measure_grid_noise(values)))
    newest = watch.issue(len(times_s) - 1)
    if newest.to_s is not None:
        fans = _forecast_windows(panel, values, steps, observed, watch)
        return FailureLimit(is_expected=True, latest_s=newest.to_s if newest.trusted else inf, fans=fans)
    if experience.reason is None or newest.slowed:
        return FailureLimit()
    for rows_back in range(1, min(LOOK_BACK_ROWS, len(times_s))):
        earlier = watch.issue(len(times_s) - 1 - rows_back)
        if earlier.slowed:
            break  # the motion ended, and the earlier window with it
        if earlier.to_s is not None and earlier.trusted:
            # an earlier window counts only after its late edge: until then the newest assessment counts
            return FailureLimit(latest_s=earlier.to_s if earlier.to_s <= panel.end_s else inf)
    return FailureLimit()


def _forecast_windows(panel: Panel, values: Floats, steps: Sequence[int], observed: Ints, watch: Watch) -> Floats:
    """Return the fans that the failure window of each of the newest rows predicts, shape (T, H, 5)."""
    fans = np.full((values.size, len(steps), 5), np.nan)
    for position in range(max(0, observed.size - SCORED_ROWS), observed.size):
        issue = watch.issue(position)
        if issue.to_s is None:
            continue
        row = int(observed[position])
        window = count_rows_ahead(panel, issue, row)
        fans[row] = extrapolate(values[max(0, row + 1 - PAST_ROWS) : row + 1], steps, window)
    return fans


def count_rows_ahead(panel: Panel, issue: FailureIssue, row: int) -> tuple[float, float, float]:
    """Return early edge, middle and late edge of a failure window in rows after a row."""
    row_s = panel.start_s + panel.step_s * row
    edges_s = (issue.from_s, issue.mid_s, issue.to_s)
    early, middle, late = (((edge_s or 0.0) - row_s) / panel.step_s for edge_s in edges_s)
    return early, middle, late
