"""Processor seconds of forecasts of satellite points as the service runs them: pieces of 2,000 series, a job each.

    python -m tests.bench.service.bench_points [--pieces 4]

The combined forecast and the simple ones, one horizon, 90 acquisitions. Reading the answer is the service's own part; all else can run on a cluster.
"""  # noqa: E501

import resource
import time
from array import array
from typing import Any

import numpy as np

from monitor.features.forecasts import tasks
from monitor.worker import compute
from tests.bench.record import SERVICE_RESULTS, parse_options

ROWS, STEP_S = 90, 6 * 86400.0


def draw(points: int) -> tasks.PanelForecastRequest:
    """Random walks with a drift."""
    chance, times = np.random.default_rng(7), array("d", (STEP_S * k for k in range(ROWS)))
    walks = {f"P{k:07d}": array("d", chance.normal(-0.2, 1.0, ROWS).cumsum().tobytes()) for k in range(points)}
    whole = tasks.SiteRecord({name: (times, walk) for name, walk in walks.items()}, STEP_S, (ROWS - 1) * STEP_S)
    return tasks.PanelForecastRequest(whole, (STEP_S,))


def main() -> None:
    """Run the pieces and record what they took."""
    found = run_here(parse_options(__doc__, pieces=4).pieces)
    SERVICE_RESULTS.store("points", "python -m tests.bench.service.bench_points", found)
    print(found)


def run_here(count: int) -> dict[str, Any]:
    """A few pieces, one after the other."""
    pieces = tasks.split_points(draw(tasks.POINTS_AT_ONCE * count))
    own_s, rows = time.process_time(), 0
    for answer in compute.run_all(tasks.FORECAST_PANEL, pieces, 600):
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


if __name__ == "__main__":
    main()
