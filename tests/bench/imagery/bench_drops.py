"""How long a scene waits: from its last byte in the inbox of a running service to its row; drops at random moments.

    python -m tests.bench.imagery.bench_drops [--drops 100] [--minutes 40]

The service runs as a user starts it (SQLite, managed Mosquitto, one site). Each scene is a lone GeoTIFF of 2,000 x
2,000 px and three bands of another date, copied into the watched folder; the next one comes up to 15 s after the row of
the last. Bar: 95 of 100 are rows within 30 s. Beside the waits stand the load of the machine while they were measured
and the processor seconds that a drop cost: on a busy machine the waits say more of its neighbours than of the service.
"""

import argparse
import os
import random
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

from detection.imagery.data.generate import draw_scene
from detection.imagery.raster.grid import grid_around
from tests.bench.record import record
from tests.conftest import free_port
from tests.data.running import Service

SIDE, PATCH = 2_000, 500
BAR_S = 30.0
LONGEST_S = 600.0
COMMAND = "python -m tests.bench.imagery.bench_drops"
SITE = """
[site]
id = "bench"
name = "Bench"
latitude = 42.73
longitude = 141.0
[scenes]
weights = "landslide4sense"
[[station]]
id = "G1"
latitude = 42.73
longitude = 141.0
[[station.series]]
quantity = "displacement"
unit = "mm"
interval = "1d"
max_silence = "30d"
noise_floor_mm = 2.0
"""


def write_scene(path: Path) -> None:
    """A scene of three bands in one file, a drawn patch repeated as its own mirror image."""
    drawn = draw_scene(77, PATCH, scars=6)
    patch = np.stack([drawn.bands[name] for name in ("B4", "B3", "B2")])
    grid = grid_around(141.0, 42.73, SIDE, 10.0)
    with rasterio.open(
        path, "w", driver="GTiff", width=SIDE, height=SIDE, count=3, dtype="uint16", crs=grid.crs_wkt,
        transform=grid.transform, tiled=True, nodata=0,
    ) as target:  # fmt: skip
        for index, name in enumerate(("red", "green", "blue"), start=1):
            target.set_band_description(index, name)
        for row in range(0, SIDE, PATCH):
            for column in range(0, SIDE, PATCH):
                turned = patch[:, :: -1 if row // PATCH % 2 else 1, :: -1 if column // PATCH % 2 else 1]
                target.write(turned, window=Window(column, row, PATCH, PATCH))  # type: ignore[call-arg]


def count_rows(database: Path) -> int:
    """Scenes that are read."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as c:
        return int(c.execute("SELECT count(*) FROM scene WHERE state = 'done'").fetchone()[0])


def measure(folder: Path, drops: int, longest_s: float) -> tuple[list[float], list[float]]:
    """Seconds from the last byte to the row, and the machine's load then, drop by drop; no drop after `longest_s`."""
    ends = time.monotonic() + longest_s
    database = folder / "slopeward.db"
    rng, waits, loads = random.Random(1), [], []
    template = folder / "template.tif"
    write_scene(template)
    with Service(folder, f"sqlite:///{database}", f"mqtt://127.0.0.1:{free_port()}", {"bench": SITE}) as service:
        text = service.config.read_text().replace('mode = "external"', 'mode = "managed"')
        service.config.write_text(text)
        service.start()
        inbox = folder / "inbox" / "bench"
        inbox.mkdir(parents=True, exist_ok=True)
        for number in range(drops):
            if time.monotonic() > ends:
                break
            taken = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)
            one = folder / f"{taken:%Y%m%d}.tif"
            shutil.copyfile(template, one)
            with rasterio.open(one, "r+") as target:
                target.update_tags(ACQUIRED_AT=f"{taken:%Y-%m-%dT%H:%M:%SZ}")
            time.sleep(rng.uniform(0, 15))
            before = count_rows(database)
            shutil.copyfile(one, inbox / one.name)
            begun = time.monotonic()
            while count_rows(database) == before:
                if time.monotonic() - begun > LONGEST_S:
                    raise TimeoutError(f"{one.name} is no row after {LONGEST_S:.0f} s:\n{service.log()[-2000:]}")
                time.sleep(0.2)
            waits.append(time.monotonic() - begun)
            loads.append(os.getloadavg()[0])
            one.unlink()
            sys.stderr.write(f"drop {number + 1} of {drops}: {waits[-1]:.1f} s at a load of {loads[-1]:.1f}\n")
        service.stop()  # the managed broker with it, which a killed service leaves behind
    return waits, loads


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drops", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=600.0, help="begin no drop after so long")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slopeward-drops-") as folder:
        waits, loads = measure(Path(folder), asked.drops, asked.minutes * 60)
    drops = len(waits)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)  # of the service, which has ended, and of its workers
    figures = {
        "drops": drops, "scene_px": [SIDE, SIDE], "median_s": round(float(np.median(waits)), 1),
        "p95_s": round(float(np.quantile(waits, 0.95)), 1), "longest_s": round(max(waits), 1), "bar_p95_s": BAR_S,
        "load_median": round(float(np.median(loads)), 1),
        "processor_s_per_drop": round((spent.ru_utime + spent.ru_stime) / drops, 1),
    }  # fmt: skip
    path = record("drops", f"{COMMAND} --drops {asked.drops} --minutes {asked.minutes:g}", figures)
    sys.stdout.write(f"{path}: {figures}\n")
    sys.exit(0 if figures["p95_s"] <= BAR_S else 1)


if __name__ == "__main__":
    main()
