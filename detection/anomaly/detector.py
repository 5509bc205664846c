"""A detector with its thresholds: trained on the first half of a record, thresholds counted on the part after it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detection.anomaly.networks import TRAIN_UNTIL, VALIDATE_UNTIL, NetworkRecord, TrainedNetwork
from detection.anomaly.parts import CELLS_AT_ONCE, PartScores, StrongestPart, lay_out
from detection.anomaly.records import LEAST, InputError
from detection.anomaly.registry import (
    CARRIED_BUDGET,
    COMPOSITES,
    OTHER_SITES,
    describe_unknown_detector,
    is_network,
    list_detectors,
    list_parts,
    load_network,
    load_rule,
)
from detection.anomaly.stages import DAY_S, Array
from detection.anomaly.threshold import DetectorThreshold, carry_over, choose_threshold
from detection.anomaly.windows import Series

# Thresholds of other sites are not used for a budget that differs from theirs by more than this factor, because tails
# are heavier than those of a normal distribution.
MAX_BUDGET_FACTOR: Final = 3.0
# Quantile of the scores of each part of a network, by which the thresholds of its parts are compared.
TAIL: Final = 0.995
SMALLEST_TAIL: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector that can score series.

    Attributes:
        name: Name in the registry.
        thresholds: Thresholds by part (`list_parts`).
        weights: Weights of a network, else empty.
        notes: Facts about the training of a network.
    """

    name: str
    thresholds: Mapping[str, DetectorThreshold]
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_parts(self) -> bool:
        """Whether scores are in multiples of the thresholds of several parts."""
        return len(list_parts(self.name)) > 1

    @property
    def limit(self) -> float:
        """The score above which a reading alarms: 1 for a detector with parts, else its threshold."""
        return 1.0 if self.has_parts else next(iter(self.thresholds.values())).value

    def score(
        self, samples: Mapping[str, Series], *, rain: Series | None = None, suppresses_echoes: bool = True
    ) -> dict[str, Array]:
        """Return one score for each cell of each series, NaN where the past is too short or has too many gaps.

        A score depends only on cells up to its own.

        Args:
            rain: Rain of the site, for a network.
            suppresses_echoes: Whether the scores of `rules` leave out echoes of earlier alarms (`StrongestPart`).
        """
        return self.score_with_parts(samples, rain=rain, suppresses_echoes=suppresses_echoes)[0]

    def score_with_parts(
        self, samples: Mapping[str, Series], *, rain: Series | None = None, suppresses_echoes: bool = True
    ) -> tuple[dict[str, Array], dict[str, NDArray[np.int64]]]:
        """Return the scores of `score`, and for each cell the number of the part in `thresholds` that gave it."""
        if self.name in COMPOSITES:
            return self._score_composite(samples, suppresses_echoes=suppresses_echoes)
        if is_network(self.name):
            trained = TrainedNetwork(dict(self.weights), dict(self.notes))
            scores = load_network(self.name).score(trained, NetworkRecord(samples, rain))
            if not self.has_parts:
                (only,) = scores.values()
                return only, {label: np.zeros(len(row), dtype=np.int64) for label, row in only.items()}
            return self._select_largest(scores)
        rule = load_rule(self.name)
        return {label: rule(one) for label, one in samples.items()}, {
            label: np.zeros(len(one.values), dtype=np.int64) for label, one in samples.items()
        }

    def _select_largest(
        self, scores: Mapping[str, Mapping[str, Array]]
    ) -> tuple[dict[str, Array], dict[str, NDArray[np.int64]]]:
        """Return the largest score of the parts in multiples of its threshold, and which part gave it."""
        largest: dict[str, Array] = {}
        parts: dict[str, NDArray[np.int64]] = {}
        for label in next(iter(scores.values())):
            ratios = np.stack([scores[part][label] / (one.value or LEAST) for part, one in self.thresholds.items()])
            known = np.where(np.isfinite(ratios), ratios, -np.inf)
            parts[label] = known.argmax(axis=0)
            largest[label] = np.where(np.isfinite(known.max(axis=0)), known.max(axis=0), np.nan)
        return largest, parts

    def _score_composite(
        self, samples: Mapping[str, Series], *, suppresses_echoes: bool
    ) -> tuple[dict[str, Array], dict[str, NDArray[np.int64]]]:
        limits = {part: one.value for part, one in self.thresholds.items()}
        labels, table, first, places = lay_out(samples)
        rows, step_s = len(labels), samples[labels[0]].step_s
        block_size = max(1, CELLS_AT_ONCE // rows)
        part_scores = PartScores(rows, step_s, limits)
        strongest = StrongestPart(rows, step_s, limits, 1.0 if suppresses_echoes else None)
        scores = np.empty(table.shape)
        parts = np.empty(table.shape, dtype=np.int64)
        for begin in range(0, table.shape[1], block_size):
            block = table[:, begin : begin + block_size]
            by_part = part_scores.feed(block, first + begin, block.shape[1])
            scores[:, begin : begin + block_size], parts[:, begin : begin + block_size] = strongest.feed(
                {part: by_part[part] for part in limits}, part_scores.stuck, first + begin, block.shape[1]
            )
        spans = {
            label: (row, slice(place, place + len(samples[label].values)))
            for row, (label, place) in enumerate(zip(labels, places, strict=True))
        }
        return (
            {label: scores[row, span] for label, (row, span) in spans.items()},
            {label: parts[row, span] for label, (row, span) in spans.items()},
        )


def start_without_history(name: str, step_s: float) -> Detector:
    """Return a detector for a site without history, with the thresholds of other sites for this interval."""
    carried = carry_over(name, step_s)
    return Detector(name, {part: DetectorThreshold(value, 0, 0.0, "carried over") for part, value in carried.items()})


def train_detector(
    name: str, samples: Mapping[str, Series], budget: float, seed: int, rain: Series | None = None
) -> Detector:
    """Train on the first half of the record, and count thresholds on the next 17 %.

    `rules` is not trained. The thresholds of its parts are chosen together on the first 67 % of the record.

    Args:
        budget: False alarms per sensor-month. The parts of a network share it equally.
        rain: Rain of the site, for a network.

    Raises:
        InputError: The detector is unknown, there is no series, or there are too few windows to train a network.
        ThresholdError: No threshold can be stated for this budget on this record.
    """
    if name not in list_detectors():
        raise InputError(describe_unknown_detector(name))
    if not samples:
        raise InputError("no station to train on")
    if name in COMPOSITES:
        from detection.anomaly.split import split_budget

        step_s = next(iter(samples.values())).step_s
        is_alike = (
            step_s <= DAY_S and CARRIED_BUDGET / MAX_BUDGET_FACTOR <= budget <= CARRIED_BUDGET * MAX_BUDGET_FACTOR
        )
        carried = carry_over(name, step_s, budget, OTHER_SITES) if is_alike else {}
        return Detector(name, split_budget(samples, VALIDATE_UNTIL, budget, carried))
    if is_network(name):
        record = NetworkRecord(samples, rain)
        network = load_network(name)
        trained = network.train(name, record, seed)
        scores = network.score(trained, record)
        thresholds = _count_thresholds(name, scores, samples, budget)
        return Detector(name, thresholds, trained.weights, trained.notes)
    rule = load_rule(name)
    return Detector(
        name, {name: _count_threshold({label: rule(one) for label, one in samples.items()}, samples, budget)}
    )


def _count_thresholds(
    name: str, scores: Mapping[str, Mapping[str, Array]], samples: Mapping[str, Series], budget: float
) -> dict[str, DetectorThreshold]:
    """Return the thresholds of the parts of a network, which share the budget.

    All parts are above their thresholds equally often, as far as the `TAIL` quantile of their scores tells. One factor
    on these quantiles is then counted for the largest of the parts, so that alarms of several parts count once.
    """
    if len(scores) == 1:
        (only,) = scores.values()
        return {name: _count_threshold(only, samples, budget)}
    tails = {}
    for part, rows in scores.items():
        pooled = np.concatenate([row[_find_validation(samples[label])] for label, row in rows.items()])
        known = pooled[np.isfinite(pooled)]
        tails[part] = max(float(np.quantile(known, TAIL)), SMALLEST_TAIL) if known.size else SMALLEST_TAIL
    largest = {label: np.fmax.reduce([rows[label] / tails[part] for part, rows in scores.items()]) for label in samples}
    factor = _count_threshold(largest, samples, budget)
    return {part: replace(factor, value=factor.value * tail) for part, tail in tails.items()}


def _find_validation(series: Series) -> slice:
    """Return the cells on which thresholds are counted."""
    count = len(series.values)
    return slice(int(count * TRAIN_UNTIL), int(count * VALIDATE_UNTIL))


def _count_threshold(scores: Mapping[str, Array], samples: Mapping[str, Series], budget: float) -> DetectorThreshold:
    """Return the threshold of a budget, counted on the validation part of the record."""
    labels = sorted(samples)
    parts = {label: _find_validation(samples[label]) for label in labels}
    return choose_threshold(
        [scores[label][parts[label]] for label in labels],
        [samples[label].times_s[parts[label]] for label in labels],
        samples[labels[0]].step_s,
        budget,
    )
