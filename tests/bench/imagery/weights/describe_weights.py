"""Describe the training tiles of shipped weights again (`python -m` this module, DATA, NAME ...).

And measure, on the held part of them, from which other pixel sizes an image may be brought to theirs.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detection.imagery.data.catalogue import SOURCES, find_pixel_size
from detection.imagery.data.patches import Patches
from detection.imagery.data.splits import split
from detection.imagery.neural.checkpoint import load_model
from detection.imagery.training.domain import describe
from detection.imagery.training.recipe_file import find_recipe, read_parts, read_recipe
from detection.imagery.weights_file import weights_path
from tests.bench.imagery.weights.stability import measure_other_pixels


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
