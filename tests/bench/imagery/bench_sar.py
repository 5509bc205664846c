"""Change by radar and maps of velocity: false alarms asked and seen, recall by size and contrast, real data, size.

    python -m tests.bench.imagery.bench_sar [--side 10000]

Drawn ground has Gamma speckle of 4.4 looks at 10 m (Sentinel-1 GRD) and known discs of change. Three grounds: one whose
speckle is independent from pixel to pixel, one whose speckle hangs together as that of real images does, and one whose
fields change by themselves by 1 dB. No pair of radar images of a landslide was at hand. What is measured is coherence
and a stack (insar-pyrate-cropA), where no event is known: every outline there is a false alarm.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.stats import binomtest
from shapely.geometry import shape as shape_of

from detection.imagery.change.radar import find_radar_change
from detection.imagery.change.radar_records import RadarRequest
from detection.imagery.errors import ImageryError
from detection.imagery.insar.coherence import list_short
from detection.imagery.insar.outputs import measure_stack
from detection.imagery.insar.records import StackRequest
from detection.imagery.insar.stack import read_stack
from detection.imagery.insar.velocity import VelocityRequest, measure_velocity
from detection.imagery.raster.grid import grid_around
from detection.imagery.raster.overlay import burn, to_pixels
from detection.imagery.raster.raster import writing_geotiff
from tests.bench.record import DATA, record
from tests.data.surveys.radar import PIXEL_M, Ground

STACK = DATA / "imagery" / "insar-pyrate-cropA"
MODULE = "tests.bench.imagery.bench_sar"
FALSE_SIDE, FALSE_ALARMS = 1800, (1e-2, 1e-3, 1e-4)
RECALL_SIDE, SPACING = 1200, 150
RADII_M, CONTRASTS_DB = (40.0, 60.0, 100.0, 150.0), (2.0, 3.0, 4.0, 6.0)
STILL = (-99.175, 19.40, 1500.0)  # reference of the measured stack


def restless(ground: Ground, rng: np.random.Generator) -> np.ndarray:
    """An image of ground whose fields have changed by 1 dB each (one sigma), as moisture does."""
    fields = rng.normal(size=(-(-ground.size // 50),) * 2)
    return ground.draw() * 10 ** (np.kron(fields, np.ones((50, 50)))[: ground.size, : ground.size] / 10)


def correlated(ground: Ground, rng: np.random.Generator) -> np.ndarray:
    """Speckle that hangs together over neighbours, as oversampled images have it; about as many looks."""
    field = sum(
        np.abs(
            ndimage.gaussian_filter(rng.normal(size=(2, ground.size, ground.size)), (0, 0.6, 0.6))[0]
            + 1j * ndimage.gaussian_filter(rng.normal(size=(ground.size, ground.size)), 0.6)
        )
        ** 2
        for _ in range(4)
    )
    return (ground.power * field / field.mean()).astype(np.float32)


def measure_false_alarms(folder: Path) -> dict[str, Any]:
    """Cells that are called changed where nothing changed, beside what was asked; outlines of the default size."""
    found: dict[str, Any] = {}
    ground, rng = Ground(FALSE_SIDE, seed=11), np.random.default_rng(12)
    grounds = {
        "independent_speckle": (ground.draw(), ground.draw()),
        "correlated_speckle": (correlated(ground, rng), correlated(ground, rng)),
        "fields_change_by_1_db": (ground.draw(), restless(ground, rng)),
    }
    for name, pair in grounds.items():
        paths = [ground.write(folder / f"{k}.tif", image, UNITS="power") for k, image in enumerate(pair)]
        asked = RadarRequest(before=(paths[0],), after=(paths[1],))
        for chance in FALSE_ALARMS:
            told = find_radar_change(replace(asked, false_alarms=chance))
            cells = round((FALSE_SIDE // asked.multilook) ** 2 * told.valid_share)
            seen = round(told.changed_share * cells)
            low, high = binomtest(seen, cells).proportion_ci(0.95)
            found.setdefault(name, {})[f"asked_{chance:g}"] = {
                "seen": float(f"{seen / cells:.3g}"),
                "seen_95": [float(f"{low:.2g}"), float(f"{high:.2g}")],
                "cells": cells,
                "looks": told.looks,
                "threshold_db": told.threshold_db,
                "outlines_of_5000_m2": len(told.outlines),
                "outlines_per_100_km2": round(len(told.outlines) / ((FALSE_SIDE * PIXEL_M / 1e3) ** 2) * 100, 2),
            }
            print(name, chance, found[name][f"asked_{chance:g}"])
    return found


def measure_recall(folder: Path) -> dict[str, Any]:
    """Discs of which at least half is outlined, by radius and contrast; with one image before and with three."""
    found: dict[str, Any] = {}
    ground = Ground(RECALL_SIDE, seed=21)
    middles = np.arange(SPACING // 2, RECALL_SIDE, SPACING)
    before = [ground.write(folder / f"b{k}.tif", ground.draw(), UNITS="power") for k in range(3)]
    for radius_m in RADII_M:
        for contrast in CONTRASTS_DB:
            discs = [
                (float(x), float(y), radius_m / PIXEL_M, contrast * (1 if k % 2 else -1))
                for k, (x, y) in enumerate((x, y) for x in middles for y in middles)
            ]
            after = ground.write(folder / "after.tif", ground.draw(discs), UNITS="power")
            for dates in (1, 3):
                asked = RadarRequest(before=tuple(before[:dates]), after=(after,), minimum_area_m2=2000.0)
                told = find_radar_change(asked)
                marked = np.zeros((RECALL_SIDE, RECALL_SIDE), bool)
                for outline in told.outlines:
                    marked |= burn(to_pixels(shape_of(outline.geometry), ground.grid), (0, 0, RECALL_SIDE, RECALL_SIDE))
                truth = ground.truth(discs) != 0
                labels, number = ndimage.label(truth)
                shares = ndimage.mean(marked, labels, np.arange(1, number + 1))
                hit = int(np.sum(np.asarray(shares) >= 0.5))
                row = {
                    "discs": number,
                    "found": hit,
                    "recall": round(hit / number, 3),
                    "cells_precision": round(float((marked & truth).sum() / max(1, marked.sum())), 3),
                }
                found[f"radius_{radius_m:g}_m_contrast_{contrast:g}_db_before_{dates}"] = row
            print(radius_m, contrast, row)
    return found


def measure_real(folder: Path) -> dict[str, Any]:
    """Coherence of the measured stack, pair after pair, and its rates as a map of velocities."""
    if not STACK.is_dir():
        return {"missing": str(STACK.name)}
    pairs = list_short(read_stack(STACK))
    outlines, compared = [], 0
    for one, other in pairwise(pairs):
        assert one.coherence is not None
        assert other.coherence is not None
        asked = RadarRequest(coherence=(one.coherence, other.coherence), multilook=1, minimum_area_m2=40_000.0)
        try:
            told = find_radar_change(asked)
        except ImageryError as error:
            print(error)
            continue
        compared += 1
        outlines.append({"changed_share": told.changed_share, "outlines": len(told.outlines)})
    rates = measure_stack(StackRequest(folder=STACK, reference=STILL, out_dir=folder / "rates"))
    told_map = measure_velocity(
        VelocityRequest(
            files=(folder / "rates" / "rate.tif",),
            sigma_files=(folder / "rates" / "rate_error.tif",),
            component="los-towards",
            factor=1.0,
            minimum_area_m2=40_000.0,
        )
    )
    return {
        "coherence_pairs_compared": compared,
        "coherence": outlines,
        "zones_of_rates": [[z.kind, round(z.area_m2 / 1e6, 2), z.rate_mm_per_year] for z in rates.zones],
        "zones_of_its_map_as_velocities": [
            [z.kind, round(z.area_m2 / 1e6, 2), z.mean_mm_per_year, z.p95_mm_per_year] for z in told_map.zones[:5]
        ],
        "radar_amplitude": "no pair of radar images was at hand",
    }


def draw_large(path: Path, side: int, kind: str, seed: int) -> None:
    """A large raster, strip by strip: backscatter, or velocities with a zone in the middle."""
    grid, rng = grid_around(11.0, 46.0, side, 10.0), np.random.default_rng(seed)
    with writing_geotiff(path, grid, "float32", nodata=-9999.0) as write:
        for top in range(0, side, 512):
            rows = min(512, side - top)
            if kind == "sar":
                values = 0.1 * rng.gamma(4.4, 1 / 4.4, (rows, side))
            else:
                values = rng.normal(size=(rows, side))
                if abs(top - side // 2) < 512:
                    values[:, side // 3 : side // 2] -= 40.0
            write(values.astype(np.float32), 0, top)


def run_large(kind: str, folder: Path) -> None:
    """In a process of its own: one large question, its time and its memory as JSON."""
    import resource

    began, cpu = time.monotonic(), time.process_time()
    if kind == "sar":
        told = find_radar_change(RadarRequest(before=(folder / "sar0.tif",), after=(folder / "sar1.tif",)))
        outlines = len(told.outlines)
    else:
        asked = VelocityRequest(files=(folder / "velocity0.tif",), component="los-towards", factor=1.0, sigma=1.0)
        outlines = len(measure_velocity(replace(asked, k_sigma=5.0)).zones)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "outlines": outlines,
                "wall_s": round(time.monotonic() - began, 1),
                "cpu_s": round(time.process_time() - cpu, 1),
                "peak_memory_mib": round(peak),
            }
        )
    )


def measure_size(folder: Path, side: int) -> dict[str, Any]:
    """Time and memory of side x side pixels of velocities, and of a quarter of that in two radar images."""
    found: dict[str, Any] = {}
    for kind, files, wide in (("velocity", 1, side), ("sar", 2, side // 2)):
        for k in range(files):
            draw_large(folder / f"{kind}{k}.tif", wide, kind, k)
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name, "--large", kind, str(folder)],
            capture_output=True,
            text=True,
            check=True,
        )
        found[kind] = {"pixels": wide * wide, **json.loads(done.stdout.splitlines()[-1])}
        print(kind, found[kind])
    return found


def main() -> None:
    """Measure and write docs/benchmarks/sar.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--large", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.large:
        run_large(given.large[0], Path(given.large[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = {
            "false_alarms": measure_false_alarms(folder),
            "recall": measure_recall(folder),
            "real": measure_real(folder),
            "size": measure_size(folder, given.side),
        }
    print(record("sar", "python -m tests.bench.imagery.bench_sar", figures))


if __name__ == "__main__":
    main()
