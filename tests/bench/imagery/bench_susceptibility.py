"""Susceptibility on drawn landscapes whose true ranking is known: score on left-out blocks, on random cells, the truth.

    python -m tests.bench.imagery.bench_susceptibility [--seeds 0,1,2] [--size 160]

Landslides are drawn by a law of slope, rock and river; in one landscape half of them lie anywhere, in one no factor
matters, in one a field that no factor shows makes them lie in swarms. Nothing is chosen here. Medians of the seeds with
their range.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from detection.susceptibility.scoring import measure_auc
from detection.susceptibility.training import SusceptibilityTrainingRequest, train
from tests.bench.record import record
from tests.unit.detection.susceptibility.drawn_landscape import draw

CASES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "factors explain all": (("logistic", "boosting"), {}),
    "half of the landslides lie anywhere": (("logistic", "boosting"), {"noise": 0.5}),
    "no factor matters": (("logistic", "boosting"), {"strength": 0.0, "base": -3.5}),
    "landslides in swarms": (("boosting",), {"base": -6, "hidden": 1.8, "lumps_px": 9}),
}


def run(learners: tuple[str, ...], law: dict[str, Any], seeds: Sequence[int], size: int) -> dict[str, Any]:
    """One landscape for each seed."""
    begun, found = time.process_time(), []
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="susceptibility-") as folder:
            drawn = draw(Path(folder), seed=seed, size=size, **law)
            card = train(
                SusceptibilityTrainingRequest(drawn.study, Path(folder) / "model.json", date(2026, 1, 1), learners)
            )
        scores, label = card["scores"], drawn.slides.ravel().astype(np.int64)
        low, high = scores["interval"]
        truth = measure_auc(drawn.truth.ravel(), label, np.ones(label.size))
        found.append(
            {
                "landslides": float(label.sum()),
                "auc_of_the_truth": truth,
                "auc_left_out_blocks": scores["auc"],
                "auc_random_cells": scores["random_split"],
                "interval_width": high - low,
                "truth_within_interval": float(low <= truth <= high),
                "said_to_observed": scores["calibration"]["expected_calibration_error"],
            }
        )
    told: dict[str, Any] = {key: round(statistics.median(one[key] for one in found), 4) for key in found[0]}
    for key in ("auc_left_out_blocks", "auc_random_cells"):
        told[f"{key}_range"] = [round(pick(one[key] for one in found), 4) for pick in (min, max)]
    told["truth_within_interval"] = sum(int(one["truth_within_interval"]) for one in found)
    return told | {"seeds": len(found), "cpu_s": round(time.process_time() - begun, 1)}


def main() -> None:
    """Measure, print, write docs/benchmarks/susceptibility.json."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", default="0,1,2")
    options.add_argument("--size", type=int, default=160, help="pixels of 20 m")
    given = options.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    command = "python -m tests.bench.imagery.bench_susceptibility"
    figures: dict[str, Any] = {"pixels": given.size}
    for name, (learners, law) in CASES.items():
        figures[name] = run(learners, law, seeds, given.size)
        print(name, figures[name], flush=True)
    print(record("susceptibility", command, figures))


if __name__ == "__main__":
    main()
