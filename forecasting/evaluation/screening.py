"""Looks for input on which no forecast score means anything: interpolated curves; and for what spoils a score."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from forecasting.data.series import DAY_S, Floats, Ints, Panel
from forecasting.registry import PRETRAINED, SHORT_RECORD, SHORTEST_RECORD

_MINIMUM = 40
JUMP_SIGMA = 6.0
SPIKE_SIGMA = 20.0
SPIKE_ROWS = 3
GAP_ROWS = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing an audit found at one station."""

    station: str
    # `interpolated_input`, `unexplained_jump`, `spike`, `gaps` or `short_record`; of single rows `no_number`,
    # `doubled_row`, `implausible_value`, `flagged` (`forecasting.evaluation.csv_audit`)
    code: str
    text: str  # one plain sentence
    refused_horizons: tuple[str, ...] = ()  # horizons at which no score may be given, as the command line writes them
    knot_spacing_s: float | None = None  # distance of the knots of an interpolated curve

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


def find_interpolated(panel: Panel, horizons_s: Sequence[float] = ()) -> list[Finding]:
    """Stations whose curve runs through fewer points than it has samples.

    Two signs, either is enough: the fourth difference is zero (to the rounding of the data) on more than half of the
    interior samples that move at all, or the increments' autocorrelation at lag 1 is above 0.99. A piecewise cubic has
    a zero fourth difference between its knots; real noise never has. The curve is refused at every horizon below its
    knot spacing: there the next measured value is already in it. Where no spacing is seen every horizon is refused.
    """
    from forecasting.evaluation.scoring import format_horizon

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
        text = f"fourth difference zero on {share:.0%} of moving samples, increment autocorrelation {lag_one:.3f}"
        least = np.inf
        if spacing is not None:
            # knots a calendar month apart lie 28 to 31 days apart: a month ahead is fair
            monthly, days = 28 * DAY_S <= spacing <= 31 * DAY_S, f"{spacing / DAY_S:.0f} d"
            least = 28 * DAY_S if monthly else spacing
            text += (
                f"; knots a calendar month apart (28-31 d, median {days})" if monthly else f"; knots about every {days}"
            )
        refused = tuple(format_horizon(h) for h in horizons_s if h < least)
        found.append(Finding(station, "interpolated_input", text, refused, spacing))
    return found


def audit_panel(panel: Panel, horizons_s: Sequence[float]) -> list[Finding]:
    """Everything about a record that a reader of its scores must know, station by station."""
    out = find_interpolated(panel, horizons_s)
    for column, station in enumerate(panel.stations):
        series = panel.values[:, column]
        seen = np.flatnonzero(np.isfinite(series))
        if seen.size < SHORT_RECORD:
            text = f"{seen.size} observations, networks need {SHORT_RECORD}: simple forecasts only"
            text += f", or {PRETRAINED[0]}" if seen.size >= SHORTEST_RECORD else ""
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
        lone = spikes(series)
        if lone.size:
            instants = [datetime.fromtimestamp(panel.start_s + panel.step_s * float(row), tz=UTC) for row in lone[:5]]
            examples = [f"{series[row]:g} mm at {at:%Y-%m-%dT%H:%MZ}" for row, at in zip(lone, instants, strict=False)]
            more = f" and {lone.size - 5} more" if lone.size > 5 else ""
            text = f"{lone.size} beyond all {SPIKE_ROWS} values before and after: {', '.join(examples)}{more}"
            out.append(Finding(station, "spike", text))
    return out


def spikes(series: Floats) -> Ints:
    """Rows whose value lies outside the range of the `SPIKE_ROWS` values on either side by more than 20 sigma.

    Sigma is that of the differences of neighbours (their median absolute deviation), at least the last place the
    values are written with. Steps and curves, however steep, are within the range of their neighbours.
    """
    if series.size < _MINIMUM:
        return np.empty(0, dtype=np.int64)
    steps = np.diff(series[np.isfinite(series)])
    if steps.size < _MINIMUM:
        return np.empty(0, dtype=np.int64)
    sigma = max(1.4826 * float(np.median(np.abs(steps - np.median(steps)))), _resolution(series))
    around = np.full((2 * SPIKE_ROWS, series.size), np.nan)
    for k in range(1, SPIKE_ROWS + 1):
        around[k - 1, k:] = series[:-k]
        around[SPIKE_ROWS + k - 1, :-k] = series[k:]
    both = np.isfinite(around[:SPIKE_ROWS]).any(axis=0) & np.isfinite(around[SPIKE_ROWS:]).any(axis=0)
    seen = np.flatnonzero(both & np.isfinite(series))
    if sigma == 0 or not seen.size:
        return np.empty(0, dtype=np.int64)
    low, high = np.nanmin(around[:, seen], axis=0), np.nanmax(around[:, seen], axis=0)
    beyond = np.maximum(series[seen] - high, low - series[seen])
    rows: Ints = seen[beyond > SPIKE_SIGMA * sigma]
    return rows


def jumps(series: Floats, *, rows: int = 7) -> tuple[Ints, Floats]:
    """Rows at which the level jumps and stays: offsets that no catalogue named, or movement; a person says which.

    The medians of the `rows` values before and after differ by more than 6 sigma of such differences (their median
    absolute deviation), and the step between the two neighbouring values makes up at least half of it. Returns the row
    of the first value after each jump, and its size in mm.
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
