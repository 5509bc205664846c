"""Looks for input on which no forecast score means anything: interpolated curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from forecasting.series import DAY_S, Floats, Ints, Panel

_MINIMUM = 40
JUMP_SIGMA = 6.0
GAP_ROWS = 3
SHORT_RECORD = 200


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


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing an audit found at one station.

    Attributes:
        station: Name.
        code: `interpolated_input`, `unexplained_jump`, `gaps` or `short_record`.
        text: One plain sentence.
        refused_horizons: Horizons at which no score may be given, as the command line writes them.
        knot_spacing_s: Distance of the knots of an interpolated curve.
    """

    station: str
    code: str
    text: str
    refused_horizons: tuple[str, ...] = ()
    knot_spacing_s: float | None = None

    @property
    def refuses(self) -> bool:
        """Whether some horizon is refused."""
        return bool(self.refused_horizons)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        days = None if self.knot_spacing_s is None else self.knot_spacing_s / DAY_S
        return {
            "station": self.station,
            "code": self.code,
            "text": self.text,
            "refused_horizons": list(self.refused_horizons),
            "knot_spacing_days": days,
        }


def audit_panel(panel: Panel, horizons_s: Sequence[float]) -> list[Finding]:
    """Everything about a record that a reader of its scores must know, station by station.

    An interpolated curve is refused at every horizon below its knot spacing: there the next measured value is already
    in the curve. Where no spacing is seen every horizon is refused.
    """
    from forecasting.scoring import spell_horizon

    out = []
    for one in interpolated_input(panel):
        # knots a calendar month apart lie 28 to 31 days apart: a month ahead is fair
        spacing = one.knot_spacing_s
        monthly = spacing is not None and 28 * DAY_S <= spacing <= 31 * DAY_S
        least = np.inf if spacing is None else 28 * DAY_S if monthly else spacing
        refused = tuple(spell_horizon(h) for h in horizons_s if h < least)
        text = one.reason.partition(": ")[2].partition(": ")[2]
        if spacing is not None and monthly:
            text = text.rpartition(";")[0] + f"; knots a calendar month apart (28-31 d, median {spacing / DAY_S:.0f} d)"
        out.append(Finding(one.station, "interpolated_input", text, refused, spacing))
    for column, station in enumerate(panel.stations):
        out += _look_at(station, panel.values[:, column], panel)
    return out


def _look_at(station: str, series: Floats, panel: Panel) -> list[Finding]:
    """Jumps, gaps and length of one station."""
    out = []
    seen = np.flatnonzero(np.isfinite(series))
    if seen.size < SHORT_RECORD:
        text = f"{seen.size} observations, networks need {SHORT_RECORD}: simple forecasts only"
        out.append(Finding(station, "short_record", text))
    holes = np.diff(seen) - 1
    if holes.size and holes.max() > GAP_ROWS:
        text = f"{int((holes > GAP_ROWS).sum())} gaps above {GAP_ROWS} intervals, the longest {int(holes.max())}"
        out.append(Finding(station, "gaps", text))
    rows, sizes = jumps(series)
    if rows.size:
        largest = int(np.argmax(np.abs(sizes)))
        at = datetime.fromtimestamp(panel.start_s + panel.step_s * float(rows[largest]), tz=UTC)
        size = f"{sizes[largest]:+.1f} mm at {at:%Y-%m-%d}"
        text = f"{rows.size} lasting jumps above {JUMP_SIGMA:g} sigma, the largest {size}"
        out.append(Finding(station, "unexplained_jump", text))
    return out


def jumps(series: Floats, *, rows: int = 7) -> tuple[Ints, Floats]:
    """Rows at which the level jumps and stays: offsets that no catalogue named, or movement; a person says which.

    The medians of the `rows` values before and after differ by more than 6 sigma of such differences (their median
    absolute deviation), and the step between the two neighbouring values makes up at least half of it.

    Returns:
        Row of the first value after each jump, and its size in mm.
    """
    count = series.size
    if count < 2 * rows + _MINIMUM:
        return np.empty(0, dtype=np.int64), np.empty(0)
    cut = np.lib.stride_tricks.sliding_window_view(series, rows)
    enough = np.isfinite(cut).sum(axis=1) >= (rows + 1) // 2
    middle = np.full(cut.shape[0], np.nan)
    middle[enough] = np.nanmedian(cut[enough], axis=1)
    apart = middle[rows:] - middle[:-rows]
    finite = apart[np.isfinite(apart)]
    if finite.size < _MINIMUM:
        return np.empty(0, dtype=np.int64), np.empty(0)
    centre = float(np.median(finite))
    sigma = 1.4826 * float(np.median(np.abs(finite - centre)))
    if sigma == 0:
        return np.empty(0, dtype=np.int64), np.empty(0)
    at: list[int] = []
    sizes: list[float] = []
    for i in np.argsort(-np.abs(np.where(np.isfinite(apart), apart - centre, 0.0))):
        size = float(apart[i] - centre)
        if abs(size) <= JUMP_SIGMA * sigma:
            break
        row = int(i) + rows
        before, after = series[row - rows : row], series[row : row + rows]
        step = after[np.isfinite(after)][0] - before[np.isfinite(before)][-1]
        if abs(step) >= 0.5 * abs(size) and all(abs(row - other) > rows for other in at):
            at.append(row)
            sizes.append(size)
    order = np.argsort(at)
    return np.array(at, dtype=np.int64)[order], np.array(sizes, dtype=np.float64)[order]


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
