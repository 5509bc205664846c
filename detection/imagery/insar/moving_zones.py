"""A network that marks moving zones on wrapped interferograms, trained on drawn ones alone: unvalidated."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.insar.stack import InterferogramStack
from detection.imagery.raster.grid import Grid
from detection.imagery.raster.overlay import Layer
from detection.imagery.raster.raster import read_grid
from detection.imagery.raster.reading.values import COHERENCES, PHASE
from detection.imagery.weights_file import NormalisationSpec


def find_moving(stack: InterferogramStack, weights: str) -> tuple[NDArray[np.float64], Grid, float]:
    """Mean probability of movement over the wrapped interferograms of a stack.

    Returns probabilities H x W (NaN where no interferogram is valid), the grid, and the threshold of the card.
    """
    from detection.imagery.neural.checkpoint import load_model

    model = load_model(weights)
    grid = read_grid(stack.pairs[0].unwrapped)
    box = (0, 0, grid.width, grid.height)
    total, seen = np.zeros((grid.height, grid.width)), np.zeros((grid.height, grid.width))
    for pair in stack.pairs:
        with Layer(pair.unwrapped, grid, quantity=PHASE) as layer:
            phase, valid = layer.read(*box)
        coherence = np.ones_like(phase)
        if pair.coherence is not None:
            with Layer(pair.coherence, grid, quantity=COHERENCES) as layer:
                coherence, also = layer.read(*box)
            valid &= also
        wrapped = wrap(phase.astype(np.float64))
        image = np.where(valid, np.stack([np.cos(wrapped), np.sin(wrapped), coherence]), 0.0).astype(np.float32)
        temperature = float(model.card.get("temperature", 1.0))
        found = run_network(model.network, image[None], model.card["normalisation"], temperature)[0]
        total += np.where(valid, found, 0.0)
        seen += valid
    mean = np.where(seen > 0, total / np.maximum(1, seen), np.nan)
    return mean, grid, float(model.card["threshold"])


def run_network(
    network: Any, images: NDArray[np.float32], normalisation: NormalisationSpec, temperature: float
) -> NDArray[Any]:
    """Probabilities N x H x W of N x 3 x H x W."""
    import torch

    mean, std = (np.asarray(normalisation[k], np.float32)[None, :, None, None] for k in ("mean", "std"))
    out = np.empty((len(images), *images.shape[2:]), np.float64)
    with torch.inference_mode():
        for begin in range(0, len(images), 16):
            batch = torch.from_numpy((images[begin : begin + 16] - mean) / std)
            out[begin : begin + 16] = torch.softmax(network(batch) / temperature, 1)[:, 1].numpy()
    return out


def wrap(phase: NDArray[np.floating]) -> NDArray[np.floating]:
    """Wrap radians into -pi .. pi.

    >>> round(float(wrap(np.array(7.0))), 4)
    0.7168
    """
    return np.asarray((phase + np.pi) % (2 * np.pi) - np.pi)
