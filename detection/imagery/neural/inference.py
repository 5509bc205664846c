"""Compute class probabilities of a tile, or of a scene that is read in consecutive bands of rows."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from detection.imagery.neural.model_file import SegmentationModel
from detection.imagery.neural.networks.blocks import fold_norms
from detection.imagery.optional_bands import CHANNELS_PER_BAND, list_optional_bands

Part = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Channels x H x W in model values (see `Segmenter.prepare`), and H x W where they are valid."""
# Rows that go through the network at once. The maps of so few rows fit into the cache of the processor, which saves
# more time than the overlap of the bands costs.
BAND_ROWS: Final = 64


class Segmenter:
    """A loaded model that computes class probabilities."""

    def __init__(self, model: SegmentationModel) -> None:
        # With several threads, results would depend on the number of processors.
        torch.set_num_threads(1)
        normalisation = model.card["normalisation"]
        self._network = fold_norms(model.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean = np.array(normalisation["mean"], np.float32)
        self._std = np.array(normalisation["std"], np.float32)
        # Values that are no reflectance are clipped to the range of the training.
        ranges = normalisation["value_range"] if normalisation.get("clip") else None
        self._range = None if ranges is None else np.array(ranges, np.float32).T
        self._channels = len(self._mean) + CHANNELS_PER_BAND * len(list_optional_bands(model.card))
        # It calibrates the probabilities, see `calibration`.
        self._temperature = float(model.card.get("temperature", 1.0))

    def prepare(self, tile: NDArray[np.float32], valid: NDArray[np.bool_]) -> torch.Tensor:
        """Normalise a tile to 1 x C x H x W. Pixels that are not valid become 0, the mean of the training.

        Args:
            tile: bands x H x W in model values. The channels of optional bands follow, as `encode_optional_bands`
                returns them. Without them, all optional bands are masked.

        Raises:
            ValueError: a band or the channels are missing.
        """
        if len(tile) not in {len(self._mean), self._channels}:
            raise ValueError(f"{len(tile)} channels; expected {len(self._mean)} or {self._channels}")
        tensor = torch.empty((1, self._channels, *tile.shape[1:]), memory_format=torch.channels_last)
        channels = tensor.numpy()[0]
        bands = len(self._mean)
        channels[bands : len(tile)] = tile[bands:]
        channels[len(tile) :] = 0
        # Writing band by band avoids a copy with exchanged axes.
        for band, values in enumerate(tile[:bands]):
            clipped = values if self._range is None else np.clip(values, *self._range[:, band])
            np.divide(clipped - self._mean[band], self._std[band], out=channels[band])
        if not valid.all():
            channels[:, ~valid] = 0
        return tensor

    def stream(self, parts: Iterable[Part], *, again: bool = False) -> Iterator[NDArray[np.float32]]:
        """Yield the probabilities of the classes 1 to K, K x H x W, of each part of a scene.

        The map of a part may depend on rows of later parts. It is yielded as soon as these are read. If the network can
        read a scene in bands of rows (`NetworkEntry.streams`), the maps are those of one pass over the whole scene. If
        it cannot, each part is mapped as a tile of its own.

        Args:
            parts: from top to bottom, each directly below the one before.
            again: compute the mean of two passes, the second moved by half of the stride. Pixels at the edge of a
                pooling cell in one pass lie in the middle of a cell in the other pass.
        """
        if again:
            yield from self._classify_twice(list(parts))
            return
        heights: deque[int] = deque()  # rows of the parts whose maps were not yielded yet

        def prepare() -> Iterator[torch.Tensor]:
            for values, valid in parts:
                heights.append(len(valid))
                yield self.prepare(values, valid)

        pending: NDArray[np.float32] | None = None  # probabilities that were not yielded yet
        for probabilities in self._map_rows(prepare()):
            pending = probabilities if pending is None else np.concatenate([pending, probabilities], axis=1)
            while heights and pending.shape[1] >= heights[0]:
                height = heights.popleft()
                yield pending[:, :height]
                pending = pending[:, height:]

    def _classify_twice(self, parts: list[Part]) -> Iterator[NDArray[np.float32]]:
        """Yield the mean of two passes; see `again` of `stream`."""
        left = self._network.stride // 2
        # Only the first part is moved down: all others lie below it.
        tops = [left if number == 0 else 0 for number in range(len(parts))]
        moved = [
            (_move(values, top, left), _move(valid, top, left))
            for (values, valid), top in zip(parts, tops, strict=True)
        ]
        for top, first, second in zip(tops, self.stream(parts), self.stream(moved), strict=True):
            yield (first + second[:, top:, left:]) / np.float32(2)

    def _map_rows(self, parts: Iterable[torch.Tensor]) -> Iterator[NDArray[np.float32]]:
        """Yield the probabilities of the next rows as soon as they can be computed."""
        stream = self._network.open_stream()
        waiting = None
        if stream is None:
            yield from map(self.classify, parts)
            return
        for part in parts:
            waiting = part if waiting is None else torch.cat([waiting, part], dim=2)
            # `RowStream.draw` needs more rows than the stride in its last call.
            while waiting.shape[2] > BAND_ROWS + self._network.stride:
                with torch.inference_mode():
                    logits = stream.draw(waiting[:, :, :BAND_ROWS], last=False)
                waiting = waiting[:, :, BAND_ROWS:]
                if logits.shape[2]:
                    yield self._compute_probabilities(logits)
        if waiting is not None:
            with torch.inference_mode():
                logits = stream.draw(waiting, last=True)
            yield self._compute_probabilities(logits)

    def classify(self, tensor: torch.Tensor) -> NDArray[np.float32]:
        """Map a prepared tensor to K x H x W probabilities of the classes 1 to K, in one pass."""
        with torch.inference_mode():
            return self._compute_probabilities(self._network(tensor))

    def _compute_probabilities(self, logits: torch.Tensor) -> NDArray[np.float32]:
        with torch.inference_mode():
            if self._temperature != 1.0:
                logits = logits / self._temperature
            return np.asarray(logits.softmax(dim=1)[0, 1:].numpy())

    def class_probabilities(
        self, tile: NDArray[np.float32], valid: NDArray[np.bool_], *, again: bool = False
    ) -> NDArray[np.float32]:
        """Map bands x H x W in model values to K x H x W probabilities of the classes 1 to K."""
        return next(self.stream([(tile, valid)], again=again))

    def probabilities(self, tile: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Map bands x H x W in model values to H x W probabilities of class 1, landslide."""
        return np.asarray(self.class_probabilities(tile, valid)[0])


def _move(values: NDArray[Any], top: int, left: int) -> NDArray[Any]:
    """Pad an array with zeros above and on the left."""
    return np.pad(values, ((0, 0),) * (values.ndim - 2) + ((top, 0), (left, 0)))
