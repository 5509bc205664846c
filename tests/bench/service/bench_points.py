"""Processor seconds of forecasts of satellite points as the service runs them: pieces of 5,000 series, a job each.

    python -m tests.bench.service.bench_points [--pieces 4]
    OMP_NUM_THREADS=1 python -m tests.bench.service.bench_points --dask [--points 1000000] [--minutes 12]

Persistence and `lld`, one horizon, 90 acquisitions. Reading the answer is the service's own part; all else can run on a cluster.
With --dask: the cheapest model alone, 60 acquisitions (a year of one satellite), on a cluster of one worker with one thread. The record
of all points lies in memory, as it does in the service. What has not ended after --minutes is not waited for.
"""  # noqa: E501

import argparse
import resource
import time
from array import array
from typing import Any

import numpy as np

from monitor.jobs.forecasts import tasks
from monitor.worker import compute
from monitor.worker.cluster import Cluster
from tests.bench.record import record

ROWS, STEP_S = 90, 6 * 86400.0
SPARSE_ROWS, SPARSE_STEP_S = 60, 6 * 86400.0


def draw(
    points: int, rows: int = ROWS, step_s: float = STEP_S, names: tuple[str, ...] = ("persistence", "lld")
) -> tasks.SiteForecastRequest:
    """Random walks with a drift."""
    chance = np.random.default_rng(7)
    times = array("d", (step_s * k for k in range(rows)))
    samples = {
        f"P{k:07d}": (times, array("d", chance.normal(-0.2, 1.0, rows).cumsum().tobytes())) for k in range(points)
    }
    whole = tasks.SiteRecord(samples, step_s, (rows - 1) * step_s)
    return tasks.SiteForecastRequest(whole, (step_s,), tuple(tasks.ModelRequest(name, name) for name in names), {})


def main() -> None:
    """Run the pieces and record what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=4)
    parser.add_argument("--dask", action="store_true")
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=12.0)
    asked = parser.parse_args()
    terms = f" --dask --points {asked.points} --minutes {asked.minutes:g}" if asked.dask else ""
    if asked.dask:
        name, found = "points-dask", run_on_dask(asked.points, asked.minutes * 60.0)
    else:
        name, found = "points", run_here(asked.pieces)
    record(name, f"python -m tests.bench.service.bench_points{terms}", found)
    print(found)


def run_here(count: int) -> dict[str, Any]:
    """A few pieces, one after the other."""
    pieces = tasks.split_points(draw(tasks.POINTS_AT_ONCE * count))
    own_s, rows = time.process_time(), 0
    for answer in compute.run_all(tasks.FORECAST_SITE, pieces, 600):
        rows += len(answer.rows)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "points": len(pieces) * tasks.POINTS_AT_ONCE,
        "rows": rows,
        "acquisitions": ROWS,
        "worker_cpu_s_per_piece": round((used.ru_utime + used.ru_stime) / len(pieces), 2),
        "service_cpu_s_per_piece": round((time.process_time() - own_s) / len(pieces), 2),
        "worker_mib_at_most": round(used.ru_maxrss / 1024),
    }


def run_on_dask(points: int, limit_s: float) -> dict[str, Any]:
    """All points of one site as the service asks for them, on a cluster of one worker; as many as end in time."""
    from distributed import LocalCluster

    pieces = tasks.split_points(draw(points, SPARSE_ROWS, SPARSE_STEP_S, ("persistence",)))
    held_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begun_s, own_s, rows, ended = time.monotonic(), time.process_time(), 0, 0
    with LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster:
        answers = compute.run_all(tasks.FORECAST_SITE, pieces, 600, Cluster(cluster.scheduler_address))
        for answer in answers:
            rows, ended = rows + len(answer.rows), ended + 1
            if ended % 10 == 0:
                print(f"{ended} of {len(pieces)} pieces, {time.monotonic() - begun_s:.0f} s", flush=True)
            if time.monotonic() - begun_s > limit_s:
                compute.stop_all()
                break
        wall_s, service_s = time.monotonic() - begun_s, time.process_time() - own_s
        answers.close()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "points_asked": points,
        "points_forecast": ended * tasks.POINTS_AT_ONCE,
        "rows": rows,
        "acquisitions": SPARSE_ROWS,
        "model": "persistence",
        "pieces": len(pieces),
        "pieces_ended": ended,
        "wall_s": round(wall_s),
        "workers": 1,
        "threads": 1,
        "worker_cpu_s_per_piece": round((used.ru_utime + used.ru_stime) / max(ended, 1), 2),
        "service_cpu_s_per_piece": round(service_s / max(ended, 1), 2),
        "record_mib": round(held_mib),
        "service_mib_at_most": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "worker_mib_at_most": round(used.ru_maxrss / 1024),
    }


if __name__ == "__main__":
    main()
