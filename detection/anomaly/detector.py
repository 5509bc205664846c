"""A detector with its thresholds: trained on the first half of a record, its alarms counted on what follows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.parts import CELLS_AT_ONCE, PartScores, StrongestPart, lay_out
from detection.anomaly.records import InputError
from detection.anomaly.registry import (
    CARRIED_BUDGET,
    COMPOSITES,
    DRAWN_TO,
    describe_unknown_detector,
    is_network,
    list_detectors,
    load_rule,
)
from detection.anomaly.stages import DAY_S, Array
from detection.anomaly.threshold import DetectorThreshold, carry_over, choose_threshold
from detection.anomaly.windows import Series, scaled_residuals, stack_windows

TRAIN_UNTIL: Final = 0.50
VALIDATE_UNTIL: Final = 0.67
# The last part of the training share watches for over-fitting; it sets no threshold.
WATCH_FROM: Final = 0.425
FEWEST_WINDOWS: Final = 100
# Thresholds of other sites say little of a budget that is farther from theirs: tails are heavier than a normal law's.
FAR: Final = 3.0


@dataclass(frozen=True, slots=True)
class Detector:
    """What turns a series into scores."""

    name: str  # id in the registry
    thresholds: Mapping[str, DetectorThreshold]  # per rule; one entry under the own name for a network
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # of a network, else empty
    notes: Mapping[str, Any] = field(default_factory=dict)  # what training tells (epochs, losses)

    @property
    def limit(self) -> float:
        """Alarm where the score is above this: the threshold itself, or 1 for parts scored in thresholds."""
        return 1.0 if self.name in COMPOSITES else next(iter(self.thresholds.values())).value

    def score(self, samples: Mapping[str, Series], *, holds: bool = True) -> dict[str, Array]:
        """One causal score per cell of each station, NaN where the past is too short or too full of holes.

        `holds`: of a detector of parts, echoes of what was reported are left out.
        """
        if self.name in COMPOSITES:
            limits = {part: one.value for part, one in self.thresholds.items()}
            names, table, first, places = lay_out(samples)
            rows, step_s, k = len(names), samples[names[0]].step_s, max(1, CELLS_AT_ONCE // len(names))
            running = PartScores(rows, step_s, limits)
            strongest = StrongestPart(rows, step_s, limits, 1.0 if holds else None)
            scores = np.empty(table.shape)
            for begin in range(0, table.shape[1], k):
                block = table[:, begin : begin + k]
                by_part = running.feed(block, first + begin, block.shape[1])
                scores[:, begin : begin + k], _ = strongest.feed(
                    {part: by_part[part] for part in limits}, running.stuck, first + begin, block.shape[1]
                )
            lengths = [len(samples[name].values) for name in names]
            return {n: row[p : p + length] for n, row, p, length in zip(names, scores, places, lengths, strict=True)}
        if is_network(self.name):
            from detection.anomaly.neural.training import WIDTH, score_network

            found = {name: np.full(len(series.values), np.nan) for name, series in samples.items()}
            for name, series in samples.items():
                index, values, mask = stack_windows(scaled_residuals(series), WIDTH)
                if len(index):
                    found[name][index] = score_network(self.name, dict(self.weights), (values, mask))
            return found
        rule = load_rule(self.name)
        return {name: rule(series) for name, series in samples.items()}


def start_without_history(name: str, step_s: float) -> Detector:
    """A detector with the thresholds that were carried over from other sites."""
    carried = carry_over(name, step_s)
    return Detector(name, {part: DetectorThreshold(value, 0, 0.0, "carried over") for part, value in carried.items()})


def train_detector(name: str, samples: Mapping[str, Series], budget: float, seed: int) -> Detector:
    """Fit what is to be fitted on the first half of the time, set thresholds on the next 17 %.

    The parts of `rules` need no training: their thresholds are chosen together on all of the first 67 %.

    `budget`: false alarm runs per sensor-month.

    Raises:
        InputError: unknown detector, no station, or too few windows to train a network.
        ThresholdError: no threshold can be stated for this budget on this record.
    """
    if name not in list_detectors():
        raise InputError(describe_unknown_detector(name))
    if not samples:
        raise InputError("no station to train on")
    if name in COMPOSITES:
        from detection.anomaly.split import split_budget

        step_s = next(iter(samples.values())).step_s
        is_alike = step_s <= DAY_S and CARRIED_BUDGET / FAR <= budget <= CARRIED_BUDGET * FAR
        carried = carry_over(name, step_s, budget, DRAWN_TO) if is_alike else {}
        return Detector(name, split_budget(samples, VALIDATE_UNTIL, budget, carried))
    ordered = [samples[key] for key in sorted(samples)]
    weights: Mapping[str, NDArray[Any]] = {}
    notes: Mapping[str, Any] = {}
    if is_network(name):
        weights, notes = _train(name, ordered, seed)
    scored = Detector(name, {}, weights, notes).score(samples)
    parts = [slice(int(len(s.values) * TRAIN_UNTIL), int(len(s.values) * VALIDATE_UNTIL)) for s in ordered]
    threshold = choose_threshold(
        [scored[key][part] for key, part in zip(sorted(samples), parts, strict=True)],
        [s.times_s[part] for s, part in zip(ordered, parts, strict=True)],
        ordered[0].step_s,
        budget,
    )
    return Detector(name, {name: threshold}, weights, notes)


def _train(name: str, ordered: list[Series], seed: int) -> tuple[Mapping[str, NDArray[Any]], Mapping[str, Any]]:
    from detection.anomaly.neural.training import WIDTH, train_network

    fit: list[tuple[Array, Array]] = []
    watch: list[tuple[Array, Array]] = []
    for series in ordered:
        index, values, mask = stack_windows(scaled_residuals(series), WIDTH)
        share = index / max(len(series.values), 1)
        early, late = share < WATCH_FROM, (share >= WATCH_FROM) & (share < TRAIN_UNTIL)
        fit.append((values[early], mask[early]))
        watch.append((values[late], mask[late]))
    count = sum(len(v) for v, _ in fit)
    if count < FEWEST_WINDOWS or not any(len(v) for v, _ in watch):
        raise InputError(
            f"{count} complete windows of {WIDTH} readings: at least {FEWEST_WINDOWS} are needed to train {name}"
        )
    return train_network(name, _join(fit), _join(watch), seed)


def _join(parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    return np.concatenate([v for v, _ in parts]), np.concatenate([m for _, m in parts])
