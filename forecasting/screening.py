"""Looks for input on which no forecast score means anything: interpolated curves."""

from dataclasses import dataclass

import numpy as np

from forecasting.series import DAY_S, Floats, Panel

_MINIMUM = 40


@dataclass(frozen=True, slots=True)
class InterpolatedInput:
    """Why one station's series is taken for an interpolated one.

    Attributes:
        station: Name.
        reason: One plain sentence.
        knot_spacing_s: Median distance of the supposed knots, None where none is seen.
    """

    station: str
    reason: str
    knot_spacing_s: float | None


def interpolated_input(panel: Panel) -> list[InterpolatedInput]:
    """Stations whose curve runs through fewer points than it has samples.

    Two signs, either is enough: the fourth difference is zero (to the rounding of the data) on more than half of the
    interior samples that move at all, or the increments' autocorrelation at lag 1 is above 0.99. A piecewise cubic has
    a zero fourth difference between its knots; real noise never has.
    """
    found = []
    for column, station in enumerate(panel.stations):
        series = panel.values[:, column]
        steps = np.diff(series)
        fourth = np.diff(series, n=4)
        seen = np.isfinite(fourth)
        if seen.sum() < _MINIMUM:
            continue
        tolerance = 8.5 * _resolution(series) + 1e-9
        moves = seen & (np.abs(series[4:] - series[:-4]) > tolerance)
        smooth = seen & (np.abs(fourth) <= tolerance)
        share = float((smooth & moves).sum() / moves.sum()) if moves.sum() >= _MINIMUM else 0.0
        lag_one = _lag_one(steps)
        if share <= 0.5 and not lag_one > 0.99:
            continue
        knots = _knot_spacing(np.flatnonzero(seen & ~smooth))
        spacing = None if knots is None else knots * panel.step_s
        where = "" if spacing is None else f"; knots about every {spacing / DAY_S:.0f} d"
        found.append(
            InterpolatedInput(
                station,
                f"interpolated_input: {station}: fourth difference zero on {share:.0%} of moving samples, "
                f"increment autocorrelation {lag_one:.3f}{where}",
                spacing,
            )
        )
    return found


def _resolution(series: Floats) -> float:
    """The last decimal place the values are written with (0 where they use all of them)."""
    finite = series[np.isfinite(series)]
    for places in range(7):
        if np.allclose(finite, np.round(finite, places), rtol=0.0, atol=1e-9):
            return float(10.0**-places)
    return 0.0


def _lag_one(steps: Floats) -> float:
    pair = np.isfinite(steps[1:]) & np.isfinite(steps[:-1])
    left, right = steps[:-1][pair], steps[1:][pair]
    if left.size < _MINIMUM or left.std() == 0 or right.std() == 0:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])


def _knot_spacing(rough: np.ndarray) -> float | None:
    """Median distance, in rows, between groups of rough samples (a knot touches up to four differences)."""
    if rough.size < 3:
        return None
    starts = rough[np.append(True, np.diff(rough) > 4)]
    return float(np.median(np.diff(starts))) if starts.size >= 3 else None
