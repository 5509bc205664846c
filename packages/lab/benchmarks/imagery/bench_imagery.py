"""The networks beside each other and beside the simple maps, on the same patches, split and number of steps.

    python -m packages.lab.benchmarks.imagery.bench_imagery [--sets l4s,bijie] [--seeds 20,21,22] [--only NAMES]
        [--record NAME]

The core networks and those named by --only with every seed, others with the first; trials for small landslides on the
plain U-Net. Fit and held part are the same for every job; epoch, temperature and threshold come from the held part, the
test part is scored once. Each (set, name, seed) is kept in build/ with its counts image by image, so that a killed run
goes on where it was. A difference is told as one only where the paired bootstrap over the test images carries it, the
seeds of a network taken together.
"""

import itertools
import json
import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from detection.imagery.data.catalogue import open_data
from detection.imagery.data.patches import Patches
from detection.imagery.data.splits import Parts, split_held
from detection.imagery.registry import find_entry, list_segmenters
from detection.imagery.training.scoring import ScoringResult, compare, score_maps
from tests.bench.record import DATA, LAB_RESULTS, ROOT, compute_once, parse_options

KEPT = ROOT / "build" / "bench_imagery" / "w0.125"
CORE = ("unet", "resunet", "sbconv-unet", "sbconv-resunet", "scdnn", "segnet", "deeplabv3plus-resnet50")
CORE += ("deeplabv3plus-mobilenetv2", "linknet")
SIMPLE = ("index", "logistic")
SPLIT_SEED, WIDTH = 20, 0.125
TRIALS: dict[str, dict[str, Any]] = {
    "small:tversky": {"loss": "ce+tversky"},
    "small:focal": {"loss": "focal+dice"},
    "small:twice the size": {"resize_px": 256},
}
"""What may lift small landslides, tried on the plain U-Net of the Landslide4Sense set."""


@dataclass(frozen=True)
class Set:
    """One data set of the comparison."""

    data: dict[str, Any]
    bands: tuple[str, ...]
    resize_px: int | None
    epochs: int


SETS = {
    "l4s": Set({"source": "landslide4sense-rgb", "folder": "imagery/landslide4sense-rgb"}, ("B4", "B3", "B2"), None, 8),
    "bijie": Set({"source": "bijie", "folder": "imagery/bijie"}, ("B4", "B3", "B2"), 160, 24),
}
Job = tuple[str, str, int]


def plan(sets: list[str], seeds: list[int]) -> list[Job]:
    """Set by set: the simple maps, the core with every seed (seed by seed), all others with the first, the trials."""
    others = [name for name in list_segmenters() if name not in CORE and name != "drs-unet"]
    jobs: list[Job] = []
    for one in sets:
        jobs += [(one, name, SPLIT_SEED) for name in SIMPLE]
        jobs += [(one, name, seed) for seed in seeds for name in CORE]
        jobs += [(one, name, seeds[0]) for name in others]
        if one == "l4s":
            jobs += [(one, name, seed) for name in TRIALS for seed in seeds]
    return jobs


def open_set(name: str) -> tuple[Patches, Patches, Parts]:
    """Train and test patches in memory, and which of train are fitted and held: the same for every job."""
    train, test = open_data(SETS[name].data, SETS[name].bands, SPLIT_SEED, DATA)
    return train.cache(), test.cache(), split_held(len(train), 0.15, SPLIT_SEED)


def run(job: Job, opened: tuple[Patches, Patches, Parts]) -> dict[str, Any]:
    """What one job leaves: report, counts image by image, cost."""
    name, model, seed = job
    train, test, (fit, held) = opened
    begun = time.process_time()
    if model in SIMPLE:
        from detection.imagery.training.simple_maps import fit_index, fit_logistic, score_simple_map

        resize_px = SETS[name].resize_px
        seen = train.resize(resize_px).cache() if resize_px else train
        rule = fit_index(seen, held) if model == "index" else fit_logistic(seen, fit, held, seed)
        return _facts(score_simple_map(rule, test), time.process_time() - begun, {})
    return _train(job, opened)


def _train(job: Job, opened: tuple[Patches, Patches, Parts]) -> dict[str, Any]:
    import torch

    from detection.imagery.neural.learner import Hooks, ImageryTrainingSettings
    from detection.imagery.neural.training import predict_maps, train_patches

    name, model, seed = job
    train, test, parts = opened
    change = dict(TRIALS.get(model, {}))
    resize_px = change.pop("resize_px", SETS[name].resize_px)
    network = "unet" if model in TRIALS else model
    how = {"seed": seed, "network": network, "width": WIDTH, "epochs": SETS[name].epochs, "blank_share": 0.05}
    settings = ImageryTrainingSettings(**how, brightness=(0.8, 1.2), **change)
    seen = (train.resize(resize_px) if resize_px else train).cache()
    place = path_of(job).with_suffix(".place")
    trained = train_patches(seen, settings, Hooks(checkpoint=place, resume=True), parts)
    begun = time.process_time()
    normalisation = np.array(trained.mean, np.float32), np.array(trained.std, np.float32)
    maps = predict_maps(trained.network, test, normalisation, trained.calibration.temperature, resize_px)
    scored = score_maps(maps, trained.threshold)
    facts = {"parameters": sum(p.numel() for p in trained.network.parameters()), "epochs": len(trained.history)}
    facts |= {"steps": len(trained.history) * -(-len(parts[0]) // settings.batch), "best_epoch": trained.best_epoch}
    facts |= {"held_f1": trained.held_f1, "history": trained.history, "torch": torch.__version__}
    facts |= {"score_cpu_s": round(time.process_time() - begun, 1)}
    facts["sees_padding_only"] = _sees_padding(network, train, resize_px)
    place.unlink(missing_ok=True)
    return _facts(scored, trained.cpu_s, facts)


def _sees_padding(network: str, train: Patches, resize_px: int | None) -> bool:
    """Whether the patches are too small for the widest convolutions of a network."""
    return find_entry(network).least_px > (resize_px or train.read(0).mask.shape[0])


def _facts(scored: ScoringResult, cpu_s: float, facts: dict[str, Any]) -> dict[str, Any]:
    told = {"report": scored.report, "names": list(scored.names), "confusions": scored.confusions.tolist()}
    return told | {"cpu_s": round(cpu_s, 1), **facts}


def path_of(job: Job) -> Path:
    """Where a job is kept."""
    return KEPT / f"{'-'.join(map(str, job))}.json".replace(" ", "_").replace(":", "_")


def collect(jobs: list[Job]) -> dict[str, Any]:
    """The table of what is there, set by set, and which differences the images carry."""
    out: dict[str, Any] = {}
    for name in dict.fromkeys(job[0] for job in jobs):
        found: dict[str, list[dict[str, Any]]] = {}
        for job in jobs:
            if job[0] == name and path_of(job).exists():
                found.setdefault(job[1], []).append(json.loads(path_of(job).read_text()))
        if found:
            ordered = dict(sorted(found.items(), key=lambda item: -_median(item[1], "f1")))
            out[name] = {"maps": {model: _row(runs) for model, runs in ordered.items()}, **_compare(ordered)}
    return out


def _row(runs: list[dict[str, Any]]) -> dict[str, Any]:
    f1 = [run["report"]["f1"] or 0.0 for run in runs]
    recall = [run["report"]["object_recall"]["covered_half"] for run in runs]
    row = {"f1": round(statistics.median(f1), 4), "f1_range": [round(min(f1), 4), round(max(f1), 4)]}
    row |= {"seeds": len(runs)} | {key: round(_median(runs, key), 4) for key in ("miou", "ap50")}
    row["f1_interval_of_first"] = runs[0]["report"]["intervals"]["f1"]
    row["landslides_covered_by_half"] = {
        size: round(statistics.median(values), 3)
        for size in recall[0]
        if (values := [one[size] for one in recall if one[size] is not None])
    }
    row["cpu_s"] = round(statistics.fmean(run["cpu_s"] for run in runs), 1)
    return row | {key: runs[0][key] for key in ("parameters", "epochs", "steps", "sees_padding_only") if key in runs[0]}


def _compare(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Pairs that the images carry, and how many they do not; seeds of a map are summed image by image."""
    sums = {model: np.sum([np.array(run["confusions"]) for run in runs], axis=0) for model, runs in found.items()}
    carried, open_pairs = [], 0
    for one, other in itertools.combinations(sums, 2):
        difference = compare(sums[one], sums[other])
        if difference["carries"]:
            better, worse = (one, other) if difference["difference"] > 0 else (other, one)
            carried.append([better, worse, abs(difference["difference"]), difference["interval"]])
        else:
            open_pairs += 1
    return {"carried": carried, "pairs_without_a_difference": open_pairs}


def _median(runs: list[dict[str, Any]], key: str) -> float:
    return statistics.median(run["report"][key] or 0.0 for run in runs)


def main() -> None:
    """Run what is missing and keep the table."""
    given = parse_options(__doc__, sets="l4s,bijie", seeds="20,21,22", only="", record="imagery")
    sets, seeds = [s for s in given.sets.split(",") if s], [int(s) for s in given.seeds.split(",")]
    jobs = plan(sets, seeds)
    if given.only:
        jobs = list(itertools.product(sets, given.only.split(","), seeds))
    import torch

    torch.set_num_threads(1)
    for name, group in itertools.groupby(jobs, key=lambda job: job[0]):
        if waiting := [job for job in group if not path_of(job).exists()]:
            opened = open_set(name)
            for job in waiting:
                begun = time.perf_counter()
                compute_once(path_of(job), partial(run, job, opened))
                print(f"{' '.join(map(str, job))}: {time.perf_counter() - begun:.0f} s", flush=True)
    figures = {"unit": "test part, pooled pixels; epoch, temperature and threshold from the held part of train"}
    figures |= {"width": WIDTH, "seeds": given.seeds}
    figures["done"] = f"{sum(path_of(job).exists() for job in jobs)} of {len(jobs)} jobs"
    options = f"--sets {given.sets} --seeds {given.seeds} --only {given.only} --record {given.record}"
    command = (
        f"python -m packages.lab.benchmarks.imagery.bench_imagery {options}" if given.only else "make bench-networks"
    )
    print(LAB_RESULTS.store(given.record, command, figures | collect(jobs)))


if __name__ == "__main__":
    main()
