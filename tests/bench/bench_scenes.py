"""What a scene costs: peak memory whatever its size, pixels a second beside the bare network, share of the outlining.

    python -m tests.bench.bench_scenes [--large]

Three scenes are drawn (500 x 500 px repeated as its own mirror image), each measured in a process of its own on one
thread: 2,000 x 2,000 px from file to rows, with and without an elevation model, and 10,980 x 10,980 px, the size of a
Sentinel-2 tile, of which one row of four is ground and the rest nodata; with `--large` all of it is ground (about two
minutes of processor time). Bars: peak memory of the large one below 1.5 GiB and at most 150 MiB over the small one; at
least .85 of the speed of the network alone on ready tensors.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

from detection.imagery import lane
from detection.imagery.generate import BANDS, draw_scene
from detection.imagery.grid import grid_around
from tests.bench.record import read_figures, record

SMALL, LARGE = 2_000, 10_980
PATCH = 500
WEIGHTS = "generated"
BAR_RATIO, BAR_GIB, BAR_GROWTH_MIB = 0.85, 1.5, 150
COMMAND = "python -m tests.bench.bench_scenes"


def write_scene(folder: Path, size: int, rows_of: int = 1) -> Path:
    """A scene of four bands in one file, not compressed, written patch by patch; one row of `rows_of`, else nodata."""
    drawn = draw_scene(77, PATCH, scars=6, clouds=True)
    patch = np.stack([drawn.bands[name] for name in BANDS])
    grid = grid_around(141.0, 42.73, size, 10.0)
    path, dem = folder / "scene.tif", folder / "dem.tif"
    profile = {
        "driver": "GTiff", "width": size, "height": size, "crs": grid.crs_wkt, "transform": grid.transform,
        "tiled": True, "blockxsize": 512, "blockysize": 512, "SPARSE_OK": True,
    }  # fmt: skip
    with (
        rasterio.open(path, "w", **profile, count=4, dtype="uint16", nodata=0, interleave="band") as target,
        rasterio.open(dem, "w", **profile, count=1, dtype="float32", compress="deflate") as heights,
    ):
        for index, name in enumerate(BANDS, start=1):
            target.set_band_description(index, name)
        for row in range(0, size, PATCH * rows_of):
            for column in range(0, size, PATCH):
                wide, high = min(PATCH, size - column), min(PATCH, size - row)
                flips = (slice(None, None, -1 if row // PATCH % 2 else 1),
                         slice(None, None, -1 if column // PATCH % 2 else 1))  # fmt: skip
                window = Window(column, row, wide, high)
                target.write(np.ascontiguousarray(patch[:, *flips][:, :high, :wide]), window=window)
                heights.write(np.ascontiguousarray(drawn.dem_m[flips][:high, :wide]), 1, window=window)
    bands = "\n".join(f'{name} = {{ file = "scene.tif", index = {index} }}' for index, name in enumerate(BANDS, 1))
    (folder / "scene.toml").write_text(f"acquired_at = 2024-05-06T00:00:00Z\ncomplete = true\n[bands]\n{bands}\n")
    return folder


class Clock:
    """Processor seconds inside of named parts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def watch(self, holder: Any, name: str, part: str) -> None:
        inner: Callable[..., Any] = getattr(holder, name)

        def timed(*arguments: Any, **options: Any) -> Any:
            begun = time.process_time()
            try:
                return inner(*arguments, **options)
            finally:
                self.seconds[part] = self.seconds.get(part, 0.0) + time.process_time() - begun

        setattr(holder, name, timed)


def measure(folder: Path, dem: str) -> dict[str, Any]:
    """One scene from file to rows, in this process, which does nothing else."""
    import torch

    torch.set_num_threads(1)
    from detection.imagery.neural.checkpoint import load_model
    from detection.imagery.neural.inference import Segmenter

    base = _peak_mib()
    load_model(WEIGHTS)
    clock = Clock()
    clock.watch(Segmenter, "classify", "network")
    clock.watch(lane, "map_scene", "map")
    clock.watch(lane, "_find_all", "outlining")
    clock.watch(lane, "write_outputs", "writing")
    clock.watch(lane, "measure_stretch", "stretch")
    clock.watch(lane, "scene_hash", "hash")
    begun, wall = time.process_time(), time.monotonic()
    answer = lane.detect(
        {
            "scene_path": str(folder),
            "out_dir": str(folder / "out"),
            "weights": WEIGHTS,
            "dem": dem or None,
            "force": True,
        }
    )
    total = time.process_time() - begun
    pixels = answer["width"] * answer["height"]
    return {
        "size_px": answer["width"],
        "footprints": len(answer["polygons"]),
        "tile": answer["tile"],
        "halo": answer["halo"],
        "peak_mib": round(_peak_mib()),
        "libraries_mib": round(base),
        "cpu_s": round(total, 1),
        "wall_s": round(time.monotonic() - wall, 1),
        "cpu_s_by_part": {part: round(seconds, 2) for part, seconds in clock.seconds.items()},
        "pixels_per_cpu_s": round(pixels / total),
        "map_to_network_ratio": round(clock.seconds["network"] / clock.seconds["map"], 3),
        "file_to_rows_to_network_ratio": round(clock.seconds["network"] / total, 3),
        "outlining_share": round(clock.seconds["outlining"] / total, 3),
    }


def _peak_mib() -> float:
    """Most memory of this program; the counter of getrusage would begin at that of the process that started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def in_process(folder: Path, dem: str = "") -> dict[str, Any]:
    words = [sys.executable, "-m", "tests.bench.bench_scenes", "--child", str(folder), "--dem", dem]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure, compare with the bars, keep the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--large", action="store_true", help="no nodata in the scene of 10,980 x 10,980 px")
    options.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--dem", default="", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        print(json.dumps(measure(given.child, given.dem)))
        return
    known = read_figures("scenes") or {}
    large = "large" if given.large else "large_sparse"
    figures: dict[str, Any] = {"weights": WEIGHTS, "bars": {"ratio": BAR_RATIO, "peak_gib": BAR_GIB,
                                                            "growth_mib": BAR_GROWTH_MIB}}  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        small = write_scene(Path(name), SMALL)
        figures["small"] = in_process(small)
        figures["small_with_dem"] = in_process(small, str(small / "dem.tif"))
    with tempfile.TemporaryDirectory() as name:
        figures[large] = in_process(write_scene(Path(name), LARGE, 1 if given.large else 4))
    for other in {"large", "large_sparse"} - {large}:
        if other in known and known[other].get("peak_mib"):
            figures[other] = {**known[other], "note": "measured earlier"}
    growth = figures[large]["peak_mib"] - figures["small"]["peak_mib"]
    figures["growth_mib"] = growth
    figures["met"] = {
        "ratio": figures["small"]["map_to_network_ratio"] >= BAR_RATIO,
        "peak": figures[large]["peak_mib"] < BAR_GIB * 1024,
        "growth": growth <= BAR_GROWTH_MIB,
    }
    print(json.dumps(figures, indent=1))
    print(record("scenes", COMMAND + (" --large" if given.large else ""), figures))


if __name__ == "__main__":
    main()
