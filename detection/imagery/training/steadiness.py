"""What trained weights lose where pictures lose quality: measured on the held part of their training, for the card."""

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
# Noise that costs weights no more F1 than this is held by them.
COST_MOST: Final = 0.05
Maps = Callable[[Patches], Any]
"""From patches to (name, probabilities, mask) of each."""


def degrade_patches(patches: Patches, loss: str) -> Patches:
    """The same patches after one of `degrade.list_losses`, drawn by their position; `plain` leaves them."""
    if loss == PLAIN:
        return patches
    how, load = list_losses()[loss], patches.load

    def worsen(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        image, mask = load(position)
        return how(image, np.random.default_rng(position)), mask

    return replace(patches, load=worsen)


def measure_steadiness(maps: Maps, held: Patches, threshold: float) -> Steadiness:
    """Measure F1 of weights on patches as they are, and after each loss of quality.

    Args:
        held: patches that the weights were not fitted on; never those of the test.

    The noise that is held is the greatest one tried whose cost, as that of all lesser ones, is at most `COST_MOST`.
    """
    held = held.remember()
    found = {
        loss: score_maps(maps(degrade_patches(held, loss)), threshold, objects=False, draws=0).report["f1"] or 0.0
        for loss in (PLAIN, *list_losses())
    }
    most = 0.0
    for counts in NOISE_COUNTS:
        if found[f"noise of {counts:g}"] < found[PLAIN] - COST_MOST:
            break
        most = counts
    return {
        "held_patches": len(held),
        "f1": {loss: round(value, 4) for loss, value in found.items()},
        "noise_counts": most,
    }


def find_cost(doubts: Sequence[Explanation], card: ModelCard) -> float | None:
    """What these doubts about the quality of a scene cost its weights in F1, by their card; None where none says so.

    >>> card = {"steadiness": {"f1": {"plain": 0.6, "bilinear": 0.5, "blur": 0.55}}}
    >>> round(find_cost([Reason(INTERPOLATED)], card), 3), find_cost([], card), find_cost([], {})
    (0.1, 0.0, None)
    """
    if not (steadiness := card.get("steadiness")):
        return None
    f1, losses = steadiness["f1"], set[str]()
    for reason in (doubt for doubt in doubts if isinstance(doubt, Reason)):
        if reason.code == INTERPOLATED:
            losses |= {"bilinear", "blur"}
        if reason.code == NOISY:
            counts = round(float(cast("float", reason.values["seen"])), 1)
            losses.add(f"noise of {min((n for n in NOISE_COUNTS if n >= counts), default=max(NOISE_COUNTS)):g}")
    return max((float(f1[PLAIN] - f1[loss]) for loss in losses & f1.keys()), default=0.0)
