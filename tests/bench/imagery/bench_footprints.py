"""Footprints on drawn scenes with a known scar and on the measured scene: found scars, false footprints, CPU seconds.

    python -m tests.bench.imagery.bench_footprints [--scenes 20] [--weights generated,landslide4sense]

The reference of the run is a fixed index threshold (R - G over its 99th percentile) on the same scenes.
"""

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rasterio

from detection.imagery.data.generate import write_scene
from detection.imagery.footprints.detect import detect
from detection.imagery.raster.components import NODATA
from tests.bench.record import DATA, record


def on_drawn(weights: str, count: int, folder: Path) -> dict[str, Any]:
    """Scenes of other seeds than the training's: how many scars were found, how many footprints were false."""
    from shapely.geometry import shape

    found = false = 0
    begun = time.process_time()
    for seed in range(9000, 9000 + count):
        place = folder / f"{weights}-{seed}"
        truth = write_scene(
            place,
            seed=seed,
            with_scar=True,
            center_lon=8.9,
            center_lat=46.2,
            size_px=256,
            acquired_at=datetime(2026, 5, 1, tzinfo=UTC),
        )
        scars = [shape(scar["geometry"]) for scar in truth["scars"]]
        polygons = [shape(p["geometry"]) for p in detect({"scene_path": str(place), "weights": weights})["polygons"]]
        hit = [s for s in scars if any(s.intersection(p).area > 0.5 * s.union(p).area for p in polygons)]
        found += len(hit) == len(scars)
        false += sum(not any(p.intersects(s) for s in scars) for p in polygons)
    seconds = (time.process_time() - begun) / count
    return {"scenes": count, "scar_found_iou_over_half": found, "false_footprints": false, "cpu_s_per_scene": seconds}


def on_measured(weights: str, folder: Path) -> dict[str, Any] | None:
    """Both dates of the measured scene, where it is at hand."""
    source = DATA / "imagery" / "hokkaido-2018-s2-scene"
    if not source.is_dir():
        return None
    figures = {}
    for role in ("pre", "post"):
        place = folder / f"{weights}-{role}"
        place.mkdir()
        bands = "\n".join(f'B{b} = "{role}_event_B{b}.tif"' for b in (2, 3, 4))
        for b in (2, 3, 4):
            (place / f"{role}_event_B{b}.tif").write_bytes((source / f"{role}_event_B{b}.tif").read_bytes())
        (place / "scene.toml").write_text(
            f'acquired_at = "2018-09-10T01:30:00Z"\nrole = "{role}"\ncomplete = true\n[bands]\n{bands}\n'
        )
        begun = time.process_time()
        answer = detect({"scene_path": str(place), "weights": weights, "out_dir": str(place / "out")})
        with rasterio.open(place / "out" / "mask.tif") as mask:
            steps = mask.read(1)
        figures[role] = {
            "marked_share": round(float((steps == 1).sum() / (steps != NODATA).sum()), 5),
            "footprints": len(answer["polygons"]),
            "area_km2": round(sum(p["area_m2"] for p in answer["polygons"]) / 1e6, 3),
            "cpu_s": round(time.process_time() - begun, 1),
        }
    return figures


def main() -> None:
    """Score both shipped weights and keep the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--scenes", type=int, default=20)
    options.add_argument("--weights", default="generated,landslide4sense")
    given = options.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for weights in given.weights.split(","):
            figures[weights] = {
                "drawn": on_drawn(weights, given.scenes, Path(name)),
                "hokkaido": on_measured(weights, Path(name)) or "not measured: the scene is not at hand",
            }
            print(weights, figures[weights])
    print(record("footprints", "make bench-imagery", figures))


if __name__ == "__main__":
    main()
