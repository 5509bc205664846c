"""Layers that are shown a map band of rows by band of rows: no pixel is computed twice, none differs from one pass.

Each takes rows 1 x C x H x W that follow those before, and whether they are the last; it gives the rows that can be
told by now, and keeps of its input what the next ones need. No rows in are no rows out.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional

from detection.imagery.neural.networks.blocks import pad_to_stride


class RowLayer(Protocol):
    """What stands in a stream."""

    def __call__(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor:
        """Rows in, rows out."""


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
        self._unused = 0  # next rows that no row of the result depends on

    def take(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor | None:
        """Return the rows from which the next rows of the result follow; None if there are too few."""
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
    """A convolution and what stands behind it; zeros lie above and below the map.

    Args:
        unit: convolution, then parts that look at each pixel by itself.
    """

    def __init__(self, unit: nn.Module) -> None:
        self._convolution: Any
        self._convolution, *self._behind = unit.children()
        self._window = _Window(
            self._convolution.kernel_size[0], self._convolution.stride[0], self._convolution.padding[0], 0.0
        )

    def __call__(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor:
        """See `RowLayer`."""
        convolution = self._convolution
        seen = self._window.take(rows, last=last)
        if seen is None:
            return rows[:, :, :0]
        across = (0, convolution.padding[1])
        made = functional.conv2d(
            seen, convolution.weight, convolution.bias, convolution.stride, across, groups=convolution.groups
        )
        for part in self._behind:
            made = part(made)
        return made


class Pool:
    """A max pool; by default 2 x 2."""

    def __init__(self, kernel: int = 2, stride: int = 2, padding: int = 0) -> None:
        self._kernel, self._stride, self._padding = kernel, stride, padding
        self._window = _Window(kernel, stride, padding, float("-inf"))

    def __call__(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor:
        """See `RowLayer`."""
        seen = self._window.take(rows, last=last)
        if seen is None:
            return rows[:, :, :0]
        return functional.max_pool2d(seen, self._kernel, self._stride, (0, self._padding))


class Enlargement:
    """Bilinear enlargement to twice the size: the last row waits for the next, those of the edges are repeated."""

    def __init__(self) -> None:
        self._kept: torch.Tensor | None = None

    def __call__(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor:
        """See `RowLayer`."""
        seen = rows if self._kept is None else _join([self._kept, rows])
        first, end = 0 if self._kept is None else 1, None if last else -1
        self._kept = seen[:, :, -1:].clone()
        return functional.interpolate(seen, scale_factor=2, mode="bilinear", align_corners=False)[:, :, first:end]


class DelayedRows:
    """Rows in the order in which they came, until others have come so far."""

    def __init__(self) -> None:
        self._held: list[torch.Tensor] = []

    @property
    def count(self) -> int:
        """How many wait."""
        return sum(rows.shape[2] for rows in self._held)

    def put(self, rows: torch.Tensor) -> None:
        """Let rows wait."""
        self._held.append(rows)

    def take(self, count: int) -> torch.Tensor:
        """The first rows, so many."""
        taken: list[torch.Tensor] = []
        while count or not taken:
            rows = self._held.pop(0)
            taken.append(rows[:, :, :count])
            count -= taken[-1].shape[2]
            if taken[-1].shape[2] < rows.shape[2]:
                self._held.insert(0, rows[:, :, taken[-1].shape[2] :])
        return _join(taken)


class Straight:
    """What looks at each row by itself."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor:  # noqa: ARG002
        """See `RowLayer`."""
        made: torch.Tensor = self._module(rows)
        return made


class Chain:
    """Layers one behind the other."""

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
    """Layers with a shortcut around them, which waits for them.

    Args:
        body: the layers.
        shortcut: the way around them.
        is_active: whether a ReLU follows the sum.
    """

    def __init__(self, body: RowLayer, shortcut: RowLayer, *, is_active: bool) -> None:
        self._body, self._shortcut, self._is_active = body, shortcut, is_active
        self._waiting = DelayedRows()

    def __call__(self, rows: torch.Tensor, *, last: bool) -> torch.Tensor:
        """See `RowLayer`."""
        self._waiting.put(self._shortcut(rows, last=last))
        made = self._body(rows, last=last)
        if not made.shape[2]:
            return made
        made = made + self._waiting.take(made.shape[2])
        return functional.relu(made) if self._is_active else made


class RowStream:
    """An encoder and a decoder with skips between maps of one scale, shown an image band by band.

    Args:
        encoder: by level, each with the pool before it.
        lifts: what enlarges the map below, from the bottom up.
        decoder: by level from the bottom up; each is given the encoder's map and the enlarged one. If there are as many
            as levels of the encoder, the last one is given the enlarged map alone.
        stride: the sides of the image are filled up to multiples of it as `pad_to_stride` does.
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
        self._lifts, self._decoder, self._head = lifts, decoder, head
        self._skips = [DelayedRows() for _ in decoder]
        self._empty_skips = len(decoder) - len(encoder) + 1
        self._stride, self._least_px, self._awaited = stride, least_px, 0

    def draw(self, images: torch.Tensor, *, last: bool) -> torch.Tensor:
        """Map the next rows 1 x bands x H x W to the logits 1 x classes x h x W that are known by now, maybe of no row.

        The rows of all bands but the last are a multiple of the stride, and `least_px` at least; the last band has more
        rows than the stride, or is the only one.
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
        for lift, skips, level in zip(self._lifts, reversed(self._skips), self._decoder, strict=True):
            lifted = lift(rows, last=last)
            if not lifted.shape[2]:
                return lifted
            rows = level(torch.cat([skips.take(lifted.shape[2]), lifted], dim=1), last=last)
            if not rows.shape[2]:
                return rows
        known = self._head(rows, last=last)[:, :, : self._awaited, : images.shape[3]]
        self._awaited -= known.shape[2]
        return known


def _join(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    if len(parts) == 1:
        return parts[0]
    return torch.cat(list(parts), dim=2).contiguous(memory_format=torch.channels_last)
