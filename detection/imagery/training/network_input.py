"""Convert the patches of a data set to the input of a network, as the card of its weights describes."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import Patches
from detection.imagery.raster.terrain import TERRAIN
from detection.imagery.scene.moments import LOCAL_STANDARD
from detection.imagery.weights_file import ModelCard, RadiometrySpec


def read_normalisation(card: ModelCard) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation of each band from a card."""
    normalisation = card["normalisation"]
    return np.array(normalisation["mean"], np.float32), np.array(normalisation["std"], np.float32)


def choose_stretch(radiometry: RadiometrySpec) -> Callable[[Patches], Patches]:
    """Return the function that converts the patches of a data set to the input of a network.

    Only the stretch `local-standard` changes patches, because it must follow a change of their size or quality. For
    every other stretch, `data.catalogue.open_data` returns the values to which the stretch converts scenes.
    """
    if radiometry.get("stretch") != LOCAL_STANDARD:
        return lambda patches: patches
    return lambda patches: patches.standardise(TERRAIN)
