"""The newest acquisitions of satellite points by the ten thousand: all points of a table at once, no loop over points.

What is scored is that of `rules`, to the bit; here its stages are fed a table instead of series.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.detector import train_detector
from detection.anomaly.neighbours import FEWEST_OTHERS
from detection.anomaly.parts import CELLS_AT_ONCE, PARTS, PartScores, StrongestPart
from detection.anomaly.records import RUN_GAP_S, InputError, ThresholdError
from detection.anomaly.registry import USUAL_INCREMENTS
from detection.anomaly.stages import Array, beyond_line, beyond_median, count_steps
from detection.anomaly.windows import Series
from detection.reasons import Reason, explain_error
from slopeward_earth.points.detection.records import (
    AcquisitionCounts,
    PointAlarm,
    PointAlarmRequest,
    PointAlarmResult,
    PointThresholdRequest,
    PointThresholds,
    Thresholds,
)
from slopeward_earth.points.detection.shapes import name_shapes

RULES: Final = "rules"  # the one detector, with the whole budget
FAR: Final = 3.0  # scales: so far a point went with the others
FEWEST_ACQUISITIONS: Final = 60
USUAL_FROM: Final = 75  # of a thousand drawn points; of 60 points 83
MOST: Final = 2000  # alarms of a table, the strongest
BUDGET: Final = 0.001  # false alarms per point and month: of ten thousand points ten a month
Mask = NDArray[np.bool_]


def count_thresholds(request: PointThresholdRequest) -> PointThresholds:
    """Count thresholds on points, as `train_detector` does on the series of a site."""
    values, step_s = request.table.values, request.table.step_s
    if values.shape[1] < FEWEST_ACQUISITIONS:
        return PointThresholds({}, Reason("points.few", {"n": values.shape[1], "needed": FEWEST_ACQUISITIONS}))
    times_s = step_s * np.arange(values.shape[1], dtype=np.float64)
    samples = {f"{row:06}": Series(times_s, one, step_s) for row, one in enumerate(values)}
    try:
        counted = train_detector(RULES, samples, request.budget, 0).thresholds
    except ThresholdError:  # its own words are of sensors and tails
        counts = {"n": values.shape[1], "points": len(values), "needed": USUAL_FROM}
        return PointThresholds({}, Reason("points.unusual", counts))
    except InputError as error:
        return PointThresholds({}, explain_error(error))
    found = {part: one.value for part, one in counted.items()}
    return PointThresholds({RULES: found}, "" if found else Reason("points.no_threshold"))


def find_point_alarms(request: PointAlarmRequest) -> PointAlarmResult:
    """Score a table and say where alarms begin at its new acquisitions."""
    values, step_s = request.table.values, request.table.step_s
    is_new = np.isfinite(values) & (np.arange(values.shape[1]) >= np.asarray(request.since)[:, None])
    if not is_new.any():
        return PointAlarmResult()
    limits = request.thresholds[RULES]
    scored = _score(values, step_s, request.thresholds)
    parts = list(limits)
    over = scored.ratio > 1.0
    alarmed_before = np.zeros_like(over)
    for back in range(1, max(1, round(RUN_GAP_S / step_s)) + 1):
        alarmed_before[:, back:] |= over[:, :-back]
    begins = over & ~alarmed_before
    row, column = np.nonzero(begins & is_new)
    strongest = np.argsort(-scored.ratio[row, column], kind="stable")[:MOST]
    left_out = len(row) - len(strongest)
    row, column = row[strongest], column[strongest]
    kinds, sizes = name_shapes(values[row], column, request.jump_mm)
    alarms = []
    for k, (r, at) in enumerate(zip(row.tolist(), column.tolist(), strict=True)):
        part = parts[scored.which[r, at]]
        kind = PARTS[part].kind if part == "noise" else None
        alarms.append(
            PointAlarm(
                r,
                at,
                RULES,
                part,
                float(scored.ratio[r, at]) * limits[part],
                limits[part],
                kind or kinds[k],
                sizes[k],
                int(scored.others[at]),
            )
        )
    judged = (np.isfinite(scored.ratio) & is_new).any(axis=1)
    goes_on = (over & is_new).any(axis=1) & ~(begins & is_new).any(axis=1)
    return PointAlarmResult(
        tuple(alarms),
        tuple(_share(values, scored.looks, step_s, int(np.asarray(request.since).min()))),
        int(judged.sum()),
        int((is_new.any(axis=1) & ~judged).sum()),
        int(goes_on.sum()),
        left_out,
    )


def compared_with(part: str, step_s: float, others: int) -> Reason:
    """Return what the score of a part was compared with: its own past, and other points if there were any.

    >>> print(compared_with("bend", 518400.0, 3999))
    compared.points: past=(compared.line: n=15), n=3999
    """
    definition = PARTS[part]
    width = count_steps(step_s, definition.days, definition.min_cells)
    if definition.residual is beyond_line:
        past = Reason("compared.line", {"n": width})
    elif part == "noise":
        past = Reason("compared.past", {"past": USUAL_INCREMENTS})
    else:
        past = Reason("compared.median", {"n": width})
    return Reason("compared.points", {"past": past, "n": others}) if others else past


class _Scores:
    """Scores of a table: in thresholds, of which part, and what they were compared with."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.ratio, self.looks = np.full(shape, np.nan), np.full(shape, np.nan)
        self.which = np.zeros(shape, dtype=np.int8)
        self.others = np.zeros(shape[1], dtype=np.int64)


def _score(values: Array, step_s: float, thresholds: Thresholds) -> _Scores:
    rows, columns = values.shape
    limits = thresholds[RULES]
    out = _Scores(values.shape)
    running, strongest = PartScores(rows, step_s, limits), StrongestPart(rows, step_s, limits)
    width = max(1, CELLS_AT_ONCE // rows)
    for first in range(0, columns, width):
        block = slice(first, min(first + width, columns))
        k = block.stop - block.start
        scored = running.feed(values[:, block], first, k)
        out.looks[:, block] = running.level_residuals
        ratio, which = strongest.feed({part: scored[part] for part in limits}, running.stuck, first, k)
        out.ratio[:, block], out.which[:, block] = ratio, which
        others = running.has_residual["level"].sum(axis=0) - 1
        out.others[block] = np.where(others >= FEWEST_OTHERS, others, 0)
    return out


def _share(values: Array, looks: Array, step_s: float, since: int) -> list[AcquisitionCounts]:
    """What all points did at each acquisition from `since` on, and one before: a run may have begun there."""
    width = count_steps(step_s, PARTS["level"].days, PARTS["level"].min_cells)
    padded = np.concatenate([np.full((len(values), width), np.nan), values], axis=1)
    found = []
    for column in range(max(0, since - 1), values.shape[1]):
        z = looks[:, column]
        moved = beyond_median(padded[:, column : column + width + 1], 1, width)[:, 0]
        judged = np.isfinite(z)
        if judged.any():
            up, down = int((z > FAR).sum()), int((z < -FAR).sum())
            found.append(AcquisitionCounts(column, int(judged.sum()), up, down, float(np.median(moved[judged]))))
    return found
