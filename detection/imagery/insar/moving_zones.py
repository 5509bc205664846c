"""A network that marks moving zones on wrapped interferograms, trained on drawn ones alone: unvalidated."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.insar.stack import Stack
from detection.imagery.insar.synthetic import draw_phase_patches, wrap
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer
from detection.imagery.raster.raster import read_grid

BANDS = ("phase_cosine", "phase_sine", "coherence")
NAME = "generated-phase"
# below the folder of weights that find landslides: these find none
WEIGHTS = f"phase/{NAME}"
PATCHES, TEST_PATCHES, SIZE_PX, EPOCHS, SEED = 400, 100, 64, 12, 7
LIMITS = [
    "Trained and scored on drawn interferograms only: unvalidated.",
    "It marks bowls of several radians against an atmosphere; a ramp over the whole scene is no bowl to it.",
    "What it marks is a hint where to look; it is written into no site.",
]


def train_moving(out: Path, *, patches: int = PATCHES, epochs: int = EPOCHS, seed: int = SEED) -> dict[str, Any]:
    """Train `drs-unet` on drawn wrapped interferograms and write `out` (.safetensors) and its card.

    Returns:
        The card, with the scores on drawn patches of other seeds.
    """
    from detection.imagery.data.metrics import count, score
    from detection.imagery.neural.checkpoint import save_model
    from detection.imagery.neural.learner import Settings
    from detection.imagery.neural.training import train_network

    images, masks = draw_phase_patches(seed, patches, SIZE_PX)
    settings = Settings(
        network="drs-unet", width=0.125, epochs=epochs, seed=seed, brightness=(1.0, 1.0), shift=0.0, warmup_steps=30
    )
    trained = train_network(images, masks, settings)
    test_images, test_masks = draw_phase_patches(seed + 1_000_003, TEST_PATCHES, SIZE_PX)
    normalisation = {"mean": trained.mean, "std": trained.std, "value_range": trained.value_range}
    found = _ask(trained.network, test_images, normalisation, trained.calibration.temperature) >= trained.threshold
    test = {k: round(v, 4) if isinstance(v, float) else v for k, v in score(count(found, test_masks > 0)).items()}
    card: dict[str, Any] = {
        "name": NAME, "network": {"name": "drs-unet", "classes": 2, "width": 0.125, "options": {}},
        "parameters": sum(p.numel() for p in trained.network.parameters()), "bands": list(BANDS), "pixel_size_m": 40.0,
        "radiometry": {"stretch": "phase"}, "normalisation": normalisation, "threshold": trained.threshold,
        "temperature": trained.calibration.temperature,
        "data": {"source": "interferograms drawn by detection.imagery.insar.synthetic",
                 "licence": "Apache-2.0, as the project", "note": "bowls, turbulence and noise; nothing was measured",
                 "train_patches": patches},
        "metrics": {"test_patches": TEST_PATCHES, "test": test, "held_f1": round(trained.held_f1, 4),
                    "chosen_on": "epoch and threshold: held part of train; test part: scored once"},
        "training": {"epochs": epochs, "seed": seed, "best_epoch": trained.best_epoch,
                     "cpu_s": round(trained.cpu_s, 1)},
        "limits": LIMITS,
    }  # fmt: skip
    save_model(out, trained.network, card)
    return card


def find_moving(stack: Stack, weights: str = WEIGHTS) -> tuple[NDArray[np.float64], Grid, float]:
    """Mean probability of movement over the wrapped interferograms of a stack.

    Returns:
        Probabilities H x W (NaN where no interferogram is valid), the grid, and the threshold of the card.
    """
    from detection.imagery.neural.checkpoint import load_model

    model = load_model(weights)
    grid = read_grid(stack.pairs[0].unwrapped)
    box = (0, 0, grid.width, grid.height)
    total, seen = np.zeros((grid.height, grid.width)), np.zeros((grid.height, grid.width))
    for pair in stack.pairs:
        with Layer(pair.unwrapped, grid) as layer:
            phase, valid = layer.read(*box)
        coherence = np.ones_like(phase)
        if pair.coherence is not None:
            with Layer(pair.coherence, grid) as layer:
                coherence, also = layer.read(*box)
            valid &= also
        wrapped = wrap(phase.astype(np.float64))
        image = np.where(valid, np.stack([np.cos(wrapped), np.sin(wrapped), coherence]), 0.0).astype(np.float32)
        temperature = float(model.card.get("temperature", 1.0))
        found = _ask(model.network, image[None], model.card["normalisation"], temperature)[0]
        total += np.where(valid, found, 0.0)
        seen += valid
    mean = np.where(seen > 0, total / np.maximum(1, seen), np.nan)
    return mean, grid, float(model.card["threshold"])


def _ask(network: Any, images: NDArray[np.float32], normalisation: dict[str, Any], temperature: float) -> NDArray[Any]:
    """Probabilities N x H x W of N x 3 x H x W."""
    import torch

    mean, std = (np.asarray(normalisation[k], np.float32)[None, :, None, None] for k in ("mean", "std"))
    out = np.empty((len(images), *images.shape[2:]), np.float64)
    with torch.inference_mode():
        for begin in range(0, len(images), 16):
            batch = torch.from_numpy((images[begin : begin + 16] - mean) / std)
            out[begin : begin + 16] = torch.softmax(network(batch) / temperature, 1)[:, 1].numpy()
    return out


def main(arguments: list[str] | None = None) -> int:
    """Train from the command line; the card goes to stdout."""
    from detection.imagery.weights_file import WEIGHTS_FOLDER

    parser = argparse.ArgumentParser(
        prog="python -m detection.imagery.insar.moving_zones", description=train_moving.__doc__
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS_FOLDER / f"{WEIGHTS}.safetensors")
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)
    card = train_moving(options.out)
    sys.stdout.write(json.dumps({"weights": str(options.out), **card["metrics"], **card["training"]}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
