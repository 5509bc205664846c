"""Weights for Sentinel-2 where landslides crowd and where snow lies: the Hokkaido earthquake of 2018.

    python -m tests.bench.imagery.bench_hokkaido [--weights NAMES_OR_PATHS]

F1 on labelled tiles with landslides on a third of each, shown to the network at 10 m; and the share of the scene after
and before the earthquake that is marked. For the scene there is no mask; what is marked before it, in late autumn, is
mostly snow. Nothing was chosen on either.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from detection.imagery.footprints.detect import detect
from detection.imagery.neural.checkpoint import load_model
from detection.imagery.training.evaluation import map_patches
from detection.imagery.training.scoring import score_maps
from tests.bench.imagery.bench_scarce import DATA, RED_FIRST, open_coseismic
from tests.bench.record import read_figures, record

NODATA = 255


def score_tiles(weights: str) -> dict[str, Any]:
    """Scores on the labelled tiles."""
    model, tiles = load_model(weights, ungated=True), open_coseismic().remember()
    assert tiles.pixel_size_m is not None
    side = round(tiles.read(0).mask.shape[0] * tiles.pixel_size_m / float(model.card["pixel_size_m"]))
    report = score_maps(map_patches(model, tiles, side), float(model.card["threshold"]), objects=False).report
    share = float(np.mean([(tile.mask == 1).mean() for tile in tiles]))
    scores = {name: round(report[name], 4) for name in ("f1", "precision", "recall")}
    return {"tiles": len(tiles), "landslide_share": round(share, 4), **scores, "f1_interval": report["intervals"]["f1"]}


def find_marked(weights: str, when: str) -> float:
    """Share of the valid pixels of the scene `pre` or `post` that is marked."""
    with tempfile.TemporaryDirectory() as name:
        scene, out = Path(name) / "scene", Path(name) / "out"
        scene.mkdir()
        for band in RED_FIRST:
            shutil.copy(DATA / f"imagery/hokkaido-2018-s2-scene/{when}_event_{band}.tif", scene / f"{band}.tif")
        lines = [
            "acquired_at = 2018-10-25T01:20:00Z",
            "complete = true",
            "[bands]",
            *(f'{band} = "{band}.tif"' for band in RED_FIRST),
        ]
        (scene / "scene.toml").write_text("\n".join(lines))
        detect({"scene_path": str(scene), "weights": weights, "out_dir": str(out)})
        with rasterio.open(out / "mask.tif") as source:
            mask = source.read(1)
    return round(float((mask == 1).sum() / (mask != NODATA).sum()), 5)


def main() -> None:
    """Run, print and write docs/benchmarks/hokkaido.json."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="landslide4sense,landslide4sense-standard", help="joined by commas")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = read_figures("hokkaido") or {}
    for weights in given.weights.split(","):
        found = {
            "tiles": score_tiles(weights),
            "marked": {when: find_marked(weights, when) for when in ("post", "pre")},
        }
        figures[Path(weights).stem] = found
        print(weights, found, flush=True)
    print(record("hokkaido", "python -m tests.bench.imagery.bench_hokkaido", figures))


if __name__ == "__main__":
    main()
