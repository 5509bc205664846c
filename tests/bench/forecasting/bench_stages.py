"""Stages and tangential angles by lead time before drawn collapses, and how often they are called where nothing failed.

    python -m tests.bench.forecasting.bench_stages

A look a day with the data up to it alone, as in the service; no failure window takes part. The steady velocity of the
angle is the median of what was seen in the first year, of a drawn collapse in its first half: those looks are not
scored. Nothing is chosen here.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from forecasting.kinematics.assessment import classify_movement
from forecasting.kinematics.curves import draw_collapse
from forecasting.kinematics.stages import StageState, classify_stage
from forecasting.kinematics.tangential import tangential_angle_deg
from monitor.cli.forecast.curve_file import read_curve
from monitor.cli.forecast.failure_bench import DAY_S, OUTANG, data_folder, find, gnss
from tests.bench.record import record

SEEDS, LEADS_D = range(30), (30, 14, 7, 3, 1)
STEEP_DEG = (80.0, 85.0)
Look = tuple[float, str, float | None]
"""Epoch seconds, stage, tangential angle where there is a steady velocity."""


def watch(times_s: Sequence[float], values: Sequence[float], sigma: float, steady_until_s: float) -> Iterator[Look]:
    """What each look after the steady time says."""
    state: StageState = {}
    steady: list[float] = []
    sigmas = [sigma] * len(times_s)
    for now_s in times_s:
        facts, velocity = classify_movement(times_s, values, sigmas, now_s=now_s, interval_s=DAY_S)
        movement, state = classify_stage(state, facts)
        if now_s <= steady_until_s:
            steady += [] if velocity is None else [velocity.rate]
            continue
        usual = statistics.median(steady) if steady else 0.0
        known = velocity is not None and usual > 0.0
        yield now_s, movement.stage, tangential_angle_deg(velocity.rate, usual) if velocity and known else None


def score_collapses(**law: Any) -> dict[str, Any]:
    """Share of the curves in each stage and above each angle, by lead."""
    watched = []
    for seed in SEEDS:
        c = draw_collapse(seed, sigma=1.0, **law)
        watched.append((c.failure_s, list(watch(c.times_s, c.values, 1.0, c.failure_s / 2.0))))
    out: dict[str, Any] = {}
    for lead in LEADS_D:
        at = [[one for one in looks if one[0] <= failure_s - lead * DAY_S][-1:] for failure_s, looks in watched]
        out[f"{lead}d"] = {"curves": len(at)} | share([one for looks in at for one in looks])
    return out


def score_measured(curves: Sequence[tuple[Sequence[float], Sequence[float], float]]) -> dict[str, Any]:
    """Share of all looks after the first year."""
    looks = [
        one for times_s, values, sigma in curves for one in watch(times_s, values, sigma, times_s[0] + 365 * DAY_S)
    ]
    return {"series": len(curves)} | share(looks)


def share(looks: Sequence[Look]) -> dict[str, Any]:
    """How many looks say what."""
    stages, angles = [stage for _, stage, _ in looks], [angle for *_, angle in looks if angle is not None]
    told: dict[str, Any] = {"looks": len(looks), "with_angle": len(angles)}
    for stage in ("progressive", "step", "intermediate", "creep", "unknown"):
        told[stage] = round(stages.count(stage) / len(stages), 4) if stages else None
    for bound in STEEP_DEG:
        told[f"angle_{bound:.0f}"] = round(sum(a >= bound for a in angles) / len(angles), 4) if angles else None
    return told


def read_outang(data: Path) -> list[tuple[Sequence[float], Sequence[float], float]]:
    """The eight points of a slope that accelerated and did not fail."""
    curves = [
        read_curve(find(data, "outang", "monitoring_data.csv"), "displacement", value=f"{name}/mm") for name in OUTANG
    ]
    return [(c.times_s, c.values, 1.0) for c in curves]


def main() -> None:
    """Measure, print, write docs/benchmarks/stages.json."""
    data, begun = data_folder(None), time.process_time()
    figures: dict[str, Any] = {
        "exponent 2, noise 1 mm": score_collapses(alpha=2.0),
        "exponent 1.5-2.5, rain, gaps, noise 1 mm": score_collapses(alpha=(1.5, 2.5), rain=True, gaps=True),
        "did not fail": {
            "outang": score_measured(read_outang(data)),
            "gnss": score_measured([(c.times_s, c.values, sigma) for _, c, sigma in gnss(data)]),
        },
    }
    figures["cpu_s"] = round(time.process_time() - begun)
    print(figures, record("stages", "python -m tests.bench.forecasting.bench_stages", figures), sep="\n")


if __name__ == "__main__":
    main()
