"""How steady weights are: their score on held-out patches in other light, under other stretches and at other sizes."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.augment import stretch_for_the_eye
from detection.imagery.data.patches import Patches, as_values
from detection.imagery.scene.moments import LOCAL_STANDARD
from detection.imagery.training.evaluation import map_patches
from detection.imagery.training.scoring import Scored, score_maps

if TYPE_CHECKING:
    from detection.imagery.neural.checkpoint import Model

Values = NDArray[np.float32]
PLAIN = "plain"
BY_BRIGHTEST = "local-max", LOCAL_STANDARD
# The offset of Sentinel-2 products since 2022, in counts, and what the brightest pixel of a patch commonly has.
OFFSET, BRIGHTEST = 1000.0, 4000.0
SIZES = 0.5, 0.75, 1.5, 2.0
PIXELS_OF_A_SCENE = 64  # of each patch: enough for the quantiles of all of them together


def list_stretches(patches: Patches, *, by_brightest: bool) -> dict[str, Callable[[Values], Values]]:
    """What a patch becomes in other hands, in the values that a network is shown.

    Args:
        patches: those that will be scored; together they are the scene that is stretched as a whole.
        by_brightest: whether values are shares of the brightest pixel around (`local-max`, `local-standard`).
    """
    every = [as_values(patch.image).reshape(len(patches.bands), -1) for patch in patches]
    scene = np.concatenate([one[:, :: max(1, one.shape[1] // PIXELS_OF_A_SCENE)] for one in every], axis=1)

    def raise_all(image: Values) -> Values:
        raised = image + np.float32(OFFSET / (BRIGHTEST if by_brightest else 1e4))
        return np.asarray(raised / raised.max() if by_brightest else raised, np.float32)

    return {
        PLAIN: lambda image: image,
        "offset of 1000 counts": raise_all,
        "brightness x 0.5": lambda image: image * np.float32(0.5),
        "brightness x 2": lambda image: np.clip(image * np.float32(2), 0, 1),
        "brightness x 2, nothing cut off": lambda image: image * np.float32(2),
        "stretched patch by patch": lambda image: stretch_for_the_eye(image, image),
        "stretched as one scene": lambda image: stretch_for_the_eye(image, scene),
    }


def score_stretched(model: "Model", patches: Patches, *, sizes: bool = False) -> dict[str, Scored]:
    """Score weights at their own threshold on patches as they are, stretched, and with `sizes` smaller and larger.

    Args:
        model: weights that draw maps.
        patches: held-out ones, at native sizes; scored there whatever the network is shown.
        sizes: also show everything to the network at `SIZES` of its size.
    """
    card = model.card
    resize_px, threshold = card.get("resize_px"), float(card["threshold"])
    patches = patches.remember()
    stretches = list_stretches(patches, by_brightest=card["radiometry"]["stretch"] in BY_BRIGHTEST)
    found = {
        name: score_maps(map_patches(model, _apply(patches, how), resize_px), threshold, objects=False)
        for name, how in stretches.items()
    }
    side = resize_px or patches.read(0).mask.shape[0]
    for size in SIZES if sizes else ():
        maps = map_patches(model, patches, round(side * size))
        found[f"size x {size:g}"] = score_maps(maps, threshold, objects=False)
    return found


def _apply(patches: Patches, how: Callable[[Values], Values]) -> Patches:
    def load(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        image, mask = patches.load(position)
        return how(as_values(image)), mask

    return replace(patches, load=load)
