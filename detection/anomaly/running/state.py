"""The running state of a site: what was read is scored once, and a cycle looks at what is new and at nothing else."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.kinds import RunningClassification
from detection.anomaly.neighbours import ComparedSeries
from detection.anomaly.parts import LONG_AGO, PartScores, StrongestPart, call, lay_out
from detection.anomaly.records import ReadingScore
from detection.anomaly.registry import COMPOSITES, compared_with
from detection.anomaly.running.suspects import RecentReadings
from detection.anomaly.stages import Array
from detection.anomaly.windows import Series

# Cells that may still be filled: the newest, and the one before for stations that report a little later.
OPEN_CELLS: Final = 2
# Detectors that a running state scores; `persistence-z` is what `rules` begin with.
RUNNING: Final = frozenset({*COMPOSITES, "persistence-z"})
FLATLINE: Final = "flatline"  # the check that reports stuck stretches
CELLS_AT_ONCE: Final = 64
READINGS_AT_ONCE: Final = 250_000  # of all series: no other thread of the core waits longer than for one block
Thresholds = Mapping[str, float]  # of each part, or of the detector itself
# by series: the instants up to which its alarms, and its stuck stretches, were dismissed, -inf: none; and by detector
# the newest alarm up to there that was not
Dismissed = Mapping[str, tuple[float, float, Mapping[str, float]]]


class DetectorState:
    """What is kept of the series of a site between two cycles; its size does not grow with the record.

    Attributes:
        names: series, in the order of rows.
        detectors: those of RUNNING that are wanted, with their thresholds.
    """

    def __init__(
        self,
        samples: Mapping[str, Series],
        detectors: Mapping[str, Thresholds],
        from_s: float,
        shown_above: Mapping[str, float | None] | None = None,
        notified: Mapping[str, Mapping[str, float]] | None = None,
        dismissed: Dismissed | None = None,
    ) -> None:
        """Take in a record.

        Args:
            samples: at least one series; all on one interval.
            detectors: those of RUNNING that are wanted, with their thresholds; without any, only checks look.
            from_s: readings after it are scored by the first `score`, those before are taken as known.
            shown_above: of each detector, see `StrongestPart`; 1 where nothing is said.
            notified: of each detector and series, the newest instant up to `from_s` that people were notified of. None:
                what would have alarmed.
            dismissed: see `forgive`.
        """
        self.names, table, first, places = lay_out(samples)
        self.detectors = detectors
        self.step_s = samples[self.names[0]].step_s
        rows = len(self.names)
        self._row_of = {name: row for row, name in enumerate(self.names)}
        times = np.full(table.shape, np.nan)
        for row, name, place in zip(times, self.names, places, strict=True):
            row[place : place + len(samples[name].values)] = samples[name].times_s
        # a reading is laid on the cell nearest to it, counted from the first reading of its series
        self._origin_s = np.array([float(samples[name].times_s[0]) for name in self.names])
        self._origin = first + np.array(places, dtype=np.int64)
        of_parts = {name: limits for name, limits in detectors.items() if name in COMPOSITES}
        scored = rows if detectors else 0
        self._scores = PartScores(scored, self.step_s, {part for limits in of_parts.values() for part in limits})
        above = shown_above or {}
        self._strongest = {
            name: StrongestPart(rows, self.step_s, limits, above.get(name, 1.0)) for name, limits in of_parts.items()
        }
        self.forgive(dismissed or {})
        self._kinds = RunningClassification()
        self._recent = RecentReadings(rows)
        fresh = (times > from_s) & np.isfinite(table)
        columns = np.flatnonzero(fresh.any(axis=0))
        closed = max(0, min(table.shape[1] - OPEN_CELLS, int(columns[0]) if len(columns) else table.shape[1]))
        self._at_once = max(1, min(CELLS_AT_ONCE, READINGS_AT_ONCE // rows))
        for begin in range(0, closed, self._at_once):
            part = slice(begin, min(begin + self._at_once, closed))
            self._close(table[:, part], times[:, part], first + begin)
        for name, one in self._strongest.items() if notified is not None else ():
            one.remember(self._find_cells((notified or {}).get(name, {})))
        self._first = first + closed
        self._values, self._times = table[:, closed:].copy(), times[:, closed:].copy()
        self._touched = fresh[:, closed:].copy()

    def open_from_s(self) -> Array:
        """Per series the instant after which readings may still come into a cell that is open; shape (rows,)."""
        since: Array = self._origin_s + (self._first - self._origin - 0.5) * self.step_s
        return since

    def add(self, names: Sequence[str], times_s: Sequence[float], values: Sequence[float]) -> int:
        """Lay readings of some series, of each in order of time, into open cells; returns how many came too late.

        A cell takes its newest reading. Those too late are taken in when the state is made anew.
        """
        rows = np.array([self._row_of[name] for name in names], dtype=np.int64)
        at_s, new = np.array(times_s, dtype=np.float64), np.array(values, dtype=np.float64)
        columns = self._lay(rows, at_s) - self._first
        fits = columns >= 0
        if columns.max(initial=0) >= self._values.shape[1]:
            self._widen(int(columns.max()) + 1 - self._values.shape[1])
        before = self._values.copy(), self._times.copy()
        self._values[rows[fits], columns[fits]], self._times[rows[fits], columns[fits]] = new[fits], at_s[fits]
        self._touched |= np.isfinite(self._times) & ((self._values != before[0]) | (self._times != before[1]))
        return int((~fits).sum())

    def forgive(self, dismissed: Dismissed) -> None:
        """Hold nothing back for what people dismissed; what is not named holds something back again."""
        alarms = self._find_cells({name: until for name, (until, _, _) in dismissed.items()})
        stuck = self._find_cells({name: until for name, (_, until, _) in dismissed.items()})
        still = self._find_cells({name: at[FLATLINE] for name, (_, _, at) in dismissed.items() if FLATLINE in at})
        for detector, one in self._strongest.items():
            standing = {name: at[detector] for name, (_, _, at) in dismissed.items() if detector in at}
            one.forgive(alarms, stuck, self._find_cells(standing), still)

    def _lay(self, rows: NDArray[np.int64], at_s: Array) -> NDArray[np.int64]:
        steps = np.floor((at_s - self._origin_s[rows]) / self.step_s + 0.5)
        cells: NDArray[np.int64] = steps.astype(np.int64) + self._origin[rows]
        return cells

    def _find_cells(self, at_s: Mapping[str, float]) -> NDArray[np.int64]:
        cells = np.full(len(self.names), LONG_AGO)
        known = {self._row_of[name]: at for name, at in at_s.items() if name in self._row_of and np.isfinite(at)}
        rows = np.array(list(known), dtype=np.int64)
        cells[rows] = self._lay(rows, np.array(list(known.values()), dtype=np.float64))
        return cells

    def score(self) -> tuple[dict[str, list[ReadingScore]], dict[str, float]]:
        """Score what was added since the last call, and close the cells that are complete.

        Returns:
            Scores by detector; and the series that a check would look at, with the instant before their new readings.
        """
        found: dict[str, list[ReadingScore]] = {name: [] for name in self.detectors}
        suspects: dict[str, float] = {}
        if not self._touched.any():
            return found, suspects
        while True:
            cells = self._values.shape[1]
            is_last = cells <= self._at_once + OPEN_CELLS
            keep = max(0, cells - OPEN_CELLS) if is_last else self._at_once
            self._score_block(cells if is_last else keep, keep, found, suspects)
            self._first += keep
            self._values, self._times = self._values[:, keep:].copy(), self._times[:, keep:].copy()
            self._touched = self._touched[:, keep:].copy()
            if is_last:
                self._touched[:] = False
                return found, suspects

    def _score_block(self, k: int, keep: int, found: dict[str, list[ReadingScore]], suspects: dict[str, float]) -> None:
        values, times, touched = self._values[:, :k], self._times[:, :k], self._touched[:, :k]
        for row, at_s in self._recent.find_suspects(values, times, touched, keep).items():
            suspects[self.names[row]] = min(at_s, suspects.get(self.names[row], np.inf))
        if not self.detectors:
            return
        scored = self._scores.feed(values, self._first, keep)
        looks = self._kinds.feed(self._scores.looks, keep, np.flatnonzero(touched.any(axis=1)))
        for detector, thresholds in self.detectors.items():
            if detector in COMPOSITES:
                parts: Sequence[str] = self._strongest[detector].parts
                of_parts = self._strongest[detector]
                strongest, which = of_parts.feed(scored, self._scores.stuck, self._first, keep)
                echoes, limit = np.isfinite(of_parts.held), 1.0
                strongest = np.where(echoes, of_parts.held, strongest)
                which = np.where(echoes, of_parts.held_by, which)
            else:
                parts, strongest, which = (), np.abs(self._scores.looks), None
                echoes, limit = np.zeros(strongest.shape, dtype=bool), thresholds[detector]
            others: dict[tuple[str, int], ComparedSeries] = {}
            for row, cell in np.argwhere(touched & np.isfinite(strongest)).tolist():
                kind, name, score = looks[row][cell], self.names[row], float(strongest[row, cell])
                against: tuple[int, tuple[str, ...]] = (0, ())
                if which is not None:
                    part = parts[which[row, cell]]
                    kind = call(part, kind, moves=bool(self._scores.together[row, cell]))
                    if (part, cell) not in others:
                        others[part, cell] = ComparedSeries(self.names, self._scores.known[part][:, cell])
                    of = others[part, cell]
                    against = of.count(row), of.name(name) if score > limit else ()
                found[detector].append(
                    ReadingScore(
                        name,
                        float(times[row, cell]),
                        score,
                        limit,
                        kind,
                        score > limit and not echoes[row, cell],
                        compared_with(detector, kind, *against),
                    )
                )

    def _close(self, values: Array, times: Array, first: int) -> None:
        k = values.shape[1]
        self._recent.find_suspects(values, times, np.zeros(values.shape, dtype=bool), k)
        if not self.detectors:
            return
        scored = self._scores.feed(values, first, k)
        for one in self._strongest.values():
            one.feed(scored, self._scores.stuck, first, k)
        self._kinds.feed(self._scores.looks, k, np.zeros(0, dtype=np.int64))

    def _widen(self, cells: int) -> None:
        rows = len(self.names)
        self._values = np.concatenate([self._values, np.full((rows, cells), np.nan)], axis=1)
        self._times = np.concatenate([self._times, np.full((rows, cells), np.nan)], axis=1)
        self._touched = np.concatenate([self._touched, np.zeros((rows, cells), dtype=bool)], axis=1)
