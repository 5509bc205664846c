"""A trained network at work on one tile."""

import numpy as np
import torch
from numpy.typing import NDArray

from detection.imagery.neural.checkpoint import Model
from detection.imagery.neural.networks.blocks import Own, fold_norms


class Segmenter:
    """Class probabilities of tiles, by a loaded model.

    Args:
        model: network and card.
    """

    def __init__(self, model: Model) -> None:
        torch.set_num_threads(1)  # the same bytes everywhere
        normalisation = model.card["normalisation"]
        self._network = fold_norms(model.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean = np.array(normalisation["mean"], np.float32)
        self._std = np.array(normalisation["std"], np.float32)
        # Values that are no reflectance are held within the range of the training.
        ranges = normalisation["value_range"] if normalisation.get("clip") else None
        self._range = None if ranges is None else np.array(ranges, np.float32).T
        # Fitted on held data, so that a probability means what it says (Guo et al. 2017).
        self._temperature = float(model.card.get("temperature", 1.0))

    def prepare(self, tile: NDArray[np.float32], valid: NDArray[np.bool_]) -> torch.Tensor:
        """Normalise bands x H x W in model values to 1 x C x H x W; pixels that are not valid enter as the mean."""
        ready = torch.empty((1, *tile.shape), memory_format=torch.channels_last)
        normal = ready.numpy()[0]
        for band, values in enumerate(tile):  # band by band into its place: no pass to turn the axes
            held = values if self._range is None else np.clip(values, *self._range[:, band])
            np.divide(held - self._mean[band], self._std[band], out=normal[band])
        if not valid.all():
            normal[:, ~valid] = 0
        return ready

    def classify(self, tensor: torch.Tensor, own: Own | None = None) -> NDArray[np.float32]:
        """Map a prepared tensor to K x H x W probabilities of the classes 1 to K, or to those of a part of it."""
        with torch.inference_mode():
            logits = self._network(tensor, own)
            if self._temperature != 1.0:
                logits = logits / self._temperature
            return np.asarray(logits.softmax(dim=1)[0, 1:].numpy())

    def class_probabilities(
        self, tile: NDArray[np.float32], valid: NDArray[np.bool_], own: tuple[slice, slice] | None = None
    ) -> NDArray[np.float32]:
        """Map bands x H x W in model values to K x H x W probabilities of the classes 1 to K, or to those of a part."""
        if own is None:
            return self.classify(self.prepare(tile, valid))
        rows, columns = own
        return self.classify(self.prepare(tile, valid), (columns.start, rows.start, columns.stop, rows.stop))

    def probabilities(self, tile: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Map bands x H x W in model values to H x W probabilities of class 1, landslide."""
        return np.asarray(self.class_probabilities(tile, valid)[0])
