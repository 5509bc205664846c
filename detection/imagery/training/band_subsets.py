"""Thresholds of weights for scenes that lack bands: chosen on the held part of their training, for the card."""

from typing import TYPE_CHECKING

import numpy as np

from detection.imagery.data.band_groups import list_subsets, mask_bands
from detection.imagery.data.patches import Patches
from detection.imagery.weights_file import BandSubset

if TYPE_CHECKING:
    from detection.imagery.neural.training import TrainedNetwork


def measure_subsets(trained: "TrainedNetwork", held: Patches, fixed: float) -> list[BandSubset]:
    """Temperature, threshold and F1 for every combination of missing bands; where nothing is held, those of the recipe.

    Args:
        held: that part of train, as the network was shown it.
        fixed: threshold that the recipe names, or 0.
    """
    from detection.imagery.neural.training import calibrate

    found: list[BandSubset] = []
    for missing in list_subsets(held.bands):
        calibration, threshold, f1 = trained.calibration, trained.threshold, None
        if len(held):
            masked, every = mask_bands(held, missing), np.arange(len(held))
            calibration, threshold, f1 = calibrate(trained.network, masked, every, trained.normalisation)
            threshold, f1 = fixed or threshold, round(f1, 4)
        found.append(
            {"missing": missing, "threshold": threshold, "temperature": calibration.temperature, "held_f1": f1}
        )
    return found
