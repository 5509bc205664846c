"""Describe the training tiles of shipped weights again (`python -m` this module, DATA, NAME ...).

And measure, on the held part of them, from which other pixel sizes an image may be brought to theirs. With
`--steadiness` before the names only what they lose where pictures lose quality is measured, and the rest stays.
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
from detection.imagery.training.evaluation import map_patches
from detection.imagery.training.model_card import render_card
from detection.imagery.training.recipe_file import find_recipe, read_parts, read_recipe
from detection.imagery.training.steadiness import measure_steadiness
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


def add_steadiness(name: str, data: Path) -> None:
    """Write into the card of shipped weights what they lose with the quality of pictures, on their held part."""
    model = load_model(name)
    training, resize_px = model.card["training"], model.card.get("resize_px")
    native, _ = read_parts(read_recipe(find_recipe(name)), data)
    _, held = split(native, training["split"], training["held_share"], training["seed"])
    path = weights_path(name).with_suffix(".json")
    card = json.loads(path.read_text(encoding="utf-8"))
    card["steadiness"] = measure_steadiness(
        lambda patches: map_patches(model, patches, resize_px), native.take(held), float(card["threshold"])
    )
    path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    page = path.with_suffix(".md")
    again = "\nMade again by"
    end = page.read_text(encoding="utf-8").partition(again)[1:]
    page.write_text("".join([render_card(card).partition(again)[0], *end]), encoding="utf-8")


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
    if sys.argv[2] == "--steadiness":
        for asked in sys.argv[3:]:
            add_steadiness(asked, Path(sys.argv[1]))
    else:
        main(sys.argv[2:], Path(sys.argv[1]))
