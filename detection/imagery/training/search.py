"""Training more than once: k folds to see how a score varies, and a search that never sees the test part."""

import json
import logging
import statistics
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from detection.imagery.data.patches import Patches
from detection.imagery.data.splits import split_folds
from detection.imagery.neural.learner import EPOCHS_LEAST, Settings
from detection.imagery.neural.training import train_patches

log = logging.getLogger(__name__)
TRIAL_SHARE = 3
"""A trial takes this part of the epochs."""
LOSSES = ("ce+dice", "ce", "focal+dice", "weighted-ce+dice", "tversky", "ce+tversky")
LIGHT = ((0.85, 1.15), (0.7, 1.4), (0.5, 2.0))


def train_folds(patches: Patches, settings: Settings, folds: int) -> dict[str, Any]:
    """Train `folds` networks, each with another part held; return their held F1, mean and standard deviation."""
    scores = []
    for number, parts in enumerate(split_folds(len(patches), folds, settings.seed), start=1):
        trained = train_patches(patches, settings, parts=parts)
        scores.append(round(trained.held_f1, 4))
        log.info("fold %d of %d: held F1 %.4f", number, folds, scores[-1])
    return {
        "held_f1": scores,
        "mean": round(statistics.fmean(scores), 4),
        "sd": round(statistics.stdev(scores), 4),
        "note": "each held part also chose its epoch, temperature and threshold",
    }


def search(patches: Patches, settings: Settings, trials: int, log_path: Path) -> tuple[Settings, dict[str, Any]]:
    """Try the settings as they are and `trials` drawn ones; keep the best on the held part of train.

    Every trial is a line of `log_path`; lines that are there already, of the same settings, are not run again.

    Returns:
        The settings to train with, and what the card says of the search.
    """
    known = _read_log(log_path)
    short = max(2, (settings.epochs or EPOCHS_LEAST) // TRIAL_SHARE)
    best: tuple[float, int, Settings] | None = None
    log_path.parent.mkdir(parents=True, exist_ok=True)
    for number in range(trials + 1):
        tried = replace(settings, epochs=short, **(_draw(settings.seed, number) if number else {}))
        key = json.dumps(asdict(tried), sort_keys=True)
        if key not in known:
            trained = train_patches(patches, tried)
            known[key] = trained.held_f1
            line = {"trial": number, "held_f1": trained.held_f1, "cpu_s": trained.cpu_s, "settings": asdict(tried)}
            with log_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        log.info("trial %d of %d: held F1 %.4f", number, trials, known[key])
        if best is None or known[key] > best[0]:
            best = known[key], number, tried
    assert best is not None
    chosen = replace(best[2], epochs=settings.epochs)
    facts = {
        "trials": trials + 1, "epochs_each": short, "best_trial": best[1], "held_f1": round(best[0], 4),
        "log": log_path.name, "judged_on": "held part of train",
    }  # fmt: skip
    return chosen, facts


def _draw(seed: int, number: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, number])
    return {
        "learning_rate": round(float(10 ** rng.uniform(-3.5, -2.3)), 6),
        "weight_decay": round(float(10 ** rng.uniform(-5, -3)), 7),
        "loss": LOSSES[int(rng.integers(len(LOSSES)))],
        "brightness": LIGHT[int(rng.integers(len(LIGHT)))],
        "shift": round(float(rng.uniform(0, 0.06)), 4),
    }


def _read_log(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue  # the last line of a killed search
    return {json.dumps(line["settings"], sort_keys=True): line["held_f1"] for line in lines}
