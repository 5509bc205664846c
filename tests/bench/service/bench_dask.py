"""What a Dask cluster costs and how much faster it can make the same jobs, in processor seconds: two cores cannot show it by the clock.

    python -m tests.bench.service.bench_dask [--parts forecasts points strips]

Each kind of work runs here, one job after the other, and then on a cluster of one worker with one thread, over TLS. Told
apart are: the processes of the jobs; the worker beside them; the scheduler; the service, which sends and reads. All but
scheduler and service grows with the machines. So with N workers that have a core each, no part can be quicker than

    time here / max(service, scheduler, (jobs + workers) / N)

of what it was here (`speedup_2`, `speedup_8`), and `useful` is what the jobs take here over all that is taken there. Of
a scene the first and the last job run alone (`alone_s`): they are added to the time of the strips.
"""  # noqa: E501

import argparse
import dataclasses
import os
import tempfile
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

from monitor.config.service import ComputeSection
from monitor.jobs.forecasts import tasks
from monitor.jobs.scenes import divided
from monitor.jobs.scenes.tasks import DRAW_STRIP
from monitor.jobs.worker import run_all_in_workers
from tests.bench.record import read_figures, record
from tests.bench.service.bench_points import SPARSE_ROWS, SPARSE_STEP_S, draw
from tests.data.drawn_scenes import draw_tall, request_scene
from tests.data.far.cluster import FarCluster, start_cluster

DAY_S: Final = 86400.0
SITES, STATIONS, DAYS = 4, 200, 180
TIMES, SIDE_PX = 16, 256  # of the scene: so many squares below each other
Work = Callable[[ComputeSection], object]


def forecast_sites(plan: ComputeSection) -> object:
    """Some sites of many stations, a job each."""
    walk = np.random.default_rng(7).normal(0.3, 1.0, (STATIONS, DAYS)).cumsum(axis=1)
    times = array("d", (DAY_S * k for k in range(DAYS)))
    samples = {f"P{k}": (times, array("d", walk[k])) for k in range(STATIONS)}
    models = tuple(tasks.ModelRequest(name, name) for name in ("persistence", "lld", "auto"))
    asked = tasks.SiteForecastRequest(tasks.SiteRecord(samples, DAY_S, (DAYS - 1) * DAY_S), (DAY_S,), models, {})
    return sum(len(one.rows) for one in run_all_in_workers(plan, tasks.FORECAST_SITE, [asked] * SITES))


def forecast_points(plan: ComputeSection) -> object:
    """Two pieces of satellite points."""
    pieces = tasks.split_points(draw(2 * tasks.POINTS_AT_ONCE, SPARSE_ROWS, SPARSE_STEP_S, ("persistence",)))
    return sum(len(one.rows) for one in run_all_in_workers(plan, tasks.FORECAST_SITE, pieces))


def spend(far: FarCluster | None) -> dict[str, float]:
    """Processor seconds up to now of all that takes part."""
    own = os.times()
    if far is None:
        return {"service_s": own.user + own.system, "jobs_s": own.children_user + own.children_system}
    worker, scheduler = (psutil.Process(one.pid).cpu_times() for one in (far.first, far.scheduler))
    return {
        "service_s": own.user + own.system,
        "jobs_s": worker.children_user + worker.children_system,
        "worker_s": worker.user + worker.system,
        "scheduler_s": scheduler.user + scheduler.system,
    }


def measure(work: Work, plan: ComputeSection, far: FarCluster | None) -> dict[str, float]:
    """What one kind of work takes."""
    before = spend(far)
    work(plan)
    time.sleep(0.5)  # what the worker tells the scheduler of the end
    return {name: round(value - before[name], 2) for name, value in spend(far).items()}


def judge(here: dict[str, float], there: dict[str, float], alone_s: float = 0.0) -> dict[str, Any]:
    """How much quicker it can become."""
    before_s = here["service_s"] + here["jobs_s"] + alone_s
    grows_s = there["jobs_s"] + there["worker_s"]

    def speed_up(workers: int) -> float:
        widest_s = max(there["service_s"], there["scheduler_s"], grows_s / workers)
        return round(before_s / (widest_s + alone_s), 2)

    return {
        "here": here,
        "there": there,
        "useful": round(here["jobs_s"] / sum(there.values()), 3),
        **{f"speedup_{n}": speed_up(n) for n in (1, 2, 8)},
    }


def measure_strips(place: Path, far: FarCluster, plan: ComputeSection) -> dict[str, Any]:
    """The strips of one scene, and the two jobs around them."""
    scene = place / "inbox" / "may"
    draw_tall(scene, TIMES, SIDE_PX)
    found = {}
    for name, one, where in (("here", ComputeSection(), None), ("there", plan, far)):
        folder = place / name
        folder.mkdir()
        asked = request_scene(scene, folder / "scene", strip_px=TIMES * SIDE_PX**2 // 4)
        before = spend(where)
        answer = divided.run_in_worker(one, divided.READ_ONE, asked, reads=[scene], writes=[folder])
        opened = {key: value - before[key] for key, value in spend(where).items()}
        strips = [divided.StripRequest(asked, k) for k in range(answer.strips)]
        digests: list[str] = []

        def draw_strips(given: ComputeSection) -> None:
            out = asked.out_dir / divided.STRIPS  # noqa: B023 - called at once
            digests.extend(  # noqa: B023
                x.digest
                for x in run_all_in_workers(given, DRAW_STRIP, strips, reads=[scene], writes=[out])  # noqa: B023
            )

        drawn = measure(draw_strips, one, where)
        before = spend(where)
        whole = dataclasses.replace(asked, drawn=tuple(digests))
        divided.run_in_worker(one, divided.READ_ONE, whole, reads=[scene], writes=[folder])
        ended = {key: value - before[key] for key, value in spend(where).items()}
        found[name] = drawn, sum(opened.values()) + sum(ended.values())
    told = judge(found["here"][0], found["there"][0], found["there"][1])
    return {"strips": len(strips), "alone_s": round(found["there"][1], 2), **told}


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts: dict[str, Work] = {"forecasts": forecast_sites, "points": forecast_points}
    names = [*parts, "strips"]
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    asked = parser.parse_args()
    figures: dict[str, Any] = read_figures("dask") or {}
    with tempfile.TemporaryDirectory() as folder, start_cluster(Path(folder)) as far:
        tls = {f"dask_{name}": getattr(far.where, name) for name in ("ca_file", "cert_file", "key_file")}
        there = ComputeSection(dask=far.where.address, **tls)
        forecast_once = tasks.split_points(draw(10, SPARSE_ROWS, SPARSE_STEP_S, ("persistence",)))
        list(run_all_in_workers(there, tasks.FORECAST_SITE, forecast_once * 2))  # what is loaded once is no overhead
        for name in asked.parts:
            if name == "strips":
                figures[name] = measure_strips(Path(folder), far, there)
            else:
                figures[name] = judge(
                    *(measure(parts[name], p, f) for p, f in ((ComputeSection(), None), (there, far)))
                )
            print(name, figures[name], flush=True)
    record("dask", "python -m tests.bench.service.bench_dask", figures)


if __name__ == "__main__":
    main()
