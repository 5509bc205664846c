"""`scenes learn` as a user meets it: 200 pictures and their outlines as files, two cores, less than five minutes a set.

    python -m tests.bench.imagery.bench_learn [--sets bijie landslide4sense-rgb] [--seeds 0 1 2] [--minutes M]

Without --minutes the default of the command holds. Pictures of the train part of a set are written as GeoTIFFs, each at
a place of its own, with the outlines of their masks
in one GeoJSON; then `slopeward scenes learn` runs in a process of its own. The gate left a quarter of the pictures out.
A second, larger set of pictures that the run never saw, the validation part, is mapped by the network that came of it
and by logistic regression fitted on the same tiles; differences are paired over the pictures. Pictures are
brought to 128 px first. Another seed draws others.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine

from detection.imagery.data import bijie, landslide4sense
from detection.imagery.data import folder as tile_folder
from detection.imagery.data.patches import Patches
from detection.imagery.neural.checkpoint import load_model
from detection.imagery.raster.areas import map_outline
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.outlines import outline_pixels
from detection.imagery.raster.raster import write_geotiff
from detection.imagery.training.evaluation import map_patches
from detection.imagery.training.scoring import compare, score_maps
from detection.imagery.training.simple_maps import fit_over, score_simple
from detection.learning.records import TILE_PX
from detection.learning.run import PLAN, read_folds
from tests.bench.record import DATA, read_figures, record

WORK = Path(__file__).resolve().parents[3] / "build" / "bench_learn"
PICTURES = 200
LEFT_OUT = ("f1", "interval", "less_logistic", "tiles", "blocks", "blocks_with_landslides")
SETS = {
    "bijie": (bijie.read, "imagery/bijie", 1.5),
    "landslide4sense-rgb": (landslide4sense.read_png, "imagery/landslide4sense-rgb", 10.0),
}


def write_user_files(patches: Patches, pixel_m: float, folder: Path) -> None:
    """Pictures as a user has them, 5 km from each other, and what a geologist drew on them."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "scenes").mkdir(parents=True)
    features = []
    for number, patch in enumerate(patches):
        east, north = 300_000 + 5_000 * (number % 30), 2_900_000 + 5_000 * (number // 30)
        grid = Grid(Affine(pixel_m, 0, east, 0, -pixel_m, north), "EPSG:32648", *patch.mask.shape[::-1])
        write_geotiff(folder / "scenes" / f"{number:04d}.tif", patch.image, grid, descriptions=patches.bands)
        looked = shapely.box(0, 0, *patch.mask.shape[::-1])
        for kind, shapes in (("landslide", outline_pixels(patch.mask == 1)), ("nothing", [looked])):
            for shape in shapes:
                placed = shapely.geometry.mapping(map_outline(shape, grid.to_crs))
                features.append({"type": "Feature", "properties": {"kind": kind}, "geometry": placed})
    crs = {"type": "name", "properties": {"name": "EPSG:32648"}}
    text = json.dumps({"type": "FeatureCollection", "crs": crs, "features": features})
    (folder / "outlines.geojson").write_text(text)


def run(name: str, seed: int, minutes: float | None) -> dict[str, Any]:
    """One run by the command, and how its network maps pictures that it never saw."""
    read, below, pixel_m = SETS[name]
    train, test = (read(DATA / below, part) for part in ("train", "validation"))
    chosen = np.random.default_rng(seed).permutation(len(train))[:PICTURES]
    place = WORK / f"{name}-{seed}"
    write_user_files(train.take(chosen).resize(TILE_PX), pixel_m, place)
    begun = time.monotonic()
    command = [
        sys.executable,
        "-m",
        "monitor.cli.main",
        "scenes",
        "learn",
        str(place / "scenes"),
        "--outlines",
        str(place / "outlines.geojson"),
        "--out",
        str(place / "learnt"),
        "--seed",
        str(seed),
        "--json",
    ]
    limit = [] if minutes is None else ["--minutes", f"{minutes:g}"]
    command += limit
    shown = " ".join(["slopeward scenes learn SCENES --outlines FILE", *limit, "--seed", str(seed)])
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    wall_s = round(time.monotonic() - begun, 1)
    (place / "said.txt").write_text(ended.stderr)
    if not ended.stdout:
        raise SystemExit(ended.stderr)
    told = json.loads(ended.stdout)
    model = load_model(told["weights"], ungated=True)
    plan = json.loads((place / "learnt" / PLAN).read_text())
    tiles = tile_folder.read(place / "learnt/tiles", "train", bands=tuple(plan["bands"])).remember()
    test = test.resize(TILE_PX).remember()
    rules = fit_over(tiles, read_folds(plan, told["cross_validation"]["folds"]))
    logistic = score_simple(rules["logistic"][-1], test, objects=False)
    network = score_maps(map_patches(model, test), float(model.card["threshold"]), objects=False)
    return {
        "command": shown,
        "seed": seed,
        "wall_s": wall_s,
        "cpu_s": told["cpu_s"],
        "load": round(os.getloadavg()[0], 1),
        "epochs": told["epochs"],
        "cross_validation": told["cross_validation"],
        "tiles": told["tiles"],
        "offered": told["offered"],
        "verdict": told["gate"]["verdict"],
        "left_out": {key: told["gate"][key] for key in LEFT_OUT},
        "unseen": {
            "images": len(test),
            "network_f1": network.report["f1"],
            "logistic_f1": logistic.report["f1"],
            "less_logistic": compare(network.confusions, logistic.confusions),
        },
    }


def main() -> None:
    """Measure, and keep what was measured beside what is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=["bijie"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--minutes", type=float)
    asked = parser.parse_args()
    figures = read_figures("learn") or {}
    for name in asked.sets:
        for seed in asked.seeds:
            found = run(name, seed, asked.minutes)
            figures.setdefault(name, {})[str(seed)] = found
            sys.stdout.write(json.dumps(found, indent=1) + "\n")
            record("learn", "python -m tests.bench.imagery.bench_learn", figures)


if __name__ == "__main__":
    main()
