"""A trained network at work on one tile."""

import numpy as np
import torch
from numpy.typing import NDArray

from detection.imagery.neural.checkpoint import Model


class Segmenter:
    """Landslide probabilities of tiles, by a loaded model.

    Args:
        model: network and card.
        threads: threads of torch; one gives the same bytes everywhere.
    """

    def __init__(self, model: Model, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        normalisation = model.card["normalisation"]
        self._network = model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean = np.array(normalisation["mean"], np.float32)[:, None, None]
        self._std = np.array(normalisation["std"], np.float32)[:, None, None]

    def probabilities(self, tile: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Map bands x H x W in model values to H x W probabilities; pixels that are not valid enter as the mean."""
        normal = (tile - self._mean) / self._std
        normal[:, ~valid] = 0
        with torch.inference_mode():
            tensor = torch.from_numpy(normal[None]).contiguous(memory_format=torch.channels_last)
            return np.asarray(self._network(tensor).softmax(dim=1)[0, 1].numpy())
