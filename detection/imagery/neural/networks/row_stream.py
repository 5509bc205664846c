"""Compute a network on consecutive bands of rows, with the same results as one pass over the whole image.

Each layer takes the next rows 1 x C x H x W and whether they are the last. It returns the rows of its result that can
be computed so far, and stores the rows of its input that later results need. Without new rows it returns no rows.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import pad_to_stride

# Rows of the deepest level that are decoded at once: those of a band of 64 rows at a stride of 32.
_DECODED_ROWS: Final = 2


class RowLayer(Protocol):
    """A layer of a stream."""

    def __call__(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor:
        """Map the next rows to the next rows of the result."""


class _Window:
    """The rows of a map that a convolution or a pool still needs, until its next rows can be computed.

    Args:
        kernel: rows that one row of the result depends on.
        stride: rows between two of them.
        padding: rows above and below the map.
        fill: value of these rows.
    """

    def __init__(self, kernel: int, stride: int, padding: int, fill: float) -> None:
        self._kernel, self._stride, self._padding, self._fill = kernel, stride, padding, fill
        self._waiting: torch.Tensor | None = None
        self._unused = 0  # number of coming rows that no row of the result depends on

    def take(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor | None:
        """Return the rows from which the next rows of the result are computed; None if there are too few."""
        edge = rows.new_full((*rows.shape[:2], self._padding, rows.shape[3]), self._fill)
        parts = [edge if self._waiting is None else self._waiting, rows]
        if last:
            parts.append(edge)
        waiting = _join(parts)
        unused = min(self._unused, waiting.shape[2])
        waiting = waiting[:, :, unused:]
        count = max(0, (waiting.shape[2] - self._kernel) // self._stride + 1)
        following = count * self._stride
        self._unused += max(following - waiting.shape[2], 0) - unused
        self._waiting = waiting[:, :, following:].clone()
        return waiting[:, :, : following - self._stride + self._kernel] if count else None


class Convolution:
    """A convolution and the modules after it, with zeros above and below the map.

    Args:
        unit: its children are the convolution, followed by modules that work pixel by pixel.
    """

    def __init__(self, unit: nn.Module) -> None:
        self._convolution: Any
        self._convolution, *self._following = unit.children()
        self._window = _Window(
            self._convolution.kernel_size[0], self._convolution.stride[0], self._convolution.padding[0], 0.0
        )

    def __call__(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor:
        """See `RowLayer`."""
        convolution = self._convolution
        needed = self._window.take(rows, last=last)
        if needed is None:
            return rows[:, :, :0]
        across = (0, convolution.padding[1])
        result = functional.conv2d(
            needed, convolution.weight, convolution.bias, convolution.stride, across, groups=convolution.groups
        )
        for module in self._following:
            result = module(result)
        return result


class Pool:
    """A max pool; by default 2 x 2."""

    def __init__(self, kernel: int = 2, stride: int = 2, padding: int = 0) -> None:
        self._kernel, self._stride, self._padding = kernel, stride, padding
        self._window = _Window(kernel, stride, padding, float("-inf"))

    def __call__(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor:
        """See `RowLayer`."""
        needed = self._window.take(rows, last=last)
        if needed is None:
            return rows[:, :, :0]
        return functional.max_pool2d(needed, self._kernel, self._stride, (0, self._padding))


class Enlargement:
    """Bilinear enlargement to twice the size. Rows beyond the edges repeat the first and the last row."""

    def __init__(self) -> None:
        # Rows of the result are interpolated between this row and the next one.
        self._last_row: torch.Tensor | None = None

    def __call__(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor:
        """See `RowLayer`."""
        joined = rows if self._last_row is None else _join([self._last_row, rows])
        first = 0 if self._last_row is None else 1
        end = None if last else -1
        self._last_row = joined[:, :, -1:].clone()
        return functional.interpolate(joined, scale_factor=2, mode="bilinear", align_corners=False)[:, :, first:end]


class DelayedRows:
    """A queue of rows that are used later, together with rows of another map."""

    def __init__(self) -> None:
        self._queue: list[torch.Tensor] = []

    @property
    def count(self) -> int:
        """Number of rows in the queue."""
        return sum(rows.shape[2] for rows in self._queue)

    def put(self, rows: torch.Tensor) -> None:
        """Append rows."""
        self._queue.append(rows)

    def take(self, count: int) -> torch.Tensor:
        """Remove and return the first `count` rows."""
        taken: list[torch.Tensor] = []
        while count or not taken:
            rows = self._queue.pop(0)
            taken.append(rows[:, :, :count])
            count -= taken[-1].shape[2]
            if taken[-1].shape[2] < rows.shape[2]:
                self._queue.insert(0, rows[:, :, taken[-1].shape[2] :])
        return _join(taken)


class RowByRow:
    """A module that works on each row alone."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor:  # noqa: ARG002
        """See `RowLayer`."""
        result: torch.Tensor = self._module(rows)
        return result


class Chain:
    """Consecutive layers."""

    def __init__(self, layers: Sequence[RowLayer]) -> None:
        self._layers = layers

    def __call__(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor:
        """See `RowLayer`."""
        for layer in self._layers:
            if not rows.shape[2]:
                break
            rows = layer(rows, last=last)
        return rows


class Shortcut:
    """Layers and a shortcut that is added to their result.

    Args:
        body: the layers.
        shortcut: maps the input to what is added.
        is_active: whether a ReLU follows the sum.
    """

    def __init__(self, body: RowLayer, shortcut: RowLayer, *, is_active: bool) -> None:
        self._body, self._shortcut, self._is_active = body, shortcut, is_active
        self._waiting = DelayedRows()

    def __call__(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor:
        """See `RowLayer`."""
        self._waiting.put(self._shortcut(rows, last=last))
        result = self._body(rows, last=last)
        if not result.shape[2]:
            return result
        result = result + self._waiting.take(result.shape[2])
        return functional.relu(result) if self._is_active else result


class RowStream:
    """An encoder and a decoder with skips between maps of one scale, which read an image in consecutive bands of rows.

    Args:
        encoder: levels, each with the pool before it.
        lifts: enlarge the map of the level below, from the bottom up.
        decoder: levels from the bottom up; each reads the map of the encoder and the enlarged one. If it has as many
            levels as the encoder, the last one reads the enlarged map alone.
        head: maps the result of the decoder to logits.
        stride: the image is padded to multiples of it, as by `pad_to_stride`.
        least_px: the image is padded to this side at least.
    """

    def __init__(
        self,
        encoder: Sequence[RowLayer],
        lifts: Sequence[RowLayer],
        decoder: Sequence[RowLayer],
        head: RowLayer,
        stride: int,
        least_px: int,
    ) -> None:
        self._encoder = list(encoder)
        self._lifts = lifts
        self._decoder = decoder
        self._head = head
        self._skips = [DelayedRows() for _ in decoder]
        self._empty_skips = len(decoder) - len(encoder) + 1
        self._stride = stride
        self._least_px = least_px
        self._awaited = 0  # rows of the image whose logits were not returned yet

    def draw(self, images: torch.Tensor, *, last: bool) -> torch.Tensor:
        """Map the next rows 1 x bands x H x W to the next rows of logits, 1 x classes x h x W; h may be 0.

        The number of rows of each call but the last is a multiple of the stride and at least `least_px`. The last call
        has more rows than the stride, unless it is the only one.
        """
        self._awaited += images.shape[2]
        rows = pad_to_stride(images, self._stride, self._least_px)
        for empty in self._skips[: self._empty_skips]:
            empty.put(rows[:, :0])
        for level, skips in zip(self._encoder, [*self._skips[self._empty_skips :], None], strict=True):
            rows = level(rows, last=last)
            if not rows.shape[2]:
                return rows
            if skips is not None:
                skips.put(rows)
        # After the last band, the encoder returns many rows at once. Decoding them together would take several times
        # the memory of all other bands.
        parts = [rows[:, :, first : first + _DECODED_ROWS] for first in range(0, rows.shape[2], _DECODED_ROWS)]
        logits = [self._decode(part, last=last and part is parts[-1]) for part in parts]
        known = _join([part for part in logits if part.shape[2]] or logits[:1])[:, :, : self._awaited]
        self._awaited -= known.shape[2]
        return known[:, :, :, : images.shape[3]]

    def _decode(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor:
        """Map rows of the deepest level to logits."""
        for lift, skips, level in zip(self._lifts, reversed(self._skips), self._decoder, strict=True):
            lifted = lift(rows, last=last)
            if not lifted.shape[2]:
                return lifted
            rows = level(torch.cat([skips.take(lifted.shape[2]), lifted], dim=1), last=last)
            if not rows.shape[2]:
                return rows
        return self._head(rows, last=last)


def _join(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    if len(parts) == 1:
        return parts[0]
    return torch.cat(list(parts), dim=2).contiguous(memory_format=torch.channels_last)
