"""A detector with its thresholds: trained on the first half of a record, its alarms counted on what follows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.parts import RecordScores, StrongestPart, score_record
from detection.anomaly.records import InputError
from detection.anomaly.registry import (
    CARRIED_BUDGET,
    COMPOSITES,
    DRAWN_TO,
    NETWORKS,
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
            return {name: row for name, (row, _, _) in self.score_by_part(samples, holds=holds)[0].items()}
        if self.name in NETWORKS:
            return {name: score_windows(self.name, self.weights, series) for name, series in samples.items()}
        rule = load_rule(self.name)
        return {name: rule(series) for name, series in samples.items()}

    def score_by_part(
        self, samples: Mapping[str, Series], *, holds: bool = True
    ) -> tuple[dict[str, tuple[Array, list[str], Array]], RecordScores]:
        """Of a detector of parts: per cell the largest score in thresholds, its part, and what is held back as an echo.

        Returns:
            Scores without echoes; the part of each, or of the echo where one is held back; the score of that echo, NaN
            elsewhere. And the scores of all parts.
        """
        limits = {part: one.value for part, one in self.thresholds.items()}
        scored = score_record(samples, limits)
        out = {}
        for row, (name, place) in enumerate(zip(scored.names, scored.places, strict=True)):
            strongest = StrongestPart(1, samples[name].step_s, limits, 1.0 if holds else None)
            cells = len(samples[name].values)
            mine = {part: scored.by[part][name][None] for part in limits}
            stuck = scored.stuck[row : row + 1, place : place + cells]
            score, which = strongest.feed(mine, stuck, 0, cells)
            held = strongest.held[0]
            which = np.where(np.isfinite(held), strongest.held_by[0], which[0])
            out[name] = score[0], [strongest.parts[k] for k in which.tolist()], held
        return out, scored


def start_without_history(name: str, step_s: float) -> Detector:
    """A detector with the thresholds that were carried over from other sites."""
    carried = carry_over(name, step_s)
    return Detector(name, {part: DetectorThreshold(value, 0, 0.0, "carried over") for part, value in carried.items()})


def score_windows(name: str, weights: Mapping[str, NDArray[Any]], series: Series) -> Array:
    """Scores of a network on one series; imports torch."""
    from detection.anomaly.neural.training import WIDTH, score_network

    index, values, mask = stack_windows(scaled_residuals(series), WIDTH)
    out = np.full(len(series.values), np.nan)
    if len(index):
        out[index] = score_network(name, dict(weights), (values, mask))
    return out


def train_detector(name: str, samples: Mapping[str, Series], budget: float, seed: int) -> Detector:
    """Fit what is to be fitted on the first half of the time, set thresholds on the next 17 %.

    The parts of `rules` need no training: their thresholds are chosen together on all of the first 67 %.

    `budget`: false alarm runs per sensor-month.

    Raises:
        InputError: unknown detector, no station, or too few windows to train a network.
        ThresholdError: no threshold can be stated for this budget on this record.
    """
    if name not in list_detectors():
        raise InputError(f"unknown detector {name!r}; known: {', '.join(list_detectors())}")
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
    if name in NETWORKS:
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
