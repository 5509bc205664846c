"""What blended tiles cost where no tile can be exact: the share of pixels that fall on the other side of the threshold.

    python -m tests.bench.imagery.bench_blends [--weights FOLDER]

Networks into which means over the window enter are trained on drawn scenes (150 processor seconds each, the shipped
recipe but for network and width) and run on the measured scene after the Hokkaido earthquake (1533 x 970 px). Its map
by tiles is compared with one pass over the whole scene, at .5; beside it stand the flips that `run.json` tells (the
tiles against moved ones, at the model's own threshold) and the same for larger tiles. Bar: 1.5 %, with tiles of the
training's size half over each other. With `--weights` networks of an earlier run are taken, and new ones kept there.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray

from detection.imagery.footprints.detect import detect
from detection.imagery.neural.checkpoint import load_model
from detection.imagery.neural.inference import Segmenter
from detection.imagery.training.recipe import run_recipe
from detection.imagery.training.recipe_file import find_recipe, read_recipe
from tests.bench.record import record

NETWORKS = {"sbconv-unet": 0.125, "pspnet": 0.125, "deeplabv3plus-mobilenetv2": 0.25}
TILES = (None, 256, 512)
BANDS = ("B4", "B3", "B2")
BUDGET_CPU_S = 150.0
BAR = 0.015
DATA = Path(os.environ.get("SLOPEWARD_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
HALF = 100  # steps of 1/200
COMMAND = "python -m tests.bench.imagery.bench_blends"


def train(name: str, folder: Path) -> Path:
    """Weights of a network, trained unless they are there."""
    path = folder / f"{name}.safetensors"
    if not path.is_file():
        recipe = read_recipe(find_recipe("generated"))
        settings = {**recipe.training, "network": name, "width": NETWORKS[name], "time_limit_cpu_s": BUDGET_CPU_S}
        run_recipe(replace(recipe, name=f"{name}-blends", training=settings), path, None)
    return path


def lay_out(folder: Path) -> Path:
    """The measured scene as a folder with its manifest."""
    folder.mkdir()
    for band in BANDS:
        source = DATA / "imagery" / "hokkaido-2018-s2-scene" / f"post_event_{band}.tif"
        (folder / f"{band}.tif").write_bytes(source.read_bytes())
    lines = ["acquired_at = 2018-10-25T01:20:00Z", "complete = true", "[bands]"]
    (folder / "scene.toml").write_text("\n".join(lines + [f'{band} = "{band}.tif"' for band in BANDS]))
    return folder


def pass_once(weights: Path, scene: Path) -> NDArray[np.floating]:
    """The probabilities of one pass over the whole scene."""
    model = load_model(str(weights))
    bands = []
    for name in model.bands:
        with rasterio.open(scene / f"{name}.tif") as source:
            bands.append(source.read(1))
    counts = np.stack(bands).astype(np.float32)
    values = counts * np.float32(model.card["radiometry"]["scale"])
    return Segmenter(model).probabilities(values, (counts > 0).all(axis=0))


def measure(name: str, weights: Path, scene: Path, folder: Path) -> dict[str, Any]:
    """The flips of one network."""
    whole = pass_once(weights, scene) >= 0.5
    card = load_model(str(weights)).card
    found: dict[str, Any] = {
        "width": NETWORKS[name],
        "trained_cpu_s": card["training"]["cpu_s"],
        "f1_on_drawn": card["metrics"]["test"]["f1"],
        "threshold": card["threshold"],
        "landslide_share_of_one_pass": round(float(whole.mean()), 5),
    }
    for tile in TILES:
        begun = time.process_time()
        out = folder / f"{name}-{tile}"
        answer = detect({"scene_path": str(scene), "weights": str(weights), "out_dir": str(out), "tile": tile})
        with rasterio.open(out / "prob.tif") as source:
            steps = source.read(1)
        flips = float(((steps >= HALF) != whole)[steps != 255].mean())
        found[f"tile_{answer['tile']}"] = {
            "flips_from_one_pass_at_half": round(flips, 5),
            "flips_told_in_run_json": answer["flip_rate"],
            "cpu_s": round(time.process_time() - begun, 1),
        }
    return found


def main() -> None:
    """Train, measure, keep the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--weights", type=Path, help="folder of trained networks")
    given = options.parse_args()
    figures: dict[str, Any] = {"bar": BAR, "scene": "hokkaido-2018-s2-scene, after the earthquake"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene, kept = lay_out(folder / "scene"), given.weights or folder
        for network in NETWORKS:
            figures[network] = measure(network, train(network, kept), scene, folder)
            print(json.dumps({network: figures[network]}), flush=True)
    figures["met"] = {n: figures[n]["tile_128"]["flips_from_one_pass_at_half"] <= BAR for n in NETWORKS}
    print(record("scene-blends", COMMAND, figures))


if __name__ == "__main__":
    main()
