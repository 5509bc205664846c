"""How long a scene waits: from its last byte in the inbox of a running service to its row; drops at random moments.

    python -m tests.bench.imagery.bench_drops [--drops 100] [--sites 3]

The service runs as a user starts it (SQLite, managed Mosquitto). Each scene is a lone GeoTIFF of 2,000 x 2,000 px and
three bands of another date, copied into the watched folder of one site after the other, 4 to 12 s after the last one
whether that is read or not. So the drops meet every moment of a look (10 s), 100 of them take 14 minutes, and up to
three scenes are under way at once: a wait holds what the service does for the other sites. Bar: 95 of 100 are rows
within 30 s. Beside the waits stand the load of the machine while they were measured and the processor seconds that a
drop cost: on a busy machine the waits say more of its neighbours than of the service.
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
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import cycle
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
GAP_S = 4.0, 12.0
BAR_S = 30.0
LONGEST_S = 600.0
COMMAND = "python -m tests.bench.imagery.bench_drops"
SITE = """
[site]
id = "{site}"
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
        path,
        "w",
        driver="GTiff",
        width=SIDE,
        height=SIDE,
        count=3,
        dtype="uint16",
        crs=grid.crs_wkt,
        transform=grid.transform,
        tiled=True,
        nodata=0,
    ) as target:
        for index, name in enumerate(("red", "green", "blue"), start=1):
            target.set_band_description(index, name)
        for row in range(0, SIDE, PATCH):
            for column in range(0, SIDE, PATCH):
                turned = patch[:, :: -1 if row // PATCH % 2 else 1, :: -1 if column // PATCH % 2 else 1]
                target.write(turned, window=Window(column, row, PATCH, PATCH))  # type: ignore[call-arg]


def list_read(database: Path) -> set[str]:
    """The files of the scenes that are read."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as c:
        return {Path(path).name for (path,) in c.execute("SELECT path FROM scene WHERE state = 'done'")}


def write_drops(folder: Path, drops: int) -> Iterator[Path]:
    """The same scene of another date each time, each written when it is asked for."""
    template = folder / "template.tif"
    write_scene(template)
    for number in range(drops):
        taken = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number)
        one = folder / f"{taken:%Y%m%d}.tif"
        shutil.copyfile(template, one)
        with rasterio.open(one, "r+") as target:
            target.update_tags(ACQUIRED_AT=f"{taken:%Y-%m-%dT%H:%M:%SZ}")
        yield one


def measure(folder: Path, drops: int, sites: int) -> tuple[list[float], list[float]]:
    """Seconds from the last byte to the row, and the machine's load then, in the order of the rows."""
    database = folder / "slopeward.db"
    rng, waits, loads = random.Random(1), [], []
    names = [f"bench-{number}" for number in range(1, sites + 1)]
    plans = {name: SITE.format(site=name) for name in names}
    with Service(folder, f"sqlite:///{database}", f"mqtt://127.0.0.1:{free_port()}", plans) as service:
        text = service.config.read_text().replace('mode = "external"', 'mode = "managed"')
        service.config.write_text(text)
        service.start()
        for name in names:
            (folder / "inbox" / name).mkdir(parents=True, exist_ok=True)
        coming = zip(write_drops(folder, drops), cycle(names))
        following = next(coming, None)
        due, under_way = time.monotonic(), dict[str, float]()
        while following or under_way:
            if following and time.monotonic() >= due:
                one, name = following
                shutil.copyfile(one, folder / "inbox" / name / one.name)
                under_way[one.name] = time.monotonic()
                due = time.monotonic() + rng.uniform(*GAP_S)
                one.unlink()
                following = next(coming, None)
            for read in list_read(database) & under_way.keys():
                waits.append(time.monotonic() - under_way.pop(read))
                loads.append(os.getloadavg()[0])
                sys.stderr.write(f"row {len(waits)} of {drops}: {waits[-1]:.1f} s at a load of {loads[-1]:.1f}\n")
            if under_way and time.monotonic() - min(under_way.values()) > LONGEST_S:
                raise TimeoutError(f"{min(under_way)} is no row after {LONGEST_S:.0f} s:\n{service.log()[-2000:]}")
            time.sleep(0.2)
        service.stop()  # the managed broker with it, which a killed service leaves behind
    return waits, loads


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drops", type=int, default=100)
    parser.add_argument("--sites", type=int, default=3, help="whose watched folders take the drops in turn")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slopeward-drops-") as folder:
        began = time.monotonic()
        waits, loads = measure(Path(folder), asked.drops, asked.sites)
        minutes = (time.monotonic() - began) / 60
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)  # of the service, which has ended, and of its workers
    figures = {
        "drops": asked.drops,
        "sites": asked.sites,
        "gap_s": GAP_S,
        "minutes": round(minutes, 1),
        "scene_px": [SIDE, SIDE],
        "median_s": round(float(np.median(waits)), 1),
        "p95_s": round(float(np.quantile(waits, 0.95)), 1),
        "longest_s": round(max(waits), 1),
        "bar_p95_s": BAR_S,
        "load_median": round(float(np.median(loads)), 1),
        "processor_s_per_drop": round((spent.ru_utime + spent.ru_stime) / asked.drops, 1),
    }
    path = record("drops", f"{COMMAND} --drops {asked.drops} --sites {asked.sites}", figures)
    sys.stdout.write(f"{path}: {figures}\n")
    sys.exit(0 if figures["p95_s"] <= BAR_S else 1)


if __name__ == "__main__":
    main()
