"""The parts of `rules`: what each measures at a station, and what it makes of what the neighbours do not explain."""

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
CELLS_AT_ONCE: Final = 1_000_000  # of a table: a whole record is fed in blocks that fit into memory


@dataclass(frozen=True, slots=True)
class DetectorPart:
    """One rule in two steps, with the neighbours between them."""

    # what is strange: from the cells up to now, of which the last k are new, to the new ones, (rows, k)
    residual: Callable[[Array, int, int], Array]
    days: float  # which it looks back
    at_least: int  # and how many cells
    # the stage that makes a score of what the neighbours leave, from rows and interval
    judged: Callable[[int, float], ScoringStage]
    stays_days: float  # so long a disturbance stays in what it looks back on
    spans_days: tuple[float, ...] = (90.0, 730.0)  # of the scales that the residual is divided by
    kind: str | None = None  # what an alarm of this part is called; None: what the residual looks like (`name_kinds`)


PARTS: Final[Mapping[str, DetectorPart]] = {
    # distance from the median of seven days
    "level": DetectorPart(beyond_median, 7.0, 5, lambda *_: AbsoluteSize(), 7.0, (90.0,)),
    # from the line of ten days
    "trend": DetectorPart(beyond_line, 10.0, 8, lambda *_: AbsoluteSize(), 10.0),
    # smoothed distance from the line of sixty days
    "drift": DetectorPart(beyond_line, 60.0, 15, lambda rows, _: SmoothedMean(rows), 60.0, kind="drift"),
    # what adds up to one side of it
    "creep": DetectorPart(beyond_line, 60.0, 15, lambda rows, _: Cusum(rows), 60.0, kind="drift"),
    # of thirty days
    "bend": DetectorPart(beyond_line, 30.0, 15, lambda rows, _: SmoothedMean(rows), 30.0, kind="drift"),
    # size of the increments of eight days
    "noise": DetectorPart(
        lambda joined, k, _: beyond_last(joined, k),
        0.0,
        1,
        lambda rows, step_s: RollingRms(rows, count_steps(step_s, NOISE_DAYS, at_least=6)),
        NOISE_DAYS,
        kind="noise",
    ),
}


class PartScores:
    """Scores of parts for the stations of a site, block by block.

    Attributes:
        looks: of the newest block, its residuals in their own scale before the neighbours, shape (rows, k).
        known: of the newest block and each part, where there is such a residual.
        together: of the newest block, where the stations go the same way (`CommonMovement`).
        stuck: of the newest block, where a sensor is stuck.
    """

    def __init__(self, rows: int, step_s: float, parts: Collection[str]) -> None:
        self.looks = np.zeros((rows, 0))
        self.known: dict[str, NDArray[np.bool_]] = {}
        self.together, self.stuck = np.zeros((rows, 0), dtype=bool), np.zeros((rows, 0), dtype=bool)
        self._together = CommonMovement(rows, step_s)
        wanted = [name for name in PARTS if name in {*parts, LOOKS, SLOWEST}]
        self._widths = {name: count_steps(step_s, PARTS[name].days, PARTS[name].at_least) for name in wanted}
        self._reach = max(self._widths.values())
        self._tail = np.full((rows, self._reach), np.nan)
        self._stuck = StuckRuns(rows)
        # Of a fast sensor there is more to learn from: thirty points half a day apart, where daily ones give twenty.
        fewest = 20 if step_s >= DAY_S else 60
        self._signed = {name: Standardise(rows, step_s, PARTS[name].spans_days) for name in wanted}
        self._explain = {name: NeighbourResidual(rows, step_s) for name in wanted}
        self._again = {name: Standardise(rows, step_s, at_least=fewest) for name in wanted}
        self._judged = {name: PARTS[name].judged(rows, step_s) for name in wanted}
        self._settle = NeighbourScale()

    def feed(self, new: Array, first: int, keep: int) -> dict[str, Array]:
        """Scores of each part, shape (rows, k); arguments as those of a `ScoringStage`."""
        if not new.shape[1]:
            return dict.fromkeys(self._widths, new)
        k = new.shape[1]
        stuck = self.stuck = self._stuck.feed(new, keep)
        joined = np.concatenate([self._tail, new], axis=1)
        out = {}
        residuals: dict[object, Array] = {}  # two parts may look at the same one
        for name, width in self._widths.items():
            part = PARTS[name]
            of = part.residual, width
            if of not in residuals:
                residuals[of] = part.residual(joined, k, width)
            z = self._signed[name].feed(residuals[of], first, keep, stuck)
            self.known[name] = np.isfinite(z)
            if name == SLOWEST:
                self.together = self._together.feed(z, first, keep)
            if name == LOOKS:
                self.looks = z
            left = self._again[name].feed(self._explain[name].feed(z, first, keep), first, keep, stuck)
            out[name] = self._judged[name].feed(self._settle.feed(left, first, keep), first, keep)
        self._tail = joined[:, keep : keep + self._reach].copy()
        return out


SLOWEST: Final = "creep"  # the part whose residual shows that stations move together
LONG_AGO: Final = -(10**9)  # cells
LOOKS: Final = "level"  # the part whose residual tells a spike from a step


def score_parts(samples: Mapping[str, Series], parts: Collection[str] | None = None) -> dict[str, dict[str, Array]]:
    """Scores of each part and station of a whole record; `parts` names those wanted (all by default)."""
    wanted = [name for name in PARTS if parts is None or name in parts]
    if not samples or not wanted:
        return {name: {} for name in wanted}
    names, table, first, places = lay_out(samples)
    running, k = PartScores(len(names), samples[names[0]].step_s, wanted), max(1, CELLS_AT_ONCE // len(names))
    parted = [table[:, begin : begin + k] for begin in range(0, max(1, table.shape[1]), k)]
    blocks = [running.feed(block, first + k * number, block.shape[1]) for number, block in enumerate(parted)]
    rows = {part: np.concatenate([block[part] for block in blocks], axis=1) for part in wanted}
    return {
        part: {
            name: row[place : place + len(samples[name].values)]
            for name, row, place in zip(names, of_part, places, strict=True)
        }
        for part, of_part in rows.items()
    }


def call(part: str, shape: str, *, moves: bool) -> str:
    """The kind of an alarm: that of its part, else what the residual looks like; no drift where all move.

    >>> call("creep", "unknown", moves=False), call("creep", "unknown", moves=True), call("level", "spike", moves=True)
    ('drift', 'movement', 'spike')
    """
    kind = PARTS[part].kind or shape
    return "movement" if moves and kind == "drift" else kind


class StrongestPart:
    """The strongest part of each cell, without the echoes of what was reported before.

    A step, a burst or a stuck stretch stays in what the parts look back on, for 60 days in the longest lines. What a
    part says in that time belongs to the same event. It is no new one, unless it is `STRONGER` times its threshold.
    An alarm that goes on, as alarms of a week are one, is no echo. Of a sensor that is stuck again and again the first
    stretch alone holds something back, until it was well for as long as the longest part looks back. What a person
    dismissed holds nothing back (`forgive`).

    Attributes:
        parts: their names, in order.
        held: of the newest block, the largest score of what would alarm and is an echo, NaN elsewhere; shape (rows, k).
        held_by: which part gave it.
    """

    def __init__(
        self, rows: int, step_s: float, thresholds: Mapping[str, float], shown_above: float | None = 1.0
    ) -> None:
        """Begin where nothing was reported.

        `shown_above`: so many thresholds a score must have before people are told: what nobody heard has no echo.
        None: nothing is held back.
        """
        self.parts = tuple(thresholds)
        self.held, self.held_by = np.full((rows, 0), np.nan), np.zeros((rows, 0), dtype=np.int64)
        self._shown_above = shown_above
        self._limits = np.array([limit or LEAST for limit in thresholds.values()])[:, None, None]
        self._stays = np.array([[count_steps(step_s, PARTS[part].stays_days)] for part in self.parts])
        self._pause = max(1, round(RUN_GAP_S / step_s))
        # newest cells of an alarm, of the first stuck stretch of several, and of all of them
        self._alarm, self._held, self._stuck = (np.full(rows, LONG_AGO) for _ in range(3))
        self._no_alarm, self._not_stuck, self._standing, self._still = (np.full(rows, LONG_AGO) for _ in range(4))

    def forgive(
        self,
        alarms: NDArray[np.int64],
        stuck: NDArray[np.int64],
        standing: NDArray[np.int64] | None = None,
        still: NDArray[np.int64] | None = None,
    ) -> None:
        """Hold nothing back for alarms and stuck stretches up to a cell of each row, `LONG_AGO` where there is none.

        `standing`: the newest alarm up to there that nobody dismissed; it holds back as before. `still`: the same
        of the stuck stretches.
        """
        self._no_alarm, self._not_stuck = alarms, stuck
        self._standing, self._still = (
            np.full(len(alarms), LONG_AGO) if one is None else one for one in (standing, still)
        )

    def remember(self, alarms: NDArray[np.int64]) -> None:
        """Take the newest cell of each row that people were told of, `LONG_AGO` where there is none."""
        self._alarm = alarms

    def feed(
        self, scored: Mapping[str, Array], stuck: NDArray[np.bool_], first: int, keep: int
    ) -> tuple[Array, NDArray[np.int64]]:
        """The largest score in thresholds, and which part gave it, shape (rows, k); NaN where no part has one.

        Args:
            scored: of each part, shape (rows, k).
            stuck: where the sensors are stuck, shape (rows, k).
            keep: so many of the cells are final.
        """
        ratios = np.stack([scored[part] for part in self.parts]) / self._limits
        ratios[~np.isfinite(ratios)] = -np.inf
        echoes = self._hold_back(ratios, stuck, first, keep)
        held = np.where(echoes, ratios, -np.inf)
        ratios[echoes] = 0.0
        score, least = ratios.max(axis=0), self._shown_above or 1.0
        self.held, self.held_by = held.max(axis=0), held.argmax(axis=0)
        self.held[(self.held <= least) | (score > least)] = np.nan
        return np.where(np.isfinite(score), score, np.nan), ratios.argmax(axis=0)

    def _hold_back(self, ratios: Array, stuck: NDArray[np.bool_], first: int, keep: int) -> NDArray[np.bool_]:
        echoes = np.zeros(ratios.shape, dtype=bool)
        if self._shown_above is None:
            return echoes
        over = ratios > 1.0
        alarm, held, newest, kept = self._alarm, self._held, self._stuck, None
        for k in np.flatnonzero((over.any(axis=0) | stuck).any(axis=0)).tolist():
            if k >= keep and kept is None:
                kept = alarm, held, newest
            cell = first + k
            stands, still = (np.where(one < cell, one, LONG_AGO) for one in (self._standing, self._still))
            begun = np.maximum(
                np.where(alarm > self._no_alarm, alarm, stands), np.where(held > self._not_stuck, held, still)
            )
            echo = over[:, :, k] & (cell - begun <= self._stays)
            echo &= (ratios[:, :, k] <= STRONGER) & (cell - alarm > self._pause)
            echoes[:, :, k] = echo
            alarm = np.where(((ratios[:, :, k] > self._shown_above) & ~echo).any(axis=0), cell, alarm)
            goes_on = (held == newest) & (cell - newest <= self._pause) & (held > self._not_stuck)
            held = np.where(stuck[:, k] & (goes_on | (cell - newest > self._stays.max())), cell, held)
            newest = np.where(stuck[:, k], cell, newest)
        self._alarm, self._held, self._stuck = kept or (alarm, held, newest)
        return echoes


def lay_out(samples: Mapping[str, Series]) -> tuple[list[str], Array, int, list[int]]:
    """All stations on the cells of the earliest one.

    Returns:
        Their names in order, values of shape (stations, cells), the number of the first cell, and where each begins.
    """
    names = sorted(samples)
    earliest = min((samples[name] for name in names), key=lambda series: float(series.times_s[0]))
    begin_s = float(earliest.times_s[0])
    places = [int(np.floor((float(samples[n].times_s[0]) - begin_s) / earliest.step_s + 0.5)) for n in names]
    length = max(place + len(samples[name].values) for name, place in zip(names, places, strict=True))
    table = np.full((len(names), length), np.nan)
    for row, name, place in zip(table, names, places, strict=True):
        row[place : place + len(samples[name].values)] = samples[name].values
    return names, table, earliest.first_cell, places
