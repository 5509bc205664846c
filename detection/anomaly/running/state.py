"""Score the new readings of a site without scoring the earlier ones again."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.kinds import RunningClassification
from detection.anomaly.neighbours import ComparedSeries
from detection.anomaly.parts import LONG_AGO, PartScores, StrongestPart, find_alarm_kind, lay_out
from detection.anomaly.records import ReadingScore
from detection.anomaly.registry import COMPOSITES, describe_comparison
from detection.anomaly.running.suspects import RecentReadings
from detection.anomaly.stages import Array
from detection.anomaly.windows import Series

# Cells that can still get a reading: the newest one, and the one before it for stations that report a little later.
OPEN_CELLS: Final = 2
# Detectors whose scores can be continued without the earlier readings.
INCREMENTAL_DETECTORS: Final = frozenset(COMPOSITES)
# The check that finds stuck sensors.
FLATLINE: Final = "flatline"
CELLS_AT_ONCE: Final = 64
# Readings of all series in one block. Other threads of the service wait no longer than for one block.
READINGS_AT_ONCE: Final = 250_000
Thresholds = Mapping[str, float]
"""Thresholds of a detector by part."""
Dismissed = Mapping[str, tuple[float, float, Mapping[str, float]]]
"""What people dismissed of each series: the times up to which its alarms and its stuck sensor were dismissed (-inf:
none), and by detector its newest alarm up to there that was not dismissed; epoch seconds."""


class DetectorState:
    """What has to be kept of the series of a site between two scorings. Its size does not grow with the record.

    Attributes:
        names: Labels of the series, in the order of rows.
        detectors: Detectors of `INCREMENTAL_DETECTORS` with their thresholds.
    """

    def __init__(
        self,
        samples: Mapping[str, Series],
        detectors: Mapping[str, Thresholds],
        from_s: float,
        notified_above: Mapping[str, float | None] | None = None,
        notified: Mapping[str, Mapping[str, float]] | None = None,
        dismissed: Dismissed | None = None,
    ) -> None:
        """Read a record.

        Args:
            samples: At least one series; all with one interval.
            detectors: Detectors of `INCREMENTAL_DETECTORS` with their thresholds; empty if only checks are used.
            from_s: The first call of `score_new` scores the readings after this time, epoch seconds.
            notified_above: See `StrongestPart`; 1 for detectors that are not named.
            notified: By detector and series, the newest time up to `from_s` that people were notified of. None: the
                readings that would have alarmed.
            dismissed: See `dismiss`.
        """
        self.names, table, first, places = lay_out(samples)
        self.detectors = detectors
        self.step_s = samples[self.names[0]].step_s
        rows = len(self.names)
        self._row_of = {name: row for row, name in enumerate(self.names)}
        times = np.full(table.shape, np.nan)
        for row, name, place in zip(times, self.names, places, strict=True):
            row[place : place + len(samples[name].values)] = samples[name].times_s
        # A reading belongs to the nearest cell. The cells of a series are counted from its first reading.
        self._origin_s = np.array([float(samples[name].times_s[0]) for name in self.names])
        self._origin = first + np.array(places, dtype=np.int64)
        composites = {name: limits for name, limits in detectors.items() if name in COMPOSITES}
        parts = {part for limits in composites.values() for part in limits}
        self._scores = PartScores(rows if detectors else 0, self.step_s, parts)
        notified_above = notified_above or {}
        self._strongest = {
            name: StrongestPart(rows, self.step_s, limits, notified_above.get(name, 1.0))
            for name, limits in composites.items()
        }
        self.dismiss(dismissed or {})
        self._kinds = RunningClassification()
        self._recent = RecentReadings(rows)
        is_new = (times > from_s) & np.isfinite(table)
        columns = np.flatnonzero(is_new.any(axis=0))
        closed = max(0, min(table.shape[1] - OPEN_CELLS, int(columns[0]) if len(columns) else table.shape[1]))
        self._block_size = max(1, min(CELLS_AT_ONCE, READINGS_AT_ONCE // rows))
        for begin in range(0, closed, self._block_size):
            block = slice(begin, min(begin + self._block_size, closed))
            self._close(table[:, block], times[:, block], first + begin)
        if notified is not None:
            for name, strongest in self._strongest.items():
                strongest.set_notified(self._find_cells(notified.get(name, {})))
        self._first = first + closed
        self._values, self._times = table[:, closed:].copy(), times[:, closed:].copy()
        self._touched = is_new[:, closed:].copy()

    def find_open_since_s(self) -> Array:
        """Return for each series the time after which readings belong to open cells, epoch seconds; shape (rows,)."""
        since_s: Array = self._origin_s + (self._first - self._origin - 0.5) * self.step_s
        return since_s

    def add_readings(self, names: Sequence[str], times_s: Sequence[float], values: Sequence[float]) -> int:
        """Put readings into open cells, and return how many readings came after their cell was closed.

        A cell takes its newest reading. Late readings are used when the state is made again from the record.

        Args:
            names: Series of each reading. The readings of a series are in order of time.
            times_s: Times of the readings, epoch seconds.
        """
        rows = np.array([self._row_of[name] for name in names], dtype=np.int64)
        at_s, new = np.array(times_s, dtype=np.float64), np.array(values, dtype=np.float64)
        columns = self._find_cell_numbers(rows, at_s) - self._first
        is_open = columns >= 0
        if columns.max(initial=0) >= self._values.shape[1]:
            self._widen(int(columns.max()) + 1 - self._values.shape[1])
        values_before, times_before = self._values.copy(), self._times.copy()
        self._values[rows[is_open], columns[is_open]] = new[is_open]
        self._times[rows[is_open], columns[is_open]] = at_s[is_open]
        is_changed = (self._values != values_before) | (self._times != times_before)
        self._touched |= np.isfinite(self._times) & is_changed
        return int((~is_open).sum())

    def dismiss(self, dismissed: Dismissed) -> None:
        """Let alarms that people dismissed cause no echoes. This replaces what was dismissed before."""
        alarms = self._find_cells({name: until_s for name, (until_s, _, _) in dismissed.items()})
        stuck = self._find_cells({name: until_s for name, (_, until_s, _) in dismissed.items()})
        valid_stuck = self._find_cells(
            {name: valid[FLATLINE] for name, (_, _, valid) in dismissed.items() if FLATLINE in valid}
        )
        for detector, strongest in self._strongest.items():
            valid = {name: valid[detector] for name, (_, _, valid) in dismissed.items() if detector in valid}
            strongest.dismiss(alarms, stuck, self._find_cells(valid), valid_stuck)

    def _find_cell_numbers(self, rows: NDArray[np.int64], at_s: Array) -> NDArray[np.int64]:
        steps = np.floor((at_s - self._origin_s[rows]) / self.step_s + 0.5)
        cells: NDArray[np.int64] = steps.astype(np.int64) + self._origin[rows]
        return cells

    def _find_cells(self, at_s: Mapping[str, float]) -> NDArray[np.int64]:
        """Return the cell of a time of each row, `LONG_AGO` for rows that are not named."""
        cells = np.full(len(self.names), LONG_AGO)
        times = {self._row_of[name]: at for name, at in at_s.items() if name in self._row_of and np.isfinite(at)}
        rows = np.array(list(times), dtype=np.int64)
        cells[rows] = self._find_cell_numbers(rows, np.array(list(times.values()), dtype=np.float64))
        return cells

    def score_new(self) -> tuple[dict[str, list[ReadingScore]], dict[str, float]]:
        """Score the readings added since the last call, and close the cells that are complete.

        Returns:
            Scores by detector; and the series that checks have to examine, with the time before their new readings.
        """
        scores: dict[str, list[ReadingScore]] = {name: [] for name in self.detectors}
        suspects: dict[str, float] = {}
        if not self._touched.any():
            return scores, suspects
        while True:
            cells = self._values.shape[1]
            is_last = cells <= self._block_size + OPEN_CELLS
            keep = max(0, cells - OPEN_CELLS) if is_last else self._block_size
            self._score_block(cells if is_last else keep, keep, scores, suspects)
            self._first += keep
            self._values, self._times = self._values[:, keep:].copy(), self._times[:, keep:].copy()
            self._touched = self._touched[:, keep:].copy()
            if is_last:
                self._touched[:] = False
                return scores, suspects

    def _score_block(
        self, k: int, keep: int, scores: dict[str, list[ReadingScore]], suspects: dict[str, float]
    ) -> None:
        values, times, touched = self._values[:, :k], self._times[:, :k], self._touched[:, :k]
        for row, at_s in self._recent.find_suspects(values, times, touched, keep).items():
            suspects[self.names[row]] = min(at_s, suspects.get(self.names[row], np.inf))
        if not self.detectors:
            return
        scored = self._scores.feed(values, self._first, keep)
        shapes = self._kinds.feed(self._scores.level_residuals, keep, np.flatnonzero(touched.any(axis=1)))
        for detector in self.detectors:
            strongest = self._strongest[detector]
            largest, numbers = strongest.feed(scored, self._scores.stuck, self._first, keep)
            is_echo = np.isfinite(strongest.echoes)
            largest = np.where(is_echo, strongest.echoes, largest)
            numbers = np.where(is_echo, strongest.echo_parts, numbers)
            compared: dict[tuple[str, int], ComparedSeries] = {}
            for row, cell in np.argwhere(touched & np.isfinite(largest)).tolist():
                name, score, part = self.names[row], float(largest[row, cell]), strongest.parts[numbers[row, cell]]
                moves_together = bool(self._scores.moves_together[row, cell])
                kind = find_alarm_kind(part, shapes[row][cell], moves_together=moves_together)
                if (part, cell) not in compared:
                    compared[part, cell] = ComparedSeries(self.names, self._scores.has_residual[part][:, cell])
                others = compared[part, cell]
                named = others.name(name) if score > 1.0 else ()
                scores[detector].append(
                    ReadingScore(
                        station=name,
                        at_s=float(times[row, cell]),
                        score=score,
                        threshold=1.0,
                        kind=kind,
                        alerted=score > 1.0 and not is_echo[row, cell],
                        compared_with=describe_comparison(detector, kind, others.count(row), named),
                    )
                )

    def _close(self, values: Array, times: Array, first: int) -> None:
        """Read a block of final cells without scoring it."""
        k = values.shape[1]
        self._recent.find_suspects(values, times, np.zeros(values.shape, dtype=bool), k)
        if not self.detectors:
            return
        scored = self._scores.feed(values, first, k)
        for strongest in self._strongest.values():
            strongest.feed(scored, self._scores.stuck, first, k)
        self._kinds.feed(self._scores.level_residuals, k, np.zeros(0, dtype=np.int64))

    def _widen(self, cells: int) -> None:
        rows = len(self.names)
        self._values = np.concatenate([self._values, np.full((rows, cells), np.nan)], axis=1)
        self._times = np.concatenate([self._times, np.full((rows, cells), np.nan)], axis=1)
        self._touched = np.concatenate([self._touched, np.zeros((rows, cells), dtype=bool)], axis=1)
