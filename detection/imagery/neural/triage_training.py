"""Training of the triage network, which classifies whole tiles as with or without a landslide."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from detection.imagery.data.patches import Patches, as_values
from detection.imagery.data.splits import split
from detection.imagery.errors import TrainingRecipeError
from detection.imagery.neural.learner import Hooks, ImageryLearner, ImageryTrainingSettings, Normalisation
from detection.imagery.neural.training import TrainedNetwork, measure_statistics

# Share of the held tiles with a landslide that must reach the threshold. On new tiles 0.95 is required.
HELD_RECALL = 0.975
# The threshold is this share of the least probability that must reach it.
THRESHOLD_MARGIN = 0.9
# Held tiles with a landslide are few, and high probabilities on all of them would make the threshold far too high: one
# of five folds of the Bijie train part gave 0.74, and missed 9 of the 40 landslide tiles left out.
THRESHOLD_MOST = 0.015


def train_triage(patches: Patches, settings: ImageryTrainingSettings, hooks: Hooks | None = None) -> TrainedNetwork:
    """Train a classifier of whole patches: does any pixel belong to a landslide?

    The result is the network of the last epoch: if the epoch were chosen by so few held tiles, the threshold would be
    too high. The score after each epoch is the specificity on the held part, at the threshold of
    `choose_tile_threshold`.

    Raises:
        TrainingRecipeError: the patches have optional bands.
    """
    if patches.optional_bands:
        raise TrainingRecipeError("a classifier of tiles reads no optional bands: leave out optional_bands")
    fit, held = split(patches, settings.split, settings.held_share, settings.seed)
    mean, std, value_range, _ = measure_statistics(patches, fit)
    truth = label_tiles(patches, held)

    def score_held(network: torch.nn.Module) -> tuple[float, float]:
        probabilities = predict_tiles(network, patches, held, (mean, std))
        threshold = choose_tile_threshold(probabilities, truth)
        passed = probabilities >= threshold
        return float(np.mean(~passed[~truth]) if (~truth).any() else 0.0), threshold

    share = float(label_tiles(patches, fit).mean())
    learner = ImageryLearner(patches, fit, replace(settings, loss="weighted-ce"), (mean, std), share, score_held)
    learner.run(hooks or Hooks())
    learner.scored_network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    specificity, threshold = score_held(learner.scored_network)
    return TrainedNetwork.from_learner(learner, held, value_range, threshold, specificity, len(learner.history))


def evaluate_triage(
    trained: TrainedNetwork,
    patches: Patches,
    size_px: int,
    convert: Callable[[Patches], Patches] = lambda patches: patches,
) -> dict[str, float | int | None]:
    """Return recall, specificity and counts on tiles that the network was not trained on.

    Args:
        size_px: side to which the tiles are resized for the network.
        convert: converts the resized tiles to the input of the network, as in its training.
    """
    positions = np.arange(len(patches))
    network_input = convert(patches.resize(size_px))
    passed = predict_tiles(trained.network, network_input, positions, trained.normalisation) >= trained.threshold
    truth = label_tiles(patches, positions)
    return {
        "recall": float(passed[truth].mean()) if truth.any() else None,
        "specificity": float((~passed[~truth]).mean()) if (~truth).any() else None,
        "accuracy": float((passed == truth).mean()),
        "landslide_tiles": int(truth.sum()),
        "empty_tiles": int((~truth).sum()),
        "passed_over": int((~passed).sum()),
    }


def label_tiles(patches: Patches, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return, per tile, whether it holds a landslide."""
    return np.array([bool((patches.read(int(position)).mask == 1).any()) for position in positions])


def predict_tiles(
    network: torch.nn.Module, patches: Patches, positions: NDArray[np.int64], normalisation: Normalisation
) -> NDArray[np.float64]:
    """Return, per tile, the probability that it holds a landslide."""
    mean, std = normalisation
    network.eval()
    probabilities = []
    for position in positions:
        image = (as_values(patches.read(int(position)).image) - mean[:, None, None]) / std[:, None, None]
        with torch.inference_mode():
            probabilities.append(float(network(torch.from_numpy(image[None])).softmax(dim=1)[0, 1]))
    return np.array(probabilities)


def choose_tile_threshold(probabilities: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Return the threshold: the highest that `HELD_RECALL` of the landslide tiles reach, less a margin.

    >>> choose_tile_threshold(np.array([0.01, 0.9, 0.2]), np.array([True, True, False]))
    0.009
    >>> choose_tile_threshold(np.array([0.8, 0.9, 0.2]), np.array([True, True, False]))
    0.015
    """
    if not truth.any():
        return 0.0
    least = float(np.quantile(probabilities[truth], 1 - HELD_RECALL, method="lower"))
    return round(min(THRESHOLD_MARGIN * least, THRESHOLD_MOST), 6)
