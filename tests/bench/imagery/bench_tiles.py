"""Tiles of a scene: what it costs to cut those of 10,000 x 10,000 px, and how long the page takes to send one.

    python -m tests.bench.imagery.bench_tiles [--side 10000] [--record scene-tiles]

The scene is a cloud-optimised GeoTIFF of three bands, a drawn patch repeated as its own mirror image, with drawn
probabilities beside it. The cutting runs in a process of its own, as in the service. Then the page answers, over
loopback, one reader who asks for tile after tile in random order. Cold: the page has just started, and the file was put
out of the memory of the system. Warm: the same tiles again.
"""

import argparse
import os
import random
import resource
import tempfile
import time
from datetime import UTC, datetime
from math import cos, log, pi, radians, tan
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.windows import Window

from detection.imagery.data.generate import draw_scene
from detection.imagery.footprints.scene_tiles import make_tiles
from detection.imagery.raster.grid import grid_around
from detection.imagery.tiles.records import SCENE_FILES, SceneTilesRequest
from monitor.store.database.engine import Database
from monitor.store.schema import tables as t
from monitor.store.upkeep.migrate import upgrade
from tests.bench.record import record
from tests.data.filled import HASHES, NOW, fill
from tests.integration.web.served import serving

PATCH = 500
ASKED = 400  # tiles that the reader looks at
COMMAND = "python -m tests.bench.imagery.bench_tiles"


def draw(folder: Path, side: int) -> SceneTilesRequest:
    """A scene and its probabilities."""
    drawn = draw_scene(77, PATCH, scars=6)
    patch = np.stack([drawn.bands[name] for name in ("B4", "B3", "B2")])
    likely = np.zeros((PATCH, PATCH), np.uint8)
    likely[200:260, 180:240] = np.add.outer(np.arange(60), np.arange(60)) + 60
    grid = grid_around(8.9, 46.2, side, 1.0)
    shape = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "crs": grid.crs_wkt,
        "transform": grid.transform,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "compress": "deflate",
    }
    for name, tile, nodata in (("20260225", patch, 0), ("prob", likely[None], 255)):
        plain = folder / f"{name}.plain.tif"
        with rasterio.open(plain, "w", count=len(tile), dtype=tile.dtype, nodata=nodata, **shape) as file:
            for index, band in enumerate(("red", "green", "blue")[: len(tile)], start=1):
                file.set_band_description(index, band)
            for row in range(0, side, PATCH):
                for column in range(0, side, PATCH):
                    part = tile[:, :: 1 - 2 * (row // PATCH % 2), :: 1 - 2 * (column // PATCH % 2)]
                    high, wide = min(PATCH, side - row), min(PATCH, side - column)
                    file.write(part[:, :high, :wide], window=Window(column, row, wide, high))  # type: ignore[call-arg,unused-ignore]
        rasterio.shutil.copy(plain, folder / f"{name}.tif", driver="COG", compress="deflate")
        plain.unlink()
    return SceneTilesRequest(folder / "20260225.tif", datetime(2026, 2, 25, tzinfo=UTC), folder / "prob.tif", folder)


def read_peak_mb() -> int:
    """The most memory that this process held; `getrusage` would count what its parent held at the start."""
    status = Path("/proc/self/status").read_text()
    return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024)


def cut(asked: SceneTilesRequest) -> dict[str, Any]:
    """What a worker does, with what it took."""
    began = time.monotonic()
    found = make_tiles(asked)
    used = resource.getrusage(resource.RUSAGE_SELF)
    assert not found.error, found.error
    return {
        "tiles": found.tiles,
        "zooms": list(found.zooms),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "wall_s": round(time.monotonic() - began, 1),
        "peak_mb": read_peak_mb(),
        **{f"{name}_mb": round((asked.out_dir / file).stat().st_size / 1e6, 1) for name, file in SCENE_FILES.items()},
    }


def choose(told: dict[str, Any]) -> list[str]:
    """Addresses of tiles of all zooms that lie within the scene, in random order."""
    west, south, east, north = told["bounds"]
    found = []
    for zoom in range(told["zooms"][0], told["zooms"][1] + 1):
        side = 2**zoom
        rows = [(1 - log(tan(radians(lat)) + 1 / cos(radians(lat))) / pi) / 2 * side for lat in (north, south)]
        columns = [(lon + 180) / 360 * side for lon in (west, east)]
        found += [
            told["url"].format(z=zoom, x=x, y=y)
            for x in range(int(columns[0]), int(columns[1]) + 1)
            for y in range(int(rows[0]), int(rows[1]) + 1)
        ]
    random.Random(7).shuffle(found)
    return found[:ASKED]


def time_tiles(folder: Path) -> dict[str, Any]:
    """Milliseconds of tiles, one after the other, cold and warm."""
    db = Database(f"sqlite:///{folder}/bench.db")
    upgrade(db)
    fill(db)
    with db.write() as c:
        c.execute(t.scene.update().where(t.scene.c.scene_hash == HASHES["scene"]).values(out_dir=str(folder)))
    figures: dict[str, Any] = {}
    with serving(db, NOW) as client:
        told = client.get(f"/api/v1/sites/north-bench/scenes/{HASHES['scene']}/map").json()
        for layer in ("tiles", "probability"):
            asked = choose(told[layer])
            path = folder / SCENE_FILES["scene" if layer == "tiles" else "probability"]
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)
            for state in ("cold", "warm"):
                waits, sizes = [], []
                for address in asked:
                    began = time.perf_counter()
                    answer = client.get(address)
                    waits.append(1000 * (time.perf_counter() - began))
                    sizes.append(len(answer.content) if answer.status_code == 200 else 0)
                p50, p95 = np.percentile(waits, [50, 95])
                figures[f"{layer}_{state}"] = {"p50_ms": round(float(p50), 1), "p95_ms": round(float(p95), 1)}
            figures[f"{layer}_mean_kb"] = round(float(np.mean(sizes)) / 1e3, 1)
    db.close()
    return figures


def main() -> None:
    """Measure, show and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--record", default="scene-tiles")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked = draw(folder, given.side)
        with get_context("spawn").Pool(1) as pool:
            cost = pool.apply(cut, (asked,))
        figures = {"side_px": given.side, "scene_mb": round(asked.scene.stat().st_size / 1e6, 1), "cut": cost}
        figures["page"] = time_tiles(folder)
    print(figures)
    print(record(given.record, COMMAND, figures))


if __name__ == "__main__":
    main()
