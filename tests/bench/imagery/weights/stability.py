"""How steady weights are: their score on held-out patches in other light, under other stretches and at other sizes."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from detection.imagery.data.augment import stretch_for_the_eye
from detection.imagery.data.patches import Patches, as_values, resize_bands, resize_mask
from detection.imagery.raster.grid import Grid
from detection.imagery.scene.moments import LOCAL_STANDARD
from detection.imagery.scene.resized import COARSE_FINER, Pixels, find_pixels, resample
from detection.imagery.training.evaluation import Maps, map_patches
from detection.imagery.training.scoring import ScoringResult, score_maps

if TYPE_CHECKING:
    from detection.imagery.neural.checkpoint import SegmentationModel

Values = NDArray[np.float32]
PLAIN = "plain"
BY_BRIGHTEST = "local-max", LOCAL_STANDARD
# The offset of Sentinel-2 products since 2022, in counts, and what the brightest pixel of a patch commonly has.
OFFSET, BRIGHTEST = 1000.0, 4000.0
SIZES = 0.5, 0.75, 1.5, 2.0
BROUGHT = "{}, brought back"
# Pictures of another size carry where bringing them back costs no more than this on held ones.
COST_MOST = 0.1
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


def score_stretched(model: "SegmentationModel", patches: Patches, *, sizes: bool = False) -> dict[str, ScoringResult]:
    """Score weights at their own threshold on patches as they are, stretched, and with `sizes` smaller and larger.

    Args:
        model: weights that draw maps.
        patches: held-out ones, at native sizes; scored there whatever the network is shown.
        sizes: also show everything to the network at `SIZES` of its size, and where its card says that such pictures
            are brought to the pixels of its training (`other_pixels`), also brought there as `detect` does.
    """
    card = model.card
    resize_px, threshold = card.get("resize_px"), float(card["threshold"])
    patches = patches.remember()
    stretches = list_stretches(patches, by_brightest=card["radiometry"]["stretch"] in BY_BRIGHTEST)
    found = {
        name: score_maps(map_patches(model, change_patches(patches, how), resize_px), threshold, objects=False)
        for name, how in stretches.items()
    }
    side = resize_px or patches.read(0).mask.shape[0]
    for size in SIZES if sizes else ():
        small_px, name = round(side * size), f"size x {size:g}"
        found[name] = score_maps(map_patches(model, patches, small_px), threshold, objects=False)
        if pixel_m := find_pixels(card["pixel_size_m"] / size, card):
            maps = _map_brought(model, patches, small_px, round(side * card["pixel_size_m"] / pixel_m))
            found[BROUGHT.format(name)] = score_maps(maps, threshold, objects=False)
    return found


def measure_other_pixels(model: "SegmentationModel", patches: Patches) -> dict[str, Any] | None:
    """Measure from which pixel sizes an image may be brought to those of the training; None where from no other.

    To twice as coarse, and then also from twice as fine on, where at each of `SIZES` on that side it is better to bring
    a picture there than to show it as it is, and costs at most `COST_MOST`.

    Args:
        model: weights that draw maps.
        patches: held ones, on which the weights were not fitted.
    """
    trained_m = float(model.card["pixel_size_m"])
    widest = {"finest_m": trained_m / 2, "coarsest_m": trained_m * 2, "coarse_at_m": trained_m / COARSE_FINER}
    tried = replace(model, card={**model.card, "other_pixels": widest})
    f1 = {name: round(one.report["f1"], 4) for name, one in score_stretched(tried, patches, sizes=True).items()}
    carries = {
        size: f1[name] < f1[BROUGHT.format(name)] >= f1[PLAIN] - COST_MOST
        for size, name in ((size, f"size x {size:g}") for size in SIZES)
    }
    finer, coarser = (all(carries[size] for size in SIZES if (size > 1) == is_finer) for is_finer in (True, False))
    # finer pictures are enlarged by computer, so what they say alone is said of the kernel and not of a camera
    if not coarser:
        return None
    return {
        "finest_m": widest["finest_m"] if finer else trained_m,
        "coarse_at_m": round(widest["coarse_at_m"], 4),
        "coarsest_m": widest["coarsest_m"],
        "held_patches": len(patches),
        "held_f1": {name: value for name, value in f1.items() if name == PLAIN or name.startswith("size")},
    }


def _map_brought(model: "SegmentationModel", patches: Patches, small_px: int, seen_px: int) -> Maps:
    """Maps of pictures that a camera took with `small_px` to a side, brought to `seen_px` and back as a scene is."""
    small = Grid(Affine.identity(), "", small_px, small_px)
    seen = Grid(Affine.scale(small_px / seen_px), "", seen_px, seen_px)

    def bring(values: Values, source: Grid, target: Grid) -> Values:
        def read(column: int, row: int, width: int, height: int) -> Pixels:
            part = values[:, row : row + height, column : column + width]
            return part, np.ones(part.shape[1:], bool)

        return resample(read, source, target, (0, 0, target.width, target.height))[0]

    def load(position: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        image, mask = patches.load(position)
        taken = as_values(resize_bands(image, (small_px, small_px)))
        return bring(taken, small, seen), resize_mask(mask, (seen_px, seen_px))

    for (name, found, _), patch in zip(map_patches(model, replace(patches, load=load)), patches, strict=True):
        back = bring(np.asarray(found, np.float32)[None], seen, small)
        yield name, resize_bands(back, patch.mask.shape)[0], patch.mask


def change_patches(patches: Patches, how: Callable[[Values], Values]) -> Patches:
    """The same patches with every image changed."""
    return patches.change(lambda image, _: how(as_values(image)))
