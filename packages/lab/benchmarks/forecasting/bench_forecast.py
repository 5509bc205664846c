"""Forecast networks beside persistence and the best simple forecast, by rolling origin on the benchmark records.

    python -m packages.lab.benchmarks.forecasting.bench_forecast [--core S,SK,G,K] [--seeds 7,8,9] [--rest SK]
        [--only tcn]

The three served networks are trained with every seed on the records of --core, and every other network with the first
seed on the records of --rest. Models that appear only in tables run if --only names them. The result has the MAE in mm
per horizon: mean of three folds, median and range of the seeds. Each (record, model, seed) is stored in build/, so that
an interrupted run continues where it stopped. A row of the result stays, with the day on which it was measured, until
as many seeds of it have run again.
"""

import json
import math
import statistics
import time
from collections import defaultdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from forecasting.data.series import DAY_S, read_long_csv
from forecasting.evaluation.backtest import run_trials
from forecasting.evaluation.scoring import format_horizon, score_all
from forecasting.registry import list_networks
from tests.bench.record import DATA, LAB_RESULTS, ROOT, compute_once, parse_options

KEPT = ROOT / "build" / "bench_forecast"
CORE = ("gru", "lstm", "graph-gru")
SIMPLE = ("auto", "trend", "ewa", "arima", "ets", "ridge")
MORE = ("median5", "local-trend", "lad", "seasonal", "climatology")
"""Scored by themselves: a score counts where every model of a run answers, and these leave out other rows."""
HORIZONS_S = (DAY_S, 7 * DAY_S, 30 * DAY_S)
STRIDE = {"G": 2, "K": 2}
"""Every second issue time of the two five-year records is learnt."""
Job = tuple[str, str, int]


def plan(core: list[str], seeds: list[int], rest: list[str]) -> list[Job]:
    """What may be run: what is shared by the networks of a record is fitted once, so records go one by one."""
    jobs: list[Job] = []
    for name in core:
        jobs += [(name, "simple", 0), *((name, model, seed) for seed in seeds for model in CORE)]
    jobs += [(name, "more", 0) for name in rest]
    others = [model for model in list_networks() if model not in CORE]
    return jobs + [(name, model, seeds[0]) for name in rest for model in others]


def run(job: Job) -> list[dict[str, Any]]:
    name, model, seed = job
    panel = read_long_csv(DATA / "timeseries" / "benchmarks" / f"{name}.csv")
    models = {"simple": SIMPLE, "more": MORE}.get(model, (model,))
    training = {"stride": STRIDE.get(name, 1)}
    scores = [
        s for trial in run_trials(panel, models, HORIZONS_S, seed=seed, training=training) for s in score_all(trial)
    ]
    kept = ("mae_mm", "pinball", "skill_lld", "skill_best", "coverage_80", "worst_80", "seconds")
    facts = [
        {"label": s.model, "horizon": format_horizon(s.horizon_s), "fold": s.fold} | {k: getattr(s, k) for k in kept}
        for s in scores
    ]
    if model == "more":
        return [f for f in facts if f["label"] in MORE]
    return [f for f in facts if model == "simple" or f["label"] == model]


def path_of(job: Job) -> Path:
    return KEPT / f"{'-'.join(map(str, job))}.json"


def collect(jobs: list[Job]) -> dict[str, Any]:
    cells: dict[tuple[str, str, str], dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for name, model, seed in jobs:
        if path_of((name, model, seed)).exists():
            for row in json.loads(path_of((name, model, seed)).read_text()):
                cells[name, row["label"], row["horizon"]][seed].append(row)
    out: dict[str, Any] = {}
    for (name, label, horizon), by_seed in cells.items():
        means = [statistics.fmean(r["mae_mm"] for r in rows) for rows in by_seed.values()]
        every = [row for rows in by_seed.values() for row in rows]
        covers = [r["coverage_80"] for r in every if r["coverage_80"] == r["coverage_80"]]
        losses = [r["pinball"] for r in every if r.get("pinball", math.nan) == r.get("pinball", math.nan)]
        out.setdefault(name, {})[f"{label} {horizon}"] = {
            "mae": round(statistics.median(means), 4),
            "crps": round(2.0 * statistics.fmean(losses), 4) if losses else None,
            "range": [round(min(means), 4), round(max(means), 4)],
            "seeds": len(means),
            "worst_skill_best": round(min(r["skill_best"] for r in every), 4),
            "coverage_80": round(statistics.fmean(covers), 3) if covers else None,
            "fit_s": round(statistics.fmean(r["seconds"] for r in every), 1),
        }
    return out


def add_days(recorded: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """Each row with its day: as made now, or as recorded where fewer seeds were run again."""
    before, today = recorded.get("figures", {}), datetime.now(UTC).strftime("%Y-%m-%d")
    out: dict[str, Any] = {}
    for name in {**before, **made}:
        old, new = before.get(name, {}), made.get(name, {})
        if not isinstance(old, dict):
            continue
        out[name] = {label: {"measured_at": recorded["measured_at"]} | row for label, row in old.items()}
        for label, row in new.items():
            if row["seeds"] >= out[name].get(label, row)["seeds"]:
                out[name][label] = row | {"measured_at": today}
    return out


def count_newest(rows: dict[str, Any]) -> int:
    """How many trainings were made on the newest day of all; what is simple on a record counts as one."""
    counted = {f"{model} 1d" for model in list_networks()} | {"persistence 1d"}
    newest = max(row["measured_at"] for of in rows.values() for row in of.values())
    return sum(
        row["seeds"]
        for of in rows.values()
        for label, row in of.items()
        if label in counted and row["measured_at"] == newest
    )


def main() -> None:
    given = parse_options(__doc__, core="SK,S,G,K", seeds="7,8,9", rest="SK", only="")
    torch.set_num_threads(1)
    seeds = [int(s) for s in given.seeds.split(",")]
    core, rest = ([s for s in names.split(",") if s] for names in (given.core, given.rest))
    wanted = set(given.only.split(",")) if given.only else {"simple", "more", *list_networks()}
    jobs = [job for job in plan(core, seeds, rest) if job[1] in wanted]
    for job in jobs:
        if not path_of(job).exists():
            begun = time.perf_counter()
            compute_once(path_of(job), partial(run, job))
            print(f"{' '.join(map(str, job))}: {time.perf_counter() - begun:.0f} s", flush=True)
    path = LAB_RESULTS.find("forecast")
    recorded = json.loads(path.read_text()) if path.exists() else {}
    rows = add_days(recorded, collect(jobs))
    whole = len(plan(["SK", "S", "G", "K"], seeds, ["SK"]))
    figures = {
        "unit": "mm, mean of 3 folds: MAE, median and range of seeds; CRPS of the five quantiles",
        "done": f"{count_newest(rows)} of {whole} trainings are of the newest day; each row has its own",
    }
    print(LAB_RESULTS.store("forecast", f"make bench-forecast (seeds {given.seeds})", figures | rows))


if __name__ == "__main__":
    main()
