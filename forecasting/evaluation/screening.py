"""Find properties of a record that make scores of forecasts meaningless (interpolated curves) or doubtful."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from forecasting.data.series import DAY_S, Floats, Ints, Panel
from forecasting.registry import PRETRAINED, SHORT_RECORD, SHORTEST_RECORD

# Values that a test needs.
_MINIMUM = 40
# Smallest jump and spike, in standard deviations.
JUMP_SIGMA = 6.0
SPIKE_SIGMA = 20.0
# Values on either side with which a spike is compared.
SPIKE_ROWS = 3
# Longest gap that is not reported, in rows.
GAP_ROWS = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding of an audit about one station.

    Attributes:
        station: Name of the station.
        code: `interpolated_input`, `unexplained_jump`, `spike`, `gaps` or `short_record`; about single rows
            `no_number`, `doubled_row`, `implausible_value` or `flagged` (`forecasting.evaluation.csv_audit`).
        text: The finding as a sentence.
        refused_horizons: Horizons that must not be scored, as the command line writes them.
        knot_spacing_s: Distance between the knots of an interpolated curve.
    """

    station: str
    code: str
    text: str
    refused_horizons: tuple[str, ...] = ()
    knot_spacing_s: float | None = None

    @property
    def refuses(self) -> bool:
        """Whether a horizon must not be scored."""
        return bool(self.refused_horizons)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        days = None if self.knot_spacing_s is None else self.knot_spacing_s / DAY_S
        return {
            "station": self.station,
            "code": self.code,
            "text": self.text,
            "refused_horizons": list(self.refused_horizons),
            "knot_spacing_days": days,
        }


def find_interpolated(panel: Panel, horizons_s: Sequence[float] = ()) -> list[Finding]:
    """Find stations whose series is a curve through fewer points than it has samples.

    Either of two signs suffices: the fourth difference is zero (within the rounding of the data) at more than half of
    the samples that move, or the autocorrelation of the increments at lag 1 is above 0.99. A piecewise cubic has a
    fourth difference of zero between its knots, and measured values do not. Horizons shorter than the distance between
    the knots are refused, because the curve contains the next measured value already. If the distance is not known, all
    horizons are refused.
    """
    from forecasting.evaluation.scoring import format_horizon

    findings = []
    for column, station in enumerate(panel.stations):
        series = panel.values[:, column]
        fourth = np.diff(series, n=4)
        is_known = np.isfinite(fourth)
        if is_known.sum() < _MINIMUM:
            continue
        tolerance = 8.5 * _find_resolution(series) + 1e-9
        is_moving = is_known & (np.abs(series[4:] - series[:-4]) > tolerance)
        is_smooth = is_known & (np.abs(fourth) <= tolerance)
        moving_count = is_moving.sum()
        share = float((is_smooth & is_moving).sum() / moving_count) if moving_count >= _MINIMUM else 0.0
        autocorrelation = _correlate_neighbours(np.diff(series))
        if share <= 0.5 and not autocorrelation > 0.99:
            continue
        spacing_rows = _find_knot_spacing(np.flatnonzero(is_known & ~is_smooth))
        spacing_s = None if spacing_rows is None else spacing_rows * panel.step_s
        text = (
            f"fourth difference zero on {share:.0%} of moving samples, increment autocorrelation {autocorrelation:.3f}"
        )
        shortest_s = np.inf
        if spacing_s is not None:
            days = f"{spacing_s / DAY_S:.0f} d"
            if 28 * DAY_S <= spacing_s <= 31 * DAY_S:
                # the knots are calendar months, so a horizon of 28 days reaches the next one at times
                shortest_s = 28 * DAY_S
                text += f"; knots a calendar month apart (28-31 d, median {days})"
            else:
                shortest_s = spacing_s
                text += f"; knots about every {days}"
        refused = tuple(format_horizon(h) for h in horizons_s if h < shortest_s)
        findings.append(Finding(station, "interpolated_input", text, refused, spacing_s))
    return findings


def audit_panel(panel: Panel, horizons_s: Sequence[float]) -> list[Finding]:
    """Return all findings about a record, station by station."""
    findings = find_interpolated(panel, horizons_s)
    for column, station in enumerate(panel.stations):
        series = panel.values[:, column]
        observed = np.flatnonzero(np.isfinite(series))
        if observed.size < SHORT_RECORD:
            text = f"{observed.size} observations, networks need {SHORT_RECORD}: simple forecasts only"
            text += f", or {PRETRAINED[0]}" if observed.size >= SHORTEST_RECORD else ""
            findings.append(Finding(station, "short_record", text))
        gaps = np.diff(observed) - 1
        if gaps.size and gaps.max() > GAP_ROWS:
            text = f"{int((gaps > GAP_ROWS).sum())} gaps above {GAP_ROWS} intervals, the longest {int(gaps.max())}"
            findings.append(Finding(station, "gaps", text))
        rows, sizes = jumps(series)
        if rows.size:
            largest = int(np.argmax(np.abs(sizes)))
            instant = datetime.fromtimestamp(panel.start_s + panel.step_s * float(rows[largest]), tz=UTC)
            size = f"{sizes[largest]:+.1f} mm at {instant:%Y-%m-%d}"
            text = f"{rows.size} lasting jumps above {JUMP_SIGMA:g} sigma, the largest {size}"
            findings.append(Finding(station, "unexplained_jump", text))
        spike_rows = spikes(series)
        if spike_rows.size:
            examples = []
            for row in spike_rows[:5]:
                instant = datetime.fromtimestamp(panel.start_s + panel.step_s * float(row), tz=UTC)
                examples.append(f"{series[row]:g} mm at {instant:%Y-%m-%dT%H:%MZ}")
            more = f" and {spike_rows.size - 5} more" if spike_rows.size > 5 else ""
            text = f"{spike_rows.size} beyond all {SPIKE_ROWS} values before and after: {', '.join(examples)}{more}"
            findings.append(Finding(station, "spike", text))
    return findings


def spikes(series: Floats) -> Ints:
    """Return the rows whose value is outside the range of the `SPIKE_ROWS` values on either side by more than 20 sigma.

    Sigma is that of increments (by their median absolute deviation), and at least the resolution of the values. Steps
    and steep curves are within the range of their neighbours.
    """
    if series.size < _MINIMUM:
        return np.empty(0, dtype=np.int64)
    steps = np.diff(series[np.isfinite(series)])
    if steps.size < _MINIMUM:
        return np.empty(0, dtype=np.int64)
    sigma = max(1.4826 * float(np.median(np.abs(steps - np.median(steps)))), _find_resolution(series))
    neighbours = np.full((2 * SPIKE_ROWS, series.size), np.nan)
    for distance in range(1, SPIKE_ROWS + 1):
        neighbours[distance - 1, distance:] = series[:-distance]
        neighbours[SPIKE_ROWS + distance - 1, :-distance] = series[distance:]
    is_known = np.isfinite(neighbours)
    has_both_sides = is_known[:SPIKE_ROWS].any(axis=0) & is_known[SPIKE_ROWS:].any(axis=0)
    candidates = np.flatnonzero(has_both_sides & np.isfinite(series))
    if sigma == 0 or not candidates.size:
        return np.empty(0, dtype=np.int64)
    low = np.nanmin(neighbours[:, candidates], axis=0)
    high = np.nanmax(neighbours[:, candidates], axis=0)
    distance_outside = np.maximum(series[candidates] - high, low - series[candidates])
    rows: Ints = candidates[distance_outside > SPIKE_SIGMA * sigma]
    return rows


def jumps(series: Floats, *, rows: int = 7) -> tuple[Ints, Floats]:
    """Return the rows at which the level jumps and stays, and the sizes in mm.

    Such a jump is an offset of the instrument that no catalogue lists, or movement. The medians of the `rows` values
    before and after differ by more than 6 sigma of such differences (by their median absolute deviation), and the step
    between the two neighbouring values is at least half of it. The row is that of the first value after the jump.
    """
    count = series.size
    if count < 2 * rows + _MINIMUM:
        return np.empty(0, dtype=np.int64), np.empty(0)
    windows = np.lib.stride_tricks.sliding_window_view(series, rows)
    has_median = np.isfinite(windows).sum(axis=1) >= (rows + 1) // 2
    medians = np.full(windows.shape[0], np.nan)
    medians[has_median] = np.nanmedian(windows[has_median], axis=1)
    differences = medians[rows:] - medians[:-rows]
    finite = differences[np.isfinite(differences)]
    if finite.size < _MINIMUM:
        return np.empty(0, dtype=np.int64), np.empty(0)
    centre = float(np.median(finite))
    sigma = 1.4826 * float(np.median(np.abs(finite - centre)))
    if sigma == 0:
        return np.empty(0, dtype=np.int64), np.empty(0)
    jump_rows: list[int] = []
    sizes: list[float] = []
    for i in np.argsort(-np.abs(np.where(np.isfinite(differences), differences - centre, 0.0))):
        size = float(differences[i] - centre)
        if abs(size) <= JUMP_SIGMA * sigma:
            break
        row = int(i) + rows
        before = series[row - rows : row]
        after = series[row : row + rows]
        step = after[np.isfinite(after)][0] - before[np.isfinite(before)][-1]
        if abs(step) >= 0.5 * abs(size) and all(abs(row - other) > rows for other in jump_rows):
            jump_rows.append(row)
            sizes.append(size)
    order = np.argsort(jump_rows)
    return np.array(jump_rows, dtype=np.int64)[order], np.array(sizes, dtype=np.float64)[order]


def _find_resolution(series: Floats) -> float:
    """Return the last decimal place of the values; 0 if they have more than six places."""
    finite = series[np.isfinite(series)]
    for places in range(7):
        if np.allclose(finite, np.round(finite, places), rtol=0.0, atol=1e-9):
            return float(10.0**-places)
    return 0.0


def _correlate_neighbours(increments: Floats) -> float:
    """Return the autocorrelation at lag 1; 0 if there are too few values, or they are constant."""
    is_pair = np.isfinite(increments[1:]) & np.isfinite(increments[:-1])
    left = increments[:-1][is_pair]
    right = increments[1:][is_pair]
    if left.size < _MINIMUM or left.std() == 0 or right.std() == 0:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])


def _find_knot_spacing(rough_rows: np.ndarray) -> float | None:
    """Return the median distance between groups of rough samples in rows; a knot affects up to four differences."""
    if rough_rows.size < 3:
        return None
    starts = rough_rows[np.append(True, np.diff(rough_rows) > 4)]
    return float(np.median(np.diff(starts))) if starts.size >= 3 else None
