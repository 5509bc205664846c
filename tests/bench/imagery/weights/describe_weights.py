"""Describe the training tiles of shipped weights again (`python -m` this module, DATA, NAME ...).

And measure, on the held part of them, from which other pixel sizes an image may be brought to theirs.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from detection.imagery.data.catalogue import SOURCES, find_pixel_size
from detection.imagery.data.patches import Patches, as_values, resize_bands, resize_mask
from detection.imagery.data.splits import split
from detection.imagery.neural.checkpoint import SegmentationModel, load_model
from detection.imagery.raster.grid import Grid
from detection.imagery.scene.resized import COARSE_FINER, Pixels, find_pixels, resample
from detection.imagery.training.domain import describe
from detection.imagery.training.evaluation import Maps, map_patches
from detection.imagery.training.recipe_file import find_recipe, read_parts, read_recipe
from detection.imagery.training.scoring import ScoringResult, score_maps
from detection.imagery.weights_file import weights_path

Values = NDArray[np.float32]
PLAIN = "plain"
SIZES = 0.5, 0.75, 1.5, 2.0
BROUGHT = "{}, brought back"
# Pictures of another size carry where bringing them back costs no more than this on held ones.
COST_MOST = 0.1


def score_sizes(model: SegmentationModel, patches: Patches) -> dict[str, ScoringResult]:
    """Score weights at their own threshold on patches as they are, and at `SIZES` of their size."""
    card = model.card
    resize_px, threshold = card.get("resize_px"), float(card["threshold"])
    patches = patches.remember()
    found = {PLAIN: score_maps(map_patches(model, patches, resize_px), threshold, objects=False)}
    side = resize_px or patches.read(0).mask.shape[0]
    for size in SIZES:
        small_px, name = round(side * size), f"size x {size:g}"
        found[name] = score_maps(map_patches(model, patches, small_px), threshold, objects=False)
        if pixel_m := find_pixels(card["pixel_size_m"] / size, card):
            maps = _map_brought(model, patches, small_px, round(side * card["pixel_size_m"] / pixel_m))
            found[BROUGHT.format(name)] = score_maps(maps, threshold, objects=False)
    return found


def measure_other_pixels(model: SegmentationModel, patches: Patches) -> dict[str, Any] | None:
    """Measure from which pixel sizes an image may be brought to those of the training; None where from no other."""
    trained_m = float(model.card["pixel_size_m"])
    widest = {"finest_m": trained_m / 2, "coarsest_m": trained_m * 2, "coarse_at_m": trained_m / COARSE_FINER}
    tried = replace(model, card={**model.card, "other_pixels": widest})
    f1 = {name: round(one.report["f1"], 4) for name, one in score_sizes(tried, patches).items()}
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


def _map_brought(model: SegmentationModel, patches: Patches, small_px: int, seen_px: int) -> Maps:
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


def add_to_card(
    path: Path, patches: Patches, pixel_size_m: float, undated: str, other_pixels: dict[str, Any] | None = None
) -> None:
    """Write the description of the training tiles into the card of weights that were trained before there was one."""
    card = json.loads(path.read_text(encoding="utf-8"))
    card["domain"] = describe(patches, pixel_size_m, undated)
    card.pop("other_pixels", None)
    if other_pixels:
        card["other_pixels"] = other_pixels
    path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main(names: Iterable[str], data: Path) -> None:
    """Describe the training tiles of shipped weights again."""
    for name in names:
        recipe = read_recipe(find_recipe(name))
        native, _ = read_parts(recipe, data)
        size_px = None if recipe.data["source"] == "generated" else recipe.data.get("size_px")
        patches = native.resize(int(size_px)) if size_px else native
        size_m, undated = find_pixel_size(recipe.data, native), SOURCES[recipe.data["source"]].undated
        card = json.loads(weights_path(name).with_suffix(".json").read_text(encoding="utf-8"))
        training = card["training"]
        _, held = split(native, training["split"], training["held_share"], training["seed"])
        others = measure_other_pixels(load_model(name), native.take(held).remember())
        add_to_card(weights_path(name).with_suffix(".json"), patches, size_m, undated, others)


if __name__ == "__main__":
    main(sys.argv[2:], Path(sys.argv[1]))
