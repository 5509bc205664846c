"""The parts of `rules`: what each measures at a station, and the score of what the neighbours do not explain."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.neighbours import CommonMovement, NeighbourResidual, NeighbourScale
from detection.anomaly.records import LEAST, RUN_GAP_S, STRONGER
from detection.anomaly.stages import (
    DAY_S,
    AbsoluteSize,
    Array,
    Cusum,
    RollingRms,
    ScoringStage,
    SmoothedMean,
    Standardise,
    StuckRuns,
    beyond_last,
    beyond_line,
    beyond_median,
    count_steps,
)
from detection.anomaly.windows import Series

NOISE_DAYS: Final = 8.0
# Cells of a table that are scored at once. A whole record is scored in blocks that fit into memory.
CELLS_AT_ONCE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class DetectorPart:
    """One part of `rules`. Between the residual and the score, the share that the neighbours explain is subtracted.

    Attributes:
        residual: From the cells up to now, the number k of new ones and the width of the window to the residuals of
            the new cells, shape (rows, k).
        days: Length of the window of the residual.
        min_cells: Smallest length of this window, cells.
        make_score: From the number of rows and the interval in seconds to the stage that makes a score of a residual.
        echo_days: How long a disturbance stays in the windows of this part.
        scale_days: Spans of the robust scales that the residual is divided by.
        kind: Kind of an alarm of this part; None: the shape of the residual (`classify_shapes`).
    """

    residual: Callable[[Array, int, int], Array]
    days: float
    min_cells: int
    make_score: Callable[[int, float], ScoringStage]
    echo_days: float
    scale_days: tuple[float, ...] = (90.0, 730.0)
    kind: str | None = None


def _make_rms(rows: int, step_s: float) -> ScoringStage:
    return RollingRms(rows, count_steps(step_s, NOISE_DAYS, at_least=6))


PARTS: Final[Mapping[str, DetectorPart]] = {
    # Distance from the median of 7 days.
    "level": DetectorPart(beyond_median, 7.0, 5, lambda *_: AbsoluteSize(), 7.0, (90.0,)),
    # Distance from the line of 10 days.
    "trend": DetectorPart(beyond_line, 10.0, 8, lambda *_: AbsoluteSize(), 10.0),
    # Smoothed distance from the line of 60 days.
    "drift": DetectorPart(beyond_line, 60.0, 15, lambda rows, _: SmoothedMean(rows), 60.0, kind="drift"),
    # Cumulative sum of the distance from the line of 60 days, to one side.
    "creep": DetectorPart(beyond_line, 60.0, 15, lambda rows, _: Cusum(rows), 60.0, kind="drift"),
    # Smoothed distance from the line of 30 days.
    "bend": DetectorPart(beyond_line, 30.0, 15, lambda rows, _: SmoothedMean(rows), 30.0, kind="drift"),
    # Size of the increments of 8 days.
    "noise": DetectorPart(lambda joined, k, _: beyond_last(joined, k), 0.0, 1, _make_rms, NOISE_DAYS, kind="noise"),
}
# The part whose residual shows that stations move together.
COMMON_PART: Final = "creep"
# The part whose residual distinguishes a spike from a step.
LEVEL_PART: Final = "level"
# A cell before all records.
LONG_AGO: Final = -(10**9)


class PartScores:
    """Scores of parts for the stations of a site, block by block.

    Attributes:
        level_residuals: Residuals of `LEVEL_PART` in the newest block, in their own scale and before the neighbours are
            subtracted; shape (rows, k).
        has_residual: For each part, where the newest block has such a residual.
        moves_together: Where stations of the newest block move together (`CommonMovement`).
        stuck: Where a sensor is stuck in the newest block.
    """

    def __init__(self, rows: int, step_s: float, parts: Collection[str]) -> None:
        self.level_residuals = np.zeros((rows, 0))
        self.has_residual: dict[str, NDArray[np.bool_]] = {}
        self.moves_together = np.zeros((rows, 0), dtype=bool)
        self.stuck = np.zeros((rows, 0), dtype=bool)
        self._common_movement = CommonMovement(rows, step_s)
        wanted = [name for name in PARTS if name in {*parts, LEVEL_PART, COMMON_PART}]
        self._widths = {name: count_steps(step_s, PARTS[name].days, PARTS[name].min_cells) for name in wanted}
        self._reach = max(self._widths.values())
        self._tail = np.full((rows, self._reach), np.nan)
        self._stuck_runs = StuckRuns(rows)
        # Thirty points half a day apart of a fast sensor give a better scale than twenty daily ones.
        at_least = 20 if step_s >= DAY_S else 60
        self._scale = {name: Standardise(rows, step_s, PARTS[name].scale_days) for name in wanted}
        self._neighbours = {name: NeighbourResidual(rows, step_s) for name in wanted}
        self._second_scale = {name: Standardise(rows, step_s, at_least=at_least) for name in wanted}
        self._neighbour_scale = NeighbourScale()
        self._score = {name: PARTS[name].make_score(rows, step_s) for name in wanted}

    def feed(self, new: Array, first: int, keep: int) -> dict[str, Array]:
        """Return the scores of each part, shape (rows, k). The arguments are those of a `ScoringStage`."""
        if not new.shape[1]:
            return dict.fromkeys(self._widths, new)
        k = new.shape[1]
        stuck = self.stuck = self._stuck_runs.feed(new, keep)
        joined = np.concatenate([self._tail, new], axis=1)
        scores = {}
        residuals: dict[object, Array] = {}  # some parts have the same residual
        for name, width in self._widths.items():
            function = PARTS[name].residual
            if (function, width) not in residuals:
                residuals[function, width] = function(joined, k, width)
            scaled = self._scale[name].feed(residuals[function, width], first, keep, stuck)
            self.has_residual[name] = np.isfinite(scaled)
            if name == COMMON_PART:
                self.moves_together = self._common_movement.feed(scaled, first, keep)
            if name == LEVEL_PART:
                self.level_residuals = scaled
            unexplained = self._neighbours[name].feed(scaled, first, keep)
            unexplained = self._second_scale[name].feed(unexplained, first, keep, stuck)
            unexplained = self._neighbour_scale.feed(unexplained, first, keep)
            scores[name] = self._score[name].feed(unexplained, first, keep)
        self._tail = joined[:, keep : keep + self._reach].copy()
        return scores


def score_parts(samples: Mapping[str, Series], parts: Collection[str] | None = None) -> dict[str, dict[str, Array]]:
    """Return the scores by part and station of a whole record.

    Args:
        parts: Names of the parts; all by default.
    """
    wanted = [name for name in PARTS if parts is None or name in parts]
    if not samples or not wanted:
        return {name: {} for name in wanted}
    labels, table, first, places = lay_out(samples)
    scores = PartScores(len(labels), samples[labels[0]].step_s, wanted)
    k = max(1, CELLS_AT_ONCE // len(labels))
    blocks = []
    for begin in range(0, max(1, table.shape[1]), k):
        block = table[:, begin : begin + k]
        blocks.append(scores.feed(block, first + begin, block.shape[1]))
    rows = {part: np.concatenate([block[part] for block in blocks], axis=1) for part in wanted}
    return {
        part: {
            label: row[place : place + len(samples[label].values)]
            for label, row, place in zip(labels, rows_of_part, places, strict=True)
        }
        for part, rows_of_part in rows.items()
    }


def find_alarm_kind(part: str, shape: str, *, moves_together: bool = False) -> str:
    """Return the kind of an alarm: the kind of its part, or the shape of its residual if the part has no kind.

    Args:
        part: The part that gave the score, or the name of a detector without parts.
        shape: Shape of the residual (`classify_shapes`).
        moves_together: Whether the stations move together. Then a drift counts as a movement.

    >>> find_alarm_kind("creep", "unknown"), find_alarm_kind("creep", "unknown", moves_together=True)
    ('drift', 'movement')
    >>> find_alarm_kind("level", "spike", moves_together=True)
    'spike'
    """
    kind = (PARTS[part].kind if part in PARTS else None) or shape
    return "movement" if moves_together and kind == "drift" else kind


class StrongestPart:
    """The largest score of the parts in each cell, without echoes of earlier alarms.

    A step, a burst or a stuck sensor stays in the windows of the parts, for up to 60 days. A score of a part in this
    time is an echo of the same event, unless it is `STRONGER` times its threshold. An alarm that continues is no echo:
    alarms within a week are one alarm. If a sensor is stuck again and again, only the first time causes echoes, until
    the sensor has worked for as long as the longest window. An alarm that a person dismissed causes none (`dismiss`).

    Attributes:
        parts: Names of the parts, in the order of their numbers.
        echoes: In the newest block, the largest score of a part that is an echo and above its threshold, NaN
            elsewhere; shape (rows, k).
        echo_parts: Number of the part of each echo.
    """

    def __init__(
        self, rows: int, step_s: float, thresholds: Mapping[str, float], notified_above: float | None = 1.0
    ) -> None:
        """Start without earlier alarms.

        Args:
            notified_above: People are notified of a score above so many thresholds. Without a notification there is no
                echo. None: no score counts as an echo.
        """
        self.parts = tuple(thresholds)
        self.echoes = np.full((rows, 0), np.nan)
        self.echo_parts = np.zeros((rows, 0), dtype=np.int64)
        self._notified_above = notified_above
        self._limits = np.array([limit or LEAST for limit in thresholds.values()])[:, None, None]
        self._echo_cells = np.array([[count_steps(step_s, PARTS[part].echo_days)] for part in self.parts])
        self._pause = max(1, round(RUN_GAP_S / step_s))
        # The newest cell of each row: of an alarm, of the first of several times that the sensor was stuck, and of all
        # of them.
        self._alarm = np.full(rows, LONG_AGO)
        self._first_stuck = np.full(rows, LONG_AGO)
        self._stuck = np.full(rows, LONG_AGO)
        self.dismiss(np.full(rows, LONG_AGO), np.full(rows, LONG_AGO))

    def dismiss(
        self,
        alarms: NDArray[np.int64],
        stuck: NDArray[np.int64],
        valid_alarms: NDArray[np.int64] | None = None,
        valid_stuck: NDArray[np.int64] | None = None,
    ) -> None:
        """Let alarms and stuck sensors up to a cell of each row cause no echoes.

        Args:
            alarms: The cell of each row, `LONG_AGO` if nothing was dismissed.
            stuck: The same of stuck sensors.
            valid_alarms: The newest alarm up to this cell that nobody dismissed. It causes echoes as before.
            valid_stuck: The same of stuck sensors.
        """
        nothing = np.full(len(alarms), LONG_AGO)
        self._dismissed_alarms, self._dismissed_stuck = alarms, stuck
        self._valid_alarms = nothing if valid_alarms is None else valid_alarms
        self._valid_stuck = nothing if valid_stuck is None else valid_stuck

    def set_notified(self, alarms: NDArray[np.int64]) -> None:
        """Set the newest cell of each row that people were notified of, `LONG_AGO` if there is none."""
        self._alarm = alarms

    def feed(
        self, scored: Mapping[str, Array], stuck: NDArray[np.bool_], first: int, keep: int
    ) -> tuple[Array, NDArray[np.int64]]:
        """Return the largest score in thresholds, NaN where no part has one, and the number of its part; (rows, k).

        Args:
            scored: Scores of each part, shape (rows, k).
            stuck: Where sensors are stuck, shape (rows, k).
            first: Number of the first new cell.
            keep: How many of the cells are final.
        """
        ratios = np.stack([scored[part] for part in self.parts]) / self._limits
        ratios[~np.isfinite(ratios)] = -np.inf
        is_echo = self._find_echoes(ratios, stuck, first, keep)
        echoes = np.where(is_echo, ratios, -np.inf)
        ratios[is_echo] = 0.0
        score = ratios.max(axis=0)
        least = self._notified_above or 1.0
        self.echoes, self.echo_parts = echoes.max(axis=0), echoes.argmax(axis=0)
        self.echoes[(self.echoes <= least) | (score > least)] = np.nan
        return np.where(np.isfinite(score), score, np.nan), ratios.argmax(axis=0)

    def _find_echoes(self, ratios: Array, stuck: NDArray[np.bool_], first: int, keep: int) -> NDArray[np.bool_]:
        is_echo = np.zeros(ratios.shape, dtype=bool)
        if self._notified_above is None:
            return is_echo
        is_over = ratios > 1.0
        alarm, first_stuck, newest_stuck, kept = self._alarm, self._first_stuck, self._stuck, None
        for k in np.flatnonzero((is_over.any(axis=0) | stuck).any(axis=0)).tolist():
            if k >= keep and kept is None:
                kept = alarm, first_stuck, newest_stuck
            cell = first + k
            valid_alarm = np.where(self._valid_alarms < cell, self._valid_alarms, LONG_AGO)
            valid_stuck = np.where(self._valid_stuck < cell, self._valid_stuck, LONG_AGO)
            cause = np.maximum(
                np.where(alarm > self._dismissed_alarms, alarm, valid_alarm),
                np.where(first_stuck > self._dismissed_stuck, first_stuck, valid_stuck),
            )
            echo = is_over[:, :, k] & (cell - cause <= self._echo_cells)
            echo &= (ratios[:, :, k] <= STRONGER) & (cell - alarm > self._pause)
            is_echo[:, :, k] = echo
            is_notified = ((ratios[:, :, k] > self._notified_above) & ~echo).any(axis=0)
            alarm = np.where(is_notified, cell, alarm)
            continues = (
                (first_stuck == newest_stuck)
                & (cell - newest_stuck <= self._pause)
                & (first_stuck > self._dismissed_stuck)
            )
            is_first = continues | (cell - newest_stuck > self._echo_cells.max())
            first_stuck = np.where(stuck[:, k] & is_first, cell, first_stuck)
            newest_stuck = np.where(stuck[:, k], cell, newest_stuck)
        self._alarm, self._first_stuck, self._stuck = kept or (alarm, first_stuck, newest_stuck)
        return is_echo


def lay_out(samples: Mapping[str, Series]) -> tuple[list[str], Array, int, list[int]]:
    """Put all series on the cells of the earliest one.

    Returns:
        The sorted labels, the values of shape (series, cells), the number of the first cell, and the cell in which each
        series begins.
    """
    labels = sorted(samples)
    earliest = min((samples[label] for label in labels), key=lambda series: float(series.times_s[0]))
    begin_s = float(earliest.times_s[0])
    places = [int(np.floor((float(samples[n].times_s[0]) - begin_s) / earliest.step_s + 0.5)) for n in labels]
    length = max(place + len(samples[label].values) for label, place in zip(labels, places, strict=True))
    table = np.full((len(labels), length), np.nan)
    for row, label, place in zip(table, labels, places, strict=True):
        row[place : place + len(samples[label].values)] = samples[label].values
    return labels, table, earliest.first_cell, places
