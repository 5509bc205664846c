"""Steadiness of weights: how much F1 they lose on pictures of lower quality, measured on the held part."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.degrade import NOISE_COUNTS, list_losses
from detection.imagery.data.patches import Patches
from detection.imagery.training.domain import INTERPOLATED, NOISY
from detection.imagery.training.scoring import score_maps
from detection.imagery.weights_file import ModelCard, Steadiness
from detection.reasons import Explanation, Reason

PLAIN: Final = "plain"
# Weights tolerate noise that costs at most this much F1.
COST_MOST: Final = 0.05
Maps = Callable[[Patches], Any]
"""Takes patches and yields name, probabilities and mask of each."""


def degrade_patches(patches: Patches, loss: str) -> Patches:
    """Return the patches after one of the losses of `degrade.list_losses`, or unchanged for `plain`.

    Random numbers depend only on the position of a patch.
    """
    if loss == PLAIN:
        return patches
    degrade = list_losses()[loss]
    load = patches.load

    def load_degraded(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        image, mask = load(position)
        return degrade(image, np.random.default_rng(position)), mask

    return replace(patches, load=load_degraded)


def measure_steadiness(maps: Maps, held: Patches, threshold: float) -> Steadiness:
    """Measure F1 of weights on patches as they are, and after each loss of quality.

    `noise_counts` of the result is the greatest tested noise up to which every tested noise costs at most `COST_MOST`.

    Args:
        maps: maps patches by the weights.
        held: patches on which the weights were not fitted, and which are not of the test part.
        threshold: probability from which a pixel is a landslide.
    """
    held = held.cache()
    f1_by_loss = {
        loss: score_maps(maps(degrade_patches(held, loss)), threshold, objects=False, draws=0).report["f1"] or 0.0
        for loss in (PLAIN, *list_losses())
    }
    tolerated = 0.0
    for counts in NOISE_COUNTS:
        if f1_by_loss[f"noise of {counts:g}"] < f1_by_loss[PLAIN] - COST_MOST:
            break
        tolerated = counts
    return {
        "held_patches": len(held),
        "f1": {loss: round(value, 4) for loss, value in f1_by_loss.items()},
        "noise_counts": tolerated,
    }


def find_cost(doubts: Sequence[Explanation], card: ModelCard) -> float | None:
    """Return how much F1 weights lose by the losses of quality that doubts state; None if their card does not state it.

    >>> card = {"steadiness": {"f1": {"plain": 0.6, "bilinear": 0.5, "blur": 0.55}}}
    >>> round(find_cost([Reason(INTERPOLATED)], card), 3), find_cost([], card), find_cost([], {})
    (0.1, 0.0, None)
    """
    if not (steadiness := card.get("steadiness")):
        return None
    f1 = steadiness["f1"]
    losses = set[str]()
    for reason in (doubt for doubt in doubts if isinstance(doubt, Reason)):
        if reason.code == INTERPOLATED:
            losses |= {"bilinear", "blur"}
        if reason.code == NOISY:
            counts = round(float(cast("float", reason.values["seen"])), 1)
            tested = min((tested for tested in NOISE_COUNTS if tested >= counts), default=max(NOISE_COUNTS))
            losses.add(f"noise of {tested:g}")
    if not losses:
        return 0.0
    measured = losses & f1.keys()
    return max((float(f1[PLAIN] - f1[loss]) for loss in measured), default=None)
