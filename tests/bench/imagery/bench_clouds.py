"""What clouds of 2 to 20 % add to the outlines of the default weights, and what the doubt beside them takes and keeps.

    python -m tests.bench.imagery.bench_clouds

Drawn ground of 384 px with six slides, alone and below clouds with soft rims. An outline is false where less than a
tenth of it lies on a slide. `far` are those that lie beside no cloud that was found: they keep their vote.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from detection.imagery.data.generate import draw_scene
from detection.imagery.footprints.detect import detect
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import burn, shapes_of, to_pixels
from detection.imagery.raster.raster import read_grid
from tests.bench.record import record
from tests.data.surveys.radar_pictures import write_picture

SIDE_PX = 384
SEEDS = range(4)
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2)
RIMS_PX = (4.0, 8.0)
BRIGHT = 7500.0
WEIGHTS = "landslide4sense-standard"
COMMAND = "python -m tests.bench.imagery.bench_clouds"


def draw_clouds(seed: int, share: float, rim_px: float) -> np.ndarray:
    """How much of the light of each pixel is cloud: 1 within, falling to 0 over the rim; `share` is above a half."""
    field = ndimage.gaussian_filter(np.random.default_rng([seed, 9]).normal(size=(SIDE_PX, SIDE_PX)), 20)
    white = field > np.quantile(field, 1 - share)
    inside, outside = ndimage.distance_transform_edt(white), ndimage.distance_transform_edt(~white)
    return np.clip(0.5 + (inside - outside) / (2 * rim_px), 0, 1)


def measure(path: Path, bands: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Areas of outlines on slides and off them, in all and far from the clouds that were found."""
    answer = detect({"scene_path": str(write_picture(path, bands, 10.0)), "weights": WEIGHTS})
    grid: Grid = read_grid(path)
    beside = np.zeros(truth.shape, bool)
    for column, row, width, height in answer["cloudy"]:
        beside[row : row + height, column : column + width] = True
    found = {"true_m2": 0.0, "true_far_m2": 0.0, "false_m2": 0.0, "false_far_m2": 0.0, "slides": 0, "slides_far": 0}
    outlines = to_pixels(shapes_of([one["geometry"] for one in answer["polygons"]]), grid)
    for one, outline in zip(answer["polygons"], outlines, strict=True):
        body = burn(outline, (0, 0, SIDE_PX, SIDE_PX))
        kind = "true" if truth[body].mean() >= 0.1 else "false"
        far = not beside[body].any()
        found[f"{kind}_m2"] += one["area_m2"]
        found[f"{kind}_far_m2"] += one["area_m2"] * far
        if kind == "true":
            found["slides"] += 1
            found["slides_far"] += far
    told = {key: round(value) for key, value in found.items()}
    return {**told, "beside_share": round(float(beside.mean()), 3), "doubted": bool(answer["doubts"])}


def main() -> None:
    """Draw, ask, keep the figures."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.tif"
        for rim_px in RIMS_PX:
            for share in SHARES:
                every = []
                for seed in SEEDS:
                    scene = draw_scene(seed, SIDE_PX, scars=6)
                    bands = np.stack([scene.bands[band] for band in ("B4", "B3", "B2")]).astype(float)
                    cloud = draw_clouds(seed, share, rim_px) if share else np.zeros((SIDE_PX, SIDE_PX))
                    noise = np.random.default_rng(seed).normal(0, 40, bands.shape)
                    bands = bands * (1 - cloud) + (BRIGHT + noise) * cloud
                    every.append(measure(path, bands.clip(1, 65_535).astype(np.uint16), scene.truth > 0))
                figures[f"cloud {share:g}, rim {rim_px:g} px"] = {
                    key: round(float(np.sum([one[key] for one in every])), 3) for key in every[0]
                }
                print(f"cloud {share:g}, rim {rim_px:g} px", figures[f"cloud {share:g}, rim {rim_px:g} px"], flush=True)
    print(record("clouds", COMMAND, figures))


if __name__ == "__main__":
    main()
