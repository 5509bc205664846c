"""What a scene costs: peak memory whatever its size, pixels a second beside the bare network, share of the outlining.

    python -m tests.bench.imagery.bench_scenes [--large [PIXELS]]

Scenes are drawn (500 x 500 px repeated as its own mirror image) and each is measured in a process of its own on one
thread, from file to rows and then to all files: 2,000 x 2,000 px by the shipped network of width .125, with an
elevation model beside it, and by a network of width .25; 1,533 x 970 px by the latter; with `--large` 10,980 x 10,980
px of four bands, the size of a Sentinel-2 tile, all of it ground (about two minutes of processor time; its last figures
are kept otherwise). The network of width .25 is the shipped one with as many channels of zeros beside its own: the same
footprints at the cost of the wider one.

From file to rows is the network, the outlines and the probabilities on the disk; with that a scene can be stored. The
other files (mask, flags, vectors, picture) are made after the rows, and both ratios stand side by side.

The bare network is what it takes for the tiles as they are, each with its halo: 1.5 times the pixels of the small
scene, 1.7 of the large one. So the ratio says what all the rest adds, not what the halo costs.

Bars: peak memory of the large scene below 1.5 GiB and at most 150 MiB over the small one; at least .85 of the speed of
the network alone on ready tensors; 1,533 x 970 px at width .25 in 10 processor seconds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

from detection.imagery.data.generate import BANDS, draw_scene
from detection.imagery.footprints import detect
from detection.imagery.footprints.outputs import make_files
from detection.imagery.footprints.records import FilesAsked
from detection.imagery.raster.grid import grid_around
from tests.bench.record import read_figures, record

SMALL, MIDDLE, LARGE = (2_000, 2_000), (1_533, 970), (10_980, 10_980)
PATCH = 500
WEIGHTS = "generated"
BARS = {"ratio": 0.85, "peak_gib": 1.5, "growth_mib": 150, "cpu_s_of_1533_x_970_at_width_025": 10}
COMMAND = "python -m tests.bench.imagery.bench_scenes"


def write_scene(folder: Path, width: int, height: int) -> Path:
    """A scene of four bands in one file, not compressed, written patch by patch, and an elevation model."""
    folder.mkdir(parents=True)
    drawn = draw_scene(77, PATCH, scars=6, clouds=True)
    patch = np.stack([drawn.bands[name] for name in BANDS])
    grid = grid_around(141.0, 42.73, max(width, height), 10.0)
    path, dem = folder / "scene.tif", folder / "dem.tif"
    profile = {
        "driver": "GTiff", "width": width, "height": height, "crs": grid.crs_wkt, "transform": grid.transform,
        "tiled": True, "blockxsize": 512, "blockysize": 512,
    }  # fmt: skip
    with (
        rasterio.Env(GDAL_CACHEMAX=64 << 20),
        rasterio.open(path, "w", **profile, count=4, dtype="uint16", nodata=0, interleave="band") as target,
        rasterio.open(dem, "w", **profile, count=1, dtype="float32", compress="deflate") as heights,
    ):
        for index, name in enumerate(BANDS, start=1):
            target.set_band_description(index, name)
        for row in range(0, height, PATCH):
            for column in range(0, width, PATCH):
                wide, high = min(PATCH, width - column), min(PATCH, height - row)
                flips = (slice(None, None, -1 if row // PATCH % 2 else 1),
                         slice(None, None, -1 if column // PATCH % 2 else 1))  # fmt: skip
                window = Window(column, row, wide, high)
                target.write(np.ascontiguousarray(patch[:, *flips][:, :high, :wide]), window=window)
                heights.write(np.ascontiguousarray(drawn.dem_m[flips][:high, :wide]), 1, window=window)
    bands = "\n".join(f'{name} = {{ file = "scene.tif", index = {index} }}' for index, name in enumerate(BANDS, 1))
    (folder / "scene.toml").write_text(f"acquired_at = 2024-05-06T00:00:00Z\ncomplete = true\n[bands]\n{bands}\n")
    return folder


def widen(path: Path) -> Path:
    """Save the shipped U-Net with channels of zeros beside its own: twice its width, the same answers."""
    import torch

    from detection.imagery.neural.checkpoint import load_model, save_model
    from detection.imagery.registry import build

    model = load_model(WEIGHTS)
    facts = {**model.card["network"], "width": 2 * model.card["network"]["width"]}
    network = build(facts["name"], len(model.bands), facts["classes"], facts["width"])
    narrow = model.network.state_dict()
    for name, wide in network.state_dict().items():
        own = narrow[name]
        if wide.ndim == 4:
            wide.zero_()
            rows, columns = torch.arange(own.shape[0]), torch.arange(own.shape[1])
            if name.startswith("decoder") and name.endswith(
                ".0.0.weight"
            ):  # the encoder's map comes first, then the other
                columns[own.shape[0] :] += own.shape[0]
            wide[rows[:, None], columns] = own
        elif wide.ndim:
            wide[: len(own)] = own
    save_model(path, network, {**model.card, "name": "widened", "network": facts})
    return path


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


def measure(folder: Path, weights: str, dem: str) -> dict[str, Any]:
    """One scene from file to rows, then its other files, in this process, which does nothing else."""
    import torch

    torch.set_num_threads(1)
    from detection.imagery.neural.checkpoint import load_model
    from detection.imagery.neural.inference import Segmenter

    base = _peak_mib()
    load_model(weights)
    clock = Clock()
    clock.watch(Segmenter, "_spread", "network")
    clock.watch(detect, "map_scene", "map")
    clock.watch(detect, "_find_all", "outlining")
    clock.watch(detect, "write_first", "writing")
    clock.watch(detect, "measure_stretch", "stretch")
    clock.watch(detect, "scene_hash", "hash")
    begun, wall = time.process_time(), time.monotonic()
    answer = detect.detect(
        {
            "scene_path": str(folder),
            "out_dir": str(folder / "out"),
            "weights": weights,
            "dem": dem or None,
            "force": True,
            "later": True,
        }
    )
    total, rows_wall_s = time.process_time() - begun, time.monotonic() - wall
    asked = FilesAsked(folder / "out", folder, datetime.fromisoformat(answer["acquired_at"]))
    begun = time.process_time()
    made = make_files(asked)
    later = time.process_time() - begun
    if made.error:
        raise RuntimeError(made.error)
    pixels = answer["width"] * answer["height"]
    return {
        "size_px": [answer["width"], answer["height"]],
        "footprints": len(answer["polygons"]),
        "tile": answer["tile"],
        "halo": answer["halo"],
        "peak_mib": round(_peak_mib()),
        "libraries_mib": round(base),
        "cpu_s": round(total, 2),
        "wall_s": round(rows_wall_s, 1),
        "cpu_s_of_other_files": round(later, 2),
        "cpu_s_by_part": {part: round(seconds, 2) for part, seconds in clock.seconds.items()},
        "pixels_per_cpu_s": round(pixels / total),
        "map_to_network_ratio": round(clock.seconds["network"] / clock.seconds["map"], 3),
        "file_to_rows_to_network_ratio": round(clock.seconds["network"] / total, 3),
        "file_to_all_files_to_network_ratio": round(clock.seconds["network"] / (total + later), 3),
        "outlining_share": round(clock.seconds["outlining"] / total, 3),
    }


def _peak_mib() -> float:
    """Most memory of this program; the counter of getrusage would begin at that of the process that started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def in_process(folder: Path, weights: str = WEIGHTS, dem: str = "") -> dict[str, Any]:
    words = [
        sys.executable,
        "-m",
        "tests.bench.imagery.bench_scenes",
        "--child",
        str(folder),
        "--weights",
        weights,
        "--dem",
        dem,
    ]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure, compare with the bars, keep the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--large", type=int, nargs="?", const=LARGE[0], help="also the large scene, or one of so many px"
    )
    options.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--weights", default=WEIGHTS, help=argparse.SUPPRESS)
    options.add_argument("--dem", default="", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        print(json.dumps(measure(given.child, given.weights, given.dem)))
        return
    figures: dict[str, Any] = {"weights": WEIGHTS, "bars": BARS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, wide = write_scene(folder / "small", *SMALL), str(widen(folder / "wide.safetensors"))
        figures["small"] = in_process(small)
        figures["small_with_dem"] = in_process(small, dem=str(small / "dem.tif"))
        figures["small_width_025"] = in_process(small, wide)
        figures["1533_x_970_width_025"] = in_process(write_scene(folder / "middle", *MIDDLE), wide)
        if given.large:
            figures["large"] = in_process(write_scene(folder / "large", given.large, given.large))
    if not given.large and (known := (read_figures("scenes") or {}).get("large")):
        figures["large"] = {**known, "note": "measured earlier"}
    figures["met"] = judge(figures)
    print(json.dumps(figures, indent=1))
    if given.large in {None, LARGE[0]}:
        print(record("scenes", COMMAND + (" --large" if given.large else ""), figures))


def judge(figures: dict[str, Any]) -> dict[str, bool]:
    """Which bars are met."""
    small, wide, middle = (figures[name] for name in ("small", "small_width_025", "1533_x_970_width_025"))
    met = {
        "ratio_of_mapping": small["map_to_network_ratio"] >= BARS["ratio"],
        "ratio_of_mapping_at_width_025": wide["map_to_network_ratio"] >= BARS["ratio"],
        "ratio_of_file_to_rows": small["file_to_rows_to_network_ratio"] >= BARS["ratio"],
        "ratio_of_file_to_rows_at_width_025": wide["file_to_rows_to_network_ratio"] >= BARS["ratio"],
        "1533_x_970": middle["cpu_s"] <= BARS["cpu_s_of_1533_x_970_at_width_025"],
    }
    if large := figures.get("large"):
        growth = figures["growth_mib"] = large["peak_mib"] - small["peak_mib"]
        met |= {
            "ratio_of_file_to_rows_of_large": large["file_to_rows_to_network_ratio"] >= BARS["ratio"],
            "peak": large["peak_mib"] < BARS["peak_gib"] * 1024,
            "growth": growth <= BARS["growth_mib"],
        }
    return met


if __name__ == "__main__":
    main()
