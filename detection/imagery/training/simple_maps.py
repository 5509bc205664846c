"""Simple maps, with which every network is compared: an index with a threshold, and logistic regression.

Logistic regression also reads the channels of optional bands (`optional_bands`), like a network. They are masked in
half of the patches on which it is fitted, so that it can map patches with and without them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from detection.imagery.data.metrics import best_threshold
from detection.imagery.data.patches import IGNORED, Patches, as_values
from detection.imagery.data.splits import Parts
from detection.imagery.training.scoring import ScoringResult, score_maps

# Standard deviations of the Gaussians around a pixel.
SCALES_PX = (1.0, 3.0, 8.0)
# Logistic regression is fitted on this many pixels of each patch, with this L2 penalty, in this many Newton steps.
PIXELS_PER_PATCH = 400
PENALTY = 1e-4
NEWTON_STEPS_MOST = 25
TINY = 1e-6  # keeps divisors above 0
# Share of the patches of the fit part whose optional bands are masked; as `Augmentation.masked_share` of networks.
MASKED_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class SimpleMap:
    """A fitted rule that maps images to probabilities, or to an index between 0 and 1."""

    kind: str  # `index` or `logistic`
    weights: NDArray[np.float64]  # of the standardised features, with the constant last; empty for the index
    mean: NDArray[np.float64]  # of the features; empty for the index
    std: NDArray[np.float64]  # of the features; empty for the index
    threshold: float  # with the best F1 on the held part

    def map(self, image: NDArray[Any], channels: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
        """Return H x W values between 0 and 1.

        Args:
            image: bands x H x W.
            channels: of optional bands (`Patches.read_channels`), if the rule was fitted with such bands. None: they
                are masked.
        """
        if self.kind == "index":
            return compute_red_green_index(image)
        features = describe_pixels(image, channels)
        masked_count = len(self.mean) - len(features)
        if masked_count:
            features = np.concatenate([features, np.zeros((masked_count, *features.shape[1:]))])
        return self.compute_values(features.reshape(len(features), -1)).reshape(features.shape[1:])

    def compute_values(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values of features x pixels."""
        standardised = (features - self.mean[:, None]) / self.std[:, None]
        return np.asarray(expit(self.weights[:-1] @ standardised + self.weights[-1]))


def compute_red_green_index(image: NDArray[Any]) -> NDArray[np.float64]:
    """Return (red - green + 1) / 2, which is between 0 and 1. The first two bands must be red and green."""
    values = as_values(image).astype(np.float64)
    return np.asarray((values[0] - values[1] + 1) / 2)


def describe_pixels(image: NDArray[Any], channels: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
    """Return the features F x H x W: 25 for three bands, followed by the channels of optional bands.

    The 25 features are the bands, the normalised difference of the first two bands, the bands under three Gaussians,
    the bands less their mean over the patch, and their standard deviation around the pixel at three scales.

    >>> describe_pixels(np.zeros((3, 8, 8), np.uint8)).shape
    (25, 8, 8)
    """
    bands = as_values(image).astype(np.float64)
    ratio = (bands[0] - bands[1]) / (bands[0] + bands[1] + TINY)
    smooth = [ndimage.gaussian_filter(bands, (0, scale, scale)) for scale in SCALES_PX]
    centred = bands - bands.mean(axis=(1, 2), keepdims=True)
    spread = [
        np.sqrt(np.maximum(ndimage.gaussian_filter(bands**2, (0, scale, scale)) - mean**2, 0))
        for scale, mean in zip(SCALES_PX, smooth, strict=True)
    ]
    optional = [] if channels is None else [channels]
    return np.concatenate([bands, ratio[None], *smooth, centred, *spread, *optional])


def fit_index(patches: Patches, held: NDArray[np.int64]) -> SimpleMap:
    """Choose the threshold of red - green with the best F1 on the held part, in steps of 0.005."""
    values, truth = _gather_pixels(patches, held, lambda image, _: compute_red_green_index(image)[None])
    threshold, _ = best_threshold(values[0], truth, np.arange(0.4, 0.75, 0.0025))
    return SimpleMap("index", np.empty(0), np.empty(0), np.empty(0), threshold)


def fit_logistic(patches: Patches, fit: NDArray[np.int64], held: NDArray[np.int64], seed: int = 0) -> SimpleMap:
    """Fit logistic regression on pixels drawn from the fit part, and choose its threshold on the held part.

    With optional bands, the threshold is chosen on the held part with and without these bands together.
    """
    rule = _fit_logistic_regression(*_gather_pixels(patches, fit, describe_pixels, np.random.default_rng(seed)))
    values, truth = _gather_pixels(patches, held, lambda image, channels: rule.map(image, channels)[None])
    if patches.optional_bands:
        masked_values, masked_truth = _gather_pixels(patches, held, lambda image, _: rule.map(image)[None])
        values, truth = np.concatenate([values, masked_values], axis=1), np.concatenate([truth, masked_truth])
    threshold, _ = best_threshold(values[0], truth)
    return replace(rule, threshold=threshold)


def fit_by_cross_validation(patches: Patches, folds: Sequence[Parts], seed: int = 0) -> dict[str, list[SimpleMap]]:
    """Fit the index and logistic regression by cross-validation.

    Args:
        folds: positions to fit and to hold. Every patch is held once.

    Returns:
        For each kind, one rule per fold, fitted without the held part of the fold, and as the last one a rule that was
        fitted on all patches. The rules of logistic regression share one threshold, the best for the pixels of the held
        parts when each is mapped by the rule of its fold. The index has no parameter but its threshold, which is fitted
        on all patches, so all of its rules are the same.
    """
    rng = np.random.default_rng(seed)
    samples = [_gather_pixels(patches, np.array([position]), describe_pixels, rng) for position in range(len(patches))]

    def join(positions: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        features, truths = zip(*(samples[int(position)] for position in positions), strict=True)
        return np.concatenate(features, axis=1), np.concatenate(truths)

    rules: list[SimpleMap] = []
    values = []
    truths = []
    for fit, held in folds:
        rules.append(_fit_logistic_regression(*join(fit)))
        features, truth = join(held)
        values.append(rules[-1].compute_values(features))
        truths.append(truth)
    threshold, _ = best_threshold(np.concatenate(values), np.concatenate(truths))
    all_positions = np.arange(len(patches))
    logistic = [replace(rule, threshold=threshold) for rule in (*rules, _fit_logistic_regression(*join(all_positions)))]
    return {"index": [fit_index(patches, all_positions)] * len(logistic), "logistic": logistic}


def _fit_logistic_regression(features: NDArray[np.float64], truth: NDArray[np.bool_]) -> SimpleMap:
    """Fit logistic regression to features x pixels by Newton steps. The rule has a threshold of 0.5."""
    mean, std = features.mean(axis=1), np.maximum(features.std(axis=1), TINY)
    x = np.vstack([(features - mean[:, None]) / std[:, None], np.ones(features.shape[1])])
    weights = np.zeros(len(x))
    penalty = np.full(len(x), PENALTY * x.shape[1])
    penalty[-1] = 0.0
    for _ in range(NEWTON_STEPS_MOST):
        probability = expit(weights @ x)
        gradient = x @ (probability - truth) + penalty * weights
        curvature = (x * (probability * (1 - probability))) @ x.T + np.diag(penalty + TINY)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-6:
            break
    return SimpleMap("logistic", weights, mean, std, 0.5)


def score_simple_map(rule: SimpleMap, patches: Patches, *, objects: bool = True) -> ScoringResult:
    """Score a rule on patches; see `scoring.score_maps`."""
    maps = (
        (patch.name, rule.map(patch.image, patches.read_channels(position)), patch.mask)
        for position, patch in enumerate(patches)
    )
    return score_maps(maps, rule.threshold, objects=objects)


def _gather_pixels(
    patches: Patches, positions: NDArray[np.int64], describe: Any, rng: np.random.Generator | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return features x pixels and the truth, of pixels whose truth is known.

    Args:
        describe: returns the features of an image and its channels.
        rng: draws `PIXELS_PER_PATCH` pixels of each patch, and the patches whose optional bands are masked. None: all
            pixels, and no band is masked.
    """
    columns = []
    truths = []
    for position in positions:
        patch = patches.read(int(position))
        known = np.flatnonzero(patch.mask.ravel() != IGNORED)
        if rng is not None and len(known) > PIXELS_PER_PATCH:
            known = rng.choice(known, PIXELS_PER_PATCH, replace=False)
        channels = patches.read_channels(int(position))
        if channels is not None and rng is not None and rng.random() < MASKED_SHARE:
            channels = np.zeros_like(channels)
        features = describe(patch.image, channels)
        columns.append(features.reshape(len(features), -1)[:, known])
        truths.append(patch.mask.ravel()[known] == 1)
    return np.concatenate(columns, axis=1), np.concatenate(truths)
