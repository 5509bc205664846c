"""A training recipe: a TOML file that says data, network and seed, and the run that turns it into weights."""

import argparse
import hashlib
import json
import logging
import os
import sys
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from detection.imagery.errors import ImageryError, RecipeError

LANDSLIDE4SENSE = "landslide4sense-rgb"
GENERATED = "generated"
PROVENANCE: dict[str, dict[str, str]] = {
    GENERATED: {
        "source": "scenes drawn by detection.imagery.generate",
        "licence": "Apache-2.0, as the project",
        "note": "drawn hills, forest, fields, roads and scars; nothing was measured",
    },
    LANDSLIDE4SENSE: {
        "source": "true-colour PNG renderings of Landslide4Sense-2022 training patches (Sentinel-2, about 10 m); "
        "original data: IARAI, iarai/Landslide4Sense-2022, Zenodo record 10463239",
        "licence": "the origin's own licence was not seen; third parties list MIT for a copy of the data set; "
        "the data themselves are not shipped",
        "note": "train and validation are random draws from the same four regions: every score is an in-region score; "
        "the subset holds 4.1 % landslide pixels and hardly an empty patch, so F1 is not comparable with published F1",
    },
}
LIMITS = [
    "One date, true colour only: bare soil, fields, roads, river beds and clouds can look like a landslide.",
    "A footprint is advice, not evidence of a new landslide.",
    "Transfer to another region, season or sensor was not shown.",
]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A checked recipe; `training` holds the keys of `neural.training.Settings`."""

    name: str
    bands: tuple[str, ...]
    seed: int
    data: dict[str, Any]
    radiometry: dict[str, Any]
    training: dict[str, Any]


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: no such file, not TOML, unknown or missing key.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not TOML ({error})") from None
    wanted = [field.name for field in fields(Recipe)]
    if unknown := sorted(set(content) - set(wanted)):
        raise RecipeError(f"{path}: unknown key {unknown[0]!r}; expected: {', '.join(wanted)}")
    if missing := [key for key in wanted if key not in content]:
        raise RecipeError(f"{path}: key {missing[0]!r} is missing")
    if (source := content["data"].get("source")) not in PROVENANCE:
        raise RecipeError(f"{path}: data.source {source!r} is unknown; known: {', '.join(PROVENANCE)}")
    return Recipe(**{**content, "bands": tuple(content["bands"])})


def run_recipe(recipe: Recipe, out: Path, data_folder: Path | None = None) -> dict[str, Any]:
    """Train by a recipe and write `out` (.safetensors), its JSON card and a markdown card.

    Args:
        recipe: what to do.
        out: path of the weights.
        data_folder: where the recipe's data folder lies; not needed for generated scenes.

    Returns:
        The JSON card.
    """
    from detection.imagery.neural.checkpoint import save_model
    from detection.imagery.neural.training import Settings, evaluate, train_network

    known = {field.name for field in fields(Settings)} - {"seed"}
    if unknown := sorted(set(recipe.training) - known):
        raise RecipeError(
            f"recipe {recipe.name}: unknown training key {unknown[0]!r}; expected: {', '.join(sorted(known))}"
        )
    options: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in recipe.training.items()
    }
    settings = Settings(seed=recipe.seed, **options)
    (images, masks), (test_images, test_masks) = load_data(recipe, data_folder)
    trained = train_network(images, masks, settings)
    scores = {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in evaluate(trained, test_images, test_masks).items()
    }
    provenance = PROVENANCE[recipe.data["source"]]
    card: dict[str, Any] = {
        "name": recipe.name,
        "network": {"name": settings.network, "classes": 2, "width": settings.width, "options": {}},
        "parameters": sum(parameter.numel() for parameter in trained.network.parameters()),
        "bands": list(recipe.bands),
        "pixel_size_m": 10.0,
        "radiometry": recipe.radiometry,
        "normalisation": {"mean": trained.mean, "std": trained.std, "value_range": trained.value_range},
        "threshold": trained.threshold,
        "data": {
            **provenance,
            "recipe": recipe.data,
            "train_patches": len(images),
            "train_sha256": _hash(images, masks),
        },
        "metrics": {
            "test_patches": len(test_images),
            "test": scores,
            "held_f1": round(trained.held_f1, 4),
            "chosen_on": "epoch and threshold: held part of train; test part: scored once",
        },
        "training": {**asdict(settings), "best_epoch": trained.best_epoch, "cpu_s": round(trained.cpu_s, 1)},
        "history": trained.history,
        "limits": LIMITS,
    }
    save_model(out, trained.network, card)
    out.with_suffix(".md").write_text(render_card(card), encoding="utf-8")
    return card


def load_data(
    recipe: Recipe, data_folder: Path | None
) -> tuple[tuple[NDArray[Any], NDArray[np.uint8]], tuple[NDArray[Any], NDArray[np.uint8]]]:
    """Return (train images, masks) and (test images, masks) of a recipe.

    Raises:
        RecipeError: the data are absent.
    """
    if recipe.data["source"] == GENERATED:
        from detection.imagery.generate import draw_patches

        size_px = int(recipe.data["size_px"])
        train = draw_patches(recipe.seed, int(recipe.data["train"]), size_px, recipe.bands)
        return train, draw_patches(recipe.seed + 1_000_003, int(recipe.data["test"]), size_px, recipe.bands)
    folder = (data_folder or Path()) / recipe.data["folder"]
    return read_patches(folder / "train.zip"), read_patches(folder / "validation.zip")


def read_patches(archive: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read a zip of `*/images/image_N.png` and `*/masks/mask_N.png`: N x 3 x H x W (R, G, B), N x H x W of 0, 1."""
    from detection.imagery.raster import decode_png

    if not archive.is_file():
        raise RecipeError(f"{archive}: the recipe's data are absent; name their folder with --data")
    with ZipFile(archive) as content:
        names = sorted(name for name in content.namelist() if "/images/" in name and name.endswith(".png"))
        images = [decode_png(content.read(name))[:3] for name in names]
        pairs = (name.replace("/images/image_", "/masks/mask_") for name in names)
        masks = [decode_png(content.read(name))[0] > 127 for name in pairs]
    return np.stack(images), np.stack(masks).astype(np.uint8)


def render_card(card: dict[str, Any]) -> str:
    """Render the JSON card as a short markdown page."""
    test, data, training = card["metrics"]["test"], card["data"], card["training"]
    network = card["network"]
    what = (
        f"Plain U-Net (`{network['name']}`, width {network['width']}, {card['parameters']:,} parameters), "
        f"bands {', '.join(card['bands'])}, {card['pixel_size_m']:g} m pixels, "
        f"stretch `{card['radiometry']['stretch']}`, threshold {card['threshold']}."
    )
    how = (
        f"- Trained on {data['train_patches']} patches, {training['epochs']} epochs "
        f"(best: {training['best_epoch']}), {training['cpu_s']:.0f} CPU seconds on one thread, "
        f"seed {training['seed']}. {card['metrics']['chosen_on']}."
    )
    result = (
        f"- {card['metrics']['test_patches']} test patches: F1 {test['f1']}, precision {test['precision']}, "
        f"recall {test['recall']}, IoU {test['iou']}, mean IoU {test['miou']}, accuracy {test['accuracy']} "
        "(accuracy is high even for a map that finds nothing)."
    )
    lines = [
        f"# Weights `{card['name']}`",
        "",
        what,
        "",
        f"- Data: {data['source']}.",
        f"- Licence: {data['licence']}.",
        f"- Note: {data['note']}.",
        how,
        result,
        *(f"- Limit: {limit}" for limit in card["limits"]),
        "",
        f"Made again by `python -m detection.imagery.recipe configs/detection/{card['name']}.toml`.",
        "",
    ]
    return "\n".join(lines)


def _hash(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Run a recipe from the command line; 0 done, 1 known error."""
    parser = argparse.ArgumentParser(prog="python -m detection.imagery.recipe", description=run_recipe.__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, help="weights to write; default: the shipped weights of this name")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SLOPEWARD_DATA", "../shared/data")))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    import torch

    torch.set_num_threads(1)
    try:
        recipe = read_recipe(options.recipe)
        out = options.out or Path(__file__).parent / "weights" / f"{recipe.name}.safetensors"
        card = run_recipe(recipe, out, options.data)
    except ImageryError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps({"weights": str(out), **card["metrics"]}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
