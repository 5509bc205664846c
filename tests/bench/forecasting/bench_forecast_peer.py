"""Ours beside neuralforecast on the last 287 origins of SK and G: error at 1, 7 and 30 days, and what a GRU costs.

    python -m tests.bench.forecasting.bench_forecast_peer [--peer /path/to/its/python] [--sets SK,G] [--seed 7]

The peer runs in an environment of its own (`pip install neuralforecast`). Without --peer its quoted figures stand
beside ours, and what was measured of it before. Every origin has a target 30 days on, nothing is trained on rows after
the first one. Seconds are processor time of one thread. Both GRUs see 60 days and have a state of 32; a step takes 64
issue times, the peer makes 420, ours at most 30 passes.
"""

import argparse
import json
import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from forecasting.data.series import DAY_S, Panel, read_long_csv
from forecasting.data.splits import split
from forecasting.evaluation.backtest import run_trials
from forecasting.neural.learner import Settings
from forecasting.neural.training import train_network
from tests.bench.record import FOLDER, record

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("SLOPEWARD_DATA", ROOT.parent / "shared" / "data"))
HORIZONS_S = (DAY_S, 7 * DAY_S, 30 * DAY_S)
ORIGINS, AHEAD = 287, 30
SIMPLE = ("auto", "trend", "ewa", "lad", "median5")
NETWORKS = ("gru", "lstm", "graph-gru")
# as quoted: one training, MAE at 1, 7 and 30 d on the last 287 origins
QUOTED = {
    "SK": {"neuralforecast GRU": (1.43, 1.69, 3.19), "NHITS": (0.62, 0.99, 3.53)},
    "G": {"neuralforecast GRU": (1.83, 1.95, 2.45), "NHITS": (1.65, 1.88, 2.54)},
}


def errors(panel: Panel, seed: int) -> dict[str, list[float]]:
    """MAE by model and horizon; `gated NAME` is what would have been shown with that network alone."""
    found: dict[str, list[float]] = {}
    last = ORIGINS + AHEAD - 1
    for network in (None, *NETWORKS):
        models = SIMPLE if network is None else (network,)
        for trial in run_trials(panel, models, HORIZONS_S, folds=1, last=last, seed=seed):
            for answer in trial.answers:
                if network is None or answer.model in {network, "gated"}:
                    label = f"gated {network}" if answer.model == "gated" and network else answer.label
                    error = np.abs(answer.point - trial.observed)[:ORIGINS]
                    found.setdefault(label, []).append(round(float(np.nanmean(error)), 4))
    return found


def cost(panel: Panel, seed: int) -> dict[str, float]:
    """Processor seconds of one training and of the forecasts from 287 origins."""
    first = panel.values.shape[0] - ORIGINS - AHEAD
    known = panel.head(first)
    begun = time.process_time()
    trained = train_network("gru", known, split(first), HORIZONS_S, Settings(seed=seed, covariates=()))
    took = time.process_time() - begun
    origins = np.arange(first, first + ORIGINS, dtype=np.int64)
    begun = time.process_time()
    trained.forecaster.quantiles(panel.values, origins)
    asked = time.process_time() - begun
    parameters = sum(p.numel() for p in trained.forecaster.network.parameters())
    return {
        "train_cpu_s": round(took, 2),
        "forecast_cpu_s": round(asked, 2),
        "parameters": parameters,
        "passes": trained.epochs,
    }


def ask_peer(python: str, path: Path, seed: int) -> dict[str, Any]:
    """One run of the peer."""
    words = [
        python,
        str(ROOT / "tests" / "bench" / "forecasting" / "peer_neuralforecast.py"),
        str(path),
        "--seed",
        str(seed),
    ]
    made = subprocess.run(
        words, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd="/tmp"
    )
    found: dict[str, Any] = json.loads(made.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and keep the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--peer", help="Python of the environment that has neuralforecast.")
    options.add_argument("--sets", default="SK,G")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--again", action="store_true", help="Only the peer; ours as it stands in the figures.")
    given = options.parse_args()
    torch.set_num_threads(1)
    path = FOLDER / "forecast-peer.json"
    figures: dict[str, Any] = json.loads(path.read_text())["figures"] if path.exists() else {}
    figures["unit"] = "MAE mm at 1, 7, 30 d"
    for name in given.sets.split(","):
        data = DATA / "timeseries" / "benchmarks" / f"{name}.csv"
        panel = read_long_csv(data)
        mine: dict[str, Any] = dict(figures.get(name, {}))
        if not given.again:
            there = {k: v for k, v in mine.get("mae", {}).items() if k.endswith("(measured here)")}
            mine["mae"] = errors(panel, given.seed) | there
            if given.peer or "ours gru" not in mine:
                # seconds are compared within one run alone
                mine["ours gru"] = cost(panel, given.seed)
        mine["mae"] |= {f"{label} (quoted)": list(values) for label, values in QUOTED[name].items()}
        if given.peer:
            mine["peer gru"] = ask_peer(given.peer, data, given.seed) | {"measured_at": f"{datetime.now(UTC):%Y-%m-%d}"}
            mine["mae"]["neuralforecast GRU (measured here)"] = list(mine["peer gru"]["mae"].values())
        if peer := mine.get("peer gru"):
            mine["ratio ours / peer"] = {
                key: round(mine["ours gru"][key] / peer[key], 2)
                for key in ("train_cpu_s", "forecast_cpu_s")
                if peer[key]
            } | {
                f"mae {h}": round(a / b, 3)
                for h, a, b in zip(("1d", "7d", "30d"), mine["mae"]["gated gru"], peer["mae"].values(), strict=True)
            }
        best = [min(values[i] for values in QUOTED[name].values()) for i in range(3)]
        mine["better than both quoted"] = {
            label: [bool(v < b) for v, b in zip(values, best, strict=True)]
            for label, values in mine["mae"].items()
            if "quoted" not in label and "measured" not in label
        }
        figures[name] = mine
        print(json.dumps({name: mine}, indent=1), flush=True)
        record("forecast-peer", f"python -m tests.bench.forecasting.bench_forecast_peer (seed {given.seed})", figures)


if __name__ == "__main__":
    main()
