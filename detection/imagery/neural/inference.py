"""A trained network at work: on one tile, or on rows of a scene as they come."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from detection.imagery.neural.checkpoint import SegmentationModel
from detection.imagery.neural.networks.blocks import fold_norms
from detection.imagery.optional_bands import CHANNELS_PER_BAND, list_optional_bands

Part = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Bands x H x W in model values, and H x W where they are valid."""
# Rows of a band: its maps stay in the processor's cache, which is worth more than what the seams cost.
BAND_ROWS: Final = 64


class Segmenter:
    """Class probabilities of tiles, by a loaded model."""

    def __init__(self, model: SegmentationModel) -> None:
        torch.set_num_threads(1)  # the same bytes everywhere
        normalisation = model.card["normalisation"]
        self._network = fold_norms(model.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean = np.array(normalisation["mean"], np.float32)
        self._std = np.array(normalisation["std"], np.float32)
        # Values that are no reflectance are held within the range of the training.
        ranges = normalisation["value_range"] if normalisation.get("clip") else None
        self._range = None if ranges is None else np.array(ranges, np.float32).T
        self._channels = len(self._mean) + CHANNELS_PER_BAND * len(list_optional_bands(model.card))
        # Fitted on held data, so that a probability means what it says (Guo et al. 2017).
        self._temperature = float(model.card.get("temperature", 1.0))

    def prepare(self, tile: NDArray[np.float32], valid: NDArray[np.bool_]) -> torch.Tensor:
        """Normalise a tile to 1 x C x H x W; pixels that are not valid enter as the mean.

        Args:
            tile: bands x H x W in model values. The channels of optional bands follow, as `encode_optional_bands`
                returns them. Without them, all optional bands are masked.

        Raises:
            ValueError: a band or the channels are missing.
        """
        if len(tile) not in {len(self._mean), self._channels}:
            raise ValueError(f"{len(tile)} channels; expected {len(self._mean)} or {self._channels}")
        ready = torch.empty((1, self._channels, *tile.shape[1:]), memory_format=torch.channels_last)
        normal = ready.numpy()[0]
        bands = len(self._mean)
        normal[bands : len(tile)] = tile[bands:]
        normal[len(tile) :] = 0
        for band, values in enumerate(tile[:bands]):  # band by band into its place: no pass to turn the axes
            held = values if self._range is None else np.clip(values, *self._range[:, band])
            np.divide(held - self._mean[band], self._std[band], out=normal[band])
        if not valid.all():
            normal[:, ~valid] = 0
        return ready

    def stream(self, parts: Iterable[Part], *, again: bool = False) -> Iterator[NDArray[np.float32]]:
        """Map parts of a scene, each below the one before, to K x H x W probabilities of the classes 1 to K.

        One answer for each part, as soon as it is known: the network may have to see rows of the next ones. It is the
        same as for all of them at once where the network can be shown rows as they come (`Entry.streams`), else each
        part is a tile by itself. With `again` it is the mean of two looks: at all of them as they lie, and moved by
        half the stride, so that what lay at the rim of a cell of the poolings lies in its middle.
        """
        if again:
            yield from self._classify_twice(list(parts))
            return
        rows: deque[int] = deque()

        def prepare() -> Iterator[torch.Tensor]:
            for values, valid in parts:
                rows.append(len(valid))
                yield self.prepare(values, valid)

        known: NDArray[np.float32] | None = None
        for found in self._draw(prepare()):
            known = found if known is None else np.concatenate([known, found], axis=1)
            while rows and known.shape[1] >= rows[0]:
                count = rows.popleft()
                yield known[:, :count]
                known = known[:, count:]

    def _classify_twice(self, parts: list[Part]) -> Iterator[NDArray[np.float32]]:
        left = self._network.stride // 2
        tops = [left if number == 0 else 0 for number in range(len(parts))]
        moved = [
            (_move(values, top, left), _move(valid, top, left))
            for (values, valid), top in zip(parts, tops, strict=True)
        ]
        for top, first, second in zip(tops, self.stream(parts), self.stream(moved), strict=True):
            yield (first + second[:, top:, left:]) / np.float32(2)

    def _draw(self, parts: Iterable[torch.Tensor]) -> Iterator[NDArray[np.float32]]:
        stream, waiting = self._network.open_stream(), None
        if stream is None:
            yield from map(self.classify, parts)
            return
        for part in parts:
            waiting = part if waiting is None else torch.cat([waiting, part], dim=2)
            # the last band must have more rows than the stride
            while waiting.shape[2] > BAND_ROWS + self._network.stride:
                with torch.inference_mode():
                    logits = stream.draw(waiting[:, :, :BAND_ROWS], last=False)
                waiting = waiting[:, :, BAND_ROWS:]
                if logits.shape[2]:
                    yield self._spread(logits)
        if waiting is not None:
            with torch.inference_mode():
                logits = stream.draw(waiting, last=True)
            yield self._spread(logits)

    def classify(self, tensor: torch.Tensor) -> NDArray[np.float32]:
        """Map a prepared tensor to K x H x W probabilities of the classes 1 to K, in one pass."""
        with torch.inference_mode():
            return self._spread(self._network(tensor))

    def _spread(self, logits: torch.Tensor) -> NDArray[np.float32]:
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
    return np.pad(values, ((0, 0),) * (values.ndim - 2) + ((top, 0), (left, 0)))
