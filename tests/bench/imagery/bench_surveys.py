"""How often the stated 95 % holds on drawn surveys: heights of clouds, M3C2 distances, vectors between images.

    python -m tests.bench.imagery.bench_surveys [--seeds 7,8,9,10,11]

The ground is known by formula, so every error is known. Nothing is chosen here. Medians of the seeds with their range;
of the cloth, the share of ground points that it keeps and of tree points that it lets through.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from detection.clouds.distance import CloudDistanceRequest, compare_clouds
from detection.clouds.grid import CloudGridRequest, grid_clouds
from detection.clouds.ground import find_ground
from detection.imagery.change.tracking import TrackingRequest, track
from tests.bench.record import record
from tests.data.surveys.clouds import ORIGIN, draw, ground, write_cloud
from tests.data.surveys.images import SLID_M, still_and_slid, write_pair, write_still

Facts = dict[str, float]


def heights(folder: Path, seed: int, per_m2: int) -> Facts:
    """Cells of half a metre of one cloud, all points of which lie on the ground."""
    cloud = write_cloud(folder / "a.laz", draw(np.random.default_rng(seed), side_m=25.0, per_m2=per_m2)[0])
    grid_clouds([cloud], folder / "a.tif", CloudGridRequest(ground="all"))
    with rasterio.open(folder / "a.tif") as source:
        (height, sigma, *_), turn = source.read(masked=True).filled(np.nan), source.transform
    rows, columns = np.indices(height.shape)
    x, y = turn.c + (columns + 0.5) * turn.a - ORIGIN[0], turn.f + (rows + 0.5) * turn.e - ORIGIN[1]
    error = height - ground(x, y)
    held = np.isfinite(height)
    return {
        "held_95": float((np.abs(error) < 1.96 * sigma)[held].mean()),
        "rmse_m": float(np.sqrt(np.mean(error[held] ** 2))),
        "sigma_m": float(np.median(sigma[held])),
    }


def distances(folder: Path, seed: int, per_m2: int) -> Facts:
    """M3C2 between two clouds of still ground, whose noise differs."""
    rng = np.random.default_rng(seed)
    older = write_cloud(folder / "a.laz", draw(rng, per_m2=per_m2)[0])
    newer = write_cloud(folder / "b.laz", draw(rng, per_m2=per_m2, noise_m=0.05)[0])
    asked = CloudDistanceRequest(ground="all", registration_m=0.0, out_dir=folder)
    compare_clouds([older], [newer], asked)
    with rasterio.open(folder / "m3c2.tif") as source:
        distance, limit, _ = source.read(masked=True).filled(np.nan)
    held = np.isfinite(distance)
    return {
        "held_95": float((np.abs(distance) < limit)[held].mean()),
        "level_of_detection_m": float(np.median(limit[held])),
        "measured_share": float(held.mean()),
    }


def cloth(folder: Path, seed: int) -> Facts:
    """A slope of 35 degrees with trees, 30 points/m²."""
    del folder
    rng = np.random.default_rng(seed)
    points, wood = draw(rng, trees=12, raised=lambda x, y: 0.1 * x)
    kept = find_ground(points, np.zeros(len(points), np.uint8), "cloth", 1.0)
    return {"ground_kept": float(kept[~wood].mean()), "trees_kept": float(kept[wood].mean())}


def vectors(folder: Path, seed: int, noise: float) -> Facts:
    """Windows of 32 pixels between two images whose middle slid and whose whole lies off."""
    older, newer, grid = write_pair(folder, noise=noise, seed=seed)
    asked = TrackingRequest(most_m=1.0, window_px=32, step_px=22)
    found = track(older, newer, replace(asked, stable=write_still(folder, grid)))
    at = np.array([grid.pixel_of(v.longitude, v.latitude) for v in found.vectors])
    moved, stated = (
        np.array([[getattr(v, f"{axis}{end}") for axis in ("east", "north")] for v in found.vectors])
        for end in ("_m", "_error_m")
    )
    still, slid = still_and_slid(*at.T)
    with rasterio.open(older) as source:
        contrast, pixel_m = float(np.sqrt(source.read(1).var() - noise**2)), float(source.transform.a)
    error = np.concatenate([moved[still], moved[slid] - SLID_M])
    limits = np.concatenate([stated[still], stated[slid]])
    return {
        "noise_to_contrast": noise / contrast,
        "held_95": float((np.abs(error) < 1.96 * limits).mean()),
        "error_px": float(np.std(error)) / pixel_m,
        "windows": float(len(error)),
    }


CASES: dict[str, Callable[[Path, int], Facts]] = {
    **{f"heights, median, {p} points/m²": lambda folder, seed, p=p: heights(folder, seed, p) for p in (3, 30)},
    **{f"M3C2, {p} points/m²": lambda folder, seed, p=p: distances(folder, seed, p) for p in (5, 30)},
    "cloth, 35 degrees with trees": cloth,
    **{f"vectors, noise {n:g}": lambda folder, seed, n=n: vectors(folder, seed, n) for n in (2.0, 10.0)},
}


def run(case: Callable[[Path, int], Facts], seeds: Sequence[int]) -> dict[str, Any]:
    """Medians of the seeds, and the range of what holds."""
    begun, found = time.process_time(), []
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="surveys-") as folder:
            found.append(case(Path(folder), seed))
    told: dict[str, Any] = {key: round(statistics.median(f[key] for f in found), 4) for key in found[0]}
    if "held_95" in told:
        told["held_95_range"] = [round(min(f["held_95"] for f in found), 4), round(max(f["held_95"] for f in found), 4)]
    return told | {"seeds": len(found), "cpu_s": round(time.process_time() - begun, 1)}


def main() -> None:
    """Measure, print, write docs/benchmarks/surveys.json."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", default="7,8,9,10,11")
    given = options.parse_args()
    figures: dict[str, Any] = {}
    for name, case in CASES.items():
        figures[name] = run(case, [int(seed) for seed in given.seeds.split(",")])
        print(name, figures[name], flush=True)
    print(record("surveys", "python -m tests.bench.imagery.bench_surveys", figures))


if __name__ == "__main__":
    main()
