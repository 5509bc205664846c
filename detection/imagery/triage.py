"""Triage of tiles before the segmenter: a tile is passed over only when a network is sure that nothing lies there."""

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.imagery.data.patches import resize_bands
from detection.imagery.errors import ModelError

log = logging.getLogger(__name__)


class Triage:
    """Tells which tiles to look at.

    Args:
        weights: name of shipped weights or a path; their network must be a classifier.
        min_valid_share: tiles with fewer valid pixels are always looked at: their edge looks like nothing seen before.
    """

    def __init__(self, weights: str, min_valid_share: float = 0.9) -> None:
        from detection.imagery.neural.checkpoint import load_model
        from detection.imagery.registry import CLASSIFIERS

        model = load_model(weights)
        self.card: dict[str, Any] = model.card
        if self.card["network"]["name"] not in CLASSIFIERS:
            raise ModelError(f"{weights}: {self.card['network']['name']} is no network for triage")
        self.bands = model.bands
        self.model_hash = model.model_hash
        self.skipped = 0
        self._network = model.network
        self._min_valid_share = min_valid_share

    def wants(self, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> bool:
        """Whether to look at a tile: bands x H x W in the values of this card, H x W valid pixels.

        A tile that held a footprint before must be looked at without asking.
        """
        import torch

        if valid.mean() < self._min_valid_share:
            return True
        normalisation = self.card["normalisation"]
        mean, std = (np.array(normalisation[key], np.float32)[:, None, None] for key in ("mean", "std"))
        size_px = int(self.card["tile_px"])
        seen = (resize_bands(np.where(valid, values, mean), (size_px, size_px)) - mean) / std
        with torch.inference_mode():
            probability = float(self._network(torch.from_numpy(seen[None])).softmax(dim=1)[0, 1])
        if probability >= self.card["threshold"]:
            return True
        self.skipped += 1
        log.info("tile passed over: probability of a landslide %.4f below %.4f", probability, self.card["threshold"])
        return False
