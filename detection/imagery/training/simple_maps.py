"""The simple maps beside which every network is shown: an index threshold, and logistic regression on 25 features.

Of patches with optional bands, logistic regression also reads their channels (`optional_bands`), as a network does:
they are masked in half of the patches on which it is fitted, so that it maps patches with and without them.
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

SCALES_PX = (1.0, 3.0, 8.0)
PIXELS_PER_PATCH = 400
PENALTY = 1e-4
STEPS = 25
SMALL = 1e-6
# Share of the patches of the fit part whose optional bands are masked; as `Augmentation.masked_share` of networks.
MASKED_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class SimpleMap:
    """A rule that was fitted on the fit part: it maps images to probabilities, or to an index scaled to 0..1."""

    kind: str  # `index` or `logistic`
    weights: NDArray[np.float64]  # of the standardised features, the constant last; empty for the index
    mean: NDArray[np.float64]  # of the features
    std: NDArray[np.float64]  # of the features
    threshold: float  # with the best F1 on the held part

    def map(self, image: NDArray[Any], channels: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
        """Return H x W values between 0 and 1.

        `channels`: of optional bands (`Patches.read_channels`), as the rule was fitted with them. A rule that was
        fitted with them takes them for masked when None.
        """
        if self.kind == "index":
            return red_less_green(image)
        features = describe_pixels(image, channels)
        if masked := len(self.mean) - len(features):
            features = np.concatenate([features, np.zeros((masked, *features.shape[1:]))])
        return self.compute_values(features.reshape(len(features), -1)).reshape(features.shape[1:])

    def compute_values(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values of features x pixels."""
        standardised = (features - self.mean[:, None]) / self.std[:, None]
        return np.asarray(expit(self.weights[:-1] @ standardised + self.weights[-1]))


def red_less_green(image: NDArray[Any]) -> NDArray[np.float64]:
    """Return (red - green + 1) / 2 for values 0 to 1; the first two bands are red and green."""
    values = as_values(image).astype(np.float64)
    return np.asarray((values[0] - values[1] + 1) / 2)


def describe_pixels(image: NDArray[Any], channels: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
    """Return the features F x H x W: for three bands 25, and the channels of optional bands.

    The 25 are the bands, the normalised difference of the first two, the bands under three Gaussians, the bands less
    their mean over the patch, and their standard deviation around the pixel at three scales.

    >>> describe_pixels(np.zeros((3, 8, 8), np.uint8)).shape
    (25, 8, 8)
    """
    bands = as_values(image).astype(np.float64)
    ratio = (bands[0] - bands[1]) / (bands[0] + bands[1] + SMALL)
    smooth = [ndimage.gaussian_filter(bands, (0, scale, scale)) for scale in SCALES_PX]
    centred = bands - bands.mean(axis=(1, 2), keepdims=True)
    spread = [
        np.sqrt(np.maximum(ndimage.gaussian_filter(bands**2, (0, scale, scale)) - mean**2, 0))
        for scale, mean in zip(SCALES_PX, smooth, strict=True)
    ]
    optional = [] if channels is None else [channels]
    return np.concatenate([bands, ratio[None], *smooth, centred, *spread, *optional])


def fit_index(patches: Patches, held: NDArray[np.int64]) -> SimpleMap:
    """Choose the threshold of red - green with the best F1 on the held part, in steps of .005."""
    values, truth = _gather(patches, held, lambda image, _: red_less_green(image)[None])
    threshold, _ = best_threshold(values[0], truth, np.arange(0.4, 0.75, 0.0025))
    return SimpleMap("index", np.empty(0), np.empty(0), np.empty(0), threshold)


def fit_logistic(patches: Patches, fit: NDArray[np.int64], held: NDArray[np.int64], seed: int = 0) -> SimpleMap:
    """Fit by Newton steps on pixels drawn from the fit part; threshold of .10(.05).90 on the held part.

    With optional bands, the threshold is chosen on the held part with the bands and again without them.
    """
    rule = _solve(*_gather(patches, fit, describe_pixels, np.random.default_rng(seed)))
    values, truth = _gather(patches, held, lambda image, channels: rule.map(image, channels)[None])
    if patches.optional_bands:
        masked_values, masked_truth = _gather(patches, held, lambda image, _: rule.map(image)[None])
        values, truth = np.concatenate([values, masked_values], axis=1), np.concatenate([truth, masked_truth])
    threshold, _ = best_threshold(values[0], truth)
    return replace(rule, threshold=threshold)


def fit_over(patches: Patches, folds: Sequence[Parts], seed: int = 0) -> dict[str, list[SimpleMap]]:
    """Fit the index and logistic regression by cross-validation.

    Each list has one rule per fold, fitted without the held part of the fold, and then one fitted on all patches.
    All have the threshold with the best F1 on pixels of the held parts, mapped by the rules of their folds.

    `folds`: positions to fit and to hold. Every patch is held once.
    """
    rng = np.random.default_rng(seed)
    drawn = [_gather(patches, np.array([k]), describe_pixels, rng) for k in range(len(patches))]

    def join(positions: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        columns, truths = zip(*(drawn[int(k)] for k in positions), strict=True)
        return np.concatenate(columns, axis=1), np.concatenate(truths)

    rules, values, truths = list[SimpleMap](), [], []
    for fit, held in folds:
        rules.append(_solve(*join(fit)))
        features, truth = join(held)
        values.append(rules[-1].compute_values(features))
        truths.append(truth)
    threshold, _ = best_threshold(np.concatenate(values), np.concatenate(truths))
    every = np.arange(len(patches))
    logistic = [replace(rule, threshold=threshold) for rule in (*rules, _solve(*join(every)))]
    return {"index": [fit_index(patches, every)] * len(logistic), "logistic": logistic}


def _solve(features: NDArray[np.float64], truth: NDArray[np.bool_]) -> SimpleMap:
    """Fit logistic regression to features x pixels by Newton steps, with a threshold of .5."""
    mean, std = features.mean(axis=1), np.maximum(features.std(axis=1), SMALL)
    x = np.vstack([(features - mean[:, None]) / std[:, None], np.ones(features.shape[1])])
    weights = np.zeros(len(x))
    penalty = np.full(len(x), PENALTY * x.shape[1])
    penalty[-1] = 0.0
    for _ in range(STEPS):
        probability = expit(weights @ x)
        gradient = x @ (probability - truth) + penalty * weights
        curvature = (x * (probability * (1 - probability))) @ x.T + np.diag(penalty + SMALL)
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max() < 1e-6:
            break
    return SimpleMap("logistic", weights, mean, std, 0.5)


def score_simple(rule: SimpleMap, patches: Patches, *, objects: bool = True) -> ScoringResult:
    """Score a rule on patches; see `scoring.score_maps`."""
    maps = (
        (patch.name, rule.map(patch.image, patches.read_channels(position)), patch.mask)
        for position, patch in enumerate(patches)
    )
    return score_maps(maps, rule.threshold, objects=objects)


def _gather(
    patches: Patches, positions: NDArray[np.int64], describe: Any, rng: np.random.Generator | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return features x pixels and the truth of the known pixels.

    `rng`: draws `PIXELS_PER_PATCH` pixels of each patch and masks optional bands in some patches; None takes all.
    """
    columns, truths = [], []
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
