"""Calibration of probabilities by one temperature that is fitted on the held part (Guo et al. 2017)."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from detection.imagery.data.metrics import Confusion, compute_scores

THRESHOLDS = np.round(np.arange(2, 19) * 0.05, 4)
TEMPERATURE_RANGE = (0.2, 5.0)
BINS = 15
# The temperature is fitted on about this many pixels.
SAMPLE_PX = 2_000_000
HeldOdds = Iterable[tuple[NDArray[np.floating], NDArray[np.bool_]]]
"""For each image, the log odds of landslide and the truth of its known pixels."""


@dataclass(frozen=True, slots=True)
class TemperatureCalibration:
    """A temperature, and what it does to the probabilities of the held part."""

    temperature: float = 1.0  # divides the log odds
    nll_before: float = 0.0  # mean negative log-likelihood without the temperature
    nll_after: float = 0.0
    ece_before: float = 0.0  # expected calibration error without the temperature
    ece_after: float = 0.0


def fit_temperature(log_odds: NDArray[np.floating], truth: NDArray[np.bool_]) -> TemperatureCalibration:
    """Return the temperature with the least negative log-likelihood, by golden section on its logarithm.

    >>> odds = np.array([8.0, -8.0, 8.0, -8.0] * 25)
    >>> truth = np.array([True, False, True, True] * 25)
    >>> fit_temperature(odds, truth).temperature > 1.5
    True
    """
    low, high = np.log(TEMPERATURE_RANGE[0]), np.log(TEMPERATURE_RANGE[1])
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(40):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if _compute_nll(log_odds / np.exp(left), truth) <= _compute_nll(log_odds / np.exp(right), truth):
            high = right
        else:
            low = left
    temperature = round(float(np.exp((low + high) / 2)), 4)
    return TemperatureCalibration(
        temperature=temperature,
        nll_before=round(_compute_nll(log_odds, truth), 5),
        nll_after=round(_compute_nll(log_odds / temperature, truth), 5),
        ece_before=round(measure_calibration_error(expit(log_odds.astype(np.float64)), truth), 5),
        ece_after=round(measure_calibration_error(expit((log_odds / temperature).astype(np.float64)), truth), 5),
    )


def measure_calibration_error(probabilities: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    """Return the mean difference of predicted and observed frequency over `BINS` equal bins, weighted by their pixels.

    >>> measure_calibration_error(np.array([0.25, 0.25, 0.25, 0.25]), np.array([True, False, False, False]))
    0.0
    """
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    predicted = np.bincount(bins, probabilities, BINS)
    observed = np.bincount(bins, truth.astype(float), BINS)
    return float(np.abs(predicted - observed).sum() / max(len(truth), 1))


def choose_threshold(held: HeldOdds, temperature: float = 1.0) -> tuple[float, float]:
    """Return the threshold of `THRESHOLDS` with the best pooled F1, the lowest of equals, and that F1."""
    confusions = count_thresholds(held, temperature)
    f1 = [compute_scores(confusion)["f1"] or 0.0 for confusion in confusions]
    best = int(np.argmax(f1))
    return float(THRESHOLDS[best]), float(f1[best])


def count_thresholds(held: HeldOdds, temperature: float = 1.0) -> list[Confusion]:
    """Return pooled counts at every threshold. They are added up image by image, which needs little memory."""
    edges = THRESHOLDS.astype(np.float32)
    sums = np.zeros((2, len(edges) + 1), np.int64)
    for log_odds, truth in held:
        bins = np.searchsorted(
            edges, expit((log_odds / temperature).astype(np.float64)).astype(np.float32), side="right"
        )
        for label in (0, 1):
            sums[label] += np.bincount(bins[truth == bool(label)], minlength=len(edges) + 1)
    over = sums[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    totals = sums.sum(axis=1)
    return [
        Confusion(tp=int(tp), fp=int(fp), fn=int(totals[1] - tp), tn=int(totals[0] - fp))
        for fp, tp in zip(over[0], over[1], strict=True)
    ]


def sample_odds(held: HeldOdds, pixels: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return log odds and truth of the held part, thinned to about `SAMPLE_PX` of its `pixels`."""
    step = max(1, pixels // SAMPLE_PX)
    odds, truths = zip(*((log_odds[::step], truth[::step]) for log_odds, truth in held), strict=True)
    return np.concatenate(odds).astype(np.float32), np.concatenate(truths)


def _compute_nll(log_odds: NDArray[np.floating], truth: NDArray[np.bool_]) -> float:
    signed = np.where(truth, log_odds, -log_odds).astype(np.float64)
    return float(np.logaddexp(0, -signed).mean())
