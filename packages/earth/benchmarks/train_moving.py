"""The network that marks moving zones on wrapped interferograms, trained anew (`python -m` this module)."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from detection.imagery.data.metrics import compute_scores, count_confusion
from detection.imagery.data.patches import make_patches
from detection.imagery.neural.learner import ImageryTrainingSettings
from detection.imagery.neural.model_file import save_model
from detection.imagery.neural.training import train_patches
from detection.imagery.weights_file import WEIGHTS_FOLDER
from packages.earth.tests.data.phases import draw_phase_patches
from slopeward_earth.insar.outputs import run_network

BANDS = ("phase_cosine", "phase_sine", "coherence")
NAME = "generated-phase"
# below the folder of weights that find landslides: these find none
WEIGHTS = f"phase/{NAME}"
PATCHES, TEST_PATCHES, SIZE_PX, EPOCHS, SEED = 400, 100, 64, 12, 7
DATA = {"source": "interferograms drawn by packages.earth.tests.data.phases", "licence": "Apache-2.0, as the project"}
DATA["note"] = "bowls, turbulence and noise; nothing was measured"
CHOSEN = {"chosen_on": "epoch and threshold: held part of train; test part: scored once"}
LIMITS = [
    "Trained and scored on drawn interferograms only: unvalidated.",
    "It marks bowls of several radians against an atmosphere; a ramp over the whole scene is no bowl to it.",
    "What it marks is a hint where to look; it is written into no site.",
]


def train_moving(out: Path, *, patches: int = PATCHES, epochs: int = EPOCHS, seed: int = SEED) -> dict[str, Any]:
    """Train `drs-unet` on drawn wrapped interferograms and write `out` (.safetensors) and its card."""
    images, masks = draw_phase_patches(seed, patches, SIZE_PX)
    how = {"network": "drs-unet", "epochs": epochs, "seed": seed, "shift": 0.0, "warmup_steps": 30}
    settings = ImageryTrainingSettings(**how, brightness=(1.0, 1.0))
    trained = train_patches(make_patches(images, masks), settings)
    test_images, test_masks = draw_phase_patches(seed + 1_000_003, TEST_PATCHES, SIZE_PX)
    normalisation = {"mean": trained.mean, "std": trained.std, "value_range": trained.value_range}
    probability = run_network(trained.network, test_images, normalisation, trained.calibration.temperature)
    found = probability >= trained.threshold
    test = {
        k: round(v, 4) if isinstance(v, float) else v
        for k, v in compute_scores(count_confusion(found, test_masks > 0)).items()
    }
    card: dict[str, Any] = {
        "name": NAME,
        "network": {"name": "drs-unet", "classes": 2, "width": 0.125, "options": {}},
        "parameters": sum(p.numel() for p in trained.network.parameters()),
        "bands": list(BANDS),
        "pixel_size_m": 40.0,
        "radiometry": {"stretch": "phase"},
        "normalisation": normalisation,
        "threshold": trained.threshold,
        "temperature": trained.calibration.temperature,
        "data": DATA | {"train_patches": patches},
        "metrics": CHOSEN | {"test_patches": TEST_PATCHES, "test": test, "held_f1": round(trained.held_f1, 4)},
        "training": {"epochs": epochs, "seed": seed, "best_epoch": trained.best_epoch}
        | {"cpu_s": round(trained.cpu_s, 1)},
        "limits": LIMITS,
    }
    save_model(out, trained.network, card)
    return card


def main(arguments: list[str] | None = None) -> int:
    """Train from the command line; the card goes to stdout."""
    command = "python -m packages.earth.benchmarks.train_moving"
    parser = argparse.ArgumentParser(prog=command, description=train_moving.__doc__)
    parser.add_argument("--out", type=Path, default=WEIGHTS_FOLDER / f"{WEIGHTS}.safetensors")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    card = train_moving(options.out)
    sys.stdout.write(json.dumps({"weights": str(options.out), **card["metrics"], **card["training"]}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
