"""What a scene costs: processor time from file to rows over that of the bare network, and memory whatever its size.

    python -m packages.lab.benchmarks.imagery.bench_scenes [--large]

Scenes are drawn (500 x 500 px repeated as its own mirror image) and each is measured in a process of its own on one
thread, from file to rows and then to all files: 2,000 x 2,000 and 4,000 x 4,000 px, with and without an elevation model
beside it, by the shipped network of width .125 and one of width .25, and without heights by the default weights, whose
stretch reads the scene once more; 1,533 x 970 px at width .25; with `--large` 10,980 x 10,980 px of four bands, the
size of a Sentinel-2 tile, all of it ground (its last figures are kept otherwise). The network of width .25 is the
shipped one with as many channels of zeros beside its own: the same footprints at the cost of the wider one.

From file to rows is the network, the outlines and the probabilities on the disk; with that a scene can be stored. The
other files (mask, flags, vectors, picture) are made after the rows.

The bare network is one forward pass over the pixels of the scene, each once, on a ready tensor (channels last, norms
folded), in a process of its own; a scene of 4,000 x 4,000 px in four parts, without anything around them.

Each figure is the least of two runs: others only add to it. The large scene is run once.

Bars: file to rows at most 1.15 of the bare network at both widths and sizes, with and without heights; peak memory of
the large scene below 1.5 GiB and at most 150 MiB over the small one.
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
from detection.imagery.footprints.options import DetectionOptions
from detection.imagery.footprints.outputs import make_files
from detection.imagery.footprints.records import SceneFilesRequest
from detection.imagery.raster.grid import grid_around
from tests.bench.record import LAB_RESULTS

SIDES, MIDDLE, LARGE = (2_000, 4_000), (1_533, 970), (10_980, 10_980)
WHOLE_BYTES = 1 << 30  # of a map of the first level; of a larger scene as many rows as make no larger one
RUNS = 2
PATCH = 500
WEIGHTS, DEFAULT = "generated", "landslide4sense-standard"
BARS = {"file_to_rows_over_bare_network": 1.15, "peak_gib": 1.5, "growth_mib": 150}
COMMAND = "python -m packages.lab.benchmarks.imagery.bench_scenes"


def write_scene(folder: Path, width: int, height: int) -> Path:
    """A scene of four bands in one file, not compressed, written patch by patch, and an elevation model."""
    folder.mkdir(parents=True)
    drawn = draw_scene(77, PATCH, scars=6, clouds=True)
    patch = np.stack([drawn.bands[name] for name in BANDS])
    grid = grid_around(141.0, 42.73, max(width, height), 10.0)
    path, dem = folder / "scene.tif", folder / "dem.tif"
    profile = {"driver": "GTiff", "width": width, "height": height, "crs": grid.crs_wkt, "transform": grid.transform}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512}
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
                flips = tuple(slice(None, None, -1 if at // PATCH % 2 else 1) for at in (row, column))
                window = Window(column, row, wide, high)
                target.write(np.ascontiguousarray(patch[:, *flips][:, :high, :wide]), window=window)
                heights.write(np.ascontiguousarray(drawn.dem_m[flips][:high, :wide]), 1, window=window)
    bands = "\n".join(f'{name} = {{ file = "scene.tif", index = {index} }}' for index, name in enumerate(BANDS, 1))
    (folder / "scene.toml").write_text(f"acquired_at = 2024-05-06T00:00:00Z\ncomplete = true\n[bands]\n{bands}\n")
    return folder


def widen(path: Path) -> Path:
    """Save the shipped U-Net with channels of zeros beside its own: twice its width, the same answers."""
    import torch

    from detection.imagery.neural.model_file import load_model, save_model
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
            # the encoder's map comes first, then the other
            if name.startswith("decoder") and name.endswith(".0.0.weight"):
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
    from detection.imagery.neural.model_file import load_model

    base = _peak_mib()
    load_model(weights)
    clock = Clock()
    clock.watch(detect, "map_scene", "map")
    clock.watch(detect, "_outline", "outlining")
    clock.watch(detect, "write_first", "writing")
    clock.watch(detect, "measure_stretch", "stretch")
    clock.watch(detect, "scene_hash", "hash")
    begun, wall = time.process_time(), time.monotonic()
    how = {"out_dir": folder / "out", "dem": Path(dem) if dem else None, "force": True, "later": True}
    answer = detect.detect(DetectionOptions(folder, weights, **how))
    total, rows_wall_s = time.process_time() - begun, time.monotonic() - wall
    asked = SceneFilesRequest(folder / "out", folder, datetime.fromisoformat(answer["acquired_at"]))
    begun = time.process_time()
    made = make_files(asked)
    later = time.process_time() - begun
    if made.error:
        raise RuntimeError(made.error)
    pixels = answer["width"] * answer["height"]
    told = {"size_px": [answer["width"], answer["height"]], "footprints": len(answer["polygons"])}
    told |= {"blend": answer["blend"], "peak_mib": round(_peak_mib()), "libraries_mib": round(base)}
    told |= {"cpu_s": round(total, 2), "wall_s": round(rows_wall_s, 1), "cpu_s_of_other_files": round(later, 2)}
    told["cpu_s_by_part"] = {part: round(seconds, 2) for part, seconds in clock.seconds.items()}
    share = round(clock.seconds["outlining"] / total, 3)
    return told | {"pixels_per_cpu_s": round(pixels / total), "outlining_share": share}


def measure_bare(width: int, height: int, weights: str) -> dict[str, Any]:
    """One forward pass over so many pixels, in this process, which does nothing else."""
    import torch

    torch.set_num_threads(1)
    from detection.imagery.neural.model_file import load_model
    from detection.imagery.neural.networks.blocks import fold_norms

    model = load_model(weights)
    network = fold_norms(model.network).to(memory_format=torch.channels_last)
    by_row = 4 * 64 * float(model.card["network"]["width"]) * width
    high = min(height, int(WHOLE_BYTES / by_row))
    ready = torch.randn(1, len(model.bands), high, width).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        network(ready[..., :256, :256])
        begun = time.process_time()
        for row in range(0, height, high):
            network(ready[:, :, : height - row])
    return {"cpu_s": round(time.process_time() - begun, 3)}


def _peak_mib() -> float:
    """Most memory of this program; the counter of getrusage would begin at that of the process that started it."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def in_process(*words: str, runs: int = RUNS) -> dict[str, Any]:
    """The run of the least processor time of several, each in a process of its own."""
    command = [sys.executable, "-m", "packages.lab.benchmarks.imagery.bench_scenes", *words]
    told = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(runs)]
    return min((dict(json.loads(text.splitlines()[-1])) for text in told), key=lambda found: float(found["cpu_s"]))


def compare(
    folder: Path, size: tuple[int, int], weights: str, *, heights: bool = False, runs: int = RUNS
) -> dict[str, Any]:
    """A scene from file to rows beside the bare network."""
    dem = str(folder / "dem.tif") if heights else ""
    found = in_process("--child", str(folder), "--weights", weights, "--dem", dem, runs=runs)
    bare = in_process("--bare", *map(str, size), "--weights", weights, runs=runs)["cpu_s"]
    return found | {"bare_network_cpu_s": bare, "file_to_rows_over_bare_network": round(found["cpu_s"] / bare, 3)}


def main() -> None:
    """Measure, compare with the bars, keep the figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--large", action="store_true", help="also the large scene")
    options.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--bare", type=int, nargs=2, help=argparse.SUPPRESS)
    options.add_argument("--weights", default=WEIGHTS, help=argparse.SUPPRESS)
    options.add_argument("--dem", default="", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child or given.bare:
        told = (
            measure_bare(*given.bare, given.weights) if given.bare else measure(given.child, given.weights, given.dem)
        )
        print(json.dumps(told))
        return
    figures: dict[str, Any] = {"bars": BARS}
    with tempfile.TemporaryDirectory() as name:
        folder, wide = Path(name), str(widen(Path(name) / "wide.safetensors"))
        for side in SIDES:
            scene, size = write_scene(folder / str(side), side, side), (side, side)
            for width, weights in (("width_0125", WEIGHTS), ("width_025", wide)):
                figures[f"{side}_{width}"] = compare(scene, size, weights)
                figures[f"{side}_{width}_heights"] = compare(scene, size, weights, heights=True)
            figures[f"{side}_default"] = compare(scene, size, DEFAULT)
        figures["1533_x_970_width_025"] = compare(write_scene(folder / "middle", *MIDDLE), MIDDLE, wide)
        if given.large:
            figures["large"] = compare(write_scene(folder / "large", *LARGE), LARGE, WEIGHTS, runs=1)
    if not given.large and (known := (LAB_RESULTS.load_figures("scenes") or {}).get("large")):
        figures["large"] = {**known, "note": "measured earlier"}
    figures["met"] = judge(figures)
    print(json.dumps(figures, indent=1))
    print(LAB_RESULTS.store("scenes", COMMAND + (" --large" if given.large else ""), figures))


def judge(figures: dict[str, Any]) -> dict[str, bool]:
    """Which bars are met."""
    share = "file_to_rows_over_bare_network"
    met = {name: one[share] <= BARS[share] for name, one in figures.items() if "_width_" in name}
    if large := figures.get("large"):
        growth = figures["growth_mib"] = large["peak_mib"] - figures[f"{SIDES[0]}_width_0125"]["peak_mib"]
        met |= {"peak": large["peak_mib"] < BARS["peak_gib"] * 1024, "growth": growth <= BARS["growth_mib"]}
    return met


if __name__ == "__main__":
    main()
